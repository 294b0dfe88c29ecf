"""`prepare` compared with a slow and obvious reference program, on small random logs."""

from fractions import Fraction
from itertools import pairwise
from math import ceil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from tfrecsession.errors import InputError
from tfrecsession.sessions.prepare import prepare

EPOCH = 1_700_000_000  # seconds
SECOND = 1_000_000


class NothingLeft(Exception):
    pass


def span_of(text):
    """Converts "10s" to microseconds, "10%" to a share."""
    return Fraction(text[:-1]) / 100 if text.endswith("%") else int(text[:-1]) * SECOND


def cut_into_sessions(rows, gap):
    """Returns [(name, rows in order)]."""
    by_owner = {}
    key = "session" if "session" in rows[0] else "user"
    for row in rows:
        if row[key] is not None:
            by_owner.setdefault(row[key], []).append(row)
    if gap is None and key == "user":
        gap = "1800s"
    sessions = []
    for owner, owned in by_owner.items():
        owned.sort(key=lambda row: (row["time"], row["order"]))
        if gap is None:
            sessions.append((owner, owned))
            continue
        pieces = [[owned[0]]]
        for before, row in pairwise(owned):
            if row["time"] - before["time"] > span_of(gap):
                pieces.append([])
            pieces[-1].append(row)
        sessions += [(f"{owner}/{number}", piece) for number, piece in enumerate(pieces, 1)]
    return sessions


def read(rows, options):
    rows = [dict(row, order=order, time=row.get("time", order + 1)) for order, row in enumerate(rows)]
    if options["timed"] and not options["keep_duplicates"]:
        seen, fresh = set(), []
        for row in rows:
            same = tuple(row.get(name) for name in ("session", "user", "item", "time", "event"))
            if same not in seen:
                fresh.append(row)
            seen.add(same)
        rows = fresh
    sessions = cut_into_sessions(rows, options["gap"])
    if options["drop_repeats"]:
        sessions = [
            (name, [row for before, row in zip([{}, *rows], rows, strict=False) if before.get("item") != row["item"]])
            for name, rows in sessions
        ]
    return sessions


def drop_short(sessions, length):
    return [(name, rows) for name, rows in sessions if len(rows) >= length]


def drop_rare(sessions, support):
    items = [row["item"] for _, rows in sessions for row in rows]
    frequent = {item for item in items if items.count(item) >= support}
    kept = [(name, [row for row in rows if row["item"] in frequent]) for name, rows in sessions]
    return [(name, rows) for name, rows in kept if rows]


def drop_short_and_rare(sessions, length, support, one_pass):
    if one_pass:
        return drop_short(drop_rare(drop_short(sessions, length), support), length)
    while True:
        fewer = drop_rare(drop_short(sessions, length), support)
        if fewer == sessions:
            return sessions
        sessions = fewer


def split(sessions, validation, test, by):
    """Returns train, validation and test, cut from the end of the list in time order."""
    edge = 0 if by == "start" else -1
    rest = sorted(sessions, key=lambda session: (session[1][edge]["time"], session[0]))
    if not rest:
        raise NothingLeft
    border = max(rows[-1]["time"] for _, rows in rest)
    first = min(rows[0]["time"] for _, rows in rest)
    cuts = []
    for span in (span_of(test), span_of(validation)):
        cut = []
        if isinstance(span, Fraction) and span:
            for _ in range(ceil(span * len(sessions))):
                if not rest:
                    raise NothingLeft
                border = rest[-1][1][edge]["time"]
                cut.append(rest.pop())
        elif span:
            border -= span
            if border <= first:
                raise NothingLeft
            while rest and rest[-1][1][edge]["time"] >= border:
                cut.append(rest.pop())
        if span and not cut:
            raise NothingLeft
        cuts.append(cut)
    if not rest:
        raise NothingLeft
    return rest, cuts[1], cuts[0]


def expected(rows, test_rows, options):
    sessions = read(rows, options)
    sessions = drop_short_and_rare(sessions, options["length"], options["support"], options["one_pass"])
    train, validation, test = split(sessions, options["validation"], options["test"], options["by"])
    if test_rows is not None:
        test = read(test_rows, options)
    items = [row["item"] for _, rows in train for row in rows]
    vocabulary = sorted(set(items), key=lambda item: (-items.count(item), item))
    ids = {item: number for number, item in enumerate(vocabulary, 2)}
    splits = {"train": train, "validation": validation, "test": test}
    if options["unknown"] == "drop":
        for name in ("validation", "test"):
            known = [(label, [row for row in rows if row["item"] in ids]) for label, rows in splits[name]]
            if splits[name] and not drop_short(known, max(options["length"], 1)):
                raise NothingLeft
            splits[name] = drop_short(known, max(options["length"], 1))
    return vocabulary, [items.count(item) for item in vocabulary], {n: on_disk(s, ids) for n, s in splits.items()}


def on_disk(sessions, ids):
    table = []
    for name, rows in sorted(sessions, key=lambda session: (session[1][0]["time"], session[0])):
        users = [row["user"] for row in sorted(rows, key=lambda row: row["order"]) if row.get("user") is not None]
        table.append(
            {
                "session": name,
                "user": users[0] if users else None,
                "start": rows[0]["time"],
                "items": [ids.get(row["item"], 1) for row in rows],
                "times": [row["time"] for row in rows],
            }
        )
        for column in ("event", "device"):
            if column in rows[0]:
                table[-1][column] = [row[column] for row in rows]
    return table


def prepared(rows, test_rows, options, out):
    def log(rows):
        return pa.table({name: pa.array([row[name] for row in rows], TYPES[name]) for name in rows[0]})

    given_test = {} if test_rows is None else {"test_input": log(test_rows)}
    if test_rows is None:
        given_test = {"test_span": options["test"]}
    prepare(
        log(rows),
        out,
        event="event" if "event" in rows[0] else None,
        context=("device",) if "device" in rows[0] else (),
        time_unit="us" if options["timed"] else None,
        gap=options["gap"],
        drop_repeats=options["drop_repeats"],
        min_item_support=options["support"],
        min_session_length=options["length"],
        one_pass=options["one_pass"],
        validation_span=options["validation"],
        split_by=options["by"],
        unknown_items=options["unknown"],
        keep_duplicates=options["keep_duplicates"],
        overwrite=True,
        **given_test,
    )
    items = pq.read_table(out / "items.parquet").to_pydict()
    splits = {}
    for name in ("train", "validation", "test"):
        table = pq.read_table(out / name)
        table = table.set_column(2, "start", table["start"].cast(pa.int64()))
        splits[name] = table.to_pylist()
    assert items["id"] == list(range(2, len(items["id"]) + 2))
    return items["item"], items["count"], splits


TYPES = {name: pa.string() for name in ("item", "session", "user", "event")} | {
    "time": pa.int64(),
    "device": pa.int32(),
}
ITEMS = st.sampled_from(["a", "b", "B", "é", "z", "日"])
VALUES = {
    "item": ITEMS,
    "time": st.integers(0, 40).map(lambda second: (EPOCH + second * 10) * SECOND),
    "session": st.sampled_from(["1", "2", "10", "x", "x!", "y", "é", "/"]),
    "user": st.sampled_from([None, "u", "u!", "v"]),
    "event": st.sampled_from(["view", "cart", None]),
    "device": st.sampled_from([1, 2, None]),
}


@st.composite
def cases(draw):
    timed = draw(st.integers(0, 4)) > 0
    owners = draw(st.sampled_from([["session"], ["session", "user"], ["user"]] if timed else [["session"]]))
    columns = ["item", *(["time"] if timed else []), *owners, *draw(st.sets(st.sampled_from(["event", "device"])))]
    row = st.fixed_dictionaries({name: VALUES[name] for name in columns})
    rows = draw(st.lists(row, min_size=20, max_size=60))
    test_rows = draw(st.none() | st.lists(row, min_size=1, max_size=10)) if draw(st.booleans()) else None
    spans = st.sampled_from(["0s", "10%", "34%", *(["100s", "150s"] if timed else [])])
    return (
        rows,
        test_rows,
        {
            "timed": timed,
            "gap": draw(st.sampled_from([None, "20s", "60s"])) if timed else None,
            "drop_repeats": draw(st.booleans()),
            "support": draw(st.sampled_from([1, 2, 2, 3, 5])),
            "length": draw(st.sampled_from([1, 2, 2, 3])),
            "one_pass": draw(st.booleans()),
            "test": "0s" if test_rows is not None else draw(spans),
            "validation": draw(spans),
            "by": draw(st.sampled_from(["start", "end"])),
            "unknown": draw(st.sampled_from(["drop", "keep"])),
            "keep_duplicates": draw(st.booleans()),
        },
    )


@settings(max_examples=20, derandomize=True, suppress_health_check=list(HealthCheck))
@given(case=cases())
def test_prepare_equals_the_reference(case, tmp_path_factory):
    out = tmp_path_factory.getbasetemp() / "prepared"
    try:
        result = expected(*case)
    except (NothingLeft, IndexError):
        event("nothing left")
        with pytest.raises(InputError):
            prepared(*case, out)
        return
    event("prepared")
    assert prepared(*case, out) == result
