"""AssociationRules: items that occurred in the same sessions as this item."""

from __future__ import annotations

import keras
import numpy as np
from scipy import sparse

from tfrecsession.batches.co_occurrence import session_items, supports
from tfrecsession.models.rules.item_table_model import BLOCK, TableModel


@keras.saving.register_keras_serializable(package="tfrecsession")
class AssociationRules(TableModel):
    """Association rules: items of the same session (AR of Ludewig & Jannach, arXiv 1803.09587, section 3.1).

        weight(i, j) = ordered pairs of two different events of one session, one of i and one of j
        score(j)     = sum over the items i of the history of share(i) * weight(i, j)

    Order and distance do not count. An item that occurs twice in a session is a rule of the item to itself, as in the
    authors' framework, session-rec. By default the history is its last item alone.

    Args:
        items: the vocabulary.
        neighbours, history, window: see `TableModel`.

    Raises:
        InputError: an argument out of range.

    Example:

        model = trs.models.AssociationRules(data.items)
        model.fit(data.train)
    """

    # Declarations
    search_space = TableModel.table_space

    # Training

    def blocks(self, sessions):
        by_session = session_items(sessions, self.size)  # (sessions, size)
        by_item = by_session.T.tocsr()  # (size, sessions)
        weighted = sessions.weights is not None
        if weighted:
            by_session = session_items(sessions, self.size, targets=True)  # (sessions, size)
        support = supports(sessions, self.size, targets=True)  # (size,)
        for first in range(0, self.size, BLOCK):
            rows = np.arange(first, min(first + BLOCK, self.size))
            itself = sparse.csr_matrix((support[rows], (rows - first, rows)), (len(rows), self.size))  # (rows, size)
            # c events of an item in a session make c * c pairs, c of them an event with itself
            pairs = by_item[rows] @ by_session - itself  # (rows, size)
            yield pairs.maximum(0) if weighted else pairs  # an event of a weight below 1 makes no pair with itself
