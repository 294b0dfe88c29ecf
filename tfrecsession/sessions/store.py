"""Reader of prepared data sets: flat arrays with offsets."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tfrecsession.errors import InputError
from tfrecsession.sessions.item_columns import read_tensors
from tfrecsession.sessions.users import Users, read_users
from tfrecsession.sessions.vocabulary import FIRST, PADDING, Items

MARK = "dataset.json"  # a folder that holds one is a prepared data set
FORMAT = 1  # format of the folder that this version writes and reads
SPLITS = ("train", "validation", "test")
JOINT = "joint"  # folder and entry of the items that validation has and train lacks, and of later splits with them
OF_SESSIONS = ("session", "user", "start")  # columns with a value per session


class SessionArrays:
    """Sessions in the order of their start, end to end: session i is `values[offsets[i]:offsets[i + 1]]`.

    Args:
        items: the catalogue.
        values: int32 [events], item ids.
        offsets: int64 [sessions + 1].
        columns: further columns by name, [sessions] or [events].
    """

    def __init__(
        self, items: Items, values: np.ndarray, offsets: np.ndarray, columns: Mapping[str, np.ndarray] | None = None
    ):
        self.items = items
        self.values = np.asarray(values, np.int32)
        self.offsets = np.asarray(offsets, np.int64)
        self._columns = dict(columns or {})

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {len(self):,} sessions, {self.events:,} events of {len(self.items):,} items>"

    @property
    def events(self) -> int:
        return len(self.values)

    @property
    def scored_events(self) -> int:
        """The count of events that have an event before them in their session."""
        return int(np.maximum(np.diff(self.offsets) - 1, 0).sum())

    @property
    def columns(self) -> tuple[str, ...]:
        """The names that `column` accepts."""
        return tuple(self._columns)

    def column(self, name: str) -> np.ndarray:
        """Returns a column by name.

        Per session: "session", "user" (object arrays of str; None: anonymous), "start" (datetime64[us], UTC). Per
        event: "times" (int64, microseconds since 1970), "event" and the context columns if the log has them.

        Raises:
            InputError: there is no such column.
        """
        if name not in self.columns:
            raise InputError(f"prepared sessions have no column {name!r}; they have {', '.join(self.columns)}")
        return self._columns[name]

    def pieces(self, *columns: str) -> Iterator[tuple[np.ndarray, ...]]:
        """Yields `values`, `offsets` and columns of consecutive sessions, shard by shard where they are in files."""
        if {"values", "_lists"} & vars(self).keys() or not hasattr(self, "read_shard"):  # they are in memory
            yield self.values, self.offsets, *(self.column(name) for name in columns)
            return
        for shard in self.shards:
            yield *self.read_shard(*shard), *(self.read_column(*shard, name) for name in columns)


class StoredSessions(SessionArrays):
    """The sessions in the Parquet parts of a folder; each array is read once, on first use.

    `read_shard` reads a part of them: a shard is a row group of a Parquet part.

    counts: of this split, as in `dataset.json`. Raises InputError for parts that are missing or incomplete.
    """

    def __init__(self, items: Items, folder: Path, counts: dict):
        self.items = items
        self._folder, self._sessions = folder, counts["sessions"]
        self._events = counts["events"] + counts.get("itemless_events", 0)
        self._parts = [folder / f"part-{number:05}.parquet" for number in range(counts["parts"])]
        self._columns = {}
        found = 0
        for part in self._parts:
            with _opened(part) as file:
                found += file.metadata.num_rows
                self._schema = file.schema_arrow
        self._expect(found, self._sessions, "sessions")

    def __len__(self) -> int:
        return self._sessions

    @property
    def events(self) -> int:
        return self._events

    @property
    def scored_events(self) -> int:
        return self._events - self._sessions  # every stored session has an event

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(name for name in self._schema.names if name != "items")

    @property
    def values(self) -> np.ndarray:
        return self._lists[0]

    @property
    def offsets(self) -> np.ndarray:
        return self._lists[1]

    def column(self, name: str) -> np.ndarray:
        if name in self.columns and name not in self._columns:
            self._columns[name] = self._read(name)
        return super().column(name)

    @cached_property
    def shards(self) -> list[tuple[Path, int]]:
        """The file and the row group of each shard, in the order of the sessions."""
        found = []
        for part in self._parts:
            with _opened(part) as file:
                found += [(part, group) for group in range(file.num_row_groups)]
        return found

    def read_shard(self, part: Path, group: int) -> tuple[np.ndarray, np.ndarray]:
        """Reads `values` and `offsets` of the sessions of one shard."""
        with _opened(part) as file:
            lists = file.read_row_group(group, columns=["items"])["items"].combine_chunks()
        offsets = np.zeros(len(lists) + 1, np.int64)
        np.cumsum(np.diff(lists.offsets.to_numpy()), out=offsets[1:])
        return lists.flatten().to_numpy(), offsets

    def read_column(self, part: Path, group: int, name: str) -> np.ndarray:
        """Reads a column of the sessions of one shard, as `column` returns it."""
        with _opened(part) as file:
            return _flat(file.read_row_group(group, columns=[name])[name].combine_chunks())

    def check_events(self, found: int) -> None:
        """Raises InputError if `found`, the events of all shards, is not the expected count."""
        self._expect(found, self._events, "events")

    @cached_property
    def _lists(self) -> tuple[np.ndarray, np.ndarray]:
        values, offsets = np.empty(self._events, np.int32), np.zeros(self._sessions + 1, np.int64)
        row = event = 0
        for shard in self.shards:
            chunk, ends = self.read_shard(*shard)
            values[event : event + len(chunk)] = chunk
            offsets[row + 1 : row + len(ends)] = ends[1:] + event
            row, event = row + len(ends) - 1, event + len(chunk)
        self.check_events(event)
        return values, offsets

    def _read(self, name: str) -> np.ndarray:
        kind = self._schema.field(name).type
        whole = np.empty(self._events if pa.types.is_list(kind) else self._sessions, _flat(pa.array([], kind)).dtype)
        filled = 0
        for chunk in self._chunks(name):
            piece = _flat(chunk)
            whole = whole.astype(np.promote_types(whole.dtype, piece.dtype), copy=False)  # integers with nulls: float
            whole[filled : filled + len(piece)] = piece
            filled += len(piece)
        self._expect(filled, len(whole), "values")
        return whole

    def _chunks(self, name: str) -> Iterator[pa.Array]:
        for part in self._parts:
            with _opened(part) as file:
                for group in range(file.num_row_groups):
                    yield from file.read_row_group(group, columns=[name])[name].chunks

    def _expect(self, found: int, expected: int, what: str) -> None:
        if found != expected:
            raise InputError(f"{self._folder}: {found:,} {what} instead of {expected:,}: prepare the data set again")


class ItemEvents(SessionArrays):
    """The sessions of `whole` without the events that have no item, those with the id 0.

    All that counts items reads these; models with context also read `whole`.
    """

    def __init__(self, whole: SessionArrays):
        self.whole, self.items = whole, whole.items
        self._columns = {}
        if hasattr(whole, "read_shard"):
            self.read_shard, self.read_column = self._read_shard, self._read_column

    def __len__(self) -> int:
        return len(self.whole)

    @cached_property
    def is_item(self) -> np.ndarray:
        """bool [events of `whole`]: whether the event has an item."""
        return self.whole.values > PADDING

    @cached_property
    def values(self) -> np.ndarray:
        return self.whole.values[self.is_item]

    @cached_property
    def offsets(self) -> np.ndarray:
        return _kept_before(self.is_item)[self.whole.offsets]

    @property
    def columns(self) -> tuple[str, ...]:
        return self.whole.columns

    def column(self, name: str) -> np.ndarray:
        if name not in self._columns:
            values = self.whole.column(name)
            self._columns[name] = values if name in OF_SESSIONS else np.asarray(values)[self.is_item]
        return self._columns[name]

    @property
    def shards(self) -> list[tuple[Path, int]]:
        return self.whole.shards

    def _read_shard(self, part: Path, group: int) -> tuple[np.ndarray, np.ndarray]:
        values, offsets = self.whole.read_shard(part, group)
        is_item = values > PADDING
        return values[is_item], _kept_before(is_item)[offsets]

    def _read_column(self, part: Path, group: int, name: str) -> np.ndarray:
        values = self.whole.read_column(part, group, name)
        return values if name in OF_SESSIONS else values[self.whole.read_shard(part, group)[0] > PADDING]

    def check_events(self, found: int) -> None:
        """Does nothing: `whole` knows the count of its events with those that have no item."""


def _kept_before(kept: np.ndarray) -> np.ndarray:
    """int64 [events + 1]: the number of kept events before each."""
    return np.concatenate([[0], np.cumsum(kept)]).astype(np.int64)


@dataclass(frozen=True)
class PreparedSessions:
    """A prepared data set: its catalogue, its three splits, and `info`, the content of its `dataset.json`.

    users: those of training and of the table of users; None: it was prepared without such a table.
    """

    items: Items
    train: SessionArrays
    validation: SessionArrays
    test: SessionArrays
    info: dict
    path: Path | None = None
    users: Users | None = None

    def __repr__(self) -> str:
        counts = "\n".join(f"  {name:<10} {getattr(self, name)!r}" for name in SPLITS)
        return f"<PreparedSessions {self.fingerprint}: {len(self.items):,} items\n{counts}>"

    @property
    def fingerprint(self) -> str:
        """Equal for equal data and options."""
        return self.info["fingerprint"]


def read_prepared(path: str | os.PathLike) -> PreparedSessions:
    """Opens a data set that `prepare` wrote. Arrays are read on first use.

    Raises InputError if the folder is not a complete prepared data set in this version's format.
    """
    path = Path(path).expanduser()
    info = read_info(path)
    items = _read_items(path, info["items"], info.get("content", ()), info.get("tensors", {}))
    splits = _read_splits(path, items, info["splits"], info)
    return PreparedSessions(items=items, **splits, info=info, path=path, users=read_users(path, info))


def read_joint(path: str | os.PathLike, items: Items, info: dict) -> tuple[Items, dict[str, SessionArrays]]:
    """Opens validation and test with the vocabulary of train and validation together, as `prepare` wrote them.

    items, info: the catalogue and the content of `dataset.json` of the data set at `path`, with an entry JOINT that has
    items. Its items follow those of the catalogue; the counts are events in train and validation.
    """
    path, entry = Path(path).expanduser() / JOINT, info[JOINT]
    further = _read_items(path, entry["items"], info.get("content", ()), entry.get("tensors", {}))
    counts = np.concatenate([items.counts, np.zeros(len(further), np.int64)])
    content = None if items.content is None else pa.concat_tables([items.content, further.content])
    tensors = {name: tensor.followed_by(further.tensors[name]) for name, tensor in items.tensors.items()}
    both = Items(np.concatenate([items.ids, further.ids]), counts, content, tensors)
    both.context_log, both.users = items.context_log, items.users
    splits = _read_splits(path, both, entry["splits"], info)
    both.counts = counts + np.bincount(splits["validation"].values, minlength=both.size)[FIRST:]
    return both, splits


def _read_items(path: Path, expected: int, content: Iterable[str], tensors: Mapping[str, dict]) -> Items:
    with _opened(path / "items.parquet") as file:
        table = file.read(columns=["item", "count", *content])
    if len(table) != expected:
        raise InputError(f"{path}: {len(table):,} items instead of {expected:,}: prepare the data set again")
    ids, counts = _flat(table["item"].combine_chunks()), table["count"].to_numpy()
    return Items(ids, counts, table.drop_columns(["item", "count"]) if content else None, read_tensors(path, tensors))


def _read_splits(path: Path, items: Items, counts: Mapping[str, dict], info: dict) -> dict[str, SessionArrays]:
    splits = {name: StoredSessions(items, path / name, of_split) for name, of_split in counts.items()}
    if any(info["splits"][name].get("itemless_events") for name in SPLITS):
        splits = {name: ItemEvents(split) for name, split in splits.items()}
    return splits


def read_info(path: str | os.PathLike) -> dict:
    """Returns the content of `dataset.json`; raises InputError if it is missing or has another format."""
    path = Path(path).expanduser()
    if path.exists() and not (path / MARK).exists() and (path.parent / MARK).is_file():
        raise InputError(f"{path}: is a part of a prepared data set: name its folder, {path.parent}")
    if path.is_file():
        raise InputError(
            f"{path}: is a file: name a folder made by prepare(LOG, FOLDER)",
            command_line=f"{path}: is a file: name a folder made by `tfrecsession prepare LOG --out FOLDER`",
        )
    if not path.is_dir():
        raise InputError(
            f"{path}: no such folder: make it with prepare(LOG, {str(path)!r})",
            command_line=f"{path}: no such folder: make it with `tfrecsession prepare LOG --out {path}`",
        )
    try:
        info = json.loads((path / MARK).read_text(encoding="utf-8"))
        version = info["format"]
    except FileNotFoundError:
        run = (path / "run.json").is_file()
        why = "it is a run: the data set's path is in its run.json" if run else "make one with `tfrecsession prepare`"
        raise InputError(f"{path}: not a prepared data set, it has no {MARK}: {why}") from None
    except (ValueError, TypeError, KeyError, OSError) as error:
        raise InputError(f"{path / MARK}: cannot be read ({error}): prepare the data set again") from None
    if version != FORMAT:
        raise InputError(f"{path}: has format {version}, and this version reads {FORMAT}: prepare the data set again")
    return info


@contextmanager
def _opened(file: Path) -> Iterator[pq.ParquetFile]:
    try:
        with pq.ParquetFile(file) as opened:
            yield opened
    except FileNotFoundError:
        raise InputError(f"{file}: is missing: prepare the data set again") from None
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{file}: is damaged ({str(error).splitlines()[0]}): prepare the data set again") from None


def _flat(column: pa.Array) -> np.ndarray:
    """Returns the values of a column, those of lists end to end."""
    if pa.types.is_list(column.type):
        column = column.flatten()
    if pa.types.is_timestamp(column.type):
        return column.to_numpy(zero_copy_only=False)
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        # Equal texts share one Python object: there are many events and few names.
        encoded = column.dictionary_encode(null_encoding="encode")
        names = encoded.dictionary.to_numpy(zero_copy_only=False)
        return names[encoded.indices.to_numpy()] if len(names) else np.empty(0, object)
    return column.to_numpy(zero_copy_only=False)
