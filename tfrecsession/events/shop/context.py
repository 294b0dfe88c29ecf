"""The context law of the synthetic shop: how part of the day, device and event type change what comes next.

A state is `(part of the day * 2 + device) * 3 + event type`. Part of the day (0 to 3, six hours each, UTC, when the
session starts) and device stay the same in a session. From a state,

    with probability BUYS after a cart           the same item is purchased
    with probability LEAVES after a purchase     any item alive comes next, by popularity
    otherwise                                    an item by the law of `shop.py`, whose successors are rotated

The type of an event that is no such purchase is "cart" with probability `cart`, else "view". The rotation is
`part * 2 + device`: the successor of slot s is followed as often as that of slot s - rotation, modulo 8, in a shop
without context.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

from tfrecsession.errors import InputError
from tfrecsession.events.shop.catalogue import SUCCESSOR_WEIGHTS, Day
from tfrecsession.events.shop.law import Law

DEVICES = ("desktop", "phone")
VIEW, CART, PURCHASE = range(3)
PARTS = 4  # of the day
STATES = PARTS * len(DEVICES) * 3
BUYS, LEAVES = 0.6, 0.8
# Visits by hour of the day, UTC: a quiet night, a lunch bump, a busy evening.
HOURLY = [3, 2, 1, 1, 1, 2, 4, 6, 8, 9, 10, 11, 12, 11, 10, 10, 11, 12, 14, 16, 17, 15, 10, 6]

TYPE = np.arange(STATES) % 3  # of each state
BUYING = np.where(TYPE == CART, BUYS, 0.0)  # float64 [states]: probability that the item is purchased next
LEAVING = np.where(TYPE == PURCHASE, LEAVES, 0.0)  # float64 [states]: that any item comes next
ROTATED = np.stack([np.roll(SUCCESSOR_WEIGHTS, state // 3) for state in range(STATES)])  # float64 [states, 8]


def states_of(hour, device, kind) -> np.ndarray:
    """Returns the states of events: hour of the session's start, number of the device, number of the event type."""
    return (np.asarray(hour) // (24 // PARTS) * len(DEVICES) + np.asarray(device)) * 3 + np.asarray(kind)


class Beliefs:
    """The probabilities of a session's states given its items: the exact filter, for a ranking that cannot see context.

    Args:
        shop: the shop, with `context=True`.
    """

    def __init__(self, shop: Law):
        self.shop = shop

    @cached_property
    def prior(self) -> np.ndarray:
        """float64 [states]: the probabilities before the first item."""
        parts = np.reshape(HOURLY, (PARTS, -1)).sum(1) / np.sum(HOURLY)
        first = [1 - self.shop.cart, self.shop.cart, 0.0]
        return np.einsum("p,d,k->pdk", parts, np.full(len(DEVICES), 0.5), first).ravel()

    @cached_property
    def _kinds(self) -> np.ndarray:
        """float64 [3]: probabilities of the next type, unless the item is purchased."""
        return np.array([1 - self.shop.cart, self.shop.cart, 0.0])

    def of(self, items, offsets, days, users=None) -> np.ndarray:
        """Filters sessions.

        Args:
            items: int [events], item indices; -1: an item that is not known, which tells nothing.
            offsets: int64 [sessions + 1]; a session has at least one event.
            days: int [sessions], the days on which they began.
            users: int [sessions], numbers of the users, where they are loyal.

        Returns:
            float64 [events, states]: the belief after each event, given the items of its session up to it.
        """
        items, offsets, days = (np.asarray(values, np.int64) for values in (items, offsets, days))
        found = np.empty((len(items), STATES))
        own = self.shop.own_cluster(users) if self.shop.loyal else np.full(len(days), -1)
        for number in np.unique(days):
            day = self.shop.popularity(number)
            sessions = np.flatnonzero(days == number)
            starts, lengths = offsets[sessions], np.diff(offsets)[sessions]
            found[starts] = self.prior
            for step in range(1, lengths.max()):
                active = lengths > step
                first, event, of_user = starts[active], starts[active] + step, own[sessions[active]]
                found[event] = self._after(found[event - 1], day, items[first], items[event - 1], items[event], of_user)
        return found

    def _after(self, belief, day: Day, first, current, following, own) -> np.ndarray:
        """Returns the belief after one more event: belief float64 [n, states], items and own clusters int64 [n]."""
        known = (first >= 0) & (current >= 0) & (following >= 0)
        chance = np.ones_like(belief)
        chance[known] = self._chance(day, first[known], current[known], following[known], own[known])
        anywhere = np.where(known, self.shop.weight[following] / day.weight, 1.0)[:, None]
        same = np.where(known, current == following, True)[:, None]
        bought = belief * BUYING * same
        others = belief * ((1 - BUYING - LEAVING) * chance + LEAVING * anywhere)
        lasting = others.reshape(-1, STATES // 3, 3).sum(2)[:, :, None] * self._kinds  # (n, states / 3, 3)
        lasting[:, :, PURCHASE] += bought.reshape(-1, STATES // 3, 3).sum(2)
        after = lasting.reshape(-1, STATES)
        return after / after.sum(1, keepdims=True)

    def _chance(self, day: Day, first, current, following, own) -> np.ndarray:
        """float64 [n, states]: the probability of the next item by the law of `shop.py`, successors rotated."""
        shop, weight = self.shop, self.shop.weight[following]
        cluster, of_next = shop.cluster[first], shop.cluster[following]
        successors = shop.successors[current]
        alive = shop.birth[successors] <= day.number  # (n, 8)
        total = alive @ ROTATED.T  # (n, states)
        slots = (alive & (successors == following[:, None])) @ ROTATED.T  # (n, states)
        led = shop.follow * slots / np.where(total > 0, total, 1.0)
        has_own = (own >= 0) & (day.cluster_weight[own] > 0)
        outside = (shop.wide + np.where(has_own, 0.0, shop.loyal)) / day.weight
        loyal = np.where(has_own & (own == of_next), shop.loyal / np.where(has_own, day.cluster_weight[own], 1.0), 0.0)
        stays = shop.taste + np.where(alive.any(1), 0.0, shop.follow)
        inside = np.where(cluster == of_next, stays / day.cluster_weight[cluster], 0.0)
        return led + (weight * (inside + outside + loyal))[:, None]


def check_states(shop: Law, belief, events: int) -> np.ndarray:
    """Returns beliefs float64 [events, states]; int [events], states that are known, count as certain."""
    if belief is None:
        raise InputError(
            f"belief=None: must be states int [events] or beliefs float [events, {STATES}], because context changes "
            f"what comes next in {shop.spec}"
        )
    belief = np.asarray(belief)
    if belief.ndim == 1 and belief.dtype.kind in "iu":
        belief = np.eye(STATES)[belief]
    if belief.shape != (events, STATES):
        raise InputError(f"belief: its shape is {list(belief.shape)}, it must be {[events, STATES]}")
    return belief
