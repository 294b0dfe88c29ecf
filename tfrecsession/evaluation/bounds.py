"""What chance would score, and on the synthetic shop what nobody can beat."""

from __future__ import annotations

import numpy as np

from tfrecsession.batches import Sessions
from tfrecsession.batches.layout import whole
from tfrecsession.batches.packing import ranges
from tfrecsession.evaluation.measures import Evaluation, measure
from tfrecsession.events.shop.shop import Shop


def chance(catalogue: int, events: int, k=(20,)) -> Evaluation:
    """A random order of the catalogue, in expectation.

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
    """The shop's own transition probabilities as a model, on the same events and in the same protocol.

    Args:
        spec: the shop, as `dataset.json` names it ("synthetic:...").
        sessions: a split of a data set that was prepared from it, with its users where they are loyal.
        k: the lengths of list to report.
    """
    shop = Shop.from_spec(spec)
    place = shop.index(sessions.items.ids)  # vocabulary order -> the shop's own numbering
    known = np.zeros(shop.items, bool)
    known[place] = True
    starts, steps = whole(sessions.offsets)
    current = ranges(starts, steps)
    targets = sessions.values[current + 1]
    scored = (targets > 1) & (sessions.values[current] > 1) & (np.repeat(sessions.values[starts], steps) > 1)

    def items(ids):
        return place[ids[scored] - 2]

    users = None
    if shop.loyal:
        numbers = sessions.column("user")[np.diff(sessions.offsets) > 1].astype(np.int64)  # as `starts`
        users = np.repeat(numbers, steps)[scored]
    days = shop.day(np.asarray(sessions.column("times"))[starts])  # the shop deals by the day a session began
    ranks = shop.oracle(known).ranks(
        items(np.repeat(sessions.values[starts], steps)),
        items(sessions.values[current]),
        np.repeat(days, steps)[scored],
        items(targets),
        k=max(k),
        user=users,
    )
    return measure(sessions, current[scored] + 1, ranks, k, earlier=sessions.earlier)
