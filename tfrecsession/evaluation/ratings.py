"""How far predicted ratings are from those that were given: RMSE and MAE on held-out ratings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from tfrecsession.batches import Sessions
from tfrecsession.batches.interactions import Interactions, check_scale
from tfrecsession.errors import InputError
from tfrecsession.evaluation.bootstrap import Group, averages

DUPLICATES = ("each", "last", "mean", "max")


@dataclass(frozen=True)
class Ratings:
    """Ratings by name, a row each.

    users, items: object arrays of str [n]; an item that the vocabulary lacks may be "". values: float64 [n].
    """

    users: np.ndarray
    items: np.ndarray
    values: np.ndarray

    def __post_init__(self):
        for name, kind in (("users", object), ("items", object), ("values", np.float64)):
            object.__setattr__(self, name, np.asarray(getattr(self, name), kind))
        lengths = {len(self.users), len(self.items), len(self.values)}
        if len(lengths) > 1:
            raise InputError(
                f"users, items, values: {len(self.users):,}, {len(self.items):,} and {len(self.values):,} of them; "
                "a rating has one of each"
            )

    def __len__(self) -> int:
        return len(self.values)

    @classmethod
    def of(cls, sessions: Sessions, rating: str = "rating", duplicates: str = "last") -> Ratings:
        """The ratings of a split, those of items that training never saw among them.

        Args:
            sessions: a split of a data set with users.
            rating: the context column that holds them.
            duplicates: where somebody rated an item several times, the "last" of them counts, their "mean", the highest
                ("max"), or "each" of them.

        Raises:
            InputError: an unknown `duplicates`, no such column, or no users.
        """
        if duplicates not in DUPLICATES:
            raise InputError(f"duplicates={duplicates!r}: say one of {', '.join(DUPLICATES)}")
        values = np.asarray(sessions.column(rating), np.float64)
        users = np.repeat(sessions.column("user"), np.diff(sessions.offsets))
        users = np.array([user or "" for user in users], object)
        found = cls(users, sessions.items.decode(sessions.values), values)
        if duplicates == "each":
            return found
        times = np.asarray(sessions.column("times"), np.int64)
        return found._one_a_pair(times, duplicates, sessions.values > 1)

    def _one_a_pair(self, times, duplicates, known) -> Ratings:
        _, user = np.unique(self.users.astype(str), return_inverse=True)
        _, item = np.unique(self.items.astype(str), return_inverse=True)
        # of items without a name nobody can say whether they are the same
        item = np.where(known, item, item.max(initial=0) + 1 + np.arange(len(item)))
        order = np.lexsort((times, item, user))
        first = np.flatnonzero(np.diff(user[order], prepend=-1) | np.diff(item[order], prepend=-1))
        values, ends = self.values[order], np.append(first[1:], len(order))
        if duplicates == "last" or not len(first):
            values = values[ends - 1]
        elif duplicates == "max":
            values = np.maximum.reduceat(values, first)
        else:
            values = np.add.reduceat(values, first) / (ends - first)
        return Ratings(self.users[order][first], self.items[order][first], values)

    def check(self, scale: tuple[float, float]) -> None:
        """Refuse a scale that is none and ratings outside of it."""

        def where(row):
            return f"is in row {row + 1}: user {self.users[row]!r} gave item {self.items[row]!r}"

        check_scale(self.values, scale, where, "values")


@dataclass(frozen=True)
class RatingScores:
    """rmse, mae: with the 95% interval (low, high) over users, NaN for fewer than two of them."""

    rmse: float
    rmse_interval: tuple[float, float]
    mae: float
    mae_interval: tuple[float, float]
    ratings: int
    users: int


def evaluate_ratings(
    model, held_out: Ratings, scale: tuple[float, float] = (1, 5), draws: int = 1000, seed: int = 0
) -> RatingScores:
    """RMSE and MAE of a model on ratings it has not seen.

    Predictions are clipped to the scale. A person or an item that training never saw adds nothing to the mean rating
    and the bias of the other; where nothing is known, the mean is the prediction.

    Args:
        model: with `predict_ratings(users, items)`, as `trs.models.MatrixFactorization`, or `rate`, as `ALS`.
        held_out: the ratings.
        scale: lowest and highest rating there is.
        draws, seed: of the bootstrap over users; 0 draws: no intervals.

    Raises:
        InputError: a rating outside of the scale, or none at all.
    """
    held_out.check(scale)
    if not len(held_out):
        raise InputError("held_out: there is no rating in it")
    predicted = np.clip(np.asarray(model.predict_ratings(held_out.users, held_out.items), np.float64), *scale)
    return scores_of(held_out.users, held_out.values - predicted, draws, seed)


def scores_of(users: np.ndarray, errors: np.ndarray, draws: int = 1000, seed: int = 0) -> RatingScores:
    """The scores of given errors: users [n], errors float [n], rating minus prediction."""
    _, user = np.unique(np.asarray(users).astype(str), return_inverse=True)
    order = np.argsort(user, kind="stable")
    errors = np.asarray(errors)[order]
    both = np.stack([errors**2, np.abs(errors)], axis=1)
    group = Group(np.zeros(len(errors), np.int64), 1, [0, 1])
    found = averages(user[order], lambda some: both[some], [group], draws, seed)[0]
    square, interval = found.mean[0], list(zip(found.low[0], found.high[0], strict=True))
    return RatingScores(
        rmse=float(np.sqrt(square[0])),
        rmse_interval=tuple(float(np.sqrt(end)) for end in interval[0]),  # the root keeps the order, so the percentiles
        mae=float(square[1]),
        mae_interval=tuple(float(end) for end in interval[1]),
        ratings=int(found.events[0]),
        users=int(found.sessions[0]),
    )


def random_folds(interactions: Interactions, folds: int = 5, seed: int = 0) -> Iterator[tuple[Interactions, Ratings]]:
    """Deal the pairs into folds at random: every fold once held out, the others for training.

    The protocol of most published RMSEs on MovieLens. It knows the future: of every person, later ratings train the
    model that predicts earlier ones, and hardly anybody is new.

    Yields:
        The pairs to train on, over all people and items, and the ratings held out.
    """
    pairs = len(interactions.values)
    if not isinstance(folds, int | np.integer) or not 2 <= folds <= pairs:
        raise InputError(f"folds={folds!r}: say a whole number from 2 to the number of ratings, {pairs:,}")
    user = np.repeat(np.arange(len(interactions)), np.diff(interactions.offsets))
    fold = np.random.default_rng(seed).permutation(np.arange(pairs) % folds)
    for number in range(folds):
        out = fold == number
        kept = np.bincount(user[~out], minlength=len(interactions))
        train = replace(
            interactions,
            offsets=np.concatenate([[0], np.cumsum(kept)]),
            values=interactions.values[~out],
            weights=interactions.weights[~out],
        )
        names = interactions.users[user[out]], interactions.items.decode(interactions.values[out])
        yield train, Ratings(*names, interactions.weights[out])
