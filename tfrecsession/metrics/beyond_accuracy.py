"""What whole lists are worth: to a session that goes on, and to a catalogue.

Lists are int [events, k] of item ids, best first, 0 where nothing is left; `trs.metrics.best_items` makes them.
"""

from __future__ import annotations

import numpy as np

BLOCK = 1 << 16  # events looked up at once


def hits_of_the_rest(lists: np.ndarray, values: np.ndarray, offsets: np.ndarray, event: np.ndarray):
    """Which listed items the session still comes to, now or later.

    The rest of a session is its events from the target to the end. An item counts once, however often it comes; all
    unknown items (1) count together as one, which no list holds.

    Args:
        lists: int [events, k].
        values, offsets: the sessions.
        event: int64 [events], the place of each target among `values`.

    Returns:
        bool [events, k], and int64 [events]: how many items the rest has.
    """
    size = int(max(values.max(initial=0), lists.max(initial=0))) + 1
    lengths = np.diff(offsets)
    key = np.repeat(np.arange(len(lengths)), lengths) * size + values
    keys, from_the_end = np.unique(key[::-1], return_index=True)
    last = len(values) - 1 - from_the_end  # where each item of each session comes for the last time
    # The items of the rest are the events from here on that are the last of their item in the session.
    is_last = np.zeros(len(values) + 1, np.int64)
    is_last[last] = 1
    before = np.cumsum(is_last) - is_last
    session = np.searchsorted(offsets, event, side="right") - 1
    items = before[offsets[session + 1]] - before[event]

    hits = np.zeros(lists.shape, bool)
    for first in range(0, len(event), BLOCK):
        some = slice(first, first + BLOCK)
        wanted = session[some, None] * size + lists[some]
        found = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        hits[some] = (keys[found] == wanted) & (last[found] >= event[some, None]) & (lists[some] > 1)
    return hits, items


def precision(hits: np.ndarray, k: int) -> np.ndarray:
    """Precision@k against the rest of the session: hits among the first k, divided by k. bool [n, k or more] ->
    float64 [n]. A rest of fewer items than k cannot reach 1.

    Examples:
        >>> precision(np.array([[True, False, True, False]]), 4)
        array([0.5])
    """
    return hits[:, :k].sum(axis=1) / k


def average_precision(hits: np.ndarray, items: np.ndarray, k: int) -> np.ndarray:
    """Average precision@k against the rest of the session: float64 [n].

        AP@k = sum over the hits at places p <= k of precision@p, divided by min(k, items of the rest)

    so that a list which begins with all of the rest has 1. With a single item in the rest it is the reciprocal rank.
    (rn5l/session-rec divides by k at every place instead of p, and by the rest's events: not comparable. Its precision
    is ours.)

    Examples:
        >>> average_precision(np.array([[True, False, True, False]]), np.array([2]), 4).round(4)
        array([0.8333])
    """
    here = hits[:, :k]
    precisions = np.cumsum(here, axis=1) / np.arange(1, here.shape[1] + 1)
    return (precisions * here).sum(axis=1) / np.minimum(items, k)


def beyond_accuracy(lists: np.ndarray, counts: np.ndarray, k: int) -> dict[str, float]:
    """What the first k places of all lists make of the catalogue.

    - `coverage@k`: share of the catalogue that is in any list.
    - `popularity@k`: average recommendation popularity: mean, over all recommendations, of the item's support divided
      by the largest support.
    - `gini@k`: Gini coefficient of how often each item of the catalogue is recommended, those never recommended
      included: 0 where all come equally often, near 1 where one item comes always.
    - `novelty@k`: mean, over all recommendations, of -log2 p(i), p(i) the item's share of the train events: bits of
      surprise (Zhou et al., PNAS 2010).

    The last three are left out where no list holds an item.

    Args:
        lists: int [events, k or more].
        counts: int [items], support in train of the ids from 2 on.
        k: how much of the lists to look at.

    Examples:
        >>> values = beyond_accuracy(np.array([[2, 3], [2, 4]]), np.array([6, 2, 2, 2]), 2)
        >>> {name: round(value, 4) for name, value in values.items()}
        {'coverage@2': 0.75, 'popularity@2': 0.6667, 'gini@2': 0.375, 'novelty@2': 1.7925}
    """
    times = np.bincount(lists[:, :k].ravel(), minlength=len(counts) + 2)[2:].astype(np.float64)
    all_of_them = times.sum()
    values = {"coverage": float(np.count_nonzero(times) / len(counts))}
    if all_of_them:
        shown = times > 0
        weight = times[shown] / all_of_them
        support = np.maximum(counts[shown], 1)  # an item of the catalogue has been seen at least once
        values["popularity"] = float((weight * support).sum() / counts.max())
        place = np.arange(1, len(times) + 1)
        values["gini"] = float(((2 * place - len(times) - 1) * np.sort(times)).sum() / (len(times) * all_of_them))
        values["novelty"] = float((weight * -np.log2(support / counts.sum())).sum())
    return {f"{name}@{k}": value for name, value in values.items()}
