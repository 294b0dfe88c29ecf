"""Training data of ALS: the seen pairs of both sides, with their confidences, targets and penalties."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from tfrecsession.batches import Interactions
from tfrecsession.errors import InputError
from tfrecsession.models.factorization.als_sweeps import Pairs


@dataclass(frozen=True)
class Observed:
    """Seen pairs by user and by item; penalties float32, a number per row; the loss at x.y = 0.

    `mean` and the biases, float64, belong to ratings; `history_value` is for a history's events without a value.
    """

    by_user: Pairs
    by_item: Pairs
    user_penalty: np.ndarray
    item_penalty: np.ndarray
    constant: float
    history_value: float
    mean: float = 0.0
    user_bias: np.ndarray | None = None
    item_bias: np.ndarray | None = None


def interactions_of(sessions, model) -> Interactions:
    """Returns the pairs of a split, with the weights of its events, that `model`, an ALS, is fitted to.

    Raises:
        InputError: the split is weighted and the model cannot honour it, or as in `Interactions.of`.
    """
    weights = None
    if sessions.weights is not None:
        weights = sessions.weights.example
        if model.explicit:
            raise InputError("x: must be data.train without weighted(...): explicit=True counts every rating once")
        if model.alpha is None and not np.isin(weights, (0, 1)).all():
            raise InputError(
                "alpha=None: must be a number beside weights of events, such as 1: it is the confidence per weight, "
                "without which every seen pair counts the same"
            )
    duplicates = model.duplicates or ("last" if model.explicit else "sum")
    return Interactions.of(sessions, value=model.value, duplicates=duplicates, scale=model.scale, event_weights=weights)


def observe(interactions: Interactions, model) -> Observed:
    """Returns what `model`, an ALS, is fitted to.

    Raises:
        InputError: weights below 0, or none above; ratings that are all equal.
    """
    column = f"value={model.value!r}" if model.value else "the train split"
    weights = interactions.weights.astype(np.float64)
    if model.explicit:
        if not len(weights):
            raise InputError(f"{column}: must hold a rating of a known item; there is none")
        if (weights == weights[0]).all():
            raise InputError(
                f"{column}: all {len(weights):,} ratings are {weights[0]:g}, which does not distinguish items; "
                "leave out explicit=True to learn from the interactions alone"
            )
        return _observed_ratings(interactions, weights, model)
    if (weights < 0).any():
        raise InputError(
            f"{column}: {(weights < 0).sum():,} of {len(weights):,} weights are below 0; "
            "set explicit=True for ratings, or leave these events out"
        )
    if not (weights > 0).any():
        raise InputError(f"{column}: no pair of a user and an item has a weight above 0: there is nothing to learn")
    interactions = _without_zeros(interactions)
    weights = interactions.weights.astype(np.float64)  # [pairs]
    a0, size = model.unobserved_weight, interactions.items.size
    confidence = np.ones(len(weights)) if model.alpha is None else model.alpha * weights
    target = confidence if model.alpha is None else confidence + a0
    value = model.history_value
    if value is None:
        value = weights.mean() if model.value is not None else 1.0
    user_counts, item_counts = _counts(interactions)
    pairs = _pairs(interactions, confidence, target)
    user_penalty = model.regularization * (user_counts + a0 * (size - 2)) ** model.exponent
    item_penalty = model.regularization * (item_counts + a0 * len(interactions)) ** model.exponent
    return Observed(
        pairs,
        pairs.transposed(size),
        user_penalty,
        item_penalty,
        constant=float(target.sum()),
        history_value=float(value),
    )


def _observed_ratings(interactions: Interactions, weights: np.ndarray, model) -> Observed:
    size, value = interactions.items.size, model.history_value
    user_counts, item_counts = _counts(interactions)
    row = np.repeat(np.arange(len(interactions)), user_counts)  # [pairs]
    mean = weights.mean()
    item_bias = np.bincount(interactions.values, weights - mean, minlength=size)  # [size]
    item_bias /= np.maximum(item_counts + model.damping, 1e-9)
    rest = weights - mean - item_bias[interactions.values]  # [pairs]
    user_bias = np.bincount(row, rest, minlength=len(interactions))  # [users]
    user_bias /= np.maximum(user_counts + model.damping, 1e-9)
    rest -= user_bias[row]
    pairs = _pairs(interactions, np.ones(len(rest)), rest)
    return Observed(
        pairs,
        pairs.transposed(size),
        user_penalty=model.regularization * np.maximum(user_counts, 1.0) ** model.exponent,
        item_penalty=model.regularization * np.maximum(item_counts, 1.0) ** model.exponent,
        constant=float((rest**2).sum()),
        history_value=float(weights.max() if value is None else value),
        mean=float(mean),
        user_bias=user_bias,
        item_bias=item_bias,
    )


def _counts(interactions: Interactions) -> tuple[np.ndarray, np.ndarray]:
    """Counts the pairs of every user and of every item id: int64 [users], int64 [size]."""
    return np.diff(interactions.offsets), np.bincount(interactions.values, minlength=interactions.items.size)


def _pairs(interactions: Interactions, confidence: np.ndarray, target: np.ndarray) -> Pairs:
    return Pairs(interactions.offsets, interactions.values, confidence.astype(np.float32), target.astype(np.float32))


def _without_zeros(interactions: Interactions) -> Interactions:
    """Removes the pairs of weight 0: they count as not seen."""
    positive = interactions.weights > 0
    if positive.all():
        return interactions
    before = np.concatenate([[0], np.cumsum(positive)])  # [pairs + 1]: pairs kept so far
    values, weights = interactions.values[positive], interactions.weights[positive]
    return replace(interactions, offsets=before[interactions.offsets], values=values, weights=weights)
