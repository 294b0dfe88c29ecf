"""Exact evaluation: every event that has a predecessor, ranked among all items."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import numpy as np
from rich.progress import Progress

from tfrecsession.batches import Sessions, layout
from tfrecsession.batches.packing import ranges
from tfrecsession.errors import InputError
from tfrecsession.metrics import MRR, NDCG, Recall
from tfrecsession.models import Recommender


@dataclass
class Evaluation:
    """What a model scored.

    Attributes:
        metrics: name -> value, e.g. "recall@20".
        events: number of events scored.
        seconds: time it took.
        ranks: int32 [events], the rank of each scored event.
        event: int64 [events], its place among the split's events.
    """

    metrics: dict[str, float]
    events: int
    seconds: float = 0.0
    ranks: np.ndarray = field(default=None, repr=False)
    event: np.ndarray = field(default=None, repr=False)


def evaluate(model: Recommender, sessions: Sessions, k=(20,), *, progress: bool = False) -> Evaluation:
    """Rank the next item of every event of `sessions` among the whole catalogue.

    A target that training never saw (in a split that keeps unknown items) ranks behind all of it: a miss.

    Args:
        model: any model.
        sessions: a split, usually `data.test`.
        k: the lengths of list to report.
        progress: show a bar.

    Raises:
        InputError: the sessions speak of another vocabulary, hold no scored event, or a k is larger than the catalogue.
    """
    model.check_vocabulary(sessions.items)
    for length in k:
        model.check_k(length)
    if not sessions.scored_events:
        raise InputError(f"the {sessions.role} split has no event to score: prepare the data with a longer span for it")
    start = time.perf_counter()
    values, offsets = sessions.values, sessions.offsets
    pieces = layout.whole(offsets)
    events = ranges(pieces.starts, pieces.lengths) + 1
    every = np.arange(len(values))
    alike = layout.first_alike(values, offsets) if model.history_alone else every
    scored = alike == every  # the others get the rank of the event like them
    rank_of = np.zeros(len(values), np.int32)
    with Progress(disable=not progress, transient=True) as bar:
        task = bar.add_task(f"evaluating {model.name}", total=int(scored[events].sum()))
        for laid in layout.every_event(values, offsets, scored=scored, one_target=not model.causal):
            there = laid.targets > 0
            rank_of[laid.event[there]], _ = model.target_ranks(laid.batch, laid.targets)
            bar.advance(task, int(there.sum()))
    ranks = rank_of[alike[events]]
    return Evaluation(metrics_of(ranks, k), len(ranks), time.perf_counter() - start, ranks, events)


def metrics_of(ranks: np.ndarray, k=(20,)) -> dict[str, float]:
    """Recall, MRR and NDCG at each k, from ranks that start at 1."""
    values = {}
    for length in k:
        for metric in (Recall(length), MRR(length), NDCG(length)):
            metric.update_from_ranks(ranks)
            values[metric.name] = float(metric.result())
    return values
