"""The items of the synthetic shop's sessions, sampled from the law in `tfrecsession.events.shop.shop`."""

from __future__ import annotations

import numpy as np

from tfrecsession.events.shop.catalogue import SUCCESSOR_WEIGHTS, SUCCESSORS, Day, stream
from tfrecsession.events.shop.context import BUYS, CART, LEAVES, PURCHASE, VIEW
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

    def items(self, generator, day: Day, user, lengths, offsets, rotation=None) -> tuple[np.ndarray, np.ndarray | None]:
        """Samples the items of all sessions, advanced together one position at a time.

        user, lengths, offsets: int64; the items of session s are in `offsets[s]:offsets[s] + lengths[s]`. rotation:
        int64, that of the successors, see `context.py`; None: without context.

        Returns int32 [events], the items, and in context int8 [events], the types of event.
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
        kinds = None
        if rotation is not None:
            rotation, kinds = rotation[longest_first], np.empty(len(items), np.int8)
            kind = kinds[offsets] = self._kinds(generator, len(lengths))
        for position in range(1, lengths.max()):
            active = remaining[position + 1]
            bounds = [(low[:active], width[:active]) for low, width in tastes]
            following = self._next(
                generator, day, current[:active], *bounds, rotation=None if rotation is None else rotation[:active]
            )
            if rotation is not None:
                following, kind = self._in_context(generator, day, current[:active], following, kind[:active])
                kinds[offsets[:active] + position] = kind
            current = items[offsets[:active] + position] = following
        return items, kinds

    def _kinds(self, generator, count: int) -> np.ndarray:
        """int8 [count]: types of events that are no purchases."""
        return np.where(generator.random(count) < self.shop.cart, CART, VIEW).astype(np.int8)

    def _in_context(self, generator, day: Day, current, following, kind) -> tuple[np.ndarray, np.ndarray]:
        """Returns the next items and types, where `following` is the next item unless the type of event changes it."""
        chance = generator.random(len(current))
        buys = (kind == CART) & (chance < BUYS)
        leaves = np.flatnonzero((kind == PURCHASE) & (chance < LEAVES))
        following = np.where(buys, current, following)
        everything = np.zeros(len(leaves)), np.full(len(leaves), day.weight)
        following[leaves] = _sample(day.cumulative, *everything, generator.random(len(leaves)))
        return following, np.where(buys, PURCHASE, self._kinds(generator, len(current))).astype(np.int8)

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

    def _next(self, generator, day: Day, current, session, user=None, rotation=None) -> np.ndarray:
        """Samples next items.

        session, user: bounds (low, width) on the scale of `day.cumulative` of the session's cluster and, if users are
        loyal, of the user's own cluster. rotation: of the successors, int64 [sessions] or None.
        """
        shop = self.shop
        chance = generator.random(len(current))
        follows = np.flatnonzero(chance < shop.follow)
        rotated = 0 if rotation is None else rotation[follows]
        led = self._successor(generator, day, current[follows], chance[follows] / shop.follow, rotated)
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

    def _successor(self, generator, day: Day, current, chance, rotation=0) -> np.ndarray:
        """Samples a successor alive on the day; `items` if there is none."""
        successors, birth = self.shop.successors, self.shop.birth
        weights = np.cumsum(SUCCESSOR_WEIGHTS)
        slot = np.minimum(np.searchsorted(weights, chance * weights[-1], side="right"), SUCCESSORS - 1)
        led = successors.ravel()[current.astype(np.int64) * SUCCESSORS + (slot + rotation) % SUCCESSORS]
        # Dead slots are sampled again among the living. In total this is the renormalised law, at a tenth of its cost.
        dead = np.flatnonzero(birth[led] > day.number)
        order = (np.arange(SUCCESSORS) + np.broadcast_to(rotation, current.shape)[dead, None]) % SUCCESSORS
        slots = np.take_along_axis(successors[current[dead]], order, axis=1)
        alive = np.cumsum(SUCCESSOR_WEIGHTS * (birth[slots] <= day.number), axis=1)
        point = generator.random(len(dead)) * alive[:, -1]
        slot = np.minimum((alive <= point[:, None]).sum(1), SUCCESSORS - 1)
        led[dead] = np.where(alive[:, -1] > 0, slots[np.arange(len(dead)), slot], self.shop.items)
        return led


def _sample(cumulative, low, width, chance) -> np.ndarray:
    """int32 [n]: indices sampled by weight from ranges of `cumulative`, a sum of whole numbers; all others [n]."""
    point = low + np.minimum(np.floor(chance * width), width - 1)
    return np.searchsorted(cumulative, point, side="right").astype(np.int32)
