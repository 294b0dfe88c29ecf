"""The attributes of items that rules read: categories, lists and numbers of the catalogue's content as arrays."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tfrecsession.rules.rules import OVERLAP, SEPARATOR
from tfrecsession.sessions.content_columns import cells_of
from tfrecsession.sessions.item_columns import kinds_of
from tfrecsession.sessions.vocabulary import FIRST, Items

CODED = ("category", "list")
WHOLE_FLOATS = 2**24  # from here on float32 has not all whole numbers
TRUTHS = {"true", "false"}


class ItemAttributes:
    """The content of a catalogue as arrays that rules compare: a code for each value of a column, and numbers.

    Args:
        items: the catalogue; without content there are no columns.

    Attributes:
        kinds: column -> "category", "list" or "number".
        values: "COLUMN<tab>VALUE" of the codes 1...; 0 is no value.
        codes: int32 [slots, size], the values of each item id; a list has a slot for each of its values.
        numbers: float32, or float64 for large ones, [numbers, size], NaN where missing.
        slots: column -> (first, width), its slots in `codes`, or its row in `numbers`.
        vectors: column -> float32 [size, width], of length 1, or zeros where missing.
    """

    def __init__(self, items: Items):
        table, self.size = items.content, len(items) + FIRST
        kinds = kinds_of(table)
        self.kinds = {name: kind for name, kind in kinds.items() if kind in (*CODED, "number")}
        self.values, self.slots = [], {}
        codes, numbers = [], []
        for name, kind in self.kinds.items():
            if kind == "number":
                self.slots[name] = len(numbers), 1
                numbers.append(_numbers(table, name))
            else:
                coded = self._coded(name, table, kind)
                self.slots[name] = sum(map(len, codes)), len(coded)
                codes.append(coded)
        self.codes = _with_ids(np.concatenate(codes) if codes else np.zeros((0, len(items)), np.int32), 0)
        numbers = _with_ids(np.array(numbers) if numbers else np.zeros((0, len(items))), np.nan)
        large = np.nanmax(np.abs(numbers), initial=0) >= WHOLE_FLOATS
        self.numbers = numbers if large else numbers.astype(np.float32)
        self._tensors = {name: tensor for name, tensor in items.tensors.items() if tensor.kind == "vector"}

    @cached_property
    def vectors(self) -> dict[str, np.ndarray]:
        found = {}
        for name, tensor in self._tensors.items():
            array = np.asarray(tensor.values, np.float32)
            lengths = np.linalg.norm(array, axis=1, keepdims=True)
            found[name] = _with_ids((array / np.maximum(lengths, 1e-12)).T, 0).T
        return found

    @property
    def similar(self) -> list[str]:
        """Names of what diversity may compare besides the model's own vectors."""
        return [*self._tensors, *([OVERLAP] if len(self.codes) else [])]

    def _coded(self, name: str, table: pa.Table, kind: str) -> np.ndarray:
        """Returns the codes of a column, int32 [width, items], and adds its values to `values`."""
        column = table[name].combine_chunks()
        column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
        rows = np.arange(len(column))
        if kind == "list":
            rows = pc.list_parent_indices(column).to_numpy()
            column = pc.list_flatten(column)
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        texts = pc.utf8_trim_whitespace(column.cast(pa.string()))
        texts = pc.if_else(pc.equal(texts, ""), None, texts)
        lowered = pc.utf8_lower(texts)
        if set(pc.unique(lowered).drop_null().to_pylist()) <= TRUTHS:  # as text files write truth values
            texts = lowered
        encoded = texts.dictionary_encode()
        known = np.asarray(encoded.indices.is_valid())
        rows, code = rows[known], np.asarray(encoded.indices.drop_null(), np.int32) + 1 + len(self.values)
        self.values += [f"{name}{SEPARATOR}{value}" for value in encoded.dictionary.to_pylist()]
        slot = np.arange(len(rows)) - np.searchsorted(rows, rows)  # rows rise
        found = np.zeros((int(slot.max(initial=0)) + 1, len(table)), np.int32)
        found[slot, rows] = code
        return found


def _numbers(table: pa.Table, name: str) -> np.ndarray:
    column = table[name]
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        numbers = column.cast(pa.float64()).to_numpy()
    else:
        numbers = np.array([np.nan if cell is None else cell for cell in cells_of(table, name, "number")], np.float64)
    return np.where(np.isfinite(numbers), numbers, np.nan)


def _with_ids(columns: np.ndarray, empty) -> np.ndarray:
    """Adds the ids of padding and of unknown items in front: [n, items] -> [n, size]."""
    return np.pad(columns, [(0, 0), (FIRST, 0)], constant_values=empty)
