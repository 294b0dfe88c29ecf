"""Score bounds: a random ranking, and the optimum on the synthetic shop."""

from __future__ import annotations

import copy

import numpy as np

from tfrecsession.batches import Sessions
from tfrecsession.batches.layout import whole
from tfrecsession.batches.packing import ranges
from tfrecsession.errors import InputError
from tfrecsession.evaluation.measures import Evaluation, measure
from tfrecsession.events.shop.context import CART, DEVICES, PURCHASE, VIEW, Beliefs, states_of
from tfrecsession.events.shop.shop import DAY, Shop


def chance(catalogue: int, events: int, k=(20,)) -> Evaluation:
    """Returns the expected scores of a random ranking of the catalogue.

    Examples:
        >>> chance(catalogue=1000, events=1, k=(20,)).metrics["recall@20"]
        0.02
    """
    metrics = {}
    for length in k:
        ranks = np.arange(1, min(length, catalogue) + 1)
        metrics[f"recall@{length}"] = len(ranks) / catalogue
        metrics[f"mrr@{length}"] = float((1 / ranks).sum() / catalogue)
        metrics[f"ndcg@{length}"] = float((1 / np.log2(ranks + 1)).sum() / catalogue)
    return Evaluation(metrics, events)


def ceiling(
    spec: str, sessions: Sessions, k=(20,), context: bool | None = None, new_popularity: bool = True
) -> Evaluation:
    """Evaluates the shop's own transition probabilities as a model, on the same events with the same protocol.

    Args:
        spec: the shop as in `dataset.json` ("synthetic:...").
        sessions: a split of a data set prepared from that shop; with users if the shop's users are loyal.
        k: list lengths to report.
        context: in a shop with context, whether the ranking knows it: the start's hour, device and types of event so
            far. If not, it knows what the items tell of them. None: if the data set has the columns event and device.
        new_popularity: whether the ranking knows how popular the items without an event in training are, which their
            content does not tell. If not, each counts as the mean item.

    Raises:
        InputError: `context=True` without these columns, or in a shop without context.
    """
    shop = Shop.from_spec(spec)
    if context and not shop.context:
        raise InputError(f"context=True: must be False or None, {spec} has no context")
    shop_index = shop.index(sessions.items.ids)  # vocabulary order -> the shop's own numbering
    known = np.zeros(shop.items, bool)
    known[shop_index] = True
    if not new_popularity:
        shop = _alike(shop, shop_index[sessions.items.counts == 0])
    starts, steps = whole(sessions.offsets)
    current = ranges(starts, steps)
    targets = sessions.values[current + 1]
    scored = (targets > 1) & (sessions.values[current] > 1) & (np.repeat(sessions.values[starts], steps) > 1)

    def items(ids):
        return shop_index[ids[scored] - 2]

    users = None
    if shop.loyal:
        user_ids = sessions.column("user")[np.diff(sessions.offsets) > 1].astype(np.int64)
        users = np.repeat(user_ids, steps)[scored]
    times = np.asarray(sessions.column("times"))
    days = shop.day(times[starts])  # the shop depends on the day a session began
    ranks = shop.oracle(known).ranks(
        items(np.repeat(sessions.values[starts], steps)),
        items(sessions.values[current]),
        np.repeat(days, steps)[scored],
        items(targets),
        k=max(k),
        user=users,
        belief=_states(shop, sessions, shop_index, times, context)[current[scored]] if shop.context else None,
    )
    return measure(sessions, current[scored] + 1, ranks, k, earlier=sessions.earlier)


def _alike(shop: Shop, new: np.ndarray) -> Shop:
    """Returns the shop with the mean weight for the items `new`, int64 [n], in an order that tells nothing."""
    successors = shop.successors  # which items follow does not change with the weights
    alike, weight = copy.copy(shop), shop.weight.copy()
    weight[new] = np.rint(weight.mean() * (1 + 1e-3 * np.random.default_rng(0).random(len(new))))  # without ties
    vars(alike).update(weight=weight, successors=successors)
    return alike


def _states(shop: Shop, sessions: Sessions, shop_index: np.ndarray, times: np.ndarray, context: bool | None):
    """Returns the state of every event, int64 [events], or without context beliefs, float64 [events, states]."""
    offsets, has = sessions.offsets, {"event", "device"} <= set(sessions.arrays.columns)
    if context and not has:
        raise InputError(
            "context=True: the data set must have the columns event and device: prepare it with "
            "event='event', context='device'"
        )
    starts = offsets[:-1][np.diff(offsets) > 0]
    if has and context is not False:
        kinds = {"view": VIEW, "cart": CART, "purchase": PURCHASE}
        kind = [kinds[str(name)] for name in sessions.column("event")]
        device = [DEVICES.index(str(name)) for name in sessions.column("device")]
        start = np.repeat(times[starts], np.diff(np.r_[starts, offsets[-1]]))
        return states_of(start % DAY // (DAY // 24), device, kind)
    items = np.where(sessions.values > 1, shop_index[np.maximum(sessions.values, 2) - 2], -1)
    users = sessions.column("user")[np.diff(offsets) > 0].astype(np.int64) if shop.loyal else None
    return Beliefs(shop).of(items, np.r_[starts, offsets[-1]], shop.day(times[starts]), users)
