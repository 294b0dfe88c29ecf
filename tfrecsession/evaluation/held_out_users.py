"""People that training has not seen: part of what they took is told, the rest is to be found ("strong generalization").

The protocol of Liang, Krishnan, Hoffman, Jebara, "Variational Autoencoders for Collaborative Filtering" (WWW 2018,
arXiv 1802.05814), on which iALS, EASE and Mult-VAE are compared. Its numbers are not those of next-event prediction: a
list of k items is held against a set of items, and the items that were told are left out of the list.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import numpy as np

from tfrecsession.batches import Interactions, Sessions
from tfrecsession.errors import InputError
from tfrecsession.evaluation.bootstrap import Group, averages
from tfrecsession.models import Recommender
from tfrecsession.sessions.store import SessionArrays
from tfrecsession.sessions.vocabulary import FIRST, Items

BLOCK = 512  # people asked about at once


@dataclass(frozen=True)
class HeldOutUsers:
    """A log split by people.

    Attributes:
        train: the sessions of all the others, with a vocabulary of their own, `train.items`.
        users: object array of str, the held-out people.
        histories: per person the names of items that are told, in the order of time, repeats and all.
        held: per person the int32 ids of the items to be found, distinct.
        dropped: held-out people of whom too little is known to be split.
    """

    train: Sessions
    users: np.ndarray
    histories: list[list[str]] = field(repr=False)
    held: list[np.ndarray] = field(repr=False)
    dropped: int = 0


@dataclass
class UserEvaluation:
    """Means over people: name ("recall@20", "ndcg@100") -> value, [low, high] (95%), and float64 [users] of each."""

    metrics: dict[str, float]
    intervals: dict[str, list[float] | None]
    users: int
    seconds: float
    of_each: dict[str, np.ndarray] = field(repr=False, default_factory=dict)


def hold_out_users(
    sessions: Sessions, users: int | float = 0.1, *, held: float = 0.2, seed: int = 0, people: str = "user"
) -> HeldOutUsers:
    """Split a log by people at random.

    A person's distinct items are dealt into those told and those to be found; the latter number `held` of them, rounded
    down, so that who has fewer than 1 / `held` is left out. Items that none of the others has are unknown and left out.

    Args:
        sessions: a split, with whole logs of people.
        users: how many people are held out, or which share of them.
        held: share of a person's items that is to be found.
        seed: of both draws.
        people: the column that names the people; without it a session is one, see `batches.Interactions`.

    Raises:
        InputError: an argument out of range, or nobody is left to train on or to be tested.
    """
    if not 0 < held < 1:
        raise InputError(f"held={held!r}: say a share of a person's items between 0 and 1")
    everybody = Interactions.of(sessions, people=people)
    number = int(users * len(everybody)) if isinstance(users, float) else users
    if not isinstance(number, int | np.integer) or not 0 < number < len(everybody):
        raise InputError(f"users={users!r}: say a share, or a number from 1 to {len(everybody) - 1:,}, of the people")
    random = np.random.default_rng(seed)
    out = np.zeros(len(everybody), bool)
    out[random.choice(len(everybody), number, replace=False)] = True
    owner = everybody.of_session
    train, known = _without(sessions, out[owner])

    event_owner = np.repeat(owner, np.diff(sessions.offsets))
    theirs = np.flatnonzero(out[event_owner])
    if "times" in sessions.arrays.columns:
        when = np.asarray(sessions.column("times"))[theirs].astype(np.int64)
        theirs = theirs[np.lexsort((when, event_owner[theirs]))]
    else:
        theirs = theirs[np.argsort(event_owner[theirs], kind="stable")]
    ids = known[sessions.values[theirs]]
    theirs, ids = theirs[ids >= FIRST], ids[ids >= FIRST]
    starts = np.searchsorted(event_owner[theirs], np.arange(len(everybody) + 1))
    chosen, histories, hidden = [], [], []
    for person in np.flatnonzero(out):
        mine = ids[starts[person] : starts[person + 1]]
        distinct = np.unique(mine)
        hide = random.permutation(distinct)[: int(len(distinct) * held + 1e-9)]
        if len(hide):
            chosen.append(person)
            histories.append(train.items.decode(mine[~np.isin(mine, hide)]).tolist())
            hidden.append(np.sort(hide))
    if not chosen:
        raise InputError(f"held={held!r}: none of {number:,} held-out people has {int(np.ceil(1 / held))} known items")
    return HeldOutUsers(train, everybody.users[chosen], histories, hidden, number - len(chosen))


def evaluate_users(
    model: Recommender, split: HeldOutUsers, *, recall=(20, 50), ndcg=(100,), draws: int = 1000, seed: int = 0
) -> UserEvaluation:
    """Recall and NDCG of a model's lists for held-out people, who are known by their histories alone.

        Recall@k = hits among the first k / min(k, held items)
        NDCG@k   = sum over hits at places p <= k of 1 / log2(p + 1), over the same sum were the first places all hits

    The list leaves out the items of the history; an item that a model does not score apart from others stands where
    its list has it.

    Args:
        model: any model that was fitted to `split.train`.
        split: of `hold_out_users`.
        recall, ndcg: lengths of list; cut to the size of the catalogue.
        draws, seed: of the bootstrap over people; 0: no intervals.

    Raises:
        InputError: the model was made for another vocabulary, or a length is not a whole number above 0.
    """
    model.check_vocabulary(split.train.items)
    for length in (*recall, *ndcg):
        if not isinstance(length, int | np.integer) or length < 1:
            raise InputError(f"k={length!r}: say whole numbers, at least 1")
    start = time.perf_counter()
    longest = min(max((*recall, *ndcg)), model.size - 2)
    order = np.argsort([len(history) for history in split.histories], kind="stable")  # like lengths pad little
    hits = np.zeros((len(order), longest), bool)
    for first in range(0, len(order), BLOCK):
        some = order[first : first + BLOCK]
        found = model.recommend([split.histories[user] for user in some], k=longest, exclude_seen=True)
        for user, names in zip(some, found.items, strict=True):
            hits[user] = np.isin(split.train.items.encode(names), split.held[user])
    of_each = scores_of(hits, np.array([len(items) for items in split.held]), recall, ndcg)
    seconds = time.perf_counter() - start
    return UserEvaluation(*means_of(of_each, draws, seed), len(order), seconds, of_each)


def means_of(of_each: dict[str, np.ndarray], draws: int = 1000, seed: int = 0):
    """The means of what each person scored, and their 95% intervals, bootstrapped over people.

    Args:
        of_each: name -> float64 [users], as of `scores_of`; or the differences of two models on the same people.
        draws, seed: of the bootstrap; 0: no intervals.

    Returns:
        name -> mean, and name -> [low, high], None where there is one person only.
    """
    values = np.stack(list(of_each.values()), axis=1)
    group = Group(np.zeros(len(values), np.int8), 1, list(range(values.shape[1])))
    (found,) = averages(np.arange(len(values)), lambda some: values[some], [group], draws, seed)
    bounds = zip(of_each, found.low[0].tolist(), found.high[0].tolist(), strict=True)
    intervals = {name: None if np.isnan(low) else [low, high] for name, low, high in bounds} if draws else {}
    return dict(zip(of_each, found.mean[0].tolist(), strict=True)), intervals


def scores_of(hits: np.ndarray, held: np.ndarray, recall=(20, 50), ndcg=(100,)) -> dict[str, np.ndarray]:
    """Which places of each list hit, and how many items were to be found -> what each person scored, float64 [users].

    Args:
        hits: bool [users, places].
        held: int [users], above 0.
        recall, ndcg: lengths of list.
    """
    discount = 1 / np.log2(np.arange(hits.shape[1]) + 2)
    ideal = np.concatenate([[0], np.cumsum(1 / np.log2(np.arange(max(held.max(), 1)) + 2))])
    found = {f"recall@{k}": hits[:, :k].sum(axis=1) / np.minimum(k, held) for k in recall}
    return found | {f"ndcg@{k}": (hits[:, :k] * discount[:k]).sum(axis=1) / ideal[np.minimum(k, held)] for k in ndcg}


def _without(sessions: Sessions, out: np.ndarray) -> tuple[Sessions, np.ndarray]:
    """The sessions that are not `out`, with the vocabulary that they would have; and the new id of every old one."""
    left = sessions.only(~out)
    counts = np.bincount(left.values, minlength=sessions.items.size)[FIRST:]
    order = np.argsort(-counts, kind="stable")
    order = order[counts[order] > 0]
    if not len(order):
        raise InputError("users: the people who are not held out have no item of the vocabulary; hold out fewer")
    new = np.full(sessions.items.size, 1, np.int32)
    new[0] = 0
    new[order + FIRST] = np.arange(len(order)) + FIRST
    content = sessions.items.content
    items = Items(sessions.items.ids[order], counts[order], content and content.take(order))
    columns = {name: left.column(name) for name in left.arrays.columns}
    arrays = SessionArrays(items, new[left.values], left.offsets, columns)
    return Sessions(arrays, "train", sessions.timed), new
