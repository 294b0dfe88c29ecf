"""The vocabulary of train and validation together, for models that are fitted on both."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np

from tfrecsession.sessions.vocabulary import FIRST, Items


class JointVocabulary:
    """The items of train and validation together, and the later splits coded with them; read at their first use.

    The ids of train stay: items that validation alone has follow those of train, by their falling count.

    Args:
        validation, test: the splits, `Sessions`, as they are coded with the vocabulary of train.
        further: the number of items that validation has and train lacks.
        read: returns the items and both splits coded with them. None: there are no further items.

    Attributes:
        of: `validation` of the arguments, the split that it belongs to.
        further: of the arguments.
    """

    def __init__(
        self,
        validation: Any,
        test: Any,
        further: int = 0,
        read: Callable[[], tuple[Items, Any, Any]] | None = None,
    ):
        self.of, self._test, self.further, self._read = validation, test, further, read

    @property
    def items(self) -> Items:
        """The vocabulary. Its counts are events in train and validation."""
        return self._coded[0]

    @property
    def validation(self) -> Any:
        """All events of validation."""
        return self._coded[1]

    @property
    def test(self) -> Any:
        """Test as `prepare` makes it where training knows these items, see `unknown_items`."""
        return self._coded[2]

    @cached_property
    def _coded(self) -> tuple[Items, Any, Any]:
        if self._read is not None:
            return self._read()
        items = copy.copy(self.of.items)
        items.counts = items.counts + np.bincount(self.of.values, minlength=items.size)[FIRST:]
        return items, self.of, self._test
