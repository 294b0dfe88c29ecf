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


EVENTS = 1 << 20  # distinct items of histories held at once, 8 bytes for each of a few arrays


def rank(index, histories, begins, ends, past, targets, weigh, scheme, size: int, window=None, best: int = 0):
    """Ranks each target among all items by the scores of its history, ties counted against it.

    Args:
        index: a SessionIndex.
        histories: int32, known item ids; history q is `histories[begins[q]:ends[q]]`, oldest first. The histories of a
            session stand one after the other, so that each continues the one before.
        past: int32 [queries], how many sessions of the index, the oldest first, are visible to history q.
        targets: int32 [queries].
        weigh: the weights of events, from float64 arrays of their positions, from 1, and the lengths of their
            histories. It is called for the last event of each distinct item of a history.
        scheme: a Scheme.
        size: the number of item ids.
        window: how many of the newest events count; None: all.
        best: how many items to list.

    Returns:
        int32 [queries] ranks, from 1; int32 [queries, best], the ids of the items with the highest scores.
    """
    ranks = np.empty(len(targets), np.int32)
    lists = np.zeros((len(targets), best), np.int32)
    window = len(histories) + 1 if window is None else window
    ages, counts = np.empty(max(EVENTS, size), np.int32), np.empty(len(targets), np.int32)
    first = 0
    while first < len(targets):
        last = _distinct_items(histories, begins, ends, first, window, size, ages, counts)
        block = slice(first, last)
        lengths = np.minimum(ends[block] - begins[block], window)
        lengths = np.repeat(lengths, counts[block])  # (events,)
        found = ages[: len(lengths)]
        weights = np.asarray(weigh((lengths - found).astype(float), lengths.astype(float)), np.float64)
        splits = np.concatenate([[0], np.cumsum(counts[block])])
        chunks = min(last - first, 4 * get_num_threads())
        _rank(
            *index[1:],
            histories,
            ends[block],
            past[block],
            targets[block],
            found,
            weights,
            splits,
            *scheme,
            size,
            chunks,
            ranks[block],
            lists[block],
        )
        first = last
    return ranks, lists


@njit(cache=True)
def _distinct_items(histories, begins, ends, first, window, size, ages, counts):
    """Lists the distinct items of histories, of each its last event.

    It keeps the items of the session so far in the order of their last events, so the next history of the session costs
    its distinct items, not its events.

    Args:
        histories, begins, ends: see `rank`.
        first: the first history.
        window: how many of the newest events count.
        size: the number of item ids.
        ages: int32, filled in: the events since the last one of each item, 0 for the newest, one history after another.
        counts: int32 [queries], filled in: the distinct items of each history.

    Returns:
        The history that `ages` has no more room for; `len(ends)` after the last one.
    """
    newer, older = np.full(size, -1), np.full(size, -1)  # neighbours of an item in the order of last events
    last_event = np.full(size, -1)  # -1: not in the session so far
    newest, begin, upto, filled = -1, -1, 0, 0
    for query in range(first, len(ends)):
        if begins[query] != begin or ends[query] < upto:
            while newest >= 0:
                last_event[newest] = -1
                newest = older[newest]
            begin = begins[query]
            upto = max(begin, ends[query] - window)
        for event in range(upto, ends[query]):
            item = histories[event]
            if item != newest:
                if last_event[item] >= 0:  # taken out of its place
                    older[newer[item]] = older[item]
                    if older[item] >= 0:
                        newer[older[item]] = newer[item]
                older[item], newer[item] = newest, -1
                if newest >= 0:
                    newer[newest] = item
                newest = item
            last_event[item] = event
        upto = ends[query]
        item, count = newest, 0
        while item >= 0 and upto - last_event[item] <= window:
            if filled + count == len(ages):
                return query
            ages[filled + count] = upto - 1 - last_event[item]
            count += 1
            item = older[item]
        counts[query] = count
        filled += count
    return len(ends)


@njit(parallel=True, cache=True)
def _rank(
    member_offsets, members, member_places, posting_offsets, postings, posting_places, member_weights,
    histories, ends, past, targets, ages, weights, splits,
    recent, neighbours, similarity, step_weights, place_decay, freshness, item_weights,
    size, chunks, ranks, lists,
):  # fmt: skip
    queries, is_weighted = len(targets), len(member_weights) > 0
    for chunk in prange(chunks):
        scores = np.zeros(size)
        touched = np.empty(size, np.int32)
        is_touched = np.zeros(size, np.bool_)
        most = 0  # distinct items of a history
        for query in range(queries * chunk // chunks, queries * (chunk + 1) // chunks):
            most = max(most, splits[query + 1] - splits[query])
        first, head, heap = np.empty(most, np.int64), np.empty(most, np.int64), np.empty(most, np.int64)
        found = np.empty(recent, np.int32)
        similarities = np.empty(recent)
        steps = np.empty(recent, np.int32)
        anchors = np.empty(recent, np.int32)
        for query in range(queries * chunk // chunks, queries * (chunk + 1) // chunks):
            age, weight = ages[splits[query] : splits[query + 1]], weights[splits[query] : splits[query + 1]]
            count = _find_candidates(
                histories, ends[query], age, weight, past[query], member_offsets, posting_offsets, postings,
                posting_places, similarity, freshness, first, head, heap, found, similarities, steps, anchors,
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
                    weight_of_vote = member_weights[member] if is_weighted else 1.0
                    scores[item] += vote * item_weights[item] * weight_of_vote * np.exp(-place_decay * distance)
            for t in range(touched_count):  # in float32, scores that differ by rounding alone are equal
                scores[touched[t]] = np.float32(scores[touched[t]])
            ranks[query] = _rank_among(scores, touched[:touched_count], targets[query], size)
            _list_best(scores, touched[:touched_count], lists[query])
            for t in range(touched_count):
                scores[touched[t]] = 0.0
                is_touched[touched[t]] = False


@njit(cache=True)
def _find_candidates(
    histories, end, age, weight, past, member_offsets, posting_offsets, postings, posting_places,
    similarity, freshness, first, head, heap, found, similarities, steps, anchors,
):  # fmt: skip
    """Fills in the newest sessions that share an item with the history, at most len(found), and their similarities.

    The sessions of every item are sorted by recency. Repeatedly taking the newest head, off a heap, merges them, each
    session once. Returns the number of sessions found.

    Args (of those that `rank` does not have):
        age, weight: of the last event of each distinct item of the history, the newest first.
        first, head, heap: room for a number per distinct item: its first posting and its next one, and the heap.
    """
    distinct = len(age)
    squares, heaped = 0.0, 0
    for i in range(distinct):
        item = histories[end - 1 - age[i]]
        low, high = posting_offsets[item], posting_offsets[item + 1]
        if high > low and postings[high - 1] >= past:
            high = low + np.searchsorted(postings[low:high], past)
        first[i], head[i] = low, high - 1
        squares += weight[i] ** 2
        if high > low:
            heap[heaped] = i
            heaped += 1
    for root in range(heaped // 2 - 1, -1, -1):
        _sink(heap, heaped, root, head, postings)

    for count in range(len(found)):
        if not heaped:
            return count
        session = postings[head[heap[0]]]
        shared_weight, shared, step, anchor = 0.0, 0, -1, 0
        while heaped and postings[head[heap[0]]] == session:  # from the newest item on
            i = heap[0]
            shared_weight += weight[i]
            shared += 1
            if step < 0:
                step = age[i] + 1
            anchor = max(anchor, posting_places[head[i]])
            head[i] -= 1
            if head[i] < first[i]:
                heaped -= 1
                heap[0] = heap[heaped]
            _sink(heap, heaped, 0, head, postings)
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
def _sink(heap, heaped, root, head, postings):
    """Moves the item at `root` down the heap: the newest session is on top, of equal ones the newest item."""
    while 2 * root + 1 < heaped:
        child = 2 * root + 1
        if child + 1 < heaped and _is_newer(heap[child + 1], heap[child], head, postings):
            child += 1
        if not _is_newer(heap[child], heap[root], head, postings):
            return
        heap[root], heap[child] = heap[child], heap[root]
        root = child


@njit(cache=True)
def _is_newer(i, other, head, postings):
    """Returns whether item `i` of the history comes before `other` in the heap."""
    session, others = postings[head[i]], postings[head[other]]
    return session > others or (session == others and i < other)


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
