"""Writer of the files of a prepared data set."""

from __future__ import annotations

from pathlib import Path

import ibis
import ibis.expr.types as ir
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tfrecsession.errors import InputError
from tfrecsession.sessions.coded_log import CONTEXT, Log
from tfrecsession.sessions.digest import Digest
from tfrecsession.sessions.item_columns import ItemContents, column_report, read_tensors, write_tensors
from tfrecsession.sessions.scratch_db import ScratchDatabase
from tfrecsession.sessions.split import Split
from tfrecsession.sessions.users import write_users
from tfrecsession.sessions.vocabulary import UNKNOWN

PART = 5_000_000  # events; one part of a split is in memory at a time
BLOCK = 4096  # sessions; parts end at multiples of it
ROWS = 1 << 16  # sessions in a Parquet row group


class DatasetWriter:
    """Writer of `items.parquet` and the splits in `folder`.

    schema: the columns of the splits. content: the types of the item columns beyond id, item and count. tensors: the
    item columns that lie beside the item table, `item_columns`: what all item columns hold, as in `dataset.json`, both
    empty without an item table. user_tensors, user_columns: those of the users, likewise. digest: over all values
    written.
    """

    def __init__(self, folder: Path, log: Log, db: ScratchDatabase):
        self.folder, self.db = folder, db
        self.schema = _schema(log)
        self.content = pa.schema([])
        self.tensors: dict[str, dict] = {}
        self.item_columns: dict[str, dict] = {}
        self.user_tensors: dict[str, dict] = {}
        self.user_columns: dict[str, dict] = {}
        self.digest = Digest()

    def write_items(
        self,
        vocabulary: ir.Table,
        content: pa.Table | None,
        contents: ItemContents | None = None,
        may_lack: bool = False,
    ) -> int:
        """Writes a row per item, by id: `id` int32, `item`, `count` int64 (events in training), content columns.

        content: columns of items that came with the log. contents: those of an item table, which replace them.
        may_lack: whether the item table may have none of the items.

        Returns the number of items.
        """
        items = vocabulary.order_by("id").select("id", "item", "count").to_pyarrow()
        if contents is not None:
            items = self._with_contents(items, contents, may_lack)
        elif content is not None:
            content = content.take(pc.index_in(items["item"], content["item"])).drop_columns("item")
            self.content = content.schema
            for name in content.column_names:
                items = items.append_column(content.schema.field(name), content[name])
        self._write(items, "items", self.folder / "items.parquet")
        return len(items)

    def _with_contents(self, items: pa.Table, contents: ItemContents, may_lack: bool) -> pa.Table:
        rows = contents.rows(items["item"].to_pylist())
        if not may_lack and contents.items and max(rows, default=-1) < 0:
            raise InputError(
                f"{contents.source}: none of its items ({contents.items[0]!r}, ...) is in the log "
                f"({items['item'][0].as_py()!r}, ...); are the ids written differently, or is another column the key "
                "(items_key=)?"
            )
        table = contents.table(rows)
        self.content = table.schema
        for name in table.column_names:
            items = items.append_column(table.schema.field(name), table[name])
        self.tensors = write_tensors(contents, rows, self.folder)
        tensors = read_tensors(self.folder, self.tensors)
        self._take_tensors(tensors, "tensors")
        self.item_columns = column_report(contents, rows, tensors)
        return items

    def write_users(self, contents: ItemContents, train: Split) -> None:
        """Writes the users of `train` and of a table with their features, see `sessions.users`."""
        if "user" not in train.log.names:
            raise InputError(
                f"{contents.source}: the log names no users, so their features belong to none: give user=COLUMN"
            )
        sessions = _with_users(train.sessions, train.log)
        counts = sessions.filter(sessions.user.notnull()).group_by("user").agg(count=sessions.events.sum()).to_pyarrow()
        counts = dict(zip(counts["user"].to_pylist(), counts["count"].to_pylist(), strict=True))
        written = write_users(contents, counts, self.folder)
        self.take(written.table, "users")
        self._take_tensors(written.tensors, "user_tensors")
        self.user_tensors, self.user_columns = written.entries, written.columns

    def _take_tensors(self, tensors: dict, prefix: str) -> None:
        """Adds the values of tensors to the digest."""
        for name, tensor in tensors.items():
            for first in range(0, len(tensor.values), BLOCK):
                self.digest.update(f"{prefix}/{name}", pa.array(tensor.values[first : first + BLOCK].reshape(-1)))

    def write_split(self, split: Split) -> dict:
        """Writes a row per session, by start and name, as NAME/part-00000.parquet ...; no sessions: one empty part.

        Columns: `session`, `user` (null: anonymous), `start`, and lists with a value per event: `items` (ids, 0 for an
        event without an item), `times`
        (microseconds; row numbers in a log without times), and if the log has them `event` and the context columns.

        Returns the counts `sessions`, `events`, `scored_events` (those with an event before them), `unknown_events`
        and `parts`, and the times `first` and `last`; of a log with events that have no item `itemless_events`, which
        the other counts leave out.
        """
        db = self.db
        split.step_counts.begin(f"writing {split.name}")
        sessions = db.numbered(_with_users(split.sessions, split.log), ["start", "label"], "number")
        itemless = {"itemless_events": sessions.itemless.sum().fill_null(0)} if "itemless" in sessions.columns else {}
        found = db.numbers(
            sessions,
            sessions=sessions.count(),
            events=sessions.events.sum().fill_null(0),
            first=sessions.start.min(),
            last=sessions.end.max(),
            **itemless,
        )
        (self.folder / split.name).mkdir()
        parts = _parts(sessions)
        found["unknown_events"] = self._write_parts(split, sessions, parts)
        db.drop(sessions)
        return {**found, "scored_events": found["events"] - found["sessions"], "parts": len(parts)}

    def _write_parts(self, split: Split, sessions: ir.Table, parts: list[tuple[int, int]]) -> int:
        """Writes the sessions number low..high-1 of each part; returns how many of their events have unknown items."""
        # Sorted once as a whole, so that the rows of a part are consecutive and found without reading the others.
        events = self.db.store(events_of(sessions, split.events).order_by("number"))
        for number, (low, high) in enumerate(parts):
            split.step_counts.begin(f"writing {split.name}", number / len(parts))
            flat, row = _events(events, split.log, low, high), _sessions(sessions, low, high)
            self._write(_nest(flat, row, self.schema), split.name, self.part(split, number))
        unknown = self.db.numbers(events, events=events.count(where=events.id == UNKNOWN))["events"]
        self.db.drop(events)
        return unknown

    def part(self, split: Split, number: int) -> Path:
        """Returns the path of a part of a split."""
        return self.folder / split.name / f"part-{number:05}.parquet"

    def _write(self, table: pa.Table, prefix: str, path: Path) -> None:
        pq.write_table(table, path, compression="zstd", row_group_size=ROWS, **_encodings(table.schema))
        self.take(table, prefix)

    def take(self, table: pa.Table, prefix: str) -> None:
        """Adds the values of a table, which follow those added before, to the digest."""
        for name in table.column_names:
            for chunk in table[name].chunks:
                if len(chunk) or pa.types.is_list(chunk.type):  # a split without sessions counts by its lists
                    self.digest.update(f"{prefix}/{name}", chunk)


def _schema(log: Log) -> pa.Schema:
    lists = {"items": pa.int32(), "times": pa.int64()}
    if "event" in log.names:
        lists["event"] = pa.string()
    for name in log.context:
        lists[name] = log.events[f"{CONTEXT}{name}"].type().to_pyarrow()
    fields = [("session", pa.string()), ("user", pa.string()), ("start", pa.timestamp("us", "UTC"))]
    return pa.schema(fields + [(name, pa.list_(kind)) for name, kind in lists.items()])


def _encodings(schema: pa.Schema) -> dict:
    """Returns encodings: times are close together and event texts repeat; dictionaries of ids or names do not pay."""
    near = {"start": "start", "times": "times.list.element"}
    return {
        "use_dictionary": [f"{field.name}.list.element" for field in schema if field.type == pa.list_(pa.string())],
        "column_encoding": {near[name]: "DELTA_BINARY_PACKED" for name in schema.names if name in near},
    }


def _with_users(sessions: ir.Table, log: Log) -> ir.Table:
    """Replaces the codes of users in `sessions` by their names."""
    if "user" not in log.names:
        return sessions.mutate(user=ibis.null("string"))
    names = log.names["user"].select(user="code", name="name")
    return sessions.left_join(names, "user").drop("user", "user_right").rename(user="name")


def events_of(sessions: ir.Table, events: ir.Table) -> ir.Table:
    """Returns the events of `sessions`, with the number of their session instead of its code."""
    return events.inner_join(sessions.select("session", "number"), "session").drop("session", "item")


def _parts(sessions: ir.Table) -> list[tuple[int, int]]:
    """Returns at least one range of session numbers, each of at most PART events if BLOCK sessions have no more."""
    blocks = sessions.group_by(block=sessions.number - sessions.number % BLOCK).agg(events=_steps(sessions).sum())
    starts, held = [0], 0
    for block in blocks.order_by("block").to_pyarrow().to_pylist():
        if held and held + block["events"] > PART:
            starts.append(block["block"])
            held = 0
        held += block["events"]
    return list(zip(starts, [*starts[1:], np.iinfo(np.int64).max], strict=True))


def _events(events: ir.Table, log: Log, low: int, high: int) -> pa.Table:
    """Reads the events of the sessions number low..high-1, session after session, under their names on disk."""
    part, columns = columns_on_disk(events.filter(events.number >= low, events.number < high), log)
    return part.order_by("number", "time", "order").select(**columns).to_pyarrow()


def columns_on_disk(events: ir.Table, log: Log) -> tuple[ir.Table, dict[str, str]]:
    """Returns `events` with all that a session's lists hold, and its columns by their names on disk."""
    columns = {"items": "id", "times": "time"}
    if "event" in log.names:
        events = events.left_join(log.names["event"].select(event="code", event_name="name"), "event")
        columns["event"] = "event_name"
    return events, columns | {name: f"{CONTEXT}{name}" for name in log.context}


def _sessions(sessions: ir.Table, low: int, high: int) -> pa.Table:
    part = sessions.filter(sessions.number >= low, sessions.number < high).order_by("number")
    return part.select("user", "start", events=_steps(part), session="label").to_pyarrow()


def _steps(sessions: ir.Table) -> ir.IntegerColumn:
    """Returns the number of events of each session, with those that have no item."""
    return sessions.events + sessions.itemless if "itemless" in sessions.columns else sessions.events


def _nest(events: pa.Table, sessions: pa.Table, schema: pa.Schema) -> pa.Table:
    """Nests events, consecutive by session, into a row per session with a list per column."""
    offsets = pa.array(np.r_[0, np.cumsum(sessions["events"].to_numpy())], pa.int32())
    columns = []
    for field in schema:
        if pa.types.is_list(field.type):
            flat = events[field.name].combine_chunks().cast(field.type.value_type)
            columns.append(pa.ListArray.from_arrays(offsets, flat, type=field.type))
        else:
            columns.append(sessions[field.name].cast(field.type))
    return pa.Table.from_arrays(columns, schema=schema)
