"""`prepare --hold-out`: users, or each user's last session, held out; named with what it leaks."""

import itertools
import json

import pyarrow as pa
import pytest

from tfrecsession.batches import load
from tfrecsession.cli import main
from tfrecsession.errors import InputError
from tfrecsession.sessions.describe import describe
from tfrecsession.sessions.prepare import prepare

HOUR = 3600
QUICK = {"min_item_support": 1}


def log(users, order=None, **columns):
    """Returns a log of sessions "user-number", an hour apart, whose user is named; None: nobody. Two items each."""
    number, rows = itertools.count(), []
    for user in users:
        session = next(number)
        for event in range(2):
            rows.append((f"{user}-{session}", user, f"i{event}", 1_700_000_000 + session * HOUR + event))
    table = dict(zip(("session", "user", "item", "time"), map(list, zip(*rows, strict=True)), strict=True))
    return pa.table(table).drop_columns([name for name, keep in columns.items() if not keep])


def sessions_of(path):
    data = load(path)
    return {name: data_split.column("session").tolist() for name, data_split in splits(data).items()}


def splits(data):
    return {"train": data.train, "validation": data.validation, "test": data.test}


def test_last_sessions_by_hand(tmp_path):
    # a has 4 sessions, b 2, c 1, d 3; one has no user
    info = prepare(
        log(["a", "b", "a", "c", "a", "d", None, "b", "d", "a", "d"]), tmp_path / "o", hold_out="last-session", **QUICK
    )
    assert sessions_of(tmp_path / "o") == {
        "train": ["a-0", "b-1", "a-2", "c-3", "d-5", "None-6"],
        "validation": ["a-4", "d-8"],
        "test": ["b-7", "a-9", "d-10"],
    }
    assert any("1 sessions without a user are in training" in note for note in info["notes"])
    assert [step["step"] for step in info["steps"] if step.get("split") == "test"][0] == "split by last sessions"
    prepare(log(["a", "b", "a", "a"]), tmp_path / "no", hold_out="last-session", validation_span="0d", **QUICK)
    assert sessions_of(tmp_path / "no") == {"train": ["a-0", "b-1", "a-2"], "validation": [], "test": ["a-3"]}
    info = prepare(log(["a", "b", "a", "b"]), tmp_path / "two", hold_out="last-session", **QUICK)
    assert sessions_of(tmp_path / "two") == {"train": ["a-0", "b-1"], "validation": [], "test": ["a-2", "b-3"]}
    assert any("no user has three sessions" in note for note in info["notes"])


def test_all_sessions_of_a_held_out_user_are_in_one_split(tmp_path):
    users = [f"u{number % 20}" for number in range(60)] + [None]
    prepare(log(users), tmp_path / "o", hold_out="users", test_span="20%", validation_span="10%", **QUICK)
    data = load(tmp_path / "o")
    found = {name: set(split.column("user")) - {None} for name, split in splits(data).items()}
    assert {name: len(names) for name, names in found.items()} == {"train": 14, "validation": 2, "test": 4}
    assert not (found["train"] & found["test"] or found["train"] & found["validation"])
    assert len(data.test) == 12 and len(data.validation) == 6 and None in data.train.column("user")


def test_the_choice_depends_on_the_names_alone(tmp_path):
    names = [f"u{number}" for number in range(200)]
    chosen = []
    for number, users in enumerate((names, names[::-1], [name for name in names for _ in range(2)])):
        prepare(log(users), tmp_path / str(number), hold_out="users", **QUICK)
        chosen.append(set(load(tmp_path / str(number)).test.column("user")))
    assert chosen[0] == chosen[1] == chosen[2] and len(chosen[0]) == 20
    ordered = sorted(names)
    places = sorted(ordered.index(name) for name in chosen[0])
    assert (
        places[0] < 40
        and places[-1] > 160
        and len({after - before for before, after in itertools.pairwise(places)}) > 3
    )


def test_a_log_without_times(tmp_path):
    table = log(["a", "b", "a", "b", "a"], time=False)
    prepare(table, tmp_path / "o", hold_out="last-session", **QUICK)
    assert sessions_of(tmp_path / "o")["test"] == ["b-3", "a-4"]
    prepare(log([f"u{number}" for number in range(10)], time=False), tmp_path / "u", hold_out="users", **QUICK)
    assert len(load(tmp_path / "u").test) == 1


@pytest.mark.parametrize(
    "users, columns, options, message",
    [
        (["a", "a", "b"], {"user": False}, {"hold_out": "users"}, "names none: name their column with user=COLUMN"),
        (["a", "a", "b"], {"user": False}, {"hold_out": "last-session"}, "the log names none"),
        (["a", "b", "c"], {}, {"hold_out": "last-session"}, "none of the 3 users has two sessions"),
        ([None, None], {}, {"hold_out": "last-session"}, "none of the 0 users has two sessions"),
        (["a", "b"], {}, {"hold_out": "users"}, "leaves no user to train on: the log has 2 users"),
        (["a", "b"], {}, {"hold_out": "user"}, "choose users or last-session"),
        (["a", "b"], {}, {"hold_out": "users", "test_span": "1d"}, "test_span='1d': must be a share of the users"),
        (["a", "b"], {}, {"hold_out": "users", "test_span": "0%"}, "test_span='0%': must be a share of the users"),
        (["a", "a"], {}, {"hold_out": "last-session", "test_span": "10%"}, "test_span='10%': must be left out"),
        (
            ["a", "a"],
            {},
            {"hold_out": "last-session", "validation_span": "1d"},
            "validation_span='0d' leaves validation",
        ),
        (["a", "a"], {}, {"hold_out": "users", "split_by": "end"}, "split_by='end'"),
        (["a", "a"], {}, {"hold_out": "users", "test_input": log(["a"])}, "the test sessions are given"),
    ],
)
def test_invalid_input(tmp_path, users, columns, options, message):
    table = log(users, **columns)
    if columns:
        table = table.rename_columns(["session", "item", "time"])
    with pytest.raises(InputError, match=message):
        prepare(table, tmp_path / "o", **options, **QUICK)
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    "options, by, leaks",
    [
        ({"hold_out": "users"}, "users", "no session of the test users"),
        ({"hold_out": "last-session"}, "last-session", "no later session of the same user"),
        ({"test_span": "10%", "validation_span": "10%"}, "time", "sessions that cross this border"),
        ({"test_span": "10%", "split_by": "end"}, "time", "every training session ends before it begins"),
        ({"test_input": log(["a", "b"])}, "given", "depends on how it was made"),
    ],
)
def test_describe_says_what_leaks(tmp_path, options, by, leaks):
    info = prepare(log([f"u{number % 20}" for number in range(80)]), tmp_path / "o", **options, **QUICK)
    found = describe(tmp_path / "o")
    assert found["split"]["by"] == by and leaks in found["split"]["leaks"]
    assert found["fingerprint"] == info["fingerprint"]


@pytest.mark.slow
def test_the_command_line_names_the_split(tmp_path, capsys):
    source = "synthetic:items=30,sessions=200,seed=1,users=40,days=4"
    out, run, report = tmp_path / "o", tmp_path / "run", tmp_path / "report"
    assert main(["prepare", source, "--out", str(out), "--hold-out", "last-session", "--validation-span", "0d"]) == 0
    assert "Split by last-session." in capsys.readouterr().out
    assert main(["describe", str(out), "--json", str(tmp_path / "d.json")]) == 0
    assert main(["train", str(out), "--model", "popularity", "--out", str(run)]) == 0
    capsys.readouterr()
    assert main(["evaluate", str(run), "--k", "5", "--json", str(tmp_path / "e.json")]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    split = json.loads((tmp_path / "d.json").read_text())["split"]
    assert split["leaks"] in printed and "days since last visit" in printed and "user in training" in printed
    evaluated = json.loads((tmp_path / "e.json").read_text())
    assert evaluated["hold_out"] == split
    known = evaluated["slices"]["user_in_training"]
    assert known["new"]["events"] == 0 and known["known"]["events"] == evaluated["events"]
    assert main(["compare", str(out), "--models", "popularity", "--k", "5", "--out", str(report)]) == 0
    assert json.loads((report / "results.json").read_text())["protocol"]["hold_out"] == split
    page = (report / "report.html").read_text()
    assert "The test split holds the last session of each user with two and more." in page
    assert "no later session of the same user" in page and "By whether training has sessions of the user" in page
