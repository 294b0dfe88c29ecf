"""Content columns of items as tensors for networks: learned once, the same for items that are new after training."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np
import pyarrow as pa

from tfrecsession.errors import InputError
from tfrecsession.sessions.content_kinds import are_numbers, checked_content, interpreted
from tfrecsession.sessions.item_columns import TENSORS, ItemContents, Tensor, kinds_of
from tfrecsession.sessions.item_table import ItemTable
from tfrecsession.sessions.vocabulary import Items

MISSING, UNKNOWN, FIRST = 0, 1, 2  # codes of values
WIDEST = 32  # values of a list, or words of a text, that are read
MOST_VALUES = 50_000  # values of a category or a list, and words, that are known; the most frequent ones
CHARACTERS = 64  # of a name that are read
ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789 -,;.!?:\"'/\\|_@#$%="  # codes 1.. (Tuan and Phuong, RecSys 2017)
OTHER = len(ALPHABET) + 1
QUANTILES = 65
STRIPPED = ".,;:!?()[]{}\"'"
FEW = 3  # different values that tell that a column has changed
TEXTS = ("category", "words", "characters")  # kinds that a column of texts may be read as


@dataclass(frozen=True)
class ContentColumn:
    """A content column as a model reads it.

    Attributes:
        name: the column of the item table.
        kind: one of `content_kinds.KINDS`.
        values: of categories and lists the known values, of words the vocabulary.
        weights: the inverse document frequency of each word.
        width: values, words or characters of one item that are read; of a vector its length, of
            audio its bands.
        quantiles: of numbers, QUANTILES rising values.
        mean, deviation: of numbers and of the entries of vectors and frames.
        shape: of an item's tensor.
    """

    name: str
    kind: str
    values: tuple[str, ...] = ()
    weights: tuple[float, ...] = ()
    width: int = 0
    quantiles: tuple[float, ...] = ()
    mean: float = 0.0
    deviation: float = 1.0
    shape: tuple[int, ...] = ()

    @property
    def codes(self) -> int:
        """The codes of values: those of missing and unknown ones, and the known ones."""
        return FIRST + len(self.values)

    def tensors(self) -> dict[str, tuple[tuple[int, ...], str]]:
        """Returns the shape and dtype, per item, of the tensors that stand in memory, by key."""
        if self.kind in ("category", "list"):
            return {self.name: ((self.width,), "int32")}
        if self.kind == "words":
            return {self.name: ((self.width,), "int32"), f"{self.name}/weight": ((self.width,), "float32")}
        if self.kind == "characters":
            return {self.name: ((self.width,), "uint8")}
        return {self.name: ((3,), "float32")} if self.kind == "number" else {}

    def check_form(self, table: ItemTable, contents: ItemContents) -> None:
        """Refuses numbers where training had other texts, and the reverse; not because of a few texts."""
        if self.kind not in ("category", "list") or not self.values:
            return
        cells = {item: value for item, value in zip(contents.items, contents.values[self.name], strict=True) if value}
        now = [part for cell in cells.values() for part in (cell if isinstance(cell, list) else [cell])]
        typed = any(isinstance(value, int | float) for value in table.columns[self.name])  # numbers, truth values
        were, are = are_numbers(self.values), are_numbers(now)
        changed = (typed and not were) or (were != are and len(set(now)) >= FEW)
        if now and changed and not set(now) & set(self.values):
            raise InputError(
                f"{contents.source}: {self.name} holds {now[0]!r} for item {next(iter(cells))!r}, and no value that it "
                f"held in training, such as {self.values[0]!r}; did the column change its kind?"
            )

    def encode(self, cells: list) -> dict[str, np.ndarray]:
        """Encodes a value per item, None where missing; see `ContentColumns.encode`."""
        found = {key: np.zeros((len(cells), *shape), dtype) for key, (shape, dtype) in self.tensors().items()}
        array = found[self.name]
        if self.kind == "number":
            known = np.array([cell is not None for cell in cells], bool)
            numbers = np.array([cell for cell in cells if cell is not None], np.float64)
            array[known, 0] = np.clip((numbers - self.mean) / self.deviation, -5, 5)
            array[known, 1] = np.interp(numbers, self.quantiles, np.linspace(0, 1, len(self.quantiles)))
            array[known, 2] = 1
        elif self.kind == "characters":
            codes = {character: code for code, character in enumerate(ALPHABET, 1)}
            for row, cell in enumerate(cells):
                if cell is not None:
                    read = [codes.get(character, OTHER) for character in cell.lower()[: self.width]]
                    array[row, : len(read)] = read
        elif self.kind == "words":
            codes = {value: code for code, value in enumerate(self.values, FIRST)}
            for row, cell in enumerate(cells):
                counts = Counter(codes[word] for word in words_of(cell) if word in codes)
                weights = {code: count * self.weights[code - FIRST] for code, count in counts.items()}
                best = sorted(weights, key=lambda code: (-weights[code], code))[: self.width]
                length = sum(weights[code] ** 2 for code in best) ** 0.5
                array[row, : len(best)] = best
                found[f"{self.name}/weight"][row, : len(best)] = [weights[code] / length for code in best]
        else:
            codes = {value: code for code, value in enumerate(self.values, FIRST)}
            for row, cell in enumerate(cells):
                if cell is not None:
                    parts = cell[: self.width] if isinstance(cell, list) else [cell]
                    array[row, : len(parts)] = [codes.get(part, UNKNOWN) for part in parts]
        return found


def words_of(text: str | None) -> list[str]:
    """Returns the lower-cased words of a text, without the punctuation around them."""
    words = (word.strip(STRIPPED) for word in (text or "").lower().split())
    return [word for word in words if word]


class ContentColumns:
    """Content columns that a network reads; learned from the items that training has.

    Attributes:
        columns: tuple of `ContentColumn`.
    """

    def __init__(self, columns):
        self.columns = tuple(columns)

    def __bool__(self) -> bool:
        return bool(self.columns)

    def __repr__(self) -> str:
        return f"<ContentColumns: {', '.join(f'{column.name} ({column.kind})' for column in self.columns)}>"

    @property
    def names(self) -> list[str]:
        return [column.name for column in self.columns]

    @classmethod
    def learn(cls, items: Items, content, argument: str = "content") -> ContentColumns:
        """Learns columns from a catalogue: values, inverse document frequencies, means and quantiles.

        Args:
            items: with the content of a prepared data set. Items without an event in training teach nothing.
            content: names of columns, each NAME or NAME:KIND.
            argument: its name in messages, "content", or "user_content" where `items` are `Users`.

        Raises:
            InputError: a column is missing, or cannot be read as the kind.
        """
        wanted = checked_content(content, argument) or {}
        kinds = kinds_of(items.content, items.tensors)
        if wanted and not kinds:
            raise InputError(
                f"content={list(wanted)!r}: must be left out: this data set has no content; prepare the log with "
                "items=TABLE",
                command_line=f"content={list(wanted)!r}: must be left out: this data set has no content; prepare the "
                "log with --items TABLE",
            )
        for name, kind in wanted.items():
            if name not in kinds:
                noun = "items" if argument == "content" else "users"
                raise InputError(f"{argument}={name!r}: no such column; the {noun} have: {', '.join(kinds)}")
            if kind and kind != kinds[name] and not (kind in TEXTS and kinds[name] in TEXTS):
                raise InputError(f"{argument}='{name}:{kind}': its kind must be {kinds[name]}, as it was prepared")
        trained = items.counts > 0 if (items.counts > 0).any() else np.ones(len(items), bool)
        rows = np.flatnonzero(trained)
        columns = []
        for name, kind in wanted.items():
            kind = kind or kinds[name]
            if name in items.tensors:
                columns.append(_learned_tensor(name, kind, items.tensors[name], rows))
            else:
                cells = cells_of(items.content, name, kind)
                columns.append(_learned(name, kind, [cells[row] for row in rows]))
        return cls(columns)

    def encode(self, table: pa.Table) -> dict[str, np.ndarray]:
        """Encodes the columns of a catalogue that stand in memory; those in `Items.tensors` are read where they lie.

        Returns, by key, arrays with a row per item:
            category, list: NAME int32 [n, width], 0 behind the last value, 1 for an unknown one.
            words: NAME int32 [n, width], and NAME/weight float32 [n, width]: TF-IDF, of length 1.
            number: NAME float32 [n, 3]: standardized, its quantile in 0..1, and 1; zeros where missing.
            characters: NAME uint8 [n, width], 0 behind the last one.

        Raises:
            InputError: a column is missing or holds values of another kind than in training.
        """
        found = {}
        for column in self.columns:
            if column.kind in TENSORS:
                continue
            if column.name not in table.column_names:
                raise InputError(
                    f"content: column {column.name!r} is missing, which this model reads; there are: "
                    f"{', '.join(table.column_names) or 'none'}"
                )
            found |= column.encode(cells_of(table, column.name, column.kind))
        return found

    def encode_contents(self, table: ItemTable) -> tuple[dict[str, np.ndarray], dict[str, Tensor]]:
        """Encodes an item table as it was read: what `encode` returns, and the vectors, images and sounds.

        Raises:
            InputError: a column is missing, or holds values of another kind or shape than in training.
        """
        for column in self.columns:
            if column.name not in table.columns:
                there = ", ".join(table.columns) or "none"
                raise InputError(
                    f"{table.source}: column {column.name!r} is missing, which this model reads; there are: {there}"
                )
        kinds = {column.name: column.kind for column in self.columns}
        read = {name: table.columns[name] for name in kinds}
        contents = ItemContents.of(
            ItemTable(table.source, table.items, read, table.text, table.folder), kinds, trained=True
        )
        found, tensors = {}, {}
        rows = list(range(len(table.items)))
        for column in self.columns:
            if column.kind not in TENSORS:
                column.check_form(table, contents)
                found |= column.encode(contents.values[column.name])
                continue
            values, present = contents.tensor(column.name, rows)
            if not present.any():
                values = np.zeros((len(rows), *column.shape), values.dtype)
            elif values.shape[1:] != column.shape:
                what = "sounds of {} bands" if column.kind == "audio" else "vectors of {} numbers"
                raise InputError(
                    f"{table.source}: {column.name} holds {what.format(values.shape[-1])}, in training they had "
                    f"{column.shape[-1]}"
                )
            tensors[column.name] = Tensor(column.kind, values, present)
        return found, tensors

    def get_config(self) -> dict:
        return {"columns": [asdict(column) for column in self.columns]}

    @classmethod
    def from_config(cls, config: Mapping) -> ContentColumns:
        def plain(column):
            return {key: tuple(value) if isinstance(value, list) else value for key, value in column.items()}

        return cls(ContentColumn(**plain(column)) for column in config["columns"])


def content_columns(content, items: Items) -> ContentColumns | None:
    """Returns the `ContentColumns` of a model's argument: names, a `ContentColumns`, or its configuration."""
    if isinstance(content, ContentColumns):
        return content or None
    if isinstance(content, Mapping) and "columns" in content:
        return ContentColumns.from_config(content)
    if content is None or (not isinstance(content, str | Mapping) and not len(tuple(content))):
        return None
    return ContentColumns.learn(items, content)


def cells_of(table: pa.Table, name: str, kind: str) -> list:
    """Returns the values of a stored column in the form of a kind."""
    values = table[name].to_pylist()
    values = [value.strip() or None if isinstance(value, str) else value for value in values]
    rows = [f"row {row}" for row in range(len(values))]
    return interpreted("content", name, values, rows, kind, False, None)[1]


def _learned(name: str, kind: str, cells: list) -> ContentColumn:
    known = [cell for cell in cells if cell is not None]
    if kind == "number":
        numbers = np.array(known or [0.0])
        deviation = float(numbers.std()) or 1.0
        quantiles = np.quantile(numbers, np.linspace(0, 1, QUANTILES))
        return ContentColumn(
            name, kind, quantiles=tuple(map(float, quantiles)), mean=float(numbers.mean()), deviation=deviation
        )
    if kind == "characters":
        return ContentColumn(name, kind, width=max(1, min(CHARACTERS, max(map(len, known), default=1))))
    if kind == "words":
        texts = [set(words_of(cell)) for cell in known]
        counts = Counter(word for words in texts for word in words)
        frequent = {word: count for word, count in counts.items() if count > 1} or counts
        words = sorted(frequent, key=lambda word: (-frequent[word], word))[:MOST_VALUES]
        weights = tuple(float(np.log((1 + len(texts)) / (1 + counts[word])) + 1) for word in words)
        width = max(1, min(WIDEST, max(map(len, texts), default=1)))
        return ContentColumn(name, kind, tuple(words), weights, width)
    lists = [cell if isinstance(cell, list) else [cell] for cell in known]
    counts = Counter(value for cell in lists for value in cell)
    # a value of one item says no more than its id, and a new item has the unknown value in its place
    shared = {value: count for value, count in counts.items() if count > 1} or counts
    values = sorted(shared, key=lambda value: (-shared[value], value))[:MOST_VALUES]
    return ContentColumn(name, kind, tuple(values), width=max(1, min(WIDEST, max(map(len, lists), default=1))))


def _learned_tensor(name: str, kind: str, tensor: Tensor, rows: np.ndarray) -> ContentColumn:
    shape = tuple(tensor.values.shape[1:])
    rows = rows[tensor.present[rows]][: min(10_000, max(100, 20_000_000 // max(math.prod(shape), 1)))]
    if kind == "image" or not len(rows):
        return ContentColumn(name, kind, shape=shape)
    sample = np.asarray(tensor.values[rows], np.float64)
    deviation = float(sample.std()) or 1.0
    return ContentColumn(name, kind, width=shape[-1], mean=float(sample.mean()), deviation=deviation, shape=shape)
