"""What a factorization learns from: the seen pairs of both sides, with their confidences, targets and penalties."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from tfrecsession.batches import Interactions
from tfrecsession.batches.interactions import DUPLICATES, is_scale
from tfrecsession.errors import InputError
from tfrecsession.models.factorization.als_sweeps import Pairs


@dataclass(frozen=True)
class Observed:
    """Seen pairs by person and by item; penalties float32, a number per row; the loss at x.y = 0.

    Of ratings also their mean and biases, float64, 0 otherwise; `history_value` is what an event without a value gets.
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


def observe(people: Interactions, model) -> Observed:
    """The pairs that `model`, an ALS, is to fit.

    Raises:
        InputError: weights below 0, or none above; ratings that are all equal.
    """
    column = f"value={model.value!r}" if model.value else "the train split"
    weights = people.weights.astype(np.float64)
    if model.explicit:
        if not len(weights):
            raise InputError(f"{column}: there is no rating of a known item")
        if (weights == weights[0]).all():
            raise InputError(
                f"{column}: all {len(weights):,} ratings are {weights[0]:g}, which tells no item from another; "
                "leave out explicit=True to learn from who took what"
            )
        return _ratings(people, weights, model)
    if (weights < 0).any():
        raise InputError(
            f"{column}: {(weights < 0).sum():,} of {len(weights):,} weights are below 0; "
            "say explicit=True for ratings, or leave these events out"
        )
    if not (weights > 0).any():
        raise InputError(f"{column}: no pair of a person and an item has a weight above 0: there is nothing to learn")
    people = _without_nothing(people)
    weights = people.weights.astype(np.float64)
    a0, size = model.unobserved_weight, people.items.size
    confidence = np.ones(len(weights)) if model.alpha is None else model.alpha * weights
    target = confidence if model.alpha is None else confidence + a0
    value = model.history_value
    if value is None:
        value = weights.mean() if model.value is not None else 1.0
    users, items = np.diff(people.offsets), np.bincount(people.values, minlength=size)
    pairs = _pairs(people, confidence, target)
    penalties = (
        model.regularization * (number + a0 * others) ** model.exponent
        for number, others in ((users, size - 2), (items, len(people)))
    )
    return Observed(pairs, pairs.transposed(size), *penalties, float(target.sum()), float(value))


def _ratings(people: Interactions, weights: np.ndarray, model) -> Observed:
    size, value = people.items.size, model.history_value
    users, items = np.diff(people.offsets), np.bincount(people.values, minlength=size)
    row = np.repeat(np.arange(len(people)), users)
    mean = weights.mean()
    item_bias = np.bincount(people.values, weights - mean, minlength=size) / np.maximum(items + model.damping, 1e-9)
    rest = weights - mean - item_bias[people.values]
    user_bias = np.bincount(row, rest, minlength=len(people)) / np.maximum(users + model.damping, 1e-9)
    rest -= user_bias[row]
    pairs = _pairs(people, np.ones(len(rest)), rest)
    penalties = (model.regularization * np.maximum(number, 1.0) ** model.exponent for number in (users, items))
    return Observed(
        pairs,
        pairs.transposed(size),
        *penalties,
        constant=float((rest**2).sum()),
        history_value=float(weights.max() if value is None else value),
        mean=float(mean),
        user_bias=user_bias,
        item_bias=item_bias,
    )


def _pairs(people: Interactions, confidence: np.ndarray, target: np.ndarray) -> Pairs:
    return Pairs(people.offsets, people.values, confidence.astype(np.float32), target.astype(np.float32))


def _without_nothing(people: Interactions) -> Interactions:
    """Without the pairs of weight 0: a person who took nothing of an item has not seen it."""
    there = people.weights > 0
    if there.all():
        return people
    kept = np.concatenate([[0], np.cumsum(there)])
    return replace(people, offsets=kept[people.offsets], values=people.values[there], weights=people.weights[there])


def check(model) -> None:
    """Refuse arguments of an ALS that are out of range."""

    def refuse(name, say):
        raise InputError(f"{name}={getattr(model, name)!r}: say {say}")

    def is_number(value):
        return isinstance(value, int | float | np.number) and not isinstance(value, bool) and math.isfinite(value)

    for name in ("factors", "sweeps", "block", "cg_steps", "window"):
        value, optional = getattr(model, name), name in ("block", "cg_steps", "window")
        whole = isinstance(value, int | np.integer) and not isinstance(value, bool) and value > 0
        if not whole and not (optional and value is None):
            refuse(name, f"a whole number, at least 1{', or None' if optional else ''}")
    for name in ("unobserved_weight", "regularization", "init_std", "alpha"):
        value = getattr(model, name)
        if not (is_number(value) and value > 0) and not (name == "alpha" and value is None):
            refuse(name, f"a number above 0{', or None' if name == 'alpha' else ''}")
    if not (is_number(model.exponent) and 0 <= model.exponent <= 1):
        refuse("exponent", "a number from 0 to 1")
    if not (is_number(model.damping) and model.damping >= 0):
        refuse("damping", "a number, at least 0")
    if model.duplicates not in (None, *DUPLICATES):
        refuse("duplicates", f"one of {', '.join(DUPLICATES)}, or None")
    if model.fold_in not in ("solve", "mean"):
        refuse("fold_in", "'solve' or 'mean'")
    if model.history_value is not None and not is_number(model.history_value):
        refuse("history_value", "a number, or None")
    if model.alpha is not None and model.history_value is not None and not model.history_value > 0:
        refuse("history_value", "a weight above 0, or None")
    if model.scale is not None and not (model.explicit and is_scale(model.scale)):
        refuse("scale", "the lowest and the highest rating, as in (1, 5), beside explicit=True")
    if model.explicit and model.value is None:
        raise InputError("explicit=True: say which column holds the ratings, as in value='rating'")
