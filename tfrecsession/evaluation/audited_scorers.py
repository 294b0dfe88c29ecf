"""Calls of the audited scorers, and the scores that they return: one class for each kind of scorer."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfrecsession.batches import Sessions
from tfrecsession.errors import InputError
from tfrecsession.recommender.recommend import padded_rows
from tfrecsession.sessions.spans import MICROSECONDS


class History(NamedTuple):
    """A history that is handed to a scorer.

    event: int64 [events], the indices of its events in the split, for their context. ids: int32 [events], its items.
    target: the index of the event to be predicted, for what is known of its request.
    """

    event: np.ndarray
    ids: np.ndarray
    target: int


class FunctionScorer:
    """A function of histories, lists of item ids as texts, oldest first.

    It returns scores [histories, items] in the order of `data.items.ids`, or with two more columns in front, padding
    and unknown. It may also return [histories, steps, items], scores after every event, padded on the right; or a pair
    (items, scores), the best items of each history. An argument `targets` is handed decoys: see `audit`.

    Args:
        scorer: the function.
        sample: the sessions that histories are taken from.
        context: names of columns that are handed as `context={name: [[...], ...]}`, aligned with the histories.
    """

    def __init__(self, scorer: Callable, sample: Sessions, context=()):
        self.scorer, self.sample, self.context = scorer, sample, tuple(context)
        self.reads_targets = "targets" in _arguments(scorer)
        self.by_step = False
        for name in self.context:
            if name != "time" and name not in sample.arrays.columns:
                known = ", ".join(sample.arrays.columns)
                raise InputError(f"context={list(self.context)!r}: must be columns of the split, one of time, {known}")

    def __call__(self, histories: list[History], targets=None, after=None) -> np.ndarray:
        """Returns scores, float [histories, items]; NaN and infinities as they come.

        Args:
            histories: at least one.
            targets: int [histories], ids for a scorer with an argument `targets`.
            after: int [histories], the number of events after which a scorer `by_step` is read; None: all of them.
        """
        given = {"context": {name: self._column(name, histories) for name in self.context}} if self.context else {}
        if self.reads_targets:
            given["targets"] = self.sample.items.decode(targets).tolist()
        found = self._ask(histories, given)
        if isinstance(found, tuple):
            return self._of_lists(*found, len(histories))
        scores, size = _array(found), len(self.sample.items)
        steps = np.array([len(history.ids) for history in histories]) if after is None else np.asarray(after)
        self.by_step = scores.ndim == 3
        if self.by_step and len(scores) == len(histories) and scores.shape[1] >= steps.max():
            scores = scores[np.arange(len(histories)), steps - 1]
        if scores.shape == (len(histories), size + 2):
            scores = scores[:, 2:]
        if scores.shape != (len(histories), size):
            raise InputError(
                f"scorer: must return scores [histories, items] = [{len(histories)}, {size}], not {np.shape(found)}"
            )
        return scores

    def _ask(self, histories, given):
        return self.scorer([self.sample.items.decode(history.ids).tolist() for history in histories], **given)

    def _column(self, name: str, histories) -> list[list]:
        if name == "time":
            times = np.asarray(self.sample.column("times")) / MICROSECONDS["s"]
        else:
            times = np.asarray(self.sample.column(name))
        if len(times) != len(self.sample.values):  # a value for each session
            times = np.repeat(times, np.diff(self.sample.offsets))
        return [times[history.event].tolist() for history in histories]

    def _of_lists(self, items, scores, rows: int) -> np.ndarray:
        """Returns the scores of the whole catalogue, -inf for items that are not listed."""
        items, scores = np.asarray(items, object), _array(scores)
        if items.ndim != 2 or items.shape != scores.shape or len(items) != rows:
            raise InputError(
                f"scorer: must return items and scores of one shape [{rows}, k], not {items.shape} and {scores.shape}"
            )
        ids = self.sample.items.encode(items.ravel().tolist()).reshape(items.shape)
        dense = np.full((rows, self.sample.items.size), -np.inf, np.float32)
        np.put_along_axis(dense, ids.astype(np.int64), scores.astype(np.float32), axis=1)
        return dense[:, 2:]


class KerasScorer(FunctionScorer):
    """A Keras model of item ids: int32 [rows, steps] as `data.items` has them; 0 is padding, on the right."""

    def __init__(self, scorer: keras.Model, sample: Sessions):
        super().__init__(scorer, sample)
        self.reads_targets = False
        shape = getattr(scorer, "input_shape", None)
        self.steps = shape[1] if isinstance(shape, tuple) and len(shape) == 2 else None

    def _ask(self, histories, given):
        ids = padded_rows([history.ids[-self.steps :] if self.steps else history.ids for history in histories])
        ids = np.pad(ids, [(0, 0), (0, self.steps - ids.shape[1] if self.steps else 0)])
        return self.scorer(ids, training=False)


class ModelScorer:
    """A model of this package, in the context that the split has."""

    by_step = reads_targets = False

    def __init__(self, scorer, sample: Sessions):
        context = scorer.context
        self.columns = sample.encoded(context)
        self.empty = {key: context.keys[key].missing for key in self.columns}
        keys = list(self.columns)

        def scores(ids, *values):
            return scorer.scores_after(ids, given=dict(zip(keys, values, strict=True)))[:, 2:]

        specs = [tf.TensorSpec((None, None), tf.int32)]
        for key, missing in self.empty.items():
            shape = (None,) if key.startswith("request/") else (None, None)
            specs.append(tf.TensorSpec(shape, missing.dtype))
        self.scores = tf.function(scores, input_signature=specs, autograph=False)

    def __call__(self, histories: list[History], targets=None, after=None) -> np.ndarray:
        arrays = [padded_rows([history.ids for history in histories])]
        for key, values in self.columns.items():
            if key.startswith("request/"):
                arrays.append(values[[history.target for history in histories]])
            else:
                arrays.append(padded_rows([values[history.event] for history in histories], self.empty[key]))
        return self.scores(*arrays).numpy()


def _array(values) -> np.ndarray:
    """Returns an array, also of a PyTorch tensor that has a gradient or lies on a device."""
    for step in ("detach", "cpu"):
        values = getattr(values, step)() if hasattr(values, step) else values
    return np.asarray(values, np.float64 if np.asarray(values).dtype == np.float64 else np.float32)


def _arguments(function: Callable) -> tuple[str, ...]:
    try:
        return tuple(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return ()
