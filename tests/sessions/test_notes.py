"""Notes of `prepare` on logs whose result a user would not expect, and what to do about it."""

import random
import re

import pandas as pd
import pytest

from tfrecsession.cli import main
from tfrecsession.errors import InputError
from tfrecsession.sessions.prepare import prepare

START, DAY = 1_700_000_000, 86_400


def note(info, words):
    return next((note for note in info["notes"] if words in note), None)


def log(sessions=200, items=10, step=60, **columns):
    """Returns sessions of three events, 20 a day."""
    rows = [(session, event) for session in range(sessions) for event in range(3)]
    table = pd.DataFrame(
        {
            "session": [f"s{session}" for session, _ in rows],
            "item": [f"i{(session + event) % items}" for session, event in rows],
            "time": [START + session * DAY // 20 + event * step for session, event in rows],
            "line": [event for _, event in rows],
        }
    )
    return table.assign(**columns)


def test_equal_times(tmp_path):
    info = prepare(log(step=0), tmp_path / "out")
    assert note(info, "have one time for all their events").startswith("200 of 200 sessions (100%)")
    assert "name a column that orders the events with order=COLUMN" in note(info, "one time")
    assert note(prepare(log(step=0), tmp_path / "ordered", order="line"), "one time") is None
    assert note(prepare(log(), tmp_path / "timed"), "one time") is None


def test_many_unknown_items(tmp_path):
    table = log(400, items=3)
    fresh = table.time >= table.time.max() - DAY
    table.loc[fresh & (table.line < 2), "item"] = "new-" + table.item  # two of three events of the last day
    info = prepare(table, tmp_path / "out", min_session_length=1)
    found = note(info, "were dropped")
    before = next(step for step in info["steps"] if step["step"] == "split by time" and step.get("split") == "test")
    dropped = before["events"] - info["splits"]["test"]["events"]
    assert found.startswith(f"test: {dropped:,} of {before['events']:,} events (6")
    assert "on items that training does not have" in found and "unknown_items='keep'" in found
    assert "a higher min_item_support= than 5" in found and "a shorter test_span= than 1d" in found
    kept = prepare(table, tmp_path / "kept", unknown_items="keep")
    assert note(kept, "were dropped") is None and kept["splits"]["test"]["events"] == before["events"]
    assert note(prepare(log(400), tmp_path / "plain"), "were dropped") is None


def test_many_rows_merged_as_duplicates(tmp_path, capsys):
    twice = pd.concat([log(user="u"), log(user="u")[:400]], ignore_index=True)  # 400 of 1,000 rows are seen again
    found = note(prepare(twice, tmp_path / "out"), "duplicate")
    assert found == (
        "400 of 1,000 events (40%) were merged as duplicate rows, which agree in session, user, item, time: "
        "keep_duplicates=True keeps them; event=COLUMN, the type of the events, may tell them apart"
    )
    assert note(prepare(twice, tmp_path / "kept", keep_duplicates=True), "duplicate") is None
    typed = note(prepare(twice.assign(kind="view"), tmp_path / "typed", event="kind"), "duplicate")
    assert typed.endswith("agree in session, user, item, time, event: keep_duplicates=True keeps them")
    few = pd.concat([log(), log()[:100]], ignore_index=True)  # 100 of 700
    assert note(prepare(few, tmp_path / "few"), "duplicate") is None
    twice.to_csv(tmp_path / "log.csv", index=False)
    named = ["--item", "item", "--time", "time", "--session", "session", "--user", "user"]
    assert main(["prepare", f"{tmp_path}/log.csv", "--out", f"{tmp_path}/cli", *named]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "note: 400 of 1,000 events (40%) were merged" in printed
    assert "--keep-duplicates keeps them; --event COLUMN, the type of the events" in printed


def test_many_events_left_out_by_the_filters(tmp_path):
    table = log()
    rare = table.session.isin([f"s{number}" for number in range(0, 200, 4)])
    table.loc[rare, "item"] = [f"rare{number}" for number in range(rare.sum())]  # a quarter, each item once
    assert note(prepare(table, tmp_path / "out"), "left out by the filters") == (
        "150 of 600 events (25%) are left out by the filters: 0 in short sessions, 150 on rare items. "
        "A lower min_item_support= than 5 keeps more"
    )
    short = log()[lambda rows: (rows.line == 0) | (rows.session.str[1:].astype(int) % 2 == 0)]
    assert note(prepare(short, tmp_path / "short"), "left out by the filters") == (
        "100 of 400 events (25%) are left out by the filters: 100 in short sessions, 0 on rare items. "
        "A lower min_session_length= than 2 keeps more"
    )
    assert note(prepare(log(), tmp_path / "plain"), "left out by the filters") is None


def late(seed=1):
    """Returns sessions that go on for days: none starts in the last one."""
    draw, rows = random.Random(seed), []
    for session in range(400):
        first = draw.uniform(0, 3)
        for visit in range(4):
            day = first + visit * draw.uniform(0.3, 0.9)
            rows += [
                (f"s{session}", f"i{draw.randrange(20)}", START + int(day * DAY) + 60 * event) for event in range(3)
            ]
    return pd.DataFrame(rows, columns=["session", "item", "time"])


def test_ways_to_split_a_log_in_which_no_session_starts_late_work(tmp_path, capsys):
    with pytest.raises(InputError) as error:
        prepare(late(), tmp_path / "out")
    message = str(error.value)
    assert "validation: nothing is left after 'split by time'" in message and "on this log work: " in message
    ways = re.findall(r"([\w_]+='[^(]*) \(sessions: train ([\d,]+), validation ([\d,]+), test ([\d,]+)\)", message)
    assert [way for way, *_ in ways] == [
        "split_by='end'",
        "test_span='10%' and validation_span='10%'",
        "gap='30m'",
    ]
    for way, *counts in ways:
        options = dict(re.findall(r"(\w+)='(\S+)'", way))
        splits = prepare(late(), tmp_path / "out", overwrite=True, **options)["splits"]
        assert [f"{split['sessions']:,}" for split in splits.values()] == counts

    late().to_csv(tmp_path / "late.csv", index=False)
    assert main(["prepare", str(tmp_path / "late.csv"), "--out", str(tmp_path / "cli")]) == 2
    error = capsys.readouterr().err
    assert "--split-by end (sessions:" in error and "--test-span 10% and --validation-span 10%" in error


def test_spans_longer_than_the_log_are_answered_with_shares(tmp_path):
    with pytest.raises(InputError, match="give shares of the sessions, as test_span='10%' and validation_span='10%'"):
        prepare(log(20), tmp_path / "out", min_item_support=1)


def test_tiny_splits(tmp_path):
    found = note(prepare(log(2_000), tmp_path / "out"), "fewer than 100")
    assert found.startswith("test has 20 sessions and validation has 20 sessions: with fewer than 100")
    assert "give test_span='10%' and validation_span='10%', a share of the 2,000 sessions" in found
    few = note(prepare(log(500), tmp_path / "few", test_span="12%", validation_span="0d"), "fewer than 100")
    assert few == "test has 60 sessions: with fewer than 100, scores have wide intervals", "a share is given already"
    wide = prepare(log(2_000), tmp_path / "wide", test_span="10%", validation_span="10%")
    assert note(wide, "fewer than 100") is None


def test_users_with_one_session_each(tmp_path, capsys):
    alone = log().assign(user=lambda table: "u" + table.session)
    options = ["--user", "user", "--out", str(tmp_path / "out")]
    alone.to_csv(tmp_path / "log.csv", index=False)
    assert main(["prepare", str(tmp_path / "log.csv"), *options]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "each of the 200 users has one session: models of the user (hrnn, long_short_term, user_gru)" in said
    assert "--gap 30m, or name another column with --user COLUMN" in said
    back = alone.assign(user=alone.user.where(alone.user != "us7", "us8"))
    assert note(prepare(back, tmp_path / "back", user="user"), "has one session") is None


@pytest.mark.parametrize("grouped", [True, False])
def test_a_file_without_times_that_is_grouped_by_user(grouped, tmp_path):
    users = [f"u{row // 30 if grouped else row % 40}" for row in range(1_200)]
    sessions = [f"{user}-{row // 3 if grouped else row // 120}" for row, user in enumerate(users)]
    table = pd.DataFrame({"user": users, "session": sessions, "item": [f"i{row % 7}" for row in range(1_200)]})
    info = prepare(table, tmp_path / "out", test_span="10%")
    found = note(info, "grouped by user")
    if grouped:
        assert "of the 4 users in test, 0 were seen in training" in found and "time=COLUMN" in found
    else:
        assert found is None
    assert "split by order" in {step["step"] for step in info["steps"]}
    assert "split by time" not in {step["step"] for step in info["steps"]}


@pytest.mark.parametrize("condition", ["item > 5", "item + 1 = 2", "item > DATE '2020-01-01'"])
@pytest.mark.parametrize("as_file", [True, False])
def test_a_condition_of_other_types_names_the_columns(condition, as_file, tmp_path):
    log().to_csv(tmp_path / "log.csv", index=False)
    with pytest.raises(InputError) as error:
        prepare(tmp_path / "log.csv" if as_file else log(), tmp_path / "out", where=condition)
    assert f"where={condition!r}: compares values of different types: 'item' holds texts" in str(error.value)
    assert "\n" not in str(error.value) and "Binder" not in str(error.value)


def test_whole_numbers_and_an_index_name_columns(tmp_path):
    named = log()
    numbered = named.set_axis(range(4), axis=1)
    options = {"session": 0, "item": 1, "time": 2, "order": 3, "context": 3}
    expected = prepare(named, tmp_path / "named", order="line", context="line")
    assert prepare(numbered, tmp_path / "numbered", **options)["splits"] == expected["splits"]
    indexed = prepare(named.set_index("time"), tmp_path / "indexed", order="line", context=["line"])
    assert indexed["fingerprint"] == expected["fingerprint"]
    for name in (("a",), 0.0, True):
        with pytest.raises(InputError, match="order=.*: must be the name of a column"):
            prepare(numbered, tmp_path / "out", **options | {"order": name})
    with pytest.raises(InputError, match="a Series holds one column"):
        prepare(named["item"], tmp_path / "out")
