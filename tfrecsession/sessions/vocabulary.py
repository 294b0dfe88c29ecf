"""The ids of items, in the convention of Keras' StringLookup: 0 padding, 1 unknown, 2.. items by falling count."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tfrecsession.events.id_texts import texts

if TYPE_CHECKING:
    import ibis.expr.types as ir

PADDING, UNKNOWN, FIRST = 0, 1, 2  # ids


class Items:
    """The catalogue: the items of the training sessions, with the ids 2.. in this order; added ones have a count of 0.

    Args:
        ids: N ids, as `encode` takes them.
        counts: int64 [N], events in training, falling; further items of a refit or a newer log stand behind.
        content: the content columns of a prepared data set, a row per item (pyarrow), or None.
        tensors: the vectors, images and sounds of a prepared data set by column, see `sessions.item_columns.Tensor`, or
            None.

    Examples:
        >>> items = Items(["shoe", "hat"], [9, 4])
        >>> items.encode(["hat", "scarf", "", "shoe"])
        array([3, 1, 0, 2], dtype=int32)
        >>> items.decode([2, 3, 0]).tolist()
        ['shoe', 'hat', '']
    """

    context_log = None  # the log that the context of a model is learned from, see `sessions.context`
    users = None  # the users of the data set with their features, see `sessions.users`

    def __init__(self, ids: Iterable, counts: Iterable[int], content: pa.Table | None = None, tensors=None):
        self.content = content
        self.tensors = dict(tensors or {})
        self.ids = np.array(texts(ids, "ids"), dtype=object)
        self.counts = np.asarray(counts, np.int64)
        if self.ids.shape != self.counts.shape:
            raise ValueError(f"{len(self.ids)} items with {len(self.counts)} counts")

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        first = ", ".join(
            f"{shorten(repr(item), 24)} ({count:,})"
            for item, count in zip(self.ids[:3].tolist(), self.counts[:3].tolist(), strict=True)
        )
        more = ", ..." if len(self) > 3 else ""
        return f"<Items: {len(self):,} items, {self.counts.sum():,} events in training\n  {first or 'none'}{more}>"

    @property
    def size(self) -> int:
        """The rows of a table with a row for every id: N + 2."""
        return len(self) + FIRST

    def by_count(self) -> np.ndarray:
        """Returns the rows of the items by falling count, int64 [N]; ids alone tell it only as `prepare` made them."""
        return np.argsort(-self.counts, kind="stable")

    def encode(self, items: Iterable) -> np.ndarray:
        """Converts items to int32 ids: 0 for "", 1 for unknown items.

        Args:
            items: a list, generator, array, tensor or column of texts, bytes (UTF-8) or numbers. They count as their
                text, whole floats without ".0".

        Raises:
            InputError: a value is not an id, such as None or NaN.
        """
        known = self._known
        return np.fromiter((known.get(text, UNKNOWN) for text in texts(items, "items")), np.int32)

    def decode(self, ids) -> np.ndarray:
        """Converts ids of any shape to an object array of str of the same shape; "" for padding and unknown.

        Raises:
            IndexError: an id that is not in the catalogue.
        """
        ids = np.asarray(ids)
        if ids.size and ids.min() < 0:
            raise IndexError(f"negative item id {ids.min()}")
        return self._names[ids]

    def holds(self, other: Items) -> bool:
        """Returns whether every id of `other` is the same item here: `other` is equal, or the beginning of this one."""
        return other.fingerprint == self.fingerprint or (
            len(other) < len(self) and bool((self.ids[: len(other)] == other.ids).all())
        )

    def content_of(self, other: Items) -> pa.Table | None:
        """Returns the content columns for a catalogue that begins with this one, with nulls for its further items."""
        if self.content is None or len(other) == len(self):
            return self.content
        rows = np.arange(len(other))
        return self.content.take(pa.array(rows, mask=rows >= len(self)))

    def tensors_of(self, other: Items) -> dict:
        """Returns the tensors for a catalogue that begins with this one; its further items have none."""
        rows = np.arange(len(other))
        rows = np.where(rows < len(self), rows, -1)
        return {name: tensor if len(other) == len(self) else tensor.take(rows) for name, tensor in self.tensors.items()}

    def write(self, path: str | os.PathLike) -> None:
        """Writes the catalogue to a Parquet file, as in a saved model."""
        pq.write_table(pa.table({"item": pa.array(self.ids, pa.string()), "count": self.counts}), path)

    @classmethod
    def read(cls, path: str | os.PathLike) -> Items:
        """Reads a catalogue that `write` wrote."""
        table = pq.read_table(path)
        return cls(table["item"].to_pylist(), table["count"].to_numpy())

    @cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that identify the items and their order."""
        encoded = [item.encode() for item in self.ids]
        lengths = np.array([len(item) for item in encoded], "<i8")
        return hashlib.sha256(lengths.tobytes() + b"".join(encoded)).hexdigest()[:16]

    @cached_property
    def _known(self) -> dict[str, int]:
        return {item: index for index, item in enumerate(self.ids.tolist(), FIRST)} | {"": PADDING}

    @cached_property
    def _names(self) -> np.ndarray:
        return np.concatenate([np.array(["", ""], dtype=object), self.ids])


def shorten(text: str, width: int) -> str:
    """Returns a text of at most `width` characters."""
    return text if len(text) <= width else f"{text[: width - 3]}..."


def make_vocabulary(train: ir.Table, names: ir.Table) -> ir.Table:
    """Builds the vocabulary of coded training events: `item` string, `count` int64, `id` int32, by falling count.

    Equal counts are ordered by item.

    names: the `name` of every item `code`.
    """
    from ibis import row_number

    counts = train.group_by(code=train.item).agg(count=train.count())
    items = counts.inner_join(names, "code")
    rank = row_number().over(order_by=[items["count"].desc(), items.name])
    return items.select(item=items.name, count=items["count"], id=(rank + FIRST).cast("int32"))


def items_beyond(vocabulary: ir.Table, size: int, events: ir.Table, names: ir.Table) -> ir.Table:
    """Returns the items of coded events that a vocabulary lacks: `item`, `count` int64 in these events, `id` int32.

    The ids follow those of the vocabulary of `size` items, by falling count; equal counts are ordered by item.
    """
    from ibis import row_number

    counts = events.group_by(code=events.item).agg(count=events.count())
    items = counts.inner_join(names, "code").select("name", "count")
    items = items.anti_join(vocabulary.select(name="item"), "name")
    rank = row_number().over(order_by=[items["count"].desc(), items.name])
    return items.select(item=items.name, count=items["count"], id=(rank + size + FIRST).cast("int32"))


def with_unseen(vocabulary: ir.Table, items: Iterable[str]) -> ir.Table:
    """Adds the `items` that the vocabulary lacks behind its own, with a count of 0, in the order of their names."""
    import ibis

    known = set(vocabulary.item.to_pyarrow().to_pylist())
    added = sorted(set(items) - known)
    ids = pa.array(np.arange(len(added)) + len(known) + FIRST, pa.int32())
    counts = pa.array(np.zeros(len(added), np.int64))
    return vocabulary.union(ibis.memtable(pa.table({"item": pa.array(added, pa.string()), "count": counts, "id": ids})))


def encode_events(events: ir.Table, names: ir.Table, vocabulary: ir.Table, unknown: str) -> ir.Table:
    """Adds the column `id` to coded events; unknown: "drop" events of items without one, or "keep" them as UNKNOWN."""
    ids = vocabulary.select(name="item", id="id")
    ids = names.join(ids, "name", how="inner" if unknown == "drop" else "left").select(item="code", id="id")
    return events.inner_join(ids.mutate(id=ids.id.fill_null(UNKNOWN)), "item")
