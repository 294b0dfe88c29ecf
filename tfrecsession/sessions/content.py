"""Content columns of items as numbers for models, also for items that are new after training."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tfrecsession.errors import InputError

LONGEST = 32  # values of a list or words of a text that are read; the rest is ignored


@dataclass(frozen=True)
class Column:
    """A content column: `kind` "category" (a value or a list of them), "words" (a text), or "number".

    values: those in the catalogue. width: the most values of one item. mean, deviation: of numbers.
    """

    name: str
    kind: str
    values: tuple[str, ...] = ()
    width: int = 0
    mean: float = 0.0
    deviation: float = 1.0


class Content:
    """The columns of an item table as a model reads them: codes of values, and standardized numbers.

    Attributes:
        columns: the columns that are read, see `Column`.
        widths: the count of codes per item, for each column that is not a number.
        rows: of a table with a row for every code: 0 for none, then the values of one column after the other.
        numbers: the count of number columns.
    """

    def __init__(self, columns):
        self.columns = tuple(columns)
        coded = [column for column in self.columns if column.kind != "number"]
        self.widths = [column.width for column in coded]
        self.rows = 1 + sum(len(column.values) for column in coded)
        self.numbers = len(self.columns) - len(coded)

    @classmethod
    def of(cls, table: pa.Table, features=None, words=()) -> Content:
        """Learns values, means and deviations from the catalogue's table.

        Strings, booleans and lists of strings are categories, integers and floats are numbers. Categories with integer
        codes must be cast to strings.

        Args:
            table: a row per item; a column `item` is not content.
            features: names of columns; None: all that can be read.
            words: string columns that are texts, to be read word by word.

        Raises:
            InputError: a column does not exist, or its type cannot be read.
        """
        available = [name for name in table.column_names if name != "item"]
        for argument, names in (("features", features or ()), ("words", words)):
            for name in names:
                if isinstance(names, str) or name not in available:
                    text = ", ".join(available) or "none"
                    raise InputError(f"{argument}={names!r}: must be a list of content columns; available: {text}")
        for name in words:
            if _kind(table[name].type) != "category" or pa.types.is_list(table[name].type):
                raise InputError(f"words={list(words)!r}: column {name!r} holds {table[name].type}, not text")
        columns = []
        for name in available if features is None else features:
            kind = "words" if name in words else _kind(table[name].type)
            if kind is None and features is not None:
                raise InputError(
                    f"features: column {name!r} holds {table[name].type}; cast it to strings, lists of strings or "
                    "numbers, or leave it out"
                )
            if kind == "number":
                known = _numbers(table[name])
                known = known[np.isfinite(known)]
                mean, deviation = (float(known.mean()), float(known.std())) if len(known) else (0.0, 0.0)
                columns.append(Column(name, kind, mean=mean, deviation=deviation or 1.0))
            elif kind is not None:
                values, counts = _lists(table[name], kind)
                distinct = pc.unique(values).drop_null().to_pylist()
                if distinct:
                    columns.append(Column(name, kind, tuple(sorted(distinct)), int(counts.max())))
        return cls(columns)

    def encode(self, table: pa.Table) -> tuple[np.ndarray, np.ndarray]:
        """Encodes the rows of a table.

        Returns:
            int32 [n, sum of widths], 0 for no value or one that is not in the catalogue; and float32 [n, numbers], 0
            (the mean) for no value.

        Raises:
            InputError: a column is missing or holds another kind of values.
        """
        codes, numbers, first = [np.zeros((len(table), 0), np.int32)], [np.zeros((len(table), 0), np.float32)], 1
        for column in self.columns:
            if column.name not in table.column_names:
                raise InputError(f"content: column {column.name!r} is missing; there are {table.column_names}")
            values = table[column.name]
            if pa.types.is_null(values.type):
                values = pa.chunked_array([pa.nulls(len(table), pa.string() if column.values else pa.float64())])
            if _kind(values.type) != ("number" if column.kind == "number" else "category"):
                raise InputError(
                    f"content: column {column.name!r} holds {values.type}, in training it was a {column.kind}"
                )
            if column.kind == "number":
                scaled = (_numbers(values) - column.mean) / column.deviation
                numbers.append(np.where(np.isfinite(scaled), scaled, 0.0).astype(np.float32)[:, None])
                continue
            flat, counts = _lists(values, column.kind)
            code = pc.index_in(flat, pa.array(column.values, pa.string()))
            code = pc.fill_null(pc.add(code, first), 0).to_numpy(zero_copy_only=False)
            row = np.repeat(np.arange(len(table)), counts)
            slot = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
            column_codes = np.zeros((len(table), column.width), np.int32)
            fits = slot < column.width
            column_codes[row[fits], slot[fits]] = code[fits]
            codes.append(column_codes)
            first += len(column.values)
        return np.concatenate(codes, axis=1), np.concatenate(numbers, axis=1)

    def all_but(self, column: Column) -> tuple[np.ndarray, np.ndarray]:
        """Returns which entries of `encode` are not of a column: int32 [sum of widths], float32 [numbers], 0 or 1."""
        coded = [other for other in self.columns if other.kind != "number"]
        codes = [np.full(other.width, other is not column, np.int32) for other in coded]
        numbers = [other is not column for other in self.columns if other.kind == "number"]
        return np.concatenate([np.zeros(0, np.int32), *codes]), np.array(numbers, np.float32)

    @property
    def shape(self) -> dict:
        """Everything that determines the sizes of a model's tables."""
        return {"widths": self.widths, "rows": self.rows, "numbers": self.numbers}

    def write(self, path: str | os.PathLike) -> None:
        with open(path, "w", encoding="utf-8") as file:
            json.dump([asdict(column) for column in self.columns], file)

    @classmethod
    def read(cls, path: str | os.PathLike) -> Content:
        with open(path, encoding="utf-8") as file:
            return cls(Column(**{**column, "values": tuple(column["values"])}) for column in json.load(file))


def read_catalogue(items, content=None, features=None, words=()):
    """Returns the `Content` of a catalogue, and the catalogue encoded by it; None without a table.

    Args:
        items: the vocabulary.
        content: the table; None: that of `items`.
        features, words: see `Content.of`.

    Raises:
        InputError: columns are named, but there is no table.
    """
    table = items.content if content is None else aligned(content_table(content, "content"), items.ids)
    if table is not None:
        found = Content.of(table, features, list(words))
        return found, found.encode(table)
    if columns := features or list(words):
        name = "features" if features else "words"
        raise InputError(f"{name}={columns!r}: needs the table of the items, given as content=")
    return Content(()), None


def content_table(table, argument: str) -> pa.Table:
    """Converts an item table (pyarrow, pandas, a dict of columns) to pyarrow, with a string column `item`.

    Raises:
        InputError: `table` is none of these, or has no column `item`.
    """
    try:
        if not isinstance(table, pa.Table):
            table = pa.table(table) if isinstance(table, dict) else pa.Table.from_pandas(table, preserve_index=False)
    except (pa.ArrowException, AttributeError, TypeError, ValueError) as error:
        raise InputError(f"{argument}: must be a pyarrow or pandas table, or a dict of columns ({error})") from None
    if "item" not in table.column_names:
        raise InputError(f"{argument}: must have a column 'item', the names of the items; it has {table.column_names}")
    return table.set_column(table.column_names.index("item"), "item", table["item"].cast(pa.string()))


def aligned(table: pa.Table, ids: np.ndarray) -> pa.Table:
    """Returns the rows of `ids`, in their order: nulls for ids that are missing, the first of several rows."""
    rows = pc.index_in(pa.array(ids.tolist(), pa.string()), table["item"].combine_chunks())
    return table.take(rows).drop_columns("item")


def _kind(kind: pa.DataType) -> str | None:
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return "category" if _is_text(kind.value_type) else None
    if _is_text(kind) or pa.types.is_boolean(kind) or (pa.types.is_dictionary(kind) and _is_text(kind.value_type)):
        return "category"
    return "number" if pa.types.is_integer(kind) or pa.types.is_floating(kind) else None


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _numbers(values: pa.ChunkedArray) -> np.ndarray:
    return values.cast(pa.float64()).to_numpy()  # null: NaN


def _lists(values: pa.ChunkedArray, kind: str) -> tuple[pa.Array, np.ndarray]:
    """Returns all items' values end to end, as strings, and the count per item, at most LONGEST."""
    values = values.combine_chunks()
    values = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    if not pa.types.is_list(values.type) and not pa.types.is_large_list(values.type):
        values = pc.utf8_trim_whitespace(values.cast(pa.string()))
        values = pc.if_else(pc.equal(values, ""), None, values)  # empty is no value
        if kind == "words":
            values = pc.utf8_split_whitespace(pc.utf8_lower(values))
        else:
            counts = np.asarray(pc.is_valid(values)).astype(np.int64)
            return values.drop_null(), counts
    values = pc.list_slice(values, 0, LONGEST)
    counts = pc.fill_null(pc.list_value_length(values), 0).to_numpy(zero_copy_only=False).astype(np.int64)
    return pc.list_flatten(values).cast(pa.string()), counts
