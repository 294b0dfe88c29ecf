"""The items of the synthetic shop's sessions, sampled from the law in `tfrecsession.events.shop.shop`."""

from __future__ import annotations

import numpy as np

from tfrecsession.events.shop.catalogue import SUCCESSOR_WEIGHTS, SUCCESSORS, Day, stream
from tfrecsession.events.shop.law import Law, hashed_uniform


class Walks:
    """The sessions of `shop` as walks from item to item.

    In all methods `generator` gives the random numbers and `day` is the day the sessions began. Arrays are [sessions]
    unless stated otherwise; items and clusters are int32 indices.
    """

    def __init__(self, shop: Law):
        self.shop = shop
        self._cumulative = np.cumsum(shop.weight)  # float64 [items]: summed weight, ignoring births
        self._key = stream(shop.seed, 6).integers(0, 2**64, dtype=np.uint64)

    def items(self, generator, day: Day, user, lengths, offsets) -> np.ndarray:
        """int32 [events]: the items of all sessions, advanced together one position at a time.

        user, lengths, offsets: int64; the items of session s are in `offsets[s]:offsets[s] + lengths[s]`.
        """
        items = np.empty(lengths.sum(), np.int32)
        longest_first = np.argsort(-lengths, kind="stable")
        offsets = offsets[longest_first]
        remaining = np.bincount(lengths)[::-1].cumsum()[::-1]  # sessions of at least this length
        current = self._first(generator, day, self._home(user[longest_first]))
        taste = self.shop.cluster[current]
        tastes = [(day.cluster_low[taste], day.cluster_weight[taste])]
        if self.shop.loyal:
            own = self.shop.own_cluster(user[longest_first])
            alive = day.cluster_weight[own] > 0
            tastes.append(
                (np.where(alive, day.cluster_low[own], 0.0), np.where(alive, day.cluster_weight[own], day.weight))
            )
        items[offsets] = current
        for position in range(1, lengths.max()):
            active = remaining[position + 1]
            bounds = [(low[:active], width[:active]) for low, width in tastes]
            current = self._next(generator, day, current[:active], *bounds)
            items[offsets[:active] + position] = current
        return items

    def _home(self, user: np.ndarray) -> np.ndarray:
        """Returns the lasting taste of users: clusters by popularity, hashed, so that no table of users is held."""
        point = np.floor(hashed_uniform(user.astype(np.uint64) + self._key) * self._cumulative[-1])
        return self.shop.cluster[np.searchsorted(self._cumulative, point, side="right")]

    def _first(self, generator, day: Day, home: np.ndarray) -> np.ndarray:
        """Samples first items from the home cluster, else from the whole shop (a cluster by its popularity)."""
        settled = (generator.random(len(home)) < self.shop.home) & (day.cluster_weight[home] > 0)
        low = np.where(settled, day.cluster_low[home], 0.0)
        width = np.where(settled, day.cluster_weight[home], day.weight)
        return _sample(day.cumulative, low, width, generator.random(len(home)))

    def _next(self, generator, day: Day, current, session, user=None) -> np.ndarray:
        """Samples next items.

        session, user: bounds (low, width) on the scale of `day.cumulative` of the session's cluster and, if users are
        loyal, of the user's own cluster.
        """
        shop = self.shop
        chance = generator.random(len(current))
        follows = np.flatnonzero(chance < shop.follow)
        led = self._successor(generator, day, current[follows], chance[follows] / shop.follow)
        others = np.flatnonzero(chance >= shop.follow)
        chance[others] -= shop.follow
        rest = chance[others]
        loyal = (rest >= shop.taste) & (rest < shop.taste + shop.loyal)
        wide = (rest >= shop.taste) & ~loyal
        beyond = np.maximum(rest - shop.taste - shop.loyal, 0.0)  # rounding must not go below the first item alive
        chance[others] = np.where(wide, beyond / (shop.wide or 1.0), rest / (shop.taste or 1.0))
        chance[others[loyal]] = (rest[loyal] - shop.taste) / (shop.loyal or 1.0)
        stuck = follows[led == shop.items]
        chance[stuck] = generator.random(len(stuck))
        low, width = (bound.copy() for bound in session)
        low[others[wide]], width[others[wide]] = 0.0, day.weight
        if user is not None:
            low[others[loyal]], width[others[loyal]] = (bound[others[loyal]] for bound in user)
        others = np.r_[others, stuck]
        following = np.empty(len(current), np.int32)
        following[follows] = led
        following[others] = _sample(day.cumulative, low[others], width[others], chance[others])
        return following

    def _successor(self, generator, day: Day, current, chance) -> np.ndarray:
        """Samples a successor alive on the day; `items` if there is none."""
        successors, birth = self.shop.successors, self.shop.birth
        weights = np.cumsum(SUCCESSOR_WEIGHTS)
        slot = np.minimum(np.searchsorted(weights, chance * weights[-1], side="right"), SUCCESSORS - 1)
        led = successors.ravel()[current.astype(np.int64) * SUCCESSORS + slot]
        # Dead slots are sampled again among the living. In total this is the renormalised law, at a tenth of its cost.
        dead = np.flatnonzero(birth[led] > day.number)
        slots = successors[current[dead]]
        alive = np.cumsum(SUCCESSOR_WEIGHTS * (birth[slots] <= day.number), axis=1)
        point = generator.random(len(dead)) * alive[:, -1]
        slot = np.minimum((alive <= point[:, None]).sum(1), SUCCESSORS - 1)
        led[dead] = np.where(alive[:, -1] > 0, slots[np.arange(len(dead)), slot], self.shop.items)
        return led


def _sample(cumulative, low, width, chance) -> np.ndarray:
    """int32 [n]: indices sampled by weight from ranges of `cumulative`, a sum of whole numbers; all others [n]."""
    point = low + np.minimum(np.floor(chance * width), width - 1)
    return np.searchsorted(cumulative, point, side="right").astype(np.int32)
