"""Reader of tables of items or users: one row each, or one row per value, from files or from memory."""

from __future__ import annotations

import csv
import json
import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tfrecsession.errors import InputError
from tfrecsession.events.formats.compression import inner_name, open_text
from tfrecsession.events.id_texts import text_of
from tfrecsession.sessions.table_words import ITEMS, TableWords, shown

MISSING = frozenset(  # texts that stand for no value, as `events.null_values` has them for ids
    ["", "NA", "N/A", "n/a", "#N/A", "<NA>", "NULL", "Null", "null", "(null)", "NaN", "nan", "NaT", "None", "\\N"]
)
WHOLE = re.compile(r"(\d+)\.0")  # a whole number as data frames write it
JSON_LINES = (".jsonl", ".ndjson", ".json")
PARQUET = (".parquet", ".pq")
TEXT = {".csv": ",", ".tsv": "\t", ".txt": None, ".dat": None}  # suffix -> delimiter; None: found in the first line
LIST = "list"  # the kind whose values may be spread over several rows of an item


@dataclass(frozen=True)
class ItemTable:
    """A table of items, or of users, as read: one value per item and column.

    Attributes:
        source: its name in messages.
        items: the ids, all different, in the order of the table.
        columns: name -> a value for each item, None where it has none; texts of text files are not interpreted yet.
        text: whether the values are texts of a file without types.
        folder: the folder that relative paths of images start from.
        collected: the columns whose values were collected from several rows of an item.
        repeated: the count of items with several rows.
        words: what its rows are, in messages.
    """

    source: str
    items: list[str]
    columns: dict[str, list]
    text: bool
    folder: Path
    collected: tuple[str, ...] = ()
    repeated: int = 0
    words: TableWords = ITEMS


def read_item_table(
    source: Any,
    key: str | None = None,
    kinds: dict[str, str | None] | None = None,
    *,
    names: Sequence[str] | None = None,
    encoding: str | None = None,
    log_item: str | None = None,
    drop_bad_rows: bool = False,
    words: TableWords = ITEMS,
) -> ItemTable:
    """Reads a table of items, or of users.

    An item may have several rows: equal rows count once; a column of kind "list" collects their values, and so does
    the only text column beside the key in a table of items. Other columns must agree.

    Args:
        source: a path of .csv, .tsv, .dat, .txt (a delimiter is found), .jsonl, .ndjson, .json (an object per line),
            also as .gz or .zst, or .parquet; a pandas DataFrame, a pyarrow Table, another Arrow stream, or a dict.
        key: the column of the item ids; None: `log_item` or a usual name.
        kinds: the columns to keep, with their kinds where given; None: all.
        names: the columns of a text file without a header.
        encoding: of text files; None: UTF-8.
        log_item: the name of the item column in the log.
        drop_bad_rows: whether rows without an item id are left out; else they are an error.
        words: what its rows are.

    Raises:
        InputError: the table cannot be read, lacks a column, or an item has contradicting rows.
    """
    label, columns, text, folder = _read(source, names, encoding, words)
    found = _key(label, list(columns), key, log_item, words)
    wanted = [name for name in columns if name != found] if kinds is None else list(kinds)
    for name in wanted:
        if name not in columns or name == found:
            there = ", ".join(column for column in columns if column != found) or "none"
            raise InputError(f"{label}: {words.content}={name!r}: no such column; there are: {there}")
    if not wanted and kinds is None:
        raise InputError(f"{label}: must have a column beside the key {found!r}, which tells of the {words.noun}s")
    ids = [_id(value, text, f"{label}: row {row}: {found}") for row, value in enumerate(columns[found], 1)]
    if not ids:
        raise InputError(f"{label}: has no rows")
    if text and all(item is None or WHOLE.fullmatch(item) for item in ids):  # as the ids of logs are read
        ids = [item and WHOLE.sub(r"\1", item) for item in ids]
    rows = [row for row, item in enumerate(ids) if item is not None]
    if len(rows) < len(ids) and not drop_bad_rows:
        row = next(row for row, item in enumerate(ids) if item is None)
        raise InputError(
            f"{label}: row {row + 1}: {found} is empty, so its {words.noun} is unknown; leave such rows out "
            "with drop_bad_rows=True"
        )
    ids = [ids[row] for row in rows]
    kept = {name: [_value(columns[name][row], text) for row in rows] for name in wanted}
    if len(set(ids)) == len(ids):
        return ItemTable(label, ids, kept, text, folder, words=words)
    return _grouped(label, ids, kept, kinds or {}, text, folder, words)


def _read(source, names, encoding, words) -> tuple[str, dict[str, list], bool, Path]:
    if isinstance(source, str | os.PathLike):
        path = Path(source).expanduser()
        if not path.exists():
            raise InputError(
                f"{path}: no such file; {words.table}= must be the path of a table of {words.noun}s, and the "
                f"column of the log is {words.noun}=COLUMN"
            )
        suffix = inner_name(path).suffix.lower()
        if path.is_dir() or suffix in PARQUET:
            try:
                return str(path), _columns(pq.read_table(path)), False, path if path.is_dir() else path.parent
            except (OSError, pa.ArrowException) as error:
                raise InputError(f"{path}: cannot be read as Parquet: {str(error).splitlines()[0]}") from None
        if suffix not in (*TEXT, *JSON_LINES):
            known = ", ".join([*TEXT, *JSON_LINES, *PARQUET])
            raise InputError(f"{path}: unknown suffix {suffix!r}; tables of {words.noun}s are {known}")
        try:
            with open_text(path, encoding or "utf-8-sig") as file:
                if suffix in JSON_LINES:
                    return str(path), _json_lines(path, file), False, path.parent
                return str(path), _delimited(path, file, TEXT[suffix], names, words), True, path.parent
        except LookupError:
            raise InputError(f"{words.encoding}={encoding!r}: no such encoding; e.g. latin-1, cp1252") from None
        except UnicodeError as error:
            likely = "utf-16" if error.object[:2] in (b"\xff\xfe", b"\xfe\xff") else "latin-1"  # by its first bytes
            raise InputError(
                f"{path}: is not {encoding or 'UTF-8'} ({error.reason}): give its encoding, e.g. "
                f"{words.encoding}='{likely}'"
            ) from None
        except (OSError, EOFError, csv.Error) as error:
            raise InputError(f"{path}: cannot be read: {error}") from None
    label = type(source).__name__
    try:
        if isinstance(source, pa.Table):
            table = source
        elif isinstance(source, dict):
            return "dict", {str(name): _plain(list(values)) for name, values in source.items()}, False, Path()
        elif hasattr(source, "to_pyarrow") and hasattr(source, "schema"):  # Ibis
            table = source.to_pyarrow()
        elif type(source).__module__.split(".")[0] == "pandas" and hasattr(source, "columns"):
            return label, _of_pandas(source), False, Path()
        elif hasattr(source, "__arrow_c_stream__"):
            table = pa.RecordBatchReader.from_stream(source).read_all()
        else:
            raise InputError(
                f"{words.table}: must be the path of a table of {words.noun}s, a pandas or Arrow table, not {label}"
            )
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise InputError(f"{words.table}: {label} cannot be read: {str(error).splitlines()[0]}") from None
    return label, _columns(table), False, Path()


def _columns(table: pa.Table) -> dict[str, list]:
    if len(set(table.column_names)) < table.num_columns:
        raise InputError(f"items: two columns have one name; there are: {', '.join(table.column_names)}")
    return {name: table[name].to_pylist() for name in table.column_names}


def _of_pandas(frame) -> dict[str, list]:
    if any(name is not None for name in frame.index.names):  # an index with a name, such as the items, is a column
        frame = frame.reset_index()
    found = {}
    for name in frame.columns:
        values = frame[name].tolist()
        found[str(name)] = _plain(values)
    return found


def _plain(values: list) -> list:
    """Returns cells with None for a missing value, and lists for arrays."""
    cells = []
    for value in values:
        if hasattr(value, "tolist"):
            value = value.tolist()
        missing = value is None or type(value).__name__ in ("NAType", "NaTType") or value != value
        cells.append(None if missing is True else value)
    return cells


def _json_lines(path: Path, file) -> dict[str, list]:
    columns: dict[str, list] = {}
    count = 0
    for number, line in enumerate(file, 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError as error:
            raise InputError(f"{path}: line {number} is not JSON ({error}); it must hold one object") from None
        if "\\ud" in line.lower() and not _is_text(record):
            raise InputError(f"{path}: line {number} holds half of a surrogate pair, which is no character; correct it")
        if not isinstance(record, dict):
            raise InputError(f'{path}: line {number} holds no JSON object, such as {{"item": "17"}}')
        for name in record:
            if name not in columns:
                columns[name] = [None] * count
        for name, values in columns.items():
            values.append(record.get(name))
        count += 1
    if not count:
        raise InputError(f"{path}: is empty")
    return columns


def _is_text(record) -> bool:
    try:
        json.dumps(record, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def _delimited(path: Path, file, delimiter: str | None, names, words: TableWords) -> dict[str, list]:
    first = file.readline()
    if not first.strip():
        raise InputError(f"{path}: is empty")
    is_csv = delimiter == ","
    if delimiter is None or (is_csv and "," not in first and any(mark in first for mark in "\t;|")):
        delimiter = next((mark for mark in ("\t", "::", ";", ",", "|", " ") if mark in first), ",")
    csv.field_size_limit(1 << 30)

    def lines():
        yield first
        yield from file

    if len(delimiter) > 1:
        rows = (line.rstrip("\r\n").split(delimiter) for line in lines())
    else:
        quoted = {} if delimiter in ",;" or (is_csv and delimiter == "|") else {"quoting": csv.QUOTE_NONE}
        rows = csv.reader(lines(), delimiter=delimiter, **quoted)
    header = [name.strip() for name in names] if names is not None else [name.strip() for name in next(rows)]
    if len(set(header)) < len(header):
        named = f"; the columns of a file without a header are named by {words.columns}=NAME,NAME"
        raise InputError(
            f"{path}: two columns have one name; its header is {', '.join(header)}{named if names is None else ''}"
        )
    columns: dict[str, list] = {name: [] for name in header}
    for number, row in enumerate(rows, 1 if names is not None else 2):
        if not row:
            continue
        if len(row) != len(header):
            raise InputError(
                f"{path}: line {number} has {len(row)} fields instead of {len(header)}; is the header missing (give "
                f"{words.columns}=) or is a field not quoted?"
            )
        for name, value in zip(header, row, strict=True):
            columns[name].append(value)
    return columns


def _key(label: str, columns: list[str], key: str | None, log_item: str | None, words: TableWords) -> str:
    there = ", ".join(columns) or "none"
    if key is not None:
        if key not in columns:
            raise InputError(f"{label}: {words.key}={key!r}: no such column; there are: {there}")
        return key
    usual = [name for name in (log_item, *words.usual) if name]
    by_name = {name.lower(): name for name in reversed(columns)}
    for name in usual:
        if name.lower() in by_name:
            return by_name[name.lower()]
    raise InputError(
        f"{label}: no column of {words.noun} ids found ({', '.join(usual)}); there are: {there}: give {words.key}="
    )


def _id(value: Any, text: bool, label: str) -> str | None:
    if value is None or (isinstance(value, str) and value.strip() in MISSING):
        return None
    if text:
        return value
    try:
        return text_of(value, label)
    except InputError:
        raise InputError(f"{label} holds {shown(value)}, which is no id; ids are texts or numbers") from None


def _value(value: Any, text: bool) -> Any:
    if isinstance(value, str):
        value = value.strip()
        return None if value in MISSING else value
    if isinstance(value, float) and value != value:
        return None
    return value


def _grouped(label, ids, columns, kinds, text, folder, words) -> ItemTable:
    """Joins the rows of each item."""
    index: dict[str, int] = {}
    row_of = [index.setdefault(item, len(index)) for item in ids]
    collects = [name for name in columns if kinds.get(name) == LIST]
    alone = len(columns) == 1 and all(kind is None for kind in kinds.values())
    if not collects and alone and words is ITEMS:  # a user with two ages is a mistake, an item with two tags is none
        collects = [name for name, values in columns.items() if all(isinstance(v, str | None) for v in values)]
    joined = {}
    for name, values in columns.items():
        cells: list = [None] * len(index)
        for number, (row, value) in enumerate(zip(row_of, values, strict=True)):
            if value is None:
                continue
            if name in collects:
                held = cells[row] = cells[row] or []
                held += [part for part in (value if isinstance(value, list) else [value]) if part not in held]
            elif cells[row] is None:
                cells[row] = value
            elif cells[row] != value:
                collect = f", or collect them with {words.content}='{name}:list'" if kinds.get(name) is None else ""
                raise InputError(
                    f"{label}: {words.noun} {ids[number]!r} has several rows with different values of {name}: "
                    f"{shown(cells[row])} and {shown(value)}; keep one row per {words.noun}{collect}"
                )
        joined[name] = cells
    repeated = sum(count > 1 for count in Counter(ids).values())
    return ItemTable(label, list(index), joined, text, folder, tuple(collects), repeated, words)
