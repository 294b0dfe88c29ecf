"""Packed batches of data larger than memory: shards of a prepared split, read a window at a time.

A shard is a row group of a Parquet part, some 65 thousand sessions. An epoch puts the shards in another order and cuts
that into windows. The sessions of each shard of a window are dealt into rows, and the rows of all of them are mixed, so
that a batch has rows from everywhere in its window; rows that do not fill a batch wait for the next window. Each shard
has the same number of rows in every epoch, whatever window it is in, so the number of batches is known.

What is held: the window that is read from, and the next one, which is read meanwhile. An event takes 4 bytes, a piece
(a session, if it is not cut up) 8, a row 16; and one shard at a time is in the making. Together that stays below
`memory`. Beside it a process grows by some 200 MB (batches under way, tf.data's threads, Arrow's pool), whatever the
size of the data: measured with 25 and 205 million events.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfrecsession.batches import datasets, layout
from tfrecsession.batches.batch import names, spec
from tfrecsession.batches.epochs import in_epochs
from tfrecsession.batches.packing import Packing, pack, ranges, rows_needed
from tfrecsession.errors import InputError
from tfrecsession.sessions.options import bytes_of
from tfrecsession.sessions.store import StoredSessions


def streamed(
    arrays: StoredSessions,
    memory: str | int,
    rows: int = 64,
    steps: int = 20,
    *,
    shuffle: bool = True,
    seed: int = 0,
    long: str = "newest",
    one_target: bool = False,
    shard: tuple[int, int] = (0, 1),
) -> tf.data.Dataset:
    """As `datasets.packed`, every session once an epoch, from files. Lengths are counted in one pass at the start.

    Args:
        arrays: the split. Of its arrays none is loaded.
        memory: what may be held, as 512MB or a number of bytes.
        rows, steps, shuffle, seed, long, one_target: as in `datasets.packed`. Sessions are mixed within a window; the
            order of an epoch depends on `memory` too.
        shard: (i, n): the shards of worker i of n, dealt out by size. Every worker gets the same number of batches, the
            last ones empty where it has less; what n workers read at a time is not what one reads.

    Raises:
        InputError: `memory` is too little for the largest shard (the message says the least), a file is missing or
            damaged, or there are fewer shards than workers.
    """
    cut = datasets.cutting(rows, steps, long, one_target)
    return _Stream(arrays, bytes_of(memory), steps, cut, shuffle, seed, one_target).batches(rows, *shard)


class _Shard(NamedTuple):
    part: Path
    group: int
    events: int
    pieces: int
    rows: int

    @property
    def held(self) -> int:
        """Bytes, in a window."""
        return 4 * self.events + 8 * self.pieces + 16 * self.rows

    @property
    def read(self) -> int:
        """Bytes, while it is read and packed: Arrow's buffers, and some dozen numbers a piece."""
        return 24 * self.events + 100 * self.pieces


class _Window(NamedTuple):
    """Rows of pieces: row `r` has pieces `splits[r]` to `splits[r + 1]`; they are taken in the order `order`."""

    values: np.ndarray  # int32 [events]
    pieces: layout.Pieces  # int32 [pieces], row by row
    splits: np.ndarray  # int64 [rows + 1]
    order: np.ndarray  # int64 [rows]

    def lay_out(self, first: int, last: int, steps: int, last_only: bool) -> layout.Layout:
        row = self.order[first:last]
        sizes = self.splits[row + 1] - self.splits[row]
        packing = Packing(ranges(self.splits[row], sizes), np.concatenate([[0], np.cumsum(sizes)]))
        return layout.lay_out(self.values, self.pieces, packing, 0, len(row), steps, len(row), last_only=last_only)


class _Stream:
    def __init__(self, arrays: StoredSessions, memory: int, steps: int, cut, shuffle: bool, seed: int, last_only: bool):
        self.arrays, self.steps, self.cut = arrays, steps, cut
        self.shuffle, self.seed, self.last_only = shuffle, seed, last_only
        self.shards = []
        for where in arrays.shards:
            values, pieces = self._read(*where)
            needed = rows_needed(pieces.lengths, steps)
            self.shards.append(_Shard(*where, len(values), len(pieces.lengths), needed))
        arrays.check_events(sum(shard.events for shard in self.shards))
        if not sum(shard.rows for shard in self.shards):
            raise InputError(datasets.NOTHING)
        reading = max(shard.read for shard in self.shards)
        least = reading + 2 * max(shard.held for shard in self.shards)
        if memory < least:
            largest = max(self.shards, key=lambda shard: shard.held)
            raise InputError(
                f"memory={memory:,} bytes: too little for row group {largest.group} of {largest.part}, which has "
                f"{largest.events:,} events; say at least {-(-least // 10**6)}MB"
            )
        self.a_window = (memory - reading) // 2

    def batches(self, rows: int, index: int, count: int) -> tf.data.Dataset:
        """Those of worker `index` of `count`."""
        if not 0 <= index < count:
            raise InputError(f"shard=({index}, {count}): say (i, n) for worker i of n, from 0")
        shares = self._dealt(count)
        number = max(-(-sum(shard.rows for shard in share) // rows) for share in shares)
        chunk = max(1, datasets.CELLS_A_CHUNK // (rows * self.steps))

        def chunks(epoch, first):
            return self._chunks(shares[index], epoch, first * chunk * rows, rows, number, chunk * rows)

        def share(index, of):
            if count > 1:
                raise InputError("shard: the workers of a strategy get their shards by themselves, leave it out")
            if rows % of:
                raise InputError(f"rows={rows}: {of} workers share the rows of a batch, say a multiple of {of}")
            return self.batches(rows // of, index, of)

        return in_epochs(chunks, spec((None, rows, self.steps)), number, chunk, share)

    def _dealt(self, count: int) -> list[list[_Shard]]:
        """The shards of each worker, about as many rows for each: the largest first, to whom has the fewest rows."""
        if count > len(self.shards):
            raise InputError(f"{count} workers, but the data has {len(self.shards)} row groups: take fewer workers")
        shares, loads = [[] for _ in range(count)], [0] * count
        for number in sorted(range(len(self.shards)), key=lambda number: -self.shards[number].rows):
            lightest = loads.index(min(loads))
            shares[lightest].append(number)
            loads[lightest] += self.shards[number].rows
        return [[self.shards[number] for number in sorted(share)] for share in shares]

    def _chunks(self, shards: list[_Shard], epoch: int, at: int, rows: int, batches: int, size: int) -> Iterator:
        """The rows of an epoch from number `at` on, `size` at a time, in batches of `rows`."""
        held = []

        def stacked():
            joined = {name: np.concatenate([some[name] for some in held]) for name in held[0]}
            joined = {name: array.reshape(-1, rows, self.steps) for name, array in joined.items()}
            held.clear()
            return joined, joined.pop("targets")

        for window, first in self._windows(shards, epoch, at):
            while first < len(window.order):
                last = min(first + size - at % size, len(window.order))
                laid = window.lay_out(first, last, self.steps, self.last_only)
                held.append({**laid.batch, "targets": laid.targets})
                first, at = last, at + last - first
                if at % size == 0:
                    yield stacked()
            del window  # before the one after the next is read
        while held or at < batches * rows:
            empty = np.zeros((min(size - at % size, batches * rows - at), self.steps), np.int32)
            held.append(dict.fromkeys((*names(), "targets"), empty))
            at += len(empty)
            yield stacked()

    def _windows(self, shards: list[_Shard], epoch: int, at: int) -> Iterator[tuple[_Window, int]]:
        """The windows of an epoch from row `at` on, and the row of each to begin with; those before are not read."""
        order = np.random.default_rng([self.seed, epoch]).permutation(len(shards)) if self.shuffle else None
        plan, begin = [], 0
        for number, some in enumerate(self._in_windows(shards if order is None else [shards[i] for i in order])):
            end = begin + sum(shard.rows for shard in some)
            if at < end:
                plan.append((some, epoch, number, max(at - begin, 0)))
            begin = end
        with ThreadPoolExecutor(1) as reader:
            coming = [reader.submit(self._window, *plan[0][:3])] if plan else []
            for number, (*_, first) in enumerate(plan):
                window = coming.pop().result()
                if number + 1 < len(plan):
                    coming.append(reader.submit(self._window, *plan[number + 1][:3]))
                yielded, window = (window, first), None
                yield yielded
                del yielded

    def _in_windows(self, shards: list[_Shard]) -> Iterator[list[_Shard]]:
        some, held, events = [], 0, 0
        for shard in shards:
            if some and (held + shard.held > self.a_window or events + shard.events >= 1 << 31):
                yield some
                some, held, events = [], 0, 0
            some.append(shard)
            held, events = held + shard.held, events + shard.events
        yield some

    def _window(self, shards: list[_Shard], epoch: int, number: int) -> _Window:
        rng = np.random.default_rng([self.seed, epoch, number]) if self.shuffle else None
        values = np.empty(sum(shard.events for shard in shards), np.int32)
        starts, lengths = np.empty((2, sum(shard.pieces for shard in shards)), np.int32)
        splits = np.zeros(sum(shard.rows for shard in shards) + 1, np.int64)
        event = piece = row = 0
        for shard in shards:
            some, pieces = self._read(shard.part, shard.group)
            packing = pack(pieces.lengths, self.steps, rng)
            if (len(some), len(packing.order), len(packing)) != shard[2:]:
                raise InputError(f"{shard.part}: has changed while it was trained on: prepare the data set again")
            values[event : event + shard.events] = some
            starts[piece : piece + shard.pieces] = pieces.starts[packing.order] + event
            lengths[piece : piece + shard.pieces] = pieces.lengths[packing.order]
            splits[row + 1 : row + 1 + shard.rows] = packing.splits[1:] + piece
            event, piece, row = event + shard.events, piece + shard.pieces, row + shard.rows
        order = np.arange(row) if rng is None else rng.permutation(row)
        return _Window(values, layout.Pieces(starts, lengths), splits, order)

    def _read(self, part: Path, group: int) -> tuple[np.ndarray, layout.Pieces]:
        values, offsets = self.arrays.read_shard(part, group)
        return values, self.cut(offsets, self.steps)
