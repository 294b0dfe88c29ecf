"""Score bounds: a random ranking, and the optimum on the synthetic shop."""

from __future__ import annotations

import numpy as np

from tfrecsession.batches import Sessions
from tfrecsession.batches.layout import whole
from tfrecsession.batches.packing import ranges
from tfrecsession.evaluation.measures import Evaluation, measure
from tfrecsession.events.shop.shop import Shop


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


def ceiling(spec: str, sessions: Sessions, k=(20,)) -> Evaluation:
    """Evaluates the shop's own transition probabilities as a model, on the same events with the same protocol.

    Args:
        spec: the shop as in `dataset.json` ("synthetic:...").
        sessions: a split of a data set prepared from that shop; with users if the shop's users are loyal.
        k: list lengths to report.
    """
    shop = Shop.from_spec(spec)
    shop_index = shop.index(sessions.items.ids)  # vocabulary order -> the shop's own numbering
    known = np.zeros(shop.items, bool)
    known[shop_index] = True
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
    days = shop.day(np.asarray(sessions.column("times"))[starts])  # the shop depends on the day a session began
    ranks = shop.oracle(known).ranks(
        items(np.repeat(sessions.values[starts], steps)),
        items(sessions.values[current]),
        np.repeat(days, steps)[scored],
        items(targets),
        k=max(k),
        user=users,
    )
    return measure(sessions, current[scored] + 1, ranks, k, earlier=sessions.earlier)
