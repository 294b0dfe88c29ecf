"""The content of items or users as `prepare` stores it: small kinds in `items.parquet`, tensors beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tfrecsession.errors import InputError
from tfrecsession.sessions.content_kinds import LONGEST, interpreted, kind_of_texts
from tfrecsession.sessions.images import REFUSED, SIDE, read_image
from tfrecsession.sessions.item_table import ItemTable
from tfrecsession.sessions.sounds import FRAMES, bands_of, read_sound
from tfrecsession.sessions.table_words import ITEMS, TableWords

TENSORS = {"vector": np.float32, "image": np.uint8, "audio": np.float16}  # kinds stored beside the item table
READERS = {"image": read_image, "audio": read_sound}
PLURALS = {"vector": "vectors", "image": "images", "audio": "sounds"}
FOLDER = "content"
KIND = b"content_kind"  # in the metadata of a field of the item table
TYPES = {"list": pa.list_(pa.string()), "number": pa.float64()}  # others: string
SHOWN = 3  # examples of a column


@dataclass(frozen=True)
class ItemContents:
    """Interpreted content columns of some items, or users.

    Attributes:
        source: the name of the table in messages.
        items: the ids, all different.
        kinds: column -> kind.
        values: column -> a value per item in the form of its kind, None where missing; images and
            sounds as read.
        folder: that of relative paths of images and sounds.
        unreadable: column -> (item, reason) of each image or sound that could not be read; filled by `tensor`.
        collected, repeated: see `ItemTable`.
        words: what its rows are, in messages.
    """

    source: str
    items: list[str]
    kinds: dict[str, str]
    values: dict[str, list]
    folder: Path
    unreadable: dict[str, list] = field(default_factory=dict)
    collected: tuple[str, ...] = ()
    repeated: int = 0
    words: TableWords = ITEMS

    @classmethod
    def of(cls, table: ItemTable, kinds: Mapping[str, str | None], trained: bool = False) -> ItemContents:
        """Interprets the columns of a table; `kinds` has those that are given, or that a model was trained on.

        Raises:
            InputError: a column that is reserved, or a value that does not fit.
        """
        found, cells = {}, {}
        for name, values in table.columns.items():
            if name in table.words.reserved:
                used = f"prepared {table.words.noun}s use this name"
                raise InputError(f"{table.source}: column {name!r}: {used}; rename the column")
            given = kinds.get(name) or ("list" if name in table.collected else None)
            found[name], cells[name] = interpreted(
                table.source, name, values, table.items, given, table.text, table.folder, table.words, trained
            )
        rows = {"collected": table.collected, "repeated": table.repeated, "words": table.words}
        return cls(table.source, table.items, found, cells, table.folder, **rows)

    def rows(self, items) -> list[int]:
        """Returns the row of each item, -1 where the table lacks it."""
        index = {item: row for row, item in enumerate(self.items)}
        return [index.get(item, -1) for item in items]

    def table(self, rows: list[int]) -> pa.Table:
        """Returns the small columns of some rows, nulls for -1; the kinds are in the metadata of the fields."""
        fields, arrays = [], []
        for name, kind in self.kinds.items():
            if kind in TENSORS:
                continue
            values = self.values[name]
            fields.append(pa.field(name, TYPES.get(kind, pa.string()), metadata={KIND: kind.encode()}))
            arrays.append(pa.array([None if row < 0 else values[row] for row in rows], fields[-1].type))
        return pa.Table.from_arrays(arrays, schema=pa.schema(fields))

    def shape(self, name: str) -> tuple[int, ...]:
        """Returns the shape of an item's tensor."""
        if self.kinds[name] == "image":
            return SIDE, SIDE, 3
        if self.kinds[name] == "audio":
            return FRAMES, bands_of(self.values[name])
        return (next((len(value) for value in self.values[name] if value is not None), 0),)

    def tensor(self, name: str, rows: list[int], make: Callable = np.zeros) -> tuple[np.ndarray, np.ndarray]:
        """Reads the tensors of some rows: [n, *shape], zeros where missing, the dtype in TENSORS; bool [n], present.

        Args:
            name: a column of a kind in TENSORS.
            rows: see `rows`.
            make: (shape, dtype) -> an array of zeros that is filled, such as a memory-mapped file.

        Raises:
            InputError: most images or sounds cannot be read, or a sound needs a package that is not installed.
        """
        values, kind = self.values[name], self.kinds[name]
        reader = READERS.get(kind)
        array = make((len(rows), *self.shape(name)), TENSORS[kind])
        present = np.zeros(len(rows), bool)
        bad = self.unreadable.setdefault(name, [])
        given = 0
        for index, row in enumerate(rows):
            if row < 0 or values[row] is None:
                continue
            given += 1
            try:
                array[index] = values[row] if reader is None else reader(values[row], self.folder)
                present[index] = True
            except InputError as error:
                raise InputError(f"{self.source}: {self.words.noun} {self.items[row]!r}: {name}: {error}") from None
            except ValueError as error:
                bad.append((self.items[row], str(error)))
        if bad and len(bad) > REFUSED * given:
            item, reason = bad[0]
            text = isinstance(next(value for value in values if value is not None), bytes)
            raise InputError(
                f"{self.source}: {name}: {len(bad):,} of {given:,} {PLURALS[kind]} cannot be read; the first, of "
                f"{self.words.noun} {item!r}, {reason}. "
                + ("If they are texts, decode them" if text else f"Relative paths start from {self.folder}")
            )
        return array, present


def kinds_of(table: pa.Table | None, tensors: Mapping[str, Any] = ()) -> dict[str, str]:
    """Returns the kind of each content column of a catalogue: those stored by `prepare`, else found by their types."""
    kinds = {}
    for column in () if table is None else table.schema:
        stored = (column.metadata or {}).get(KIND)
        kinds[column.name] = stored.decode() if stored else _found(table[column.name])
    return kinds | {name: tensor.kind for name, tensor in dict(tensors).items()}


def _found(values: pa.ChunkedArray) -> str | None:
    kind = values.type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return "vector" if pa.types.is_floating(kind.value_type) else "list"
    if pa.types.is_boolean(kind):
        return "category"
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_temporal(kind):
        return "number"
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return "image"
    texts = [text for text in values.slice(0, 10_000).to_pylist() if text]
    return kind_of_texts(texts) if texts and all(isinstance(text, str) for text in texts) else "category"


@dataclass(frozen=True)
class Tensor:
    """A tensor column of a catalogue: `values` [items, ...], memory-mapped, and `present` bool [items]."""

    kind: str
    values: np.ndarray
    present: np.ndarray

    def take(self, rows: np.ndarray) -> Tensor:
        """Returns the tensors of some rows, missing for -1."""
        present = (rows >= 0) & self.present[np.maximum(rows, 0)]
        values = self.values[np.maximum(rows, 0)]
        return Tensor(self.kind, np.where(present.reshape(-1, *[1] * (values.ndim - 1)), values, 0), present)

    def followed_by(self, other: Tensor) -> Tensor:
        """Returns the tensors of this catalogue and, behind them, those of another one of the same columns."""
        values, present = ([getattr(tensor, name) for tensor in (self, other)] for name in ("values", "present"))
        return Tensor(self.kind, np.concatenate(values), np.concatenate(present))


def write_tensors(contents: ItemContents, rows: list[int], folder: Path, part: str = FOLDER) -> dict[str, dict]:
    """Writes the tensors of the catalogue to `folder`/`part`; returns their entries in `dataset.json`."""
    found = {}
    for name, kind in contents.kinds.items():
        if kind not in TENSORS:
            continue
        (folder / part).mkdir(exist_ok=True)
        file = f"{part}/{len(found)}.npy"

        def make(shape, dtype, file=file):
            return np.lib.format.open_memmap(folder / file, mode="w+", dtype=dtype, shape=shape)

        array, present = contents.tensor(name, rows, make)
        array.flush()
        np.save(folder / f"{part}/{len(found)}-present.npy", present)
        found[name] = {"file": file, "kind": kind, "shape": list(array.shape[1:])}
    return found


def read_tensors(folder: Path, entries: Mapping[str, dict]) -> dict[str, Tensor]:
    """Opens the tensors of a prepared data set, memory-mapped."""
    found = {}
    for name, entry in entries.items():
        file = folder / entry["file"]
        try:
            values = np.load(file, mmap_mode="r")
            present = np.load(file.with_name(f"{file.stem}-present.npy"))
        except (OSError, ValueError) as error:
            raise InputError(f"{file}: cannot be read ({error}): prepare the data set again") from None
        found[name] = Tensor(entry["kind"], values, present)
    return found


def column_report(contents: ItemContents, rows: list[int], tensors: Mapping[str, Tensor]) -> dict[str, dict]:
    """Returns, for each column, its `kind`, the share of the catalogue that has a value, and examples."""
    report = {}
    for name, kind in contents.kinds.items():
        values = [None if row < 0 else contents.values[name][row] for row in rows]
        count = int(tensors[name].present.sum()) if name in tensors else sum(value is not None for value in values)
        entry = {"kind": kind, "coverage": round(count / max(len(rows), 1), 4)}
        if kind in TENSORS:
            entry["shape"] = list(tensors[name].values.shape[1:])
            if kind in READERS:
                entry["unreadable"] = len(contents.unreadable.get(name, ()))
        else:
            entry["distinct"] = len({tuple(v) if isinstance(v, list) else v for v in values if v is not None})
        shown = (_example(kind, value) for value in values if value is not None)
        entry["examples"] = [text for text, _ in zip(shown, range(SHOWN), strict=False)]
        report[name] = entry
    return report


def content_notes(contents: ItemContents, rows: list[int]) -> list[str]:
    """Returns what a user should know: items without a row, unreadable images and sounds, texts that were cut."""
    notes, noun = [], contents.words.noun
    where = "catalogue" if noun == "item" else "log"
    if missing := sum(row < 0 for row in rows):
        notes.append(f"{noun}s: {missing:,} of {len(rows):,} {noun}s of the {where} have no row in {contents.source}")
    if contents.repeated:
        joined = (
            f"their values of {', '.join(contents.collected)} are collected" if contents.collected else "which agree"
        )
        notes.append(f"{noun}s: {contents.repeated:,} {noun}s have several rows in {contents.source}, {joined}")
    for name, bad in contents.unreadable.items():
        if bad:
            named = "; ".join(f"{item} {reason}" for item, reason in bad[:3])
            more = "; ..." if len(bad) > 3 else ""
            kind = PLURALS[contents.kinds[name]]
            notes.append(f"{noun}s: {len(bad):,} {kind} of {name} cannot be read and count as missing: {named}{more}")
    for name, kind in contents.kinds.items():
        if kind in ("words", "characters", "category", "list"):
            cells = (value if isinstance(value, list) else [value] for value in contents.values[name])
            cut = sum(isinstance(part, str) and len(part) == LONGEST for cell in cells for part in cell)
            if cut:
                notes.append(f"{noun}s: {cut:,} texts of {name} were cut after {LONGEST:,} characters")
    return notes


def _example(kind: str, value: Any) -> str:
    if kind == "list":
        value = ", ".join(value)
    elif kind == "number":
        value = f"{value:g}"
    elif kind == "vector":
        value = f"[{', '.join(f'{part:.3g}' for part in value[:4])}{', ...' if len(value) > 4 else ''}]"
    elif isinstance(value, np.ndarray):
        value = f"{len(value):,} frames of {value.shape[1]} bands"
    elif kind in READERS and not isinstance(value, str):
        value = f"{len(value):,} bytes" if isinstance(value, bytes) else kind
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
