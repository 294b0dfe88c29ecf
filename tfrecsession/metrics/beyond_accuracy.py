"""Metrics of whole recommendation lists: hits in the rest of the session, and how they use the catalogue.

Lists are int [events, k] of item ids, best first, 0 where no item is left, as `trs.metrics.best_items` returns them.
"""

from __future__ import annotations

import numpy as np

BLOCK = 1 << 16  # events looked up at once


def hits_of_the_rest(lists: np.ndarray, values: np.ndarray, offsets: np.ndarray, event: np.ndarray):
    """Marks the listed items that occur in the rest of the session.

    The rest of a session is its events from the target to the end. Repeated items count once. All unknown items (1)
    count together as one item, which no list contains.

    Args:
        lists: int [events, k].
        values, offsets: the sessions.
        event: int64 [events], the index of each target in `values`.

    Returns:
        bool [events, k], the hits; int64 [events], how many items the rest has.
    """
    size = int(max(values.max(initial=0), lists.max(initial=0))) + 1
    lengths = np.diff(offsets)
    key = np.repeat(np.arange(len(lengths)), lengths) * size + values
    keys, from_the_end = np.unique(key[::-1], return_index=True)
    last = len(values) - 1 - from_the_end  # index of the last event of each item in each session
    # The rest has one item per event, from the target on, that is the last one of its item in the session.
    is_last = np.zeros(len(values) + 1, np.int64)
    is_last[last] = 1
    before = np.cumsum(is_last) - is_last
    session = np.searchsorted(offsets, event, side="right") - 1
    items = before[offsets[session + 1]] - before[event]

    hits = np.zeros(lists.shape, bool)
    for first in range(0, len(event), BLOCK):
        block = slice(first, first + BLOCK)
        listed = session[block, None] * size + lists[block]
        index = np.minimum(np.searchsorted(keys, listed), len(keys) - 1)
        hits[block] = (keys[index] == listed) & (last[index] >= event[block, None]) & (lists[block] > 1)
    return hits, items


def precision(hits: np.ndarray, k: int) -> np.ndarray:
    """Computes precision@k against the rest of the session: hits among the first k, divided by k. bool [n, k or more]
    -> float64 [n]. It stays below 1 where the rest has fewer than k items.

    Examples:
        >>> precision(np.array([[True, False, True, False]]), 4)
        array([0.5])
    """
    return hits[:, :k].sum(axis=1) / k


def average_precision(hits: np.ndarray, items: np.ndarray, k: int) -> np.ndarray:
    """Computes average precision@k against the rest of the session: float64 [n].

        AP@k = sum over the hits at ranks p <= k of precision@p, divided by min(k, items of the rest)

    It is 1 for a list that begins with the whole rest. With a single item in the rest it is the reciprocal rank.
    (rn5l/session-rec divides by k at every rank instead of p, and by the rest's events: not comparable. Its precision
    is the same.)

    Examples:
        >>> average_precision(np.array([[True, False, True, False]]), np.array([2]), 4).round(4)
        array([0.8333])
    """
    hits = hits[:, :k]
    precisions = np.cumsum(hits, axis=1) / np.arange(1, hits.shape[1] + 1)
    return (precisions * hits).sum(axis=1) / np.minimum(items, k)


def beyond_accuracy(lists: np.ndarray, counts: np.ndarray, k: int) -> dict[str, float]:
    """Computes how the first k items of all lists use the catalogue.

    - `coverage@k`: share of the catalogue that is in at least one list.
    - `popularity@k`: average recommendation popularity: mean, over all recommendations, of the item's support divided
      by the largest support.
    - `gini@k`: Gini coefficient of how often each item of the catalogue is recommended, including those never
      recommended: 0 if all are recommended equally often, near 1 if one item is recommended always.
    - `novelty@k`: mean, over all recommendations, of -log2 p(i), p(i) the item's share of the train events: bits of
      surprise (Zhou et al., PNAS 2010).

    The last three are omitted if no list contains an item.

    Args:
        lists: int [events, k or more].
        counts: int [items], support in train of the ids from 2 on.
        k: length of the lists to use.

    Examples:
        >>> values = beyond_accuracy(np.array([[2, 3], [2, 4]]), np.array([6, 2, 2, 2]), 2)
        >>> {name: round(value, 4) for name, value in values.items()}
        {'coverage@2': 0.75, 'popularity@2': 0.6667, 'gini@2': 0.375, 'novelty@2': 1.7925}
    """
    times = np.bincount(lists[:, :k].ravel(), minlength=len(counts) + 2)[2:].astype(np.float64)
    total = times.sum()
    values = {"coverage": float(np.count_nonzero(times) / len(counts))}
    if total:
        shown = times > 0
        weight = times[shown] / total
        support = np.maximum(counts[shown], 1)  # every item of the catalogue occurs at least once
        values["popularity"] = float((weight * support).sum() / counts.max())
        rank = np.arange(1, len(times) + 1)
        values["gini"] = float(((2 * rank - len(times) - 1) * np.sort(times)).sum() / (len(times) * total))
        values["novelty"] = float((weight * -np.log2(support / counts.sum())).sum())
    return {f"{name}@{k}": value for name, value in values.items()}
