"""Rating prediction errors: RMSE and MAE on held-out ratings."""

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
    """Ratings by user and item name, one per row.

    users, items: object arrays of str [n]; an item that is not in the vocabulary may be "". values: float64 [n].
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
                f"users, items, values: must have the same length; they have {len(self.users):,}, {len(self.items):,} "
                f"and {len(self.values):,}"
            )

    def __len__(self) -> int:
        return len(self.values)

    @classmethod
    def of(cls, sessions: Sessions, rating: str = "rating", duplicates: str = "last") -> Ratings:
        """Returns the ratings of a split, including those of items not seen in training.

        Args:
            sessions: a split of a data set with users.
            rating: the context column with the ratings.
            duplicates: which rating to keep if a user rated an item several times: the "last", the "mean", the highest
                ("max"), or "each" of them.

        Raises:
            InputError: `duplicates` is unknown, or the column or the users are missing.
        """
        if duplicates not in DUPLICATES:
            raise InputError(f"duplicates={duplicates!r}: must be one of {', '.join(DUPLICATES)}")
        values = np.asarray(sessions.column(rating), np.float64)
        users = np.repeat(sessions.column("user"), np.diff(sessions.offsets))
        users = np.array([user or "" for user in users], object)
        found = cls(users, sessions.items.decode(sessions.values), values)
        if duplicates == "each":
            return found
        times = np.asarray(sessions.column("times"), np.int64)
        return found._merged(times, duplicates, sessions.values > 1)

    def _merged(self, times, duplicates, known) -> Ratings:
        _, user = np.unique(self.users.astype(str), return_inverse=True)
        _, item = np.unique(self.items.astype(str), return_inverse=True)
        # unknown items have no name, so each is treated as a different item
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
        """Refuses an invalid scale, and ratings outside the scale."""

        def where(row):
            return f"is in row {row + 1}: user {self.users[row]!r} gave item {self.items[row]!r}"

        check_scale(self.values, scale, where, "values")


@dataclass(frozen=True)
class RatingScores:
    """Rating errors. rmse, mae: with the 95% interval (low, high) over users, NaN for fewer than two users."""

    rmse: float
    rmse_interval: tuple[float, float]
    mae: float
    mae_interval: tuple[float, float]
    ratings: int
    users: int


def evaluate_ratings(
    model, held_out: Ratings, scale: tuple[float, float] = (1, 5), draws: int = 1000, seed: int = 0
) -> RatingScores:
    """Computes RMSE and MAE of a model on held-out ratings.

    Predictions are clipped to the scale. A user or item not seen in training contributes nothing to the prediction: the
    mean rating and the bias of the known one remain. If both are unknown, the mean rating is predicted.

    Args:
        model: has `predict_ratings(users, items)`, such as `trs.models.MatrixFactorization` or `trs.models.ALS`.
        held_out: the held-out ratings.
        scale: lowest and highest possible rating.
        draws, seed: number and seed of the bootstrap draws over users; 0 draws: no intervals.

    Raises:
        InputError: a rating is outside the scale, or there are no ratings.
    """
    if not isinstance(held_out, Ratings):
        raise InputError(f"held_out: must be Ratings, such as of random_folds, not {type(held_out).__name__}")
    held_out.check(scale)
    if not len(held_out):
        raise InputError("held_out: must hold at least one rating; there is no rating in it")
    predicted = np.clip(np.asarray(model.predict_ratings(held_out.users, held_out.items), np.float64), *scale)
    return scores_of(held_out.users, held_out.values - predicted, draws, seed)


def scores_of(users: np.ndarray, errors: np.ndarray, draws: int = 1000, seed: int = 0) -> RatingScores:
    """Returns the scores of given errors: users [n], errors float [n], rating minus prediction."""
    _, user = np.unique(np.asarray(users).astype(str), return_inverse=True)
    order = np.argsort(user, kind="stable")
    errors = np.asarray(errors)[order]
    losses = np.stack([errors**2, np.abs(errors)], axis=1)
    group = Group(np.zeros(len(errors), np.int64), 1, [0, 1])
    found = averages(user[order], lambda chunk: losses[chunk], [group], draws, seed)[0]
    square, interval = found.mean[0], list(zip(found.low[0], found.high[0], strict=True))
    return RatingScores(
        rmse=float(np.sqrt(square[0])),
        rmse_interval=tuple(float(np.sqrt(end)) for end in interval[0]),  # the root is monotone: it keeps percentiles
        mae=float(square[1]),
        mae_interval=tuple(float(end) for end in interval[1]),
        ratings=int(found.events[0]),
        users=int(found.sessions[0]),
    )


def random_folds(interactions: Interactions, folds: int = 5, seed: int = 0) -> Iterator[tuple[Interactions, Ratings]]:
    """Splits the ratings into folds at random; each fold is held out once, the others are for training.

    This is the protocol of most published RMSEs on MovieLens. It leaks the future: later ratings of a user train the
    model that predicts earlier ones, and hardly any user is new.

    Yields:
        The training ratings, over all users and items, and the held-out ratings.
    """
    pairs = len(interactions.values)
    if not isinstance(folds, int | np.integer) or not 2 <= folds <= pairs:
        raise InputError(f"folds={folds!r}: must be a whole number from 2 to the number of ratings, {pairs:,}")
    user = np.repeat(np.arange(len(interactions)), np.diff(interactions.offsets))
    fold = np.random.default_rng(seed).permutation(np.arange(pairs) % folds)
    for index in range(folds):
        out = fold == index
        kept = np.bincount(user[~out], minlength=len(interactions))
        train = replace(
            interactions,
            offsets=np.concatenate([[0], np.cumsum(kept)]),
            values=interactions.values[~out],
            weights=interactions.weights[~out],
        )
        names = interactions.users[user[out]], interactions.items.decode(interactions.values[out])
        yield train, Ratings(*names, interactions.weights[out])
