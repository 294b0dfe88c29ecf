"""Histories against the index of past sessions, many at a time: compiled by Numba, a history per turn of the loop."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import get_num_threads, njit, prange


class Scheme(NamedTuple):
    """How neighbours are chosen and what their items are worth; see `NeighbourModel`."""

    recent: int
    neighbours: int
    similarity: int  # 0 cosine, 1 vec, 2 Jaccard: the places in NeighbourModel's SIMILARITIES
    step_weights: np.ndarray  # float64 [steps], of a neighbour by how long ago the newest shared item was
    place_decay: float  # per event between an item and the last shared one in the neighbour
    freshness: np.ndarray  # float32 [sessions]
    item_weights: np.ndarray  # float32 [size]


def rank(index, histories, starts, ends, past, targets, weights, scheme, size: int, best: int = 0):
    """Where each target stands among all items for its history, ties counted against it.

    Args:
        index: a SessionIndex.
        histories: int32, known item ids; history q is `histories[starts[q]:ends[q]]`, oldest first.
        past: int32 [queries], how many sessions of the index (the oldest) history q may see.
        targets: int32 [queries].
        weights: float64, of each event of each history, one history's after the other's.
        scheme: a Scheme.
        size: the number of item ids.
        best: how many items to list.

    Returns:
        int32 [queries] ranks, from 1; int32 [queries, best], the ids of the items with the highest scores.
    """
    ranks = np.empty(len(targets), np.int32)
    lists = np.zeros((len(targets), best), np.int32)
    of_weights = np.concatenate([[0], np.cumsum(ends - starts)])
    chunks = min(len(targets), 4 * get_num_threads())
    _rank(
        *index[1:],
        histories,
        starts,
        ends,
        past,
        targets,
        weights,
        of_weights,
        *scheme,
        size,
        chunks,
        ranks,
        lists,
    )
    return ranks, lists


@njit(parallel=True, cache=True)
def _rank(
    member_offsets, members, member_places, posting_offsets, postings, posting_places,
    histories, starts, ends, past, targets, weights, of_weights,
    recent, neighbours, similarity, step_weights, place_decay, freshness, item_weights,
    size, chunks, ranks, lists,
):  # fmt: skip
    queries = len(targets)
    for chunk in prange(chunks):
        scores = np.zeros(size)
        touched = np.empty(size, np.int32)
        is_touched = np.zeros(size, np.bool_)
        seen_by = np.full(size, -1)
        found = np.empty(recent, np.int32)
        similarities = np.empty(recent)
        steps = np.empty(recent, np.int32)
        anchors = np.empty(recent, np.int32)
        for query in range(queries * chunk // chunks, queries * (chunk + 1) // chunks):
            history = histories[starts[query] : ends[query]]
            weight = weights[of_weights[query] : of_weights[query + 1]]
            count = _candidates(
                query, history, weight, past[query], member_offsets, posting_offsets, postings, posting_places,
                similarity, freshness, seen_by, found, similarities, steps, anchors,
            )  # fmt: skip
            least, of_equals = _threshold(similarities[:count], neighbours)
            total = 0
            for n in range(count):  # newest first
                if similarities[n] < least:
                    continue
                if similarities[n] == least:
                    if not of_equals:
                        continue
                    of_equals -= 1
                worth = similarities[n] * step_weights[steps[n] - 1]
                for at in range(member_offsets[found[n]], member_offsets[found[n] + 1]):
                    item = members[at]
                    if not is_touched[item]:
                        is_touched[item] = True
                        touched[total] = item
                        total += 1
                    away = abs(member_places[at] - anchors[n])
                    scores[item] += worth * item_weights[item] * np.exp(-place_decay * away)
            for t in range(total):  # what differs by rounding alone is equal
                scores[touched[t]] = np.float32(scores[touched[t]])
            ranks[query] = _rank_among(scores, touched[:total], targets[query], size)
            _list(scores, touched[:total], lists[query])
            for t in range(total):
                scores[touched[t]] = 0.0
                is_touched[touched[t]] = False


@njit(cache=True)
def _candidates(
    query, history, weight, past, member_offsets, posting_offsets, postings, posting_places,
    similarity, freshness, seen_by, found, similarities, steps, anchors,
):  # fmt: skip
    """The newest sessions that share an item with the history, as many as `found` holds, and how similar they are.

    The sessions of every item of the history stand sorted by recency: taking the newest head again and again merges
    them, each session once.
    """
    length = len(history)
    first = np.empty(length, np.int64)  # of the postings of each distinct item, and the head that is next
    head = np.empty(length, np.int64)
    age = np.empty(length, np.int64)  # 0 for the newest event
    distinct = 0
    squares = 0.0
    for ago in range(length):
        item = history[length - 1 - ago]
        if seen_by[item] == query:  # it counts where it occurred last
            continue
        seen_by[item] = query
        low, high = posting_offsets[item], posting_offsets[item + 1]
        if high > low and postings[high - 1] >= past:
            high = low + np.searchsorted(postings[low:high], past)
        first[distinct], head[distinct], age[distinct] = low, high - 1, ago
        squares += weight[length - 1 - ago] ** 2
        distinct += 1

    for count in range(len(found)):
        session = -1
        for i in range(distinct):
            if head[i] >= first[i] and postings[head[i]] > session:
                session = postings[head[i]]
        if session < 0:
            return count
        together, shared, step, anchor = 0.0, 0, -1, 0
        for i in range(distinct):  # from the newest item on
            if head[i] >= first[i] and postings[head[i]] == session:
                together += weight[length - 1 - age[i]]
                shared += 1
                if step < 0:
                    step = age[i] + 1
                anchor = max(anchor, posting_places[head[i]])
                head[i] -= 1
        members = member_offsets[session + 1] - member_offsets[session]
        if similarity == 0:  # cosine
            near = together / np.sqrt(squares * members) if squares > 0 else 0.0
        elif similarity == 1:  # vec
            near = together / distinct
        else:  # Jaccard
            near = shared / (distinct + members - shared)
        similarities[count] = near * freshness[session]
        found[count], steps[count], anchors[count] = session, step, anchor
    return len(found)


@njit(cache=True)
def _threshold(similarities, neighbours):
    """The similarity of the last neighbour, and how many with just that similarity are neighbours."""
    if len(similarities) <= neighbours:
        return -1.0, 0
    least = np.partition(similarities, len(similarities) - neighbours)[len(similarities) - neighbours]
    return least, neighbours - np.sum(similarities > least)


@njit(cache=True)
def _rank_among(scores, touched, target, size):
    """Items that score no less than the target; those that no neighbour has score 0."""
    if target < 2:
        return size - 1
    own = scores[target]
    if own <= 0:
        return size - 2
    rank = 0
    for item in touched:
        rank += scores[item] >= own
    return rank


@njit(cache=True)
def _list(scores, touched, best):
    """The items of the highest scores, of equals the lower id, items that no neighbour has (0) last."""
    kept = 0
    for item in touched:
        score = scores[item]
        if score <= 0:
            continue
        if kept < len(best):
            kept += 1
        elif not kept or not _before(scores, item, best[kept - 1]):
            continue
        place = kept - 1
        while place > 0 and _before(scores, item, best[place - 1]):
            best[place] = best[place - 1]
            place -= 1
        best[place] = item
    for item in range(2, len(scores)):
        if kept == len(best):
            break
        if scores[item] <= 0:
            best[kept] = item
            kept += 1


@njit(cache=True)
def _before(scores, item, other):
    return scores[item] > scores[other] or (scores[item] == scores[other] and item < other)
