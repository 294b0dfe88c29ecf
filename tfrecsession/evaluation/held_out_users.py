"""Evaluation on held-out users: some of their items are given, the rest must be predicted ("strong generalization").

The protocol of Liang, Krishnan, Hoffman, Jebara, "Variational Autoencoders for Collaborative Filtering" (WWW 2018,
arXiv 1802.05814), used to compare iALS, EASE and Mult-VAE. Its scores are not comparable to those of next-event
prediction: a list of k items is compared with a set of items, and the given items are excluded from the list.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import numpy as np

from tfrecsession.batches import Interactions, Sessions
from tfrecsession.errors import InputError
from tfrecsession.evaluation.bootstrap import Group, averages
from tfrecsession.models import Recommender
from tfrecsession.recommender.keras_contract import check_model
from tfrecsession.sessions.store import SessionArrays
from tfrecsession.sessions.vocabulary import FIRST, Items

BLOCK = 512  # users per call of `recommend`


@dataclass(frozen=True)
class HeldOutUsers:
    """A log split by users.

    Attributes:
        train: the sessions of the training users, with their own vocabulary, `train.items`.
        users: object array of str, the held-out users.
        histories: per user the names of the given items, ordered by time, with repeats.
        held: per user the int32 ids of the target items, distinct.
        dropped: number of held-out users with too few items to be split.
    """

    train: Sessions
    users: np.ndarray
    histories: list[list[str]] = field(repr=False)
    held: list[np.ndarray] = field(repr=False)
    dropped: int = 0

    def __repr__(self) -> str:
        return f"<HeldOutUsers: {len(self.users):,} users held out, {self.dropped:,} dropped; {self.train!r}>"


@dataclass
class UserEvaluation:
    """Scores of a model on held-out users.

    metrics: name ("recall@20", "ndcg@100") -> mean over users. intervals: name -> [low, high] (95%), or None.
    of_each: name -> float64 [users].
    """

    metrics: dict[str, float]
    intervals: dict[str, list[float] | None]
    users: int
    seconds: float
    of_each: dict[str, np.ndarray] = field(repr=False, default_factory=dict)


def hold_out_users(
    sessions: Sessions, users: int | float = 0.1, *, held: float = 0.2, seed: int = 0, people: str = "user"
) -> HeldOutUsers:
    """Splits a log by users at random.

    A user's distinct items are divided into given items and targets. The share of targets is `held`, rounded down;
    users with fewer than 1 / `held` items are dropped. Items unknown to the training users are left out.

    Args:
        sessions: a split with the whole logs of its users.
        users: number of held-out users (int), or their share of all users (float).
        held: share of a user's items that become targets.
        seed: seed of both random choices.
        people: the column with the user ids; without it each session is a user, see `batches.Interactions`.

    Raises:
        InputError: an argument is out of range, or there are no users left to train on or to test.
    """
    if not 0 < held < 1:
        raise InputError(f"held={held!r}: must be a share of a user's items between 0 and 1")
    interactions = Interactions.of(sessions, people=people)
    total = len(interactions)
    count = int(users * total) if isinstance(users, float) else users
    if not isinstance(count, int | np.integer) or not 0 < count < total:
        raise InputError(f"users={users!r}: must be a share of the users, or a number from 1 to {total - 1:,}")
    random = np.random.default_rng(seed)
    held_out = np.zeros(total, bool)
    held_out[random.choice(total, count, replace=False)] = True
    session_user = interactions.of_session
    train, new_id = _without(sessions, held_out[session_user])

    event_user = np.repeat(session_user, np.diff(sessions.offsets))
    events = np.flatnonzero(held_out[event_user])
    if "times" in sessions.arrays.columns:
        times = np.asarray(sessions.column("times"))[events].astype(np.int64)
        events = events[np.lexsort((times, event_user[events]))]
    else:
        events = events[np.argsort(event_user[events], kind="stable")]
    ids = new_id[sessions.values[events]]
    events, ids = events[ids >= FIRST], ids[ids >= FIRST]
    starts = np.searchsorted(event_user[events], np.arange(total + 1))
    chosen, histories, targets = [], [], []
    for user in np.flatnonzero(held_out):
        user_items = ids[starts[user] : starts[user + 1]]
        distinct = np.unique(user_items)
        hidden = random.permutation(distinct)[: int(len(distinct) * held + 1e-9)]
        if len(hidden):
            chosen.append(user)
            histories.append(train.items.decode(user_items[~np.isin(user_items, hidden)]).tolist())
            targets.append(np.sort(hidden))
    if not chosen:
        raise InputError(f"held={held!r}: none of {count:,} held-out users has {int(np.ceil(1 / held))} known items")
    return HeldOutUsers(train, interactions.users[chosen], histories, targets, count - len(chosen))


def evaluate_users(
    model: Recommender, split: HeldOutUsers, *, recall=(20, 50), ndcg=(100,), draws: int = 1000, seed: int = 0
) -> UserEvaluation:
    """Computes Recall and NDCG of a model's lists for held-out users, who are known by their histories alone.

        Recall@k = hits among the first k / min(k, held items)
        NDCG@k   = sum over hits at ranks r <= k of 1 / log2(r + 1), divided by the same sum of an ideal list

    The list excludes the items of the history. Ties are in the order of the model's list.

    Args:
        model: any model that was fitted to `split.train`.
        split: the result of `hold_out_users`.
        recall, ndcg: list lengths; cut to the size of the catalogue.
        draws, seed: number and seed of the bootstrap draws over users; 0 draws: no intervals.

    Raises:
        InputError: an argument of another kind, a model made for another vocabulary, or a length is not a whole number
            above 0.
    """
    check_model(model)
    if not isinstance(split, HeldOutUsers):
        raise InputError(f"split: must be the result of hold_out_users, not {type(split).__name__}")
    model.check_vocabulary(split.train.items)
    for length in (*recall, *ndcg):
        if not isinstance(length, int | np.integer) or length < 1:
            raise InputError(f"k={length!r}: must be a whole number, at least 1")
    start = time.perf_counter()
    longest = min(max((*recall, *ndcg)), model.size - 2)
    order = np.argsort([len(history) for history in split.histories], kind="stable")  # less padding
    hits = np.zeros((len(order), longest), bool)
    for first in range(0, len(order), BLOCK):
        block = order[first : first + BLOCK]
        found = model.recommend([split.histories[user] for user in block], k=longest, exclude_seen=True)
        for user, names in zip(block, found.items, strict=True):
            hits[user] = np.isin(split.train.items.encode(names), split.held[user])
    of_each = scores_of(hits, np.array([len(items) for items in split.held]), recall, ndcg)
    seconds = time.perf_counter() - start
    return UserEvaluation(*means_of(of_each, draws, seed), len(order), seconds, of_each)


def means_of(of_each: dict[str, np.ndarray], draws: int = 1000, seed: int = 0):
    """Returns means over users, and their 95% intervals from a bootstrap over users.

    Args:
        of_each: name -> float64 [users], as `scores_of` returns it; or the differences of two models on the same users.
        draws, seed: number and seed of the bootstrap draws; 0 draws: no intervals.

    Returns:
        name -> mean, and name -> [low, high], None if there is only one user.
    """
    values = np.stack(list(of_each.values()), axis=1)
    group = Group(np.zeros(len(values), np.int8), 1, list(range(values.shape[1])))
    (found,) = averages(np.arange(len(values)), lambda chunk: values[chunk], [group], draws, seed)
    bounds = zip(of_each, found.low[0].tolist(), found.high[0].tolist(), strict=True)
    intervals = {name: None if np.isnan(low) else [low, high] for name, low, high in bounds} if draws else {}
    return dict(zip(of_each, found.mean[0].tolist(), strict=True)), intervals


def scores_of(hits: np.ndarray, held: np.ndarray, recall=(20, 50), ndcg=(100,)) -> dict[str, np.ndarray]:
    """Returns each user's scores, name -> float64 [users].

    Args:
        hits: bool [users, ranks], whether the item at each rank is a target.
        held: int [users], the number of targets, above 0.
        recall, ndcg: list lengths.
    """
    discount = 1 / np.log2(np.arange(hits.shape[1]) + 2)
    ideal = np.concatenate([[0], np.cumsum(1 / np.log2(np.arange(max(held.max(), 1)) + 2))])
    found = {f"recall@{k}": hits[:, :k].sum(axis=1) / np.minimum(k, held) for k in recall}
    return found | {f"ndcg@{k}": (hits[:, :k] * discount[:k]).sum(axis=1) / ideal[np.minimum(k, held)] for k in ndcg}


def _without(sessions: Sessions, out: np.ndarray) -> tuple[Sessions, np.ndarray]:
    """Returns the sessions that are not `out`, with a vocabulary of their own, and the new id of every old id."""
    kept = sessions.only(~out)
    counts = np.bincount(kept.values, minlength=sessions.items.size)[FIRST:]
    order = np.argsort(-counts, kind="stable")
    order = order[counts[order] > 0]
    if not len(order):
        raise InputError("users: must be fewer; the users that are not held out have no known items")
    new = np.full(sessions.items.size, 1, np.int32)
    new[0] = 0
    new[order + FIRST] = np.arange(len(order)) + FIRST
    content = sessions.items.content
    tensors = {name: tensor.take(order) for name, tensor in sessions.items.tensors.items()}
    items = Items(sessions.items.ids[order], counts[order], content and content.take(order), tensors)
    columns = {name: kept.column(name) for name in kept.arrays.columns}
    arrays = SessionArrays(items, new[kept.values], kept.offsets, columns)
    return Sessions(arrays, "train", sessions.timed), new
