"""Metrics, intervals and slices, computed from ranks and top-k lists."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from textwrap import wrap

import numpy as np

from tfrecsession.batches import Sessions
from tfrecsession.errors import InputError
from tfrecsession.evaluation.bootstrap import Averages, Group, averages
from tfrecsession.evaluation.each_list import EachList, coverage_interval
from tfrecsession.evaluation.slices import slicings
from tfrecsession.metrics import MRR, NDCG, Recall
from tfrecsession.metrics.beyond_accuracy import average_precision, beyond_accuracy, hits_of_the_rest, precision

BY_RANK = {metric.label: metric for metric in (Recall, MRR, NDCG)}
BY_REST = ("precision", "map")
BY_LIST = (*BY_REST, "popularity", "novelty", "popularity_lift", "diversity", "miscalibration")


@dataclass
class Evaluation:
    """The scores of a model on a split.

    Attributes:
        metrics: name -> value. From the ranks: "recall@20", "mrr@20", "ndcg@20". From the lists, if they were
            requested: "precision@20" and "map@20" against the rest of the session, "coverage@20", "popularity@20",
            "gini@20", "novelty@20", as `metrics/beyond_accuracy.py` defines them, "popularity_lift@20", and of items
            with categories "diversity@20" and "miscalibration@20", as `evaluation/each_list.py` defines them.
        events: number of scored events.
        seconds: time spent on ranking and building the lists; computing the metrics is excluded.
        ranks: int32 [events], the rank of each scored event; those above `ranks_to` may be any number above it.
        event: int64 [events], the index of each scored event within the split, ascending.
        lists: int32 [events, max k], the ids of the best items, best first; None if they were not requested.
        sessions: number of sessions with a scored event.
        intervals: name -> [low, high], for the metrics that are means over events: 95% percentile bootstrap over
            sessions; for coverage the jackknife over sessions. None if there is only one session. Empty without draws.
        slices: slice -> label -> {"events", "sessions", "recall@k", "mrr@k", "ndcg@k", "intervals"} for the largest k;
            scores and intervals are None where they are undefined.
        fingerprint: identifies the split: its vocabulary, items and events.
        ranks_to: the last rank that `ranks` tell apart; None: all.
    """

    metrics: dict[str, float]
    events: int
    seconds: float = 0.0
    ranks: np.ndarray | None = field(default=None, repr=False)
    event: np.ndarray | None = field(default=None, repr=False)
    lists: np.ndarray | None = field(default=None, repr=False)
    sessions: int = 0
    intervals: dict[str, list[float] | None] = field(default_factory=dict, repr=False)
    slices: dict[str, dict[str, dict]] = field(default_factory=dict, repr=False)
    fingerprint: str = ""
    ranks_to: int | None = None

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={value:.4f}" for name, value in self.metrics.items())
        scored = f"<Evaluation of {self.events:,} events of {self.sessions:,} sessions in {self.seconds:.1f} s"
        return "\n".join([scored, *wrap(values, 88, max_lines=8, initial_indent="  ", subsequent_indent="  ")]) + ">"


def measure(
    sessions: Sessions,
    event: np.ndarray,
    ranks: np.ndarray,
    k,
    *,
    lists: np.ndarray | None = None,
    slices: bool = True,
    earlier: Iterable[Sessions] = (),
    draws: int = 1000,
    seed: int = 0,
    catalogue: int = 0,
) -> Evaluation:
    """Computes the metrics of ranks and, if given, lists; the arguments are those of `evaluate` and `Evaluation`.

    catalogue: number of items that can be in the lists, if the model knows more items than the data set.
    """
    names = [f"{name}@{length}" for length in k for name in BY_RANK]
    if lists is not None:
        names += [f"{name}@{length}" for length in k for name in (*BY_REST, *EachList(sessions, event, lists).names)]
    values = event_values(sessions, event, ranks, lists, names)
    slice_columns = [names.index(f"{name}@{max(k)}") for name in BY_RANK]
    cuts = slicings(sessions, event, earlier) if slices else {}
    groups = [Group(np.zeros(len(event), np.int8), 1, list(range(len(names))))]
    groups += [Group(cut.number, len(cut.labels), slice_columns) for cut in cuts.values()]
    session = np.searchsorted(sessions.offsets, event, side="right") - 1
    whole, *parts = averages(session, values, groups, draws, seed)
    metrics = dict(zip(names, whole.mean[0].tolist(), strict=True))
    if lists is not None:
        extra = max(catalogue - len(sessions.items), 0)
        counts = np.pad(sessions.items.counts, (0, extra))
        for length in k:
            metrics |= beyond_accuracy(lists, counts, length)
    intervals = _intervals(whole, 0, names) if draws else {}
    if draws and lists is not None:
        for length in k:
            intervals[f"coverage@{length}"] = coverage_interval(lists, session, len(counts), length)
    return Evaluation(
        metrics,
        len(event),
        ranks=ranks,
        event=event,
        lists=lists,
        sessions=int(whole.sessions[0]),
        intervals=intervals,
        slices={
            name: {label: _row(part, index, names, slice_columns, draws) for index, label in enumerate(cut.labels)}
            for (name, cut), part in zip(cuts.items(), parts, strict=True)
        },
        fingerprint=fingerprint(sessions),
    )


def metrics_of(ranks: np.ndarray, k=(20,)) -> dict[str, float]:
    """Returns Recall, MRR and NDCG at each k, from ranks that start at 1.

    Examples:
        >>> values = metrics_of(np.array([1, 3, 50]), k=(20,))
        >>> {name: round(value, 4) for name, value in values.items()}
        {'recall@20': 0.6667, 'mrr@20': 0.4444, 'ndcg@20': 0.5}
    """
    return {
        f"{name}@{length}": float(np.mean(metric(length).of_each(ranks))) if len(ranks) else 0.0
        for length in k
        for name, metric in BY_RANK.items()
    }


def event_values(
    sessions: Sessions, event: np.ndarray, ranks: np.ndarray, lists: np.ndarray | None, names: list[str]
) -> Callable[[slice], np.ndarray]:
    """Returns a function: a slice of the events -> each event's contribution to the metrics `names` ("mrr@20"), float64
    [events of the slice, metrics]. Memory is bounded by the slice.

    Raises:
        InputError: a name is unknown, its k is longer than the lists, or it needs lists and there are none.
    """
    parsed = [_parsed(name, lists) for name in names]
    if any(name in BY_LIST for name, _ in parsed):
        each_list = EachList(sessions, event, lists)
        for name, (label, _) in zip(names, parsed, strict=True):
            if label not in (*BY_RANK, *BY_REST, *each_list.names):
                raise InputError(f"metric={name!r}: needs items with a category: prepare the data with items=TABLE")
    if any(name in BY_REST for name, _ in parsed):
        hits, items = hits_of_the_rest(lists, sessions.values, sessions.offsets, event)
    by_rank = {
        name: BY_RANK[label](length) for name, (label, length) in zip(names, parsed, strict=True) if label in BY_RANK
    }

    def values(chunk: slice) -> np.ndarray:
        columns = []
        for name, (label, length) in zip(names, parsed, strict=True):
            if label == "precision":
                columns.append(precision(hits[chunk], length))
            elif label == "map":
                columns.append(average_precision(hits[chunk], items[chunk], length))
            elif label in BY_LIST:
                columns.append(getattr(each_list, label)(chunk, length))
            else:
                columns.append(np.asarray(by_rank[name].of_each(ranks[chunk])))
        return np.stack(columns, axis=1)

    return values


def fingerprint(sessions: Sessions) -> str:
    """Returns 16 hexadecimal digits that identify a split: its vocabulary, items and sessions."""
    content = (sessions.values.astype("<i4", copy=False), sessions.offsets.astype("<i8", copy=False))
    digest = hashlib.sha256(sessions.items.fingerprint.encode())
    for array in content:
        digest.update(np.ascontiguousarray(array))
    return digest.hexdigest()[:16]


def _parsed(name: str, lists: np.ndarray | None) -> tuple[str, int]:
    label, _, length = name.partition("@")
    if label not in (*BY_RANK, *BY_LIST) or not length.isdecimal() or int(length) < 1:
        known = ", ".join(f"{known}@k" for known in (*BY_RANK, *BY_LIST))
        raise InputError(f"metric={name!r}: must be a mean over events, one of {known}, e.g. mrr@20")
    if label in BY_LIST and (lists is None or lists.shape[1] < int(length)):
        have = "there are none" if lists is None else f"they hold {lists.shape[1]}"
        raise InputError(
            f"metric={name!r}: needs lists of {length} items, but {have}; evaluate with beyond_accuracy=True"
        )
    return label, int(length)


def _intervals(part: Averages, index: int, names: list[str]) -> dict[str, list[float] | None]:
    pairs = zip(part.low[index].tolist(), part.high[index].tolist(), strict=True)
    return {name: None if np.isnan(low) else [low, high] for name, (low, high) in zip(names, pairs, strict=True)}


def _row(part: Averages, index: int, names: list[str], columns: list[int], draws: int) -> dict:
    chosen = [names[column] for column in columns]
    scores = {
        name: None if np.isnan(mean) else mean for name, mean in zip(chosen, part.mean[index].tolist(), strict=True)
    }
    counts = {"events": int(part.events[index]), "sessions": int(part.sessions[index])}
    return {**counts, **scores, "intervals": _intervals(part, index, chosen) if draws else {}}
