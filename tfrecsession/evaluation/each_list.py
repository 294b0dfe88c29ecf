"""Metrics of every single list beside its accuracy: popularity, novelty, diversity, calibration to the session."""

from __future__ import annotations

import numpy as np

from tfrecsession.batches import Sessions
from tfrecsession.sessions.item_columns import kinds_of

NEWEST = 20  # events of a session that a list is calibrated to
SMOOTHING = 0.01  # share of the session's categories in those of the list, so that none is missing
BLOCK = 1 << 12  # lists compared at once


class EachList:
    """Values of every list, float64 [lists]; their means are metrics with intervals.

    Support is an item's number of events in train, at least 1. Items without a category share one.

    Args:
        sessions: the split.
        event: int64 [lists], the index of each target among its events.
        lists: int [lists, k], ids of items, best first, 0 where none is left.
    """

    def __init__(self, sessions: Sessions, event: np.ndarray, lists: np.ndarray):
        extra = max(int(lists.max(initial=0)) - 1 - len(sessions.items), 0)  # items that the model alone knows
        self.support = np.maximum(np.pad(np.concatenate([[0, 0], sessions.items.counts]), (0, extra)), 1)
        self.values, self.offsets, self.event, self.lists = sessions.values, sessions.offsets, event, lists
        self.first = self.offsets[np.searchsorted(self.offsets, event, side="right") - 1]
        self.events = max(int(sessions.items.counts.sum()), 1)
        self.codes = category_codes(sessions.items)
        if self.codes is not None:
            self.codes = np.pad(self.codes, (0, extra))

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the metrics, those of categories only where the items have some."""
        by_category = () if self.codes is None else ("diversity", "miscalibration")
        return ("popularity", "novelty", "popularity_lift", *by_category)

    def popularity(self, chunk: slice, k: int) -> np.ndarray:
        """Returns the mean support of each list, divided by the largest support."""
        return self._mean(self.support.astype(float), chunk, k) / self.support.max()

    def novelty(self, chunk: slice, k: int) -> np.ndarray:
        """Returns the mean of -log2(support / events of train) of each list, bits."""
        return self._mean(-np.log2(self.support / self.events), chunk, k)

    def popularity_lift(self, chunk: slice, k: int) -> np.ndarray:
        """Returns log2 of the mean support of each list over that of the session so far: 1 is twice as popular."""
        total = np.concatenate([[0], np.cumsum(self.support[self.values])])
        event, first = self.event[chunk], self.first[chunk]
        before = (total[event] - total[first]) / np.maximum(event - first, 1)
        listed = self._mean(self.support.astype(float), chunk, k)
        return np.where(listed > 0, np.log2(np.maximum(listed, 1) / np.maximum(before, 1)), 0.0)

    def diversity(self, chunk: slice, k: int) -> np.ndarray:
        """Returns the share of the pairs of a list whose categories differ; 0 for lists of fewer than two items."""
        lists = self.lists[chunk, :k]
        found = np.zeros(len(lists))
        for start in range(0, len(lists), BLOCK):
            block = lists[start : start + BLOCK]
            shown, code = block > 1, self.codes[block]
            is_pair = shown[:, :, None] & shown[:, None]
            same = (is_pair & (code[:, :, None] == code[:, None])).sum(axis=(1, 2)) - shown.sum(axis=1)
            pairs = is_pair.sum(axis=(1, 2)) - shown.sum(axis=1)
            found[start : start + BLOCK] = np.where(pairs > 0, 1 - same / np.maximum(pairs, 1), 0.0)
        return found

    def miscalibration(self, chunk: slice, k: int) -> np.ndarray:
        """Returns the divergence of a list's categories from those of the session so far (Steck, RecSys 2018), nats.

        sum_c p_c log(p_c / (0.99 q_c + 0.01 p_c)), p the shares of the newest 20 events, q those of the list. 0 is the
        same mix.
        """
        lists, event, first = self.lists[chunk, :k], self.event[chunk], self.first[chunk]
        found = np.zeros(len(lists))
        for start in range(0, len(lists), BLOCK):
            block = slice(start, start + BLOCK)
            index = event[block, None] - 1 - np.arange(NEWEST)  # (lists, events), newest first
            read = index >= first[block, None]
            code = self.codes[self.values[np.where(read, index, 0)]]
            count = read.sum(axis=1)
            same = (code[:, :, None] == code[:, None]) & read[:, None]
            share = same.sum(axis=2) / np.maximum(count, 1)[:, None]  # p of the category of each event
            shown = lists[block] > 1
            listed = (code[:, :, None] == self.codes[lists[block]][:, None]) & shown[:, None]
            of_list = listed.sum(axis=2) / np.maximum(shown.sum(axis=1), 1)[:, None]  # q of it
            smoothed = np.maximum((1 - SMOOTHING) * of_list + SMOOTHING * share, 1e-12)
            terms = np.where(read, np.log(np.maximum(share, 1e-12) / smoothed), 0.0)
            found[block] = terms.sum(axis=1) / np.maximum(count, 1)  # each event has the weight p of its category
        return found

    def _mean(self, of_item: np.ndarray, chunk: slice, k: int) -> np.ndarray:
        lists = self.lists[chunk, :k]
        shown = lists > 1
        return np.where(shown, of_item[lists], 0.0).sum(axis=1) / np.maximum(shown.sum(axis=1), 1)


def category_codes(items) -> np.ndarray | None:
    """Returns the category of every id, int64 [size], 0 where there is none; None: the items have no categories.

    Read from the content column `category`, or else the first one of this kind.
    """
    if items.content is None:
        return None
    kinds = kinds_of(items.content, items.tensors)
    names = sorted((name for name, kind in kinds.items() if kind == "category"), key=lambda name: name != "category")
    if not names:
        return None
    coded = items.content[names[0]].combine_chunks().dictionary_encode()
    codes = coded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64) + 1
    return np.concatenate([[0, 0], codes])


def coverage_interval(lists: np.ndarray, session: np.ndarray, items: int, k: int) -> list[float] | None:
    """Returns the 95% interval of coverage@k by the jackknife over sessions; None: there are fewer than two.

    A resample of sessions has fewer distinct items than the sessions themselves, so its percentiles would lie too low.

    Args:
        lists: int [events, k or more].
        session: int64 [events], the session of each event.
        items: the size of the catalogue.
        k: length of the lists.
    """
    sessions = len(np.unique(session))
    if sessions < 2:
        return None
    size = int(lists.max(initial=0)) + 1
    cells = np.unique(session[:, None].astype(np.int64) * size + lists[:, :k])
    cells = cells[cells % size > 1]
    item, times = np.unique(cells % size, return_counts=True)
    alone = np.isin(cells % size, item[times == 1])  # the items that one session alone was shown
    lost = np.unique(cells[alone] // size, return_counts=True)[1] / items  # coverage without each of these sessions
    total, squares = lost.sum(), (lost**2).sum()
    deviation = float(np.sqrt((sessions - 1) / sessions * max(squares - total**2 / sessions, 0)))
    coverage = len(item) / items
    return [max(coverage - 1.96 * deviation, 0.0), min(coverage + 1.96 * deviation, 1.0)]
