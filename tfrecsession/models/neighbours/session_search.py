"""A search of the session index for many histories at a time, compiled by Numba."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import get_num_threads, njit, prange


class Scheme(NamedTuple):
    """Settings of the search and the weights of votes; see `NeighbourModel`."""

    recent: int
    neighbours: int
    similarity: int  # 0 cosine, 1 vec, 2 Jaccard: indices into NeighbourModel's SIMILARITIES
    step_weights: np.ndarray  # float64 [steps], of a neighbour by the step of its newest shared item
    place_decay: float  # per event between an item and the last shared one in the neighbour
    freshness: np.ndarray  # float32 [sessions]
    item_weights: np.ndarray  # float32 [size]


def rank(index, histories, starts, ends, past, targets, weights, scheme, size: int, best: int = 0):
    """Ranks each target among all items by the scores of its history, ties counted against it.

    Args:
        index: a SessionIndex.
        histories: int32, known item ids; history q is `histories[starts[q]:ends[q]]`, oldest first.
        past: int32 [queries], how many sessions of the index, the oldest first, are visible to history q.
        targets: int32 [queries].
        weights: float64, of each event of each history, one history after the other.
        scheme: a Scheme.
        size: the number of item ids.
        best: how many items to list.

    Returns:
        int32 [queries] ranks, from 1; int32 [queries, best], the ids of the items with the highest scores.
    """
    ranks = np.empty(len(targets), np.int32)
    lists = np.zeros((len(targets), best), np.int32)
    weight_starts = np.concatenate([[0], np.cumsum(ends - starts)])
    chunks = min(len(targets), 4 * get_num_threads())
    _rank(
        *index[1:],
        histories,
        starts,
        ends,
        past,
        targets,
        weights,
        weight_starts,
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
    histories, starts, ends, past, targets, weights, weight_starts,
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
            weight = weights[weight_starts[query] : weight_starts[query + 1]]
            count = _find_candidates(
                query, history, weight, past[query], member_offsets, posting_offsets, postings, posting_places,
                similarity, freshness, seen_by, found, similarities, steps, anchors,
            )  # fmt: skip
            least, ties_left = _threshold(similarities[:count], neighbours)
            touched_count = 0
            for n in range(count):  # newest first
                if similarities[n] < least:
                    continue
                if similarities[n] == least:
                    if not ties_left:
                        continue
                    ties_left -= 1
                vote = similarities[n] * step_weights[steps[n] - 1]
                for member in range(member_offsets[found[n]], member_offsets[found[n] + 1]):
                    item = members[member]
                    if not is_touched[item]:
                        is_touched[item] = True
                        touched[touched_count] = item
                        touched_count += 1
                    distance = abs(member_places[member] - anchors[n])
                    scores[item] += vote * item_weights[item] * np.exp(-place_decay * distance)
            for t in range(touched_count):  # in float32, scores that differ by rounding alone are equal
                scores[touched[t]] = np.float32(scores[touched[t]])
            ranks[query] = _rank_among(scores, touched[:touched_count], targets[query], size)
            _list_best(scores, touched[:touched_count], lists[query])
            for t in range(touched_count):
                scores[touched[t]] = 0.0
                is_touched[touched[t]] = False


@njit(cache=True)
def _find_candidates(
    query, history, weight, past, member_offsets, posting_offsets, postings, posting_places,
    similarity, freshness, seen_by, found, similarities, steps, anchors,
):  # fmt: skip
    """Fills in the newest sessions that share an item with the history, at most len(found), and their similarities.

    The sessions of every item are sorted by recency. Repeatedly taking the newest head merges them, each session once.
    Returns the number of sessions found.
    """
    length = len(history)
    first = np.empty(length, np.int64)  # first posting and next head of each distinct item
    head = np.empty(length, np.int64)
    age = np.empty(length, np.int64)  # 0 for the newest event
    distinct = 0
    squares = 0.0
    for ago in range(length):
        item = history[length - 1 - ago]
        if seen_by[item] == query:  # an item counts at its last position
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
        shared_weight, shared, step, anchor = 0.0, 0, -1, 0
        for i in range(distinct):  # from the newest item on
            if head[i] >= first[i] and postings[head[i]] == session:
                shared_weight += weight[length - 1 - age[i]]
                shared += 1
                if step < 0:
                    step = age[i] + 1
                anchor = max(anchor, posting_places[head[i]])
                head[i] -= 1
        members = member_offsets[session + 1] - member_offsets[session]
        if similarity == 0:  # cosine
            similar = shared_weight / np.sqrt(squares * members) if squares > 0 else 0.0
        elif similarity == 1:  # vec
            similar = shared_weight / distinct
        else:  # Jaccard
            similar = shared / (distinct + members - shared)
        similarities[count] = similar * freshness[session]
        found[count], steps[count], anchors[count] = session, step, anchor
    return len(found)


@njit(cache=True)
def _threshold(similarities, neighbours):
    """Returns the lowest similarity of a neighbour, and how many sessions of exactly that similarity are neighbours."""
    if len(similarities) <= neighbours:
        return -1.0, 0
    least = np.partition(similarities, len(similarities) - neighbours)[len(similarities) - neighbours]
    return least, neighbours - np.sum(similarities > least)


@njit(cache=True)
def _rank_among(scores, touched, target, size):
    """Counts the items that score at least as high as the target; items without votes score 0."""
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
def _list_best(scores, touched, best):
    """Fills `best` with the highest scoring items; of equals the lower id first, items without votes (0) last."""
    kept = 0
    for item in touched:
        score = scores[item]
        if score <= 0:
            continue
        if kept < len(best):
            kept += 1
        elif not kept or not _before(scores, item, best[kept - 1]):
            continue
        index = kept - 1
        while index > 0 and _before(scores, item, best[index - 1]):
            best[index] = best[index - 1]
            index -= 1
        best[index] = item
    for item in range(2, len(scores)):
        if kept == len(best):
            break
        if scores[item] <= 0:
            best[kept] = item
            kept += 1


@njit(cache=True)
def _before(scores, item, other):
    """Returns whether `item` comes before `other` in a list."""
    return scores[item] > scores[other] or (scores[item] == scores[other] and item < other)
