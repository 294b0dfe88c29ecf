"""Sessions as dense arrays: a dict of `[rows, steps]` arrays, and the targets of the same shape.

A session of n events makes n - 1 steps: each event but the last is an input, the event after it the target. A *piece*
is a run of such steps that stays together in one row: a whole session, or a part of one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from tfrecsession.batches.batch import batch_of
from tfrecsession.batches.packing import Packing, one_a_row, pack, ranges


class Pieces(NamedTuple):
    """Runs of steps: `starts` int64 [pieces] into the flat events, `lengths` int64 [pieces] in steps."""

    starts: np.ndarray
    lengths: np.ndarray


class Layout(NamedTuple):
    """Rows of pieces; every array is int32 `[rows, steps]`, 0 where there is no event, unless noted otherwise."""

    items: np.ndarray
    position: np.ndarray  # 0 at the first step of a piece: recurrences reset there
    segment: np.ndarray  # 1, 2, ... numbers the pieces of a row; 0 is padding
    targets: np.ndarray
    event: np.ndarray  # int64: the target's index among the flat events; -1 where there is none
    source: np.ndarray  # int64: the input's index among them; 0 where there is none
    visit: np.ndarray | None = None  # the number of the session among those of its user; `batches.user_sequences`

    @property
    def batch(self) -> dict[str, np.ndarray]:
        return self.batch_with({})

    def batch_with(self, columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Returns the batch with columns of the events.

        Args:
            columns: "context/NAME", "request/NAME" or "weight" -> [events], the value of each event itself. Context is
                read from the input event of a step, the others from its target; without one it is missing: 0, or NaN.
        """
        read = {}
        for key, values in columns.items():
            of_target = not key.startswith("context/")
            index, has = (self.event, self.targets > 0) if of_target else (self.source, self.segment > 0)
            missing = values.dtype.type(np.nan if values.dtype.kind == "f" and key != "weight" else 0)
            read[key] = np.where(has, values[index], missing) if len(values) else np.full(has.shape, missing)
        return batch_of(self.items, self.position, self.segment, self.visit, read)

    def element_with(self, columns: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Returns the batch, as `batch_with` does, and the targets; an event of weight 0 is no target."""
        batch = self.batch_with(columns)
        return batch, np.where(batch["weight"] > 0, self.targets, 0) if "weight" in batch else self.targets


def whole(offsets: np.ndarray) -> Pieces:
    """Returns every session that has a target, uncut."""
    steps = np.diff(offsets) - 1
    kept = steps > 0
    return Pieces(offsets[:-1][kept], steps[kept])


def newest(offsets: np.ndarray, steps: int) -> Pieces:
    """Cuts sessions to their last `steps` steps."""
    starts, lengths = whole(offsets)
    cut = np.minimum(lengths, steps)
    return Pieces(starts + lengths - cut, cut)


def split(offsets: np.ndarray, steps: int) -> Pieces:
    """Cuts sessions into pieces of at most `steps` steps; each piece begins at position 0."""
    starts, lengths = whole(offsets)
    count = -(-lengths // steps)
    nth = ranges(np.zeros_like(count), count)
    return Pieces(np.repeat(starts, count) + nth * steps, np.minimum(steps, np.repeat(lengths, count) - nth * steps))


def prefixes(offsets: np.ndarray, steps: int | None = None) -> Pieces:
    """Returns every prefix of every session as a piece, whose last step has the target; prefixes longer than `steps`
    keep their last steps."""
    starts, lengths = whole(offsets)
    upto = ranges(np.ones_like(lengths), lengths)  # 1, 2, ... in every session
    cut = upto if steps is None else np.minimum(upto, steps)
    return Pieces(np.repeat(starts, lengths) + upto - cut, cut)


def with_targets(pieces: Pieces, weight: np.ndarray, last_only: bool = False) -> Pieces:
    """Returns the pieces with a target of weight above 0; weight: float [events]."""
    starts, lengths = pieces
    before = np.concatenate([[0], np.cumsum(weight > 0)])
    end = starts + lengths + 1
    kept = before[end] > before[end - 1 if last_only else starts + 1]
    return Pieces(starts[kept], lengths[kept])


def packed_rows(
    values: np.ndarray,
    pieces: Pieces,
    packing: Packing,
    first: int,
    last: int,
    steps: int,
    rows: int,
    scored: np.ndarray | None = None,
    last_only: bool = False,
) -> Layout:
    """Lays out rows `first` to `last` of a packing, and empty rows up to `rows`; see `fill` for the rest."""
    chosen, row, column = placed(pieces, packing, first, last)
    segment = ranges(np.ones(last - first, np.int64), np.bincount(row, minlength=last - first))
    return fill(values, chosen, row, column, segment, rows, steps, scored=scored, last_only=last_only)


def placed(pieces: Pieces, packing: Packing, first: int, last: int) -> tuple[Pieces, np.ndarray, np.ndarray]:
    """Returns the pieces of rows `first` to `last` of a packing, row by row, their rows (from 0) and their columns."""
    splits = packing.splits[first : last + 1]
    chosen = packing.order[splits[0] : splits[-1]]
    lengths = pieces.lengths[chosen]
    row = np.repeat(np.arange(last - first), np.diff(splits))
    before = np.cumsum(lengths) - lengths
    column = before - before[(splits[:-1] - splits[0])[row]]
    return Pieces(pieces.starts[chosen], lengths), row, column


def fill(
    values, pieces: Pieces, row, column, segment, rows: int, steps: int, position=0, scored=None, last_only=False
) -> Layout:
    """Lays out pieces at the given cells.

    Args:
        values: int32 [events].
        pieces: the runs of steps to lay out.
        row, column: int [pieces], the cell of each piece's first step.
        segment: int [pieces], the number of each piece.
        rows, steps: the shape to fill.
        position: int [pieces] or 0, the position of each piece's first step: above 0 where it continues an earlier one.
        scored: bool [events], the events that are targets; None: all.
        last_only: whether only the last step of a piece has a target.
    """
    starts, lengths = pieces
    event = ranges(starts, lengths)
    target = event + 1
    is_target = np.ones(len(event), bool) if scored is None else scored[target]
    if last_only:
        is_target &= target == np.repeat(starts + lengths, lengths)
    return at_cells(
        values,
        event,
        np.where(is_target, target, -1),
        ranges(row * steps + column, lengths),
        (rows, steps),
        position=ranges(np.zeros_like(lengths) + position, lengths),
        segment=np.repeat(segment, lengths),
    )


def at_cells(
    values: np.ndarray, event, target, cell, shape: tuple[int, int], position, segment, visit: np.ndarray | None = None
) -> Layout:
    """Writes steps into the cells of a layout.

    Args:
        values: int32 [events].
        event: int [steps], the index of each step's input event.
        target: int [steps], the index of its target event; -1: none.
        cell: int [steps], its cell among the flattened ones.
        shape: (rows, steps) of the layout.
        position, segment, visit: int [steps], see `Layout`.
    """

    def filled(content: np.ndarray, empty: int = 0, dtype=np.int32) -> np.ndarray:
        out = np.full(shape, empty, dtype)
        out.reshape(-1)[cell] = content
        return out

    return Layout(
        items=filled(values[event]),
        position=filled(position),
        segment=filled(segment),
        targets=filled(np.where(target >= 0, values[target], 0)),
        event=filled(target, empty=-1, dtype=np.int64),
        source=filled(event, dtype=np.int64),
        visit=None if visit is None else filled(visit),
    )


def every_event(
    values: np.ndarray,
    offsets: np.ndarray,
    cells: int = 8192,
    narrow: int = 32,
    scored: np.ndarray | None = None,
    one_target: bool = False,
) -> Iterator[Layout]:
    """Yields all steps of all sessions, none cut, in rows as wide as their sessions need.

    Sessions of up to `narrow` steps share rows of that width. Longer ones go to rows of two, four ... times that width,
    with fewer rows a batch, so that a batch has at most `cells` cells, or one row where that alone is wider.

    Args:
        values, offsets: the sessions.
        scored: bool [events], the events that are targets; None: all. Steps that lead to no target are left out.
        one_target: whether every target gets a piece of its own, the prefix of the session before it.
    """
    pieces = whole(offsets)
    if one_target:
        pieces = prefixes(offsets)
        if scored is not None:
            kept = scored[pieces.starts + pieces.lengths]
            pieces = Pieces(pieces.starts[kept], pieces.lengths[kept])
    elif scored is not None and len(pieces.lengths):
        last = np.maximum.accumulate(np.where(scored, np.arange(len(values)), -1))  # the last one up to every event
        lengths = np.maximum(last[pieces.starts + pieces.lengths] - pieces.starts, 0)
        pieces = Pieces(pieces.starts[lengths > 0], lengths[lengths > 0])
    for alike, packing, first, last, width in by_width(pieces, cells, narrow):
        yield packed_rows(values, alike, packing, first, last, width, last - first, scored, one_target)


def by_width(pieces: Pieces, cells: int, narrow: int) -> Iterator[tuple[Pieces, Packing, int, int, int]]:
    """Yields batches of pieces of similar length: the pieces, their packing, its first and last row, and the width."""
    starts, lengths = pieces
    width = narrow
    longest = int(lengths.max(initial=0))
    shorter = 0
    while shorter < longest:
        fits = (lengths > shorter) & (lengths <= width)
        alike = Pieces(starts[fits], lengths[fits])
        # above the narrowest width, two pieces do not fit into a row
        packing = pack(alike.lengths, width) if width == narrow else one_a_row(alike.lengths)
        rows = max(1, cells // width)
        for first in range(0, len(packing), rows):
            yield alike, packing, first, min(first + rows, len(packing)), width
        shorter, width = width, width * 2


def first_alike(values: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """int64 [events]: the first event of the log with the same item after the same items of its session.

    A model that reads only the session so far predicts the same for both. On yoochoose1_64 a sixth of the events need
    not be scored.
    """
    first, ids = np.arange(len(values)), np.int64(values.max(initial=0)) + 1
    starts, lengths = offsets[:-1], np.diff(offsets)
    alive = np.flatnonzero(lengths > 0)
    prefix = np.zeros(len(alive), np.int64)  # equal where the items before this step are equal
    step = 0
    while len(alive):
        event = starts[alive] + step
        key = prefix * ids + values[event]
        _, index, prefix, count = np.unique(key, return_index=True, return_inverse=True, return_counts=True)
        first[event] = event[index][prefix]
        step += 1
        goes_on = (lengths[alive] > step) & (count[prefix] > 1)  # alone, a session stays alone
        alive, prefix = alive[goes_on], prefix[goes_on]
    return first
