"""Packed batches of data larger than memory: shards of a prepared split, read a window at a time.

A shard is a row group of a Parquet part, some 65 thousand sessions. Every epoch shuffles the shards and cuts their
sequence into windows. The sessions of each shard are dealt into rows, and the rows of all shards of a window are mixed:
a batch has rows from anywhere in its window. Rows that do not fill a batch wait for the next window. Each shard has the
same number of rows in every epoch, whatever window it is in, so the number of batches is known.

Two windows are held: the current one, and the next one, which is read meanwhile. An event takes 4 bytes, a piece (a
session, if it is not cut up) 8, a row 16; one shard at a time is read and packed. Together that stays below `memory`.
In addition the process grows by some 200 MB (prefetched batches, tf.data's threads, Arrow's pool), whatever the size of
the data: measured with 25 and 205 million events.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfrecsession.batches import datasets, layout
from tfrecsession.batches.batch import dtypes, spec
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
    context=None,
    timed: bool = True,
    weighing=None,
) -> tf.data.Dataset:
    """Returns batches as `datasets.packed` does, every session once an epoch, from files.

    One pass at the start counts lengths.

    Args:
        arrays: the split. None of its arrays is loaded.
        memory: the most that is held, as 512MB or a number of bytes.
        rows, steps, shuffle, seed, long, one_target: as in `datasets.packed`. Sessions are mixed within a window, so
            the order of an epoch depends on `memory` too.
        shard: (i, n): the shards of worker i of n, balanced by size. Every worker gets the same number of batches; a
            worker with less data gets empty ones at the end. The joint batches of n workers differ from those of one.
        context: the `Context` of the batches; a column of it takes 4 bytes an event.
        timed: whether the log has times.
        weighing: the `Weighing` of the events; the weight takes 4 bytes an event.

    Raises:
        InputError: `memory` is too little for the largest shard (the message names the minimum), a file is missing or
            damaged, or there are fewer shards than workers.
    """
    cut = datasets.cutting(rows, steps, long, one_target)
    stream = _Stream(arrays, bytes_of(memory), steps, cut, shuffle, seed, one_target, context, timed, weighing)
    return stream.batches(rows, *shard)


class _Shard(NamedTuple):
    part: Path
    group: int
    events: int
    pieces: int
    rows: int
    columns: int = 0  # of context, and the weight

    @property
    def held(self) -> int:
        """The bytes that it takes in a window."""
        return 4 * (1 + self.columns) * self.events + 8 * self.pieces + 16 * self.rows

    @property
    def read(self) -> int:
        """The bytes that reading and packing it takes: Arrow's buffers, and about a dozen numbers a piece."""
        return 24 * (1 + self.columns) * self.events + 100 * self.pieces


class _Window(NamedTuple):
    """Rows of pieces: row `r` has pieces `splits[r]` to `splits[r + 1]`; batches take the rows in the order `order`."""

    values: np.ndarray  # int32 [events]
    pieces: layout.Pieces  # int32 [pieces], row by row
    splits: np.ndarray  # int64 [rows + 1]
    order: np.ndarray  # int64 [rows]
    columns: dict[str, np.ndarray]  # the context and the weight of the events, [events] each

    def ordered_rows(self, first: int, last: int, steps: int, last_only: bool) -> layout.Layout:
        """Lays out the rows `order[first:last]`."""
        row = self.order[first:last]
        sizes = self.splits[row + 1] - self.splits[row]
        packing = Packing(ranges(self.splits[row], sizes), np.concatenate([[0], np.cumsum(sizes)]))
        return layout.packed_rows(self.values, self.pieces, packing, 0, len(row), steps, len(row), last_only=last_only)


class _Stream:
    def __init__(
        self,
        arrays: StoredSessions,
        memory: int,
        steps: int,
        cut,
        shuffle: bool,
        seed: int,
        last_only: bool,
        context=None,
        timed: bool = True,
        weighing=None,
    ):
        self.arrays, self.steps, self.cut = arrays, steps, cut
        self.shuffle, self.seed, self.last_only = shuffle, seed, last_only
        self.context, self.timed, self.weighing = context, timed, weighing
        columns = (len(context.keys) if context else 0) + (weighing is not None)
        self.shards, first = [], 0
        for part, group in arrays.shards:
            values, offsets = arrays.read_shard(part, group)
            pieces = self._cut(offsets, self._weights(part, group, values, offsets, first))
            first += len(offsets) - 1
            rows = rows_needed(pieces.lengths, steps)
            self.shards.append(_Shard(part, group, len(values), len(pieces.lengths), rows, columns))
        arrays.check_events(sum(shard.events for shard in self.shards))
        if not sum(shard.rows for shard in self.shards):
            raise InputError(datasets.NOTHING if weighing is None else datasets.ZERO)
        reading = max(shard.read for shard in self.shards)
        least = reading + 2 * max(shard.held for shard in self.shards)
        if memory < least:
            largest = max(self.shards, key=lambda shard: shard.held)
            raise InputError(
                f"memory={memory:,} bytes: must be at least {-(-least // 10**6)}MB for row group {largest.group} of "
                f"{largest.part}, which has {largest.events:,} events"
            )
        self.window_bytes = (memory - reading) // 2

    def batches(self, rows: int, index: int, count: int) -> tf.data.Dataset:
        """Returns the batches of worker `index` of `count`."""
        if not 0 <= index < count:
            raise InputError(f"shard=({index}, {count}): must be (i, n) for worker i of n, counted from 0")
        shares = self._dealt(count)
        number = max(-(-sum(shard.rows for shard in share) // rows) for share in shares)
        chunk = max(1, datasets.CELLS_A_CHUNK // (rows * self.steps))

        def chunks(epoch, first):
            return self._chunks(shares[index], epoch, first * chunk * rows, rows, number, chunk * rows)

        def of_worker(worker, workers):
            if count > 1:
                raise InputError(
                    f"shard=({index}, {count}): must be left out with a strategy, which deals the shards to its workers"
                )
            if rows % workers:
                raise InputError(
                    f"rows={rows}: must be a multiple of {workers}, as {workers} workers share the rows of a batch"
                )
            return self.batches(rows // workers, worker, workers)

        return in_epochs(chunks, self._kinds(spec, (None, rows, self.steps)), number, chunk, of_worker)

    def _dealt(self, count: int) -> list[list[_Shard]]:
        """Returns the shards of each worker, balanced by rows: the largest first, to the worker with the fewest."""
        if count > len(self.shards):
            raise InputError(f"{count} workers, but the data has {len(self.shards)} row groups: use fewer workers")
        shares, loads = [[] for _ in range(count)], [0] * count
        for number in sorted(range(len(self.shards)), key=lambda number: -self.shards[number].rows):
            lightest = loads.index(min(loads))
            shares[lightest].append(number)
            loads[lightest] += self.shards[number].rows
        return [[self.shards[number] for number in sorted(share)] for share in shares]

    def _chunks(self, shards: list[_Shard], epoch: int, at: int, rows: int, batches: int, size: int) -> Iterator:
        """Yields the rows of an epoch from row `at` on, `size` at a time, in batches of `rows`."""
        held = []

        def stacked():
            joined = {name: np.concatenate([arrays[name] for arrays in held]) for name in held[0]}
            joined = {name: array.reshape(-1, rows, self.steps) for name, array in joined.items()}
            held.clear()
            return joined, joined.pop("targets")

        for window, first in self._windows(shards, epoch, at):
            while first < len(window.order):
                last = min(first + size - at % size, len(window.order))
                laid = window.ordered_rows(first, last, self.steps, self.last_only)
                batch, targets = laid.element_with(window.columns)
                held.append({**batch, "targets": targets})
                first, at = last, at + last - first
                if at % size == 0:
                    yield stacked()
            del window  # before the window after the next one is read
        while held or at < batches * rows:
            shape = min(size - at % size, batches * rows - at), self.steps
            kinds = {**self._kinds(dtypes), "targets": np.int32}
            held.append({name: np.zeros(shape, kind) for name, kind in kinds.items()})
            at += shape[0]
            yield stacked()

    def _windows(self, shards: list[_Shard], epoch: int, at: int) -> Iterator[tuple[_Window, int]]:
        """Yields the windows of an epoch from row `at` on, each with its first row to use; it reads no earlier ones."""
        order = np.random.default_rng([self.seed, epoch]).permutation(len(shards)) if self.shuffle else None
        plan, begin = [], 0
        for number, chunk in enumerate(self._in_windows(shards if order is None else [shards[i] for i in order])):
            end = begin + sum(shard.rows for shard in chunk)
            if at < end:
                plan.append((chunk, epoch, number, max(at - begin, 0)))
            begin = end
        with ThreadPoolExecutor(1) as reader:
            reading = [reader.submit(self._window, *plan[0][:3])] if plan else []
            for number, (*_, first) in enumerate(plan):
                window = reading.pop().result()
                if number + 1 < len(plan):
                    reading.append(reader.submit(self._window, *plan[number + 1][:3]))
                yielded, window = (window, first), None  # no reference stays here: the caller frees the window
                yield yielded
                del yielded

    def _in_windows(self, shards: list[_Shard]) -> Iterator[list[_Shard]]:
        window, held, events = [], 0, 0
        for shard in shards:
            if window and (held + shard.held > self.window_bytes or events + shard.events >= 1 << 31):
                yield window
                window, held, events = [], 0, 0
            window.append(shard)
            held, events = held + shard.held, events + shard.events
        yield window

    def _window(self, shards: list[_Shard], epoch: int, number: int) -> _Window:
        rng = np.random.default_rng([self.seed, epoch, number]) if self.shuffle else None
        values = np.empty(sum(shard.events for shard in shards), np.int32)
        starts, lengths = np.empty((2, sum(shard.pieces for shard in shards)), np.int32)
        splits = np.zeros(sum(shard.rows for shard in shards) + 1, np.int64)
        kinds = {key: column.dtype for key, column in self.context.keys.items()} if self.context else {}
        kinds |= {"weight": np.float32} if self.weighing else {}
        columns = {key: np.empty(len(values), kind) for key, kind in kinds.items()}
        event = piece = row = 0
        for shard in shards:
            read, pieces, encoded = self._read(shard.part, shard.group)
            packing = pack(pieces.lengths, self.steps, rng)
            if (len(read), len(packing.order), len(packing)) != shard[2:5]:
                raise InputError(f"{shard.part}: has changed during training: prepare the data set again")
            values[event : event + shard.events] = read
            for key, array in encoded.items():
                columns[key][event : event + shard.events] = array
            starts[piece : piece + shard.pieces] = pieces.starts[packing.order] + event
            lengths[piece : piece + shard.pieces] = pieces.lengths[packing.order]
            splits[row + 1 : row + 1 + shard.rows] = packing.splits[1:] + piece
            event, piece, row = event + shard.events, piece + shard.pieces, row + shard.rows
        order = np.arange(row) if rng is None else rng.permutation(row)
        return _Window(values, layout.Pieces(starts, lengths), splits, order, columns)

    def _read(self, part: Path, group: int) -> tuple[np.ndarray, layout.Pieces, dict[str, np.ndarray]]:
        values, offsets = self.arrays.read_shard(part, group)
        encoded = {}
        if self.context:

            def read(name):
                return self.arrays.read_column(part, group, name)

            encoded = self.context.encode(read, self.arrays.columns, offsets, self.timed)
        weights = self._weights(part, group, values, offsets)
        if weights is not None:
            encoded["weight"] = weights
        return values, self._cut(offsets, weights), encoded

    def _cut(self, offsets: np.ndarray, weights: np.ndarray | None) -> layout.Pieces:
        """Returns the pieces of a shard, of weighted events those with a target of weight above 0."""
        pieces = self.cut(offsets, self.steps)
        return pieces if weights is None else layout.with_targets(pieces, weights, self.last_only)

    def _weights(self, part: Path, group: int, values, offsets: np.ndarray, first: int = 0) -> np.ndarray | None:
        """Returns the weights of the events of a shard, float32 [events]; `first`: its first session, for errors."""
        if self.weighing is None:
            return None

        def read(name):
            return self.arrays.read_column(part, group, name)

        return self.weighing.weights(read, offsets, first, values > 0).example.astype(np.float32)

    def _kinds(self, of, *shape):
        """Returns what `batch.dtypes` or `batch.spec` returns of the batches."""
        return of(*shape, visits=False, context=self.context, weighted=self.weighing is not None)
