"""The best attainable score on the synthetic shop: exact ranks under the law that generated the log.

Given the session's first item (it fixes the cluster c), the current item i, the day d the session began and, if users
are loyal, the user (whose own cluster is u), item j comes next with

    p(j) = rate(j) * weight(j) + led(j)

where rate is `inside` for the items of c, `loyal` for those of u and `outside` for all others. led is nonzero only for
the at most 8 successors of i that are alive on d. In a shop with context (`context.py`) rate and led also depend on the
state, and i itself may be purchased next, which counts as led; for a belief over states they are means. No ranking from
the same history has a higher expected Recall@k than the ranking by p.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from tfrecsession.errors import InputError
from tfrecsession.events.shop.catalogue import SUCCESSOR_WEIGHTS, Day
from tfrecsession.events.shop.context import BUYING, LEAVING, ROTATED, check_states
from tfrecsession.events.shop.law import Law

BLOCK = 1 << 14  # events processed at a time


class _KnownItems(NamedTuple):
    """Known items alive on one day, most popular first: by cluster, and in the whole shop."""

    by_cluster: np.ndarray  # int64 [alive]: indices, clusters in order
    bounds: np.ndarray  # int64 [clusters + 1] into by_cluster
    by_weight: np.ndarray  # int64 [alive]
    cluster_mass: np.ndarray  # float64 [clusters]: summed weight
    mass: float

    def span(self, cluster: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns the ranges of clusters in `by_cluster`, empty for cluster -1."""
        exists = cluster >= 0
        return np.where(exists, self.bounds[cluster], 0), np.where(exists, self.bounds[cluster + 1], 0)


class _BlockLaw(NamedTuple):
    """p(next) of a block of events, as in the module's equation."""

    cluster: np.ndarray  # int32 [events]
    inside: np.ndarray  # float64 [events]
    outside: np.ndarray  # float64 [events]
    own: np.ndarray  # int64 [events]: the user's cluster; -1: none, or the same cluster
    loyal: np.ndarray  # float64 [events]
    successors: np.ndarray  # int [events, 8], in context [events, 9] with the current item
    led: np.ndarray  # float64, of the same shape: 0 for a successor that is not alive or not known

    def rate(self, cluster: np.ndarray) -> np.ndarray:
        """Returns the rate of items of these clusters, [events] or [events, n]."""
        shape = (-1,) + (1,) * (cluster.ndim - 1)
        taste, inside, outside = (array.reshape(shape) for array in (self.cluster, self.inside, self.outside))
        own, loyal = self.own.reshape(shape), self.loyal.reshape(shape)
        return np.where(cluster == taste, inside, np.where(cluster == own, loyal, outside))


class Oracle:
    """A ranking by the true next-item probabilities of `shop`.

    Args:
        shop: the shop.
        known: bool [items], the items that a model can recommend (its vocabulary); None: all. Others have no rank.

    In all methods `first` and `current` are int [events] item indices (`shop.index(names)`) of the session's first
    event and of the event before the target, as in the log (unknown items included). `day` is the day the session
    began (`shop.day(time of the first event)`). `user` is int [events], the user's number in the log, required if
    users are loyal. `belief` is what is known of the state of the event before the target, required in a shop with
    context: int [events] states (`context.states_of`), or float64 [events, states] beliefs (`context.Beliefs`). All
    raise an InputError for a first item that was not yet sold, or if `user` or `belief` is missing.
    """

    def __init__(self, shop: Law, known: np.ndarray | None = None):
        self.shop = shop
        self.known = np.ones(shop.items, bool) if known is None else np.asarray(known)
        if self.known.shape != (shop.items,) or self.known.dtype != bool:
            raise InputError(f"known: must be {shop.items} booleans, one for each item of the shop")
        self._by_weight = np.argsort(-shop.weight, kind="stable")
        self._by_cluster = self._by_weight[np.argsort(shop.cluster[self._by_weight], kind="stable")]

    def ranks(self, first, current, day, target, k: int = 20, user=None, belief=None) -> np.ndarray:
        """int64 [events]: how many known items are at least as probable as the target, itself included.

        Ranks over k, and those of targets that are not known or not yet sold, are k + 1.
        """
        target = np.asarray(target, np.int64)
        ranks = np.empty(len(target), np.int64)
        for rows, known_items, law in self._blocks(first, current, day, user, belief):
            ranks[rows] = self._exact_ranks(known_items, law, target[rows])
        possible = self.known[target] & (self.shop.birth[target] <= np.asarray(day))
        return np.where(possible, np.minimum(ranks, k + 1), k + 1)

    def _exact_ranks(self, known_items: _KnownItems, law: _BlockLaw, target: np.ndarray) -> np.ndarray:
        """Ranks over the whole shop, without scoring it.

        First counts the items whose rate * weight alone reaches p(target). Within a cluster or the whole shop sorted by
        weight they are a prefix, because a rounded product rises with its factor. Then adds the successors that only
        `led` lifts to p(target). Equal probabilities come from the same expression, so ties stay ties.
        """
        weight, cluster = self.shop.weight, self.shop.cluster
        led = (law.led * (law.successors == target[:, None])).sum(1)
        bar = law.rate(cluster[target]) * weight[target] + led
        in_cluster, in_shop = weight[known_items.by_cluster], weight[known_items.by_weight]
        start = np.zeros(len(target), np.int64)
        inside, outside = 0, _prefix(in_shop, start, start + len(in_shop), law.outside, bar)
        for favoured, rate in ((law.cluster, law.inside), (law.own, law.loyal)):
            span = known_items.span(favoured)
            inside = inside + _prefix(in_cluster, *span, rate, bar)
            outside = outside - _prefix(in_cluster, *span, law.outside, bar)
        alone = self._alone(law)
        lifted = (law.led > 0) & (alone + law.led >= bar[:, None]) & (alone < bar[:, None])
        return inside + outside + lifted.sum(1)

    def top_mass(self, first, current, day, k: int = 20, user=None, belief=None) -> np.ndarray:
        """float64 [events]: the best expected Recall@k, given that the target is known.

        The k largest p(next) of known items over the sum of all. They are among the successors, the k most popular
        of the clusters and the k most popular of the shop: any other item has k that are at least as probable.
        """
        best = np.empty(len(np.asarray(first)))
        for rows, known_items, law in self._blocks(first, current, day, user, belief):
            far = np.broadcast_to(known_items.by_weight[:k], (len(rows), len(known_items.by_weight[:k])))
            elsewhere = self.shop.cluster[far]
            items, valid = [far], [(elsewhere != law.cluster[:, None]) & (elsewhere != law.own[:, None])]
            for cluster in (law.cluster, law.own):
                low, high = known_items.span(cluster)
                index = low[:, None] + np.arange(k)  # (events, k)
                valid.append(index < high[:, None])
                items.append(known_items.by_cluster[np.where(valid[-1], index, 0)])
            items, valid = np.concatenate(items, axis=1), np.concatenate(valid, axis=1)
            for successor, led in zip(law.successors.T, law.led.T, strict=True):
                valid &= (items != successor[:, None]) | (led[:, None] == 0)
            listed = valid * law.rate(self.shop.cluster[items]) * self.shop.weight[items]
            led = np.where(law.led > 0, self._alone(law) + law.led, 0.0)
            chances = np.concatenate([listed, led], axis=1)
            count = min(k, chances.shape[1])
            top = np.partition(chances, -count, axis=1)[:, -count:].sum(1)
            best[rows] = top / self._mass(known_items, law)
        return best

    def probabilities(self, first, current, day, user=None, belief=None) -> np.ndarray:
        """float64 [events, items]: p(next) of every item, given that it is known. For small shops."""
        table = np.zeros((len(np.asarray(first)), self.shop.items))
        for rows, known_items, law in self._blocks(first, current, day, user, belief):
            alive = known_items.by_weight
            rate = law.rate(np.tile(self.shop.cluster[alive], (len(rows), 1)))
            table[rows[:, None], alive] = rate * self.shop.weight[alive]
            event, slot = np.nonzero(law.led)
            table[rows[event], law.successors[event, slot]] += law.led[event, slot]
            table[rows] /= self._mass(known_items, law)[:, None]
        return table

    def _alone(self, law: _BlockLaw) -> np.ndarray:
        """[events, 8]: rate * weight of each successor, its probability without `led`."""
        items = np.minimum(law.successors, self.shop.items - 1)  # an empty slot has led = 0
        return law.rate(self.shop.cluster[items]) * self.shop.weight[items]

    def _mass(self, known_items: _KnownItems, law: _BlockLaw) -> np.ndarray:
        """[events]: the probability that the next item is a known one."""
        near = known_items.cluster_mass[law.cluster]
        own = np.where(law.own < 0, 0.0, known_items.cluster_mass[law.own])
        return law.led.sum(1) + law.inside * near + law.loyal * own + law.outside * (known_items.mass - near - own)

    def _blocks(self, first, current, day, user, belief) -> Iterator[tuple[np.ndarray, _KnownItems, _BlockLaw]]:
        """Yields row numbers, known items and law of the events, day by day."""
        first, current, day = (np.asarray(values, np.int64) for values in (first, current, day))
        if (self.shop.birth[first] > day).any():
            name = self.shop.names[int(first[np.argmax(self.shop.birth[first] > day)])]
            raise InputError(f"{name}: must not be a first item before it is sold; is `day` the day the session began?")
        if self.shop.loyal and user is None:
            raise InputError(f"user=None: must be int [events], because the users of {self.shop.spec} are loyal")
        own = self.shop.own_cluster(user) if self.shop.loyal else np.full(len(first), -1)
        if self.shop.context:
            belief = check_states(self.shop, belief, len(first))
        for number in np.unique(day):
            known_items = self._known_items(number)
            popularity = self.shop.popularity(number)
            rows = np.flatnonzero(day == number)
            for block in np.split(rows, range(BLOCK, len(rows), BLOCK)):
                law = self._law(popularity, first[block], current[block], own[block])
                if self.shop.context:
                    law = self._law_in_context(popularity, law, current[block], belief[block])
                yield block, known_items, law

    def _known_items(self, day: int) -> _KnownItems:
        """Returns the known items that are sold on a day."""
        sold = self.known & (self.shop.birth[:-1] <= day)
        by_cluster, by_weight = (order[sold[order]] for order in (self._by_cluster, self._by_weight))
        clusters = len(self.shop.cluster_start) - 1
        bounds = np.searchsorted(self.shop.cluster[by_cluster], np.arange(clusters + 1))
        mass = np.r_[0.0, np.cumsum(self.shop.weight[by_cluster])]
        return _KnownItems(by_cluster, bounds, by_weight, np.diff(mass[bounds]), mass[-1])

    def _law(self, popularity: Day, first: np.ndarray, current: np.ndarray, own: np.ndarray) -> _BlockLaw:
        """Returns the law of events on the day of `popularity`; first, current, own: int64 [events]."""
        shop = self.shop
        cluster, successors = shop.cluster[first], shop.successors[current]
        share = SUCCESSOR_WEIGHTS * (shop.birth[successors] <= popularity.number)
        total = share.sum(1)
        led = shop.follow * share / np.where(total > 0, total, 1.0)[:, None]
        led *= np.append(self.known, False)[successors]
        has_own = (own >= 0) & (popularity.cluster_weight[own] > 0)
        outside = (shop.wide + np.where(has_own, 0.0, shop.loyal)) / popularity.weight
        stays = shop.taste + np.where(total > 0, 0.0, shop.follow)
        stays = stays + np.where(has_own & (own == cluster), shop.loyal, 0.0)
        inside = stays / popularity.cluster_weight[cluster] + outside
        own = np.where(has_own & (own != cluster), own, -1)
        loyal = shop.loyal / np.where(own < 0, 1.0, popularity.cluster_weight[own]) + outside
        return _BlockLaw(cluster, inside, outside, own, loyal, successors, led)

    def _law_in_context(self, popularity: Day, law: _BlockLaw, current: np.ndarray, belief: np.ndarray) -> _BlockLaw:
        """Returns the law of events in context: current int64 [events], belief float64 [events, states]."""
        shop = self.shop
        buys, leaves = belief @ BUYING, belief @ LEAVING  # float64 [events]
        usual, away = 1 - buys - leaves, leaves / popularity.weight
        alive = shop.birth[law.successors] <= popularity.number  # (events, 8)
        total = alive @ ROTATED.T  # (events, states)
        scaled = belief * (1 - BUYING - LEAVING) / np.where(total > 0, total, 1.0)  # (events, states)
        led = shop.follow * alive * (scaled @ ROTATED)  # (events, 8)
        successors = np.column_stack([law.successors, current])  # (events, 9)
        led = np.column_stack([led, buys]) * np.append(self.known, False)[successors]
        inside, outside, loyal = (usual * rate + away for rate in (law.inside, law.outside, law.loyal))
        return _BlockLaw(law.cluster, inside, outside, law.own, loyal, successors, led)


def _prefix(weight, low, high, rate, bar) -> np.ndarray:
    """int64 [events]: how many of weight[low:high], which falls, have rate * weight >= bar. By bisection."""
    start = low
    while (searching := low < high).any():
        middle = np.where(searching, (low + high) // 2, 0)
        reaches = rate * weight[middle] >= bar
        low = np.where(searching & reaches, middle + 1, low)
        high = np.where(searching & ~reaches, middle, high)
    return low - start
