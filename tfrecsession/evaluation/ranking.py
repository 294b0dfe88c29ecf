"""Exact evaluation: every event that has a predecessor is ranked among all items."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator

import numpy as np
from rich.progress import Progress

from tfrecsession.batches import Sessions, layout
from tfrecsession.batches.batch import UPDATE
from tfrecsession.batches.event_weights import check_types, event_types, is_of_types
from tfrecsession.batches.packing import ranges
from tfrecsession.batches.user_sequences import UserSequences
from tfrecsession.errors import InputError
from tfrecsession.evaluation.measures import Evaluation, measure
from tfrecsession.models import Recommender
from tfrecsession.recommender.keras_contract import check_model


def evaluate(
    model: Recommender,
    sessions: Sessions,
    k=(20,),
    *,
    progress: bool | Callable[[float], None] = False,
    beyond_accuracy: bool = False,
    slices: bool = True,
    events: Iterable[str] | None = None,
    earlier: Iterable[Sessions] | None = None,
    live: bool = False,
    whole_ranks: bool = False,
    draws: int = 1000,
    seed: int = 0,
) -> Evaluation:
    """Ranks the next item of every event of `sessions` among the whole catalogue.

    A target not seen in training (in a split that keeps unknown items) ranks behind the whole catalogue: a miss.

    Args:
        model: any model.
        sessions: a split, usually `data.test`.
        k: list lengths to report.
        progress: True shows a bar; a function is called with the completed share, from 0 to 1.
        beyond_accuracy: also keep and measure the lists: precision and MAP against the rest of the session, coverage,
            popularity and its lift, Gini, novelty, diversity and calibration (`docs/metrics.md`). Takes longer, and
            4 * events * max(k) bytes.
        slices: also score subsets of the events (`trs.evaluation.slicings` defines them).
        events: event types, such as ["purchase"]: only events of these are targets; all are input. None: all.
        earlier: the splits before this one. Models that remember users and the slice by history length need them.
            None: `sessions.earlier`, as the data set has them.
        live: whether the counts of a model with `trend` go on during the split, as in a shop that updates them: a
            session sees the events of other sessions up to the last update before its start. False, the protocol of all
            models: what was counted ends with the training log.
        whole_ranks: whether `ranks` of the result are needed above the largest k. False: those may be any number above
            it, so that large catalogues are ranked in half the time or less on processors that multiply bfloat16.
            The metrics are the same.
        draws: number of bootstrap draws for the intervals; 0: no intervals.
        seed: seed of the draws.

    Raises:
        InputError: `model` or `sessions` is of another kind; `live` with a model that has no trend; the sessions have
            another vocabulary or no event to score, or not one of `events`, no target was seen in training, or a k is
            not in 1..catalogue.
    """
    check_model(model)
    _check_split(sessions)
    model.check_vocabulary(sessions.items)
    k = _checked(model, k)
    values, offsets = sessions.values, sessions.offsets
    pieces = layout.whole(offsets)
    event = ranges(pieces.starts, pieces.lengths) + 1
    if not len(event):
        raise InputError(f"the {sessions.role} split has no event to score: prepare the data with a longer span for it")
    if events is not None:
        types = event_types("events", events)
        check_types(sessions, {"events": types})
        event = event[is_of_types(sessions, types)[event]]
        if not len(event):
            raise InputError(
                f"events={list(types)!r}: the {sessions.role} split has no such event after the first of its session"
            )
    if not (values[event] > 1).any():
        raise InputError(
            f"the {sessions.role} split has {len(event):,} events to score, but training has seen the item of none: "
            "the splits come from different logs, or their item ids are written differently"
        )
    start = time.perf_counter()
    earlier = sessions.earlier if earlier is None else tuple(earlier)
    read, earlier_read = sessions.read_in(model.context), [split.read_in(model.context) for split in earlier]
    targets = event  # the indices of the targets among the events that the model reads
    if read is not sessions:
        targets = np.flatnonzero(read.values > 0)[event]
    every = np.arange(len(read.values))
    if model.context:
        columns = read.encoded(model.context)
    else:
        columns = {f"context/{name}": sessions.column(name) for name in model.reads.context}
        if not sessions.timed and sessions.role != "train":  # row numbers restart: the split follows train
            columns.pop("context/times", None)
    counts = model.live(read, earlier_read) if live else contextlib.nullcontext()
    alike = every if live or model.reads.by_user or columns else layout.first_alike(values, offsets)
    most = None if whole_ranks else max(k)
    first = None if whole_ranks or beyond_accuracy else model.first_ranks(most)
    faster = {} if first is None else {"first": first}  # a model that ranks in its own way does not know it
    scored = np.zeros(len(read.values), bool)
    scored[alike[targets]] = True  # the others get the rank of the event that equals them
    number = np.cumsum(scored) - 1
    ranks = np.zeros(number[-1] + 1, np.int32)
    lists = np.zeros((len(ranks), max(k) if beyond_accuracy else 0), np.int32)
    with Progress(disable=progress is not True, transient=True) as bar, counts as updates:
        if live:
            columns = {**columns, UPDATE: updates}
        task = bar.add_task(f"evaluating {model.name}", total=int(scored.sum()))
        for batch, ids, index in _batches(model, read, earlier_read, scored, columns):
            there = ids > 0
            place = number[index[there]]
            ranks[place], lists[place] = model.target_ranks(batch, ids, lists.shape[1], **faster)
            bar.advance(task, int(there.sum()))
            if callable(progress):
                progress(bar.tasks[0].completed / bar.tasks[0].total)
    seconds = time.perf_counter() - start
    place = number[alike[targets]]
    found = measure(
        sessions,
        event,
        ranks[place],
        k,
        lists=lists[place] if beyond_accuracy else None,
        slices=slices,
        earlier=earlier,
        draws=draws,
        seed=seed,
        catalogue=len(model.items),
    )
    found.seconds, found.ranks_to = seconds, most
    return found


def _batches(model: Recommender, sessions: Sessions, earlier, scored: np.ndarray, columns: dict) -> Iterator[tuple]:
    """Yields a batch, its targets, and the targets' indices among the events of the split, -1 where there is none."""
    if model.reads.by_user:
        sequences = UserSequences.of(sessions, earlier, joined=model.reads.users == "joined")
        of_events = sequences.scored()
        updates = columns.get(UPDATE)
        layouts, into = sequences.every_event(of_events & scored[sequences.event]), sequences.event
        if model.context:
            columns = sequences.encoded(model.context)
        else:
            columns = {key: sequences.column(key.partition("/")[2]) for key in columns if key != UPDATE}
        if updates is not None:
            columns[UPDATE] = np.where(into >= 0, updates[into], 0)
    else:
        one_target = model.reads.one_target
        layouts = layout.every_event(sessions.values, sessions.offsets, scored=scored, one_target=one_target)
        into = np.arange(len(sessions.values))
    for laid in layouts:
        yield laid.batch_with(columns), laid.targets, np.where(laid.event >= 0, into[laid.event], -1)


def _check_split(sessions) -> None:
    if not isinstance(sessions, Sessions):
        of_batches = isinstance(getattr(sessions, "sessions", None), Sessions)
        hint = ", without batches(...)" if of_batches else ""
        raise InputError(f"sessions: must be a split, such as data.test{hint}, not {type(sessions).__name__}")
    if sessions.weighing is not None:
        raise InputError(
            "sessions: must be a split without weighted(...), every event counts once; choose some by events=[...], or "
            "use model.evaluate(...) with weighted_metrics"
        )


def _checked(model: Recommender, k) -> tuple[int, ...]:
    if not isinstance(k, Iterable) or not (k := tuple(dict.fromkeys(k))):
        raise InputError(f"k={k!r}: must be a list of list lengths, e.g. k=(5, 10, 20)")
    for length in k:
        model.check_k(length)
    return k
