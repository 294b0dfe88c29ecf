"""Sessions as dense arrays: a dict of `[rows, steps]` arrays, and the targets of the same shape.

A session of n events makes n - 1 steps: each event but the last is an input, the event after it the target. A *piece*
is a run of such steps that stays together in one row: a whole session, or what is left of it after a cut.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from tfrecsession.batches.batch import batch_of
from tfrecsession.batches.packing import Packing, pack, ranges


class Pieces(NamedTuple):
    """Runs of steps: `starts` int64 [pieces] into the flat events, `lengths` int64 [pieces] in steps."""

    starts: np.ndarray
    lengths: np.ndarray


class Layout(NamedTuple):
    """Rows laid out; every array is int32 `[rows, steps]`, 0 where there is no event, unless said otherwise."""

    items: np.ndarray
    position: np.ndarray  # 0 at the first step of a piece: recurrences start afresh there
    segment: np.ndarray  # 1, 2, ... numbers the pieces of a row; 0 where there is none
    targets: np.ndarray
    event: np.ndarray  # int64: the target's place among the flat events; -1 where there is none
    source: np.ndarray  # int64: the input's place among them; 0 where there is none
    visit: np.ndarray | None = None  # the number of the session among those of its person; `batches.people`

    @property
    def batch(self) -> dict[str, np.ndarray]:
        return self.batch_with({})

    def batch_with(self, context: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Returns the batch with columns of the input events, [rows, steps] each."""
        return batch_of(self.items, self.position, self.segment, self.visit, context=context)


def whole(offsets: np.ndarray) -> Pieces:
    """Every session that has a target, uncut."""
    steps = np.diff(offsets) - 1
    kept = steps > 0
    return Pieces(offsets[:-1][kept], steps[kept])


def newest(offsets: np.ndarray, steps: int) -> Pieces:
    """Sessions cut to their last `steps` steps."""
    starts, lengths = whole(offsets)
    cut = np.minimum(lengths, steps)
    return Pieces(starts + lengths - cut, cut)


def split(offsets: np.ndarray, steps: int) -> Pieces:
    """Sessions cut into pieces of at most `steps` steps; each piece starts afresh."""
    starts, lengths = whole(offsets)
    number = -(-lengths // steps)
    nth = ranges(np.zeros_like(number), number)
    return Pieces(np.repeat(starts, number) + nth * steps, np.minimum(steps, np.repeat(lengths, number) - nth * steps))


def prefixes(offsets: np.ndarray, steps: int | None = None) -> Pieces:
    """Every beginning of every session, each a piece of its own whose last step has the target; longer ones than
    `steps` keep their last steps."""
    starts, lengths = whole(offsets)
    upto = ranges(np.ones_like(lengths), lengths)  # 1, 2, ... of every session
    cut = upto if steps is None else np.minimum(upto, steps)
    return Pieces(np.repeat(starts, lengths) + upto - cut, cut)


def lay_out(
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
    """Rows `first` to `last` of a packing, filled up with empty rows to `rows` of them; see `fill` for the rest."""
    chosen, row, column = placed(pieces, packing, first, last)
    segment = ranges(np.ones(last - first, np.int64), np.bincount(row, minlength=last - first))
    return fill(values, chosen, row, column, segment, rows, steps, scored=scored, last_only=last_only)


def placed(pieces: Pieces, packing: Packing, first: int, last: int) -> tuple[Pieces, np.ndarray, np.ndarray]:
    """The pieces of rows `first` to `last` of a packing, row by row; their rows, from 0, and their columns."""
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
    """Put pieces where they are told to go.

    Args:
        values: int32 [events].
        pieces: the runs of steps to lay out.
        row, column: int [pieces], the cell of each piece's first step.
        segment: int [pieces], the number of each piece.
        rows, steps: the shape to fill.
        position: int [pieces] or 0, the position of each piece's first step: above 0 where it goes on from before.
        scored: bool [events], the events that are targets; None: all.
        last_only: whether only the last step of a piece has a target.
    """
    starts, lengths = pieces
    event = ranges(starts, lengths)
    target = event + 1
    wanted = np.ones(len(event), bool) if scored is None else scored[target]
    if last_only:
        wanted &= target == np.repeat(starts + lengths, lengths)
    cell = ranges(row * steps + column, lengths)

    def cells(content: np.ndarray, empty: int = 0, dtype=np.int32) -> np.ndarray:
        out = np.full(rows * steps, empty, dtype)
        out[cell] = content
        return out.reshape(rows, steps)

    return Layout(
        items=cells(values[event]),
        position=cells(ranges(np.zeros_like(lengths) + position, lengths)),
        segment=cells(np.repeat(segment, lengths)),
        targets=cells(np.where(wanted, values[target], 0)),
        event=cells(np.where(wanted, target, -1), empty=-1, dtype=np.int64),
        source=cells(event, dtype=np.int64),
    )


def every_event(
    values: np.ndarray,
    offsets: np.ndarray,
    cells: int = 8192,
    narrow: int = 32,
    scored: np.ndarray | None = None,
    one_target: bool = False,
) -> Iterator[Layout]:
    """All steps of all sessions, none cut: rows as wide as the sessions in them need.

    Sessions up to `narrow` steps share rows of that width; longer ones go to rows of twice, four times ... that width,
    with fewer rows a batch, so that a batch never has more than `cells` cells (one row, where that alone is wider).

    Args:
        values, offsets: the sessions.
        scored: bool [events], the events that are targets; None: all. Steps that lead to none of them are left out.
        one_target: every target gets a piece of its own, the prefix of the session before it.
    """
    every = whole(offsets)
    if one_target:
        every = prefixes(offsets)
        if scored is not None:
            wanted = scored[every.starts + every.lengths]
            every = Pieces(every.starts[wanted], every.lengths[wanted])
    elif scored is not None and len(every.lengths):
        last = np.maximum.accumulate(np.where(scored, np.arange(len(values)), -1))  # the last one up to every event
        lengths = np.maximum(last[every.starts + every.lengths] - every.starts, 0)
        every = Pieces(every.starts[lengths > 0], lengths[lengths > 0])
    for pieces, packing, first, last, width in by_width(every, cells, narrow):
        yield lay_out(values, pieces, packing, first, last, width, last - first, scored, one_target)


def by_width(every: Pieces, cells: int, narrow: int) -> Iterator[tuple[Pieces, Packing, int, int, int]]:
    """Pieces, the packing of those of about one length, and the rows of it that make a batch: from, to, and width."""
    starts, lengths = every
    width = narrow
    longest = int(lengths.max(initial=0))
    shorter = 0
    while shorter < longest:
        here = (lengths > shorter) & (lengths <= width)
        pieces = Pieces(starts[here], lengths[here])
        packing = pack(pieces.lengths, width)
        rows = max(1, cells // width)
        for first in range(0, len(packing), rows):
            yield pieces, packing, first, min(first + rows, len(packing)), width
        shorter, width = width, width * 2


def first_alike(values: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """int64 [events]: the first event of the log with the same item after the same items of its session.

    What a model that knows the session so far and nothing else says of the one, it says of the other: on
    yoochoose1_64 a sixth of the events need not be scored.
    """
    first = np.arange(len(values))
    starts, lengths = offsets[:-1], np.diff(offsets)
    alive = np.flatnonzero(lengths > 0)
    known = np.zeros(len(alive), np.int64)  # a number for the items before this step, the same for the same items
    step = 0
    while len(alive):
        event = starts[alive] + step
        key = known * (np.int64(values.max()) + 1) + values[event]
        _, index, known = np.unique(key, return_index=True, return_inverse=True)
        first[event] = event[index][known]
        step += 1
        goes_on = lengths[alive] > step
        alive, known = alive[goes_on], known[goes_on]
    return first
