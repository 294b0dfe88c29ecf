"""Encoded sessions -> Parquet: a row per session, in parts of bounded size."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import ibis
import ibis.expr.types as ir
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tfrecsession.sessions.digest import Digest
from tfrecsession.sessions.log import CONTEXT, Log
from tfrecsession.sessions.workbench import Workbench

PART = 5_000_000  # events; what of a split is in memory at a time
BLOCK = 4096  # sessions; parts end at multiples of it
ROWS = 1 << 16  # sessions in a Parquet row group
TIME = pa.timestamp("us", "UTC")


def write_split(
    folder: Path,
    log: Log,
    events: ir.Table,
    sessions: ir.Table,
    bench: Workbench,
    digest: Digest,
    done: Callable[[float], None] = lambda share: None,
) -> int:
    """Write the encoded `events` of `sessions` as `folder`/part-00000.parquet ... and add them to `digest`.

    A row per session, by start and then by name; its columns are those of `schema`. Returns the number of parts, at
    least one.
    """
    folder.mkdir()
    place = ibis.row_number().over(order_by=[sessions.start, sessions.label])
    sessions = bench.store(_with_user_names(log, sessions).mutate(number=place))
    # Sorted once as a whole, so that the rows of a part stand together and are found without reading the others.
    numbers = sessions.select("session", "number")
    rows = bench.store(events.inner_join(numbers, "session").drop("session", "item").order_by("number"))
    total = max(bench.numbers(rows, events=rows.count())["events"], 1)
    written = parts = 0
    for low, high in _parts(sessions):
        part = _nest(_rows(log, rows, low, high), _sessions(sessions, low, high), schema(log, rows))
        pq.write_table(part, folder / f"part-{parts:05}.parquet", compression="zstd", row_group_size=ROWS)
        for name in part.column_names:
            for chunk in part[name].chunks:
                digest.update(f"{folder.name}/{name}", chunk)
        parts += 1
        written += len(part["items"].combine_chunks().flatten())
        done(written / total)
    bench.drop(sessions, rows)
    return parts


def schema(log: Log, events: ir.Table) -> pa.Schema:
    """The columns of prepared sessions: `session`, `user` (null: anonymous), `start`, `items` and `times`
    (microseconds) per event, and where the log has them `event` and the context columns, per event too."""
    lists = {"items": pa.int32(), "times": pa.int64()}
    if "event" in log.names:
        lists["event"] = pa.string()
    for name in log.context:
        lists[name] = events[f"{CONTEXT}{name}"].type().to_pyarrow()
    fields = [("session", pa.string()), ("user", pa.string()), ("start", TIME)]
    return pa.schema(fields + [(name, pa.list_(kind)) for name, kind in lists.items()])


def _with_user_names(log: Log, sessions: ir.Table) -> ir.Table:
    if "user" not in log.names:
        return sessions.mutate(user=ibis.null("string"))
    names = log.names["user"].select(user="code", name="name")
    return sessions.left_join(names, "user").drop("user", "user_right").rename(user="name")


def _parts(sessions: ir.Table) -> Iterator[tuple[int, int]]:
    """Ranges of session numbers, each of about PART events at most; one empty range where there are no sessions."""
    blocks = sessions.group_by(block=(sessions.number - sessions.number % BLOCK)).agg(events=sessions.events.sum())
    low = held = 0
    for block, events in zip(*blocks.order_by("block").to_pyarrow().to_pydict().values(), strict=True):
        if held and held + events > PART:
            yield low, block
            low, held = block, 0
        held += events
    yield low, np.iinfo(np.int64).max


def _rows(log: Log, rows: ir.Table, low: int, high: int) -> pa.Table:
    """The events of sessions number low..high-1, in order, under the names that they bear on disk."""
    part = rows.filter(rows.number >= low, rows.number < high)
    columns = {"items": part.id, "times": part.time}
    if "event" in log.names:
        part = part.left_join(log.names["event"].select(event="code", name="name"), "event")
        columns = {"items": part.id, "times": part.time, "event": part.name}
    columns |= {name: part[f"{CONTEXT}{name}"] for name in log.context}
    return part.order_by("number", "time", "order").select(**columns).to_pyarrow()


def _sessions(sessions: ir.Table, low: int, high: int) -> pa.Table:
    part = sessions.filter(sessions.number >= low, sessions.number < high).order_by("number")
    return part.select(session=part.label, user=part.user, start=part.start, events=part.events).to_pyarrow()


def _nest(rows: pa.Table, sessions: pa.Table, schema: pa.Schema) -> pa.Table:
    """Flat rows, session after session -> a row per session."""
    offsets = pa.array(np.r_[0, np.cumsum(sessions["events"].to_numpy())], pa.int32())
    columns = []
    for field in schema:
        if pa.types.is_list(field.type):
            flat = rows[field.name].combine_chunks().cast(field.type.value_type)
            columns.append(pa.ListArray.from_arrays(offsets, flat, type=field.type))
        else:
            columns.append(sessions[field.name].cast(field.type))
    return pa.Table.from_arrays(columns, schema=schema)
