"""Errors name arguments in Python and options on the command line."""

import argparse
import ast
import json
import re
from pathlib import Path

import pytest

import tfrecsession
from tfrecsession.cli import main
from tfrecsession.cli.argument_names import in_options
from tfrecsession.cli.program import command_line_text
from tfrecsession.errors import InputError
from tfrecsession.sessions.prepare import prepare
from tfrecsession.sessions.store import read_prepared

OPTION = re.compile(r"(?<![\w-])--[a-z]")
SOURCES = Path(tfrecsession.__file__).parent
LOG = "session,user,item,time,price\n" + "".join(
    f"s{day},u{day % 3},{item},2024-03-{day + 1:02} 10:00:0{step},{step}\n"
    for day in range(20)
    for step, item in enumerate("ab")
)


@pytest.mark.parametrize(
    ("arguments", "python", "command_line"),
    [
        ({"test_span": "10x"}, "test_span='10x': must be", "--test-span 10x: must be"),
        ({"test_span": "a week"}, "test_span='a week': must be", "--test-span 'a week': must be"),
        ({"validation_span": "100%"}, "validation_span='100%': must be", "--validation-span 100%: must be"),
        ({"gap": "0m"}, "gap='0m': must be longer", "--gap 0m: must be longer"),
        ({"min_item_support": 0}, "min_item_support=0: must be", "--min-item-support 0: must be"),
        ({"min_item_support": 99}, "lower min_item_support=99", "lower --min-item-support 99"),
        (
            {"max_session_length": 1},
            "max_session_length=1: must be at least min_session_length=2",
            "--max-session-length 1: must be at least --min-session-length 2",
        ),
        ({"memory": "lots"}, "memory='lots': must be a size", "--memory lots: must be a size"),
        ({"engine": "pandas"}, "engine='pandas': choose", "--engine pandas: choose"),
        ({"spark_master": "local"}, "spark_master= is for engine='spark'", "--spark-master is for --engine spark"),
        ({"quote": "ab"}, "quote='ab': must be", "--quote ab: must be"),
        ({"quote": '"', "format": "parquet"}, "quote= is for csv", "--quote is for csv"),
        ({"columns": ["a", "b"]}, "columns=['a', 'b']: must name", "--columns a,b: must name"),
        ({"encoding": "latin-9x"}, "encoding='latin-9x': unknown", "--encoding latin-9x: unknown"),
        ({"format": "xls"}, "format='xls': choose", "--format xls: choose"),
        ({"item": "itm"}, "(item='itm'); columns", "(--item itm); columns"),
        ({"context": ["items"]}, "context='items': prepared", "--context items: prepared"),
        ({"time": "item"}, "or leave them out with drop_bad_rows=True", "or leave them out with --drop-bad-rows"),
        ({"time": "price"}, "give the unit, e.g. time_unit='s'", "give the unit, e.g. --time-unit s"),
        ({"time_format": "%Q"}, "time_format='%Q': must be", "--time-format %Q: must be"),
        ({"where": "pric > 0"}, "(where='pric > 0'); texts", "(--where 'pric > 0'); texts"),
        (
            {"where": "price >"},
            "e.g. where=\"quantity > 0 AND country = 'France'\"",
            "e.g. --where \"quantity > 0 AND country = 'France'\"",
        ),
        ({"where": "price > 9"}, "no row is left after where='price > 9'", "is left after --where 'price > 9'"),
        (
            {"test_span": "30d"},
            "test_span='30d' leaves nothing to train on",
            "--test-span 30d leaves nothing to train on",
        ),
        ({"test_span": "1d", "test_input": "x"}, "test_span= and test_input= exclude", "--test-span and --test-input"),
    ],
)
def test_an_error_names_the_argument_or_the_option(arguments, python, command_line, tmp_path, capsys):
    (tmp_path / "log.csv").write_text(LOG)
    with pytest.raises(InputError) as error:
        prepare(tmp_path / "log.csv", tmp_path / "out", **arguments)
    assert python in str(error.value) and not OPTION.search(str(error.value))

    words = ["prepare", str(tmp_path / "log.csv"), "--out", str(tmp_path / "out")]
    for name, value in arguments.items():
        words += [f"--{name.replace('_', '-')}", ",".join(value) if isinstance(value, list) else str(value)]
    assert main(words) == 2
    assert command_line in capsys.readouterr().err


def test_an_existing_data_set_and_a_missing_one(tmp_path, capsys):
    (tmp_path / "log.csv").write_text(LOG)
    words = ["prepare", str(tmp_path / "log.csv"), "--out", str(tmp_path / "out")]
    assert main(words) == 0
    with pytest.raises(InputError, match="replace it with overwrite=True"):
        prepare(tmp_path / "log.csv", tmp_path / "out")
    capsys.readouterr()
    assert main(words) == 2 and "replace it with --overwrite" in capsys.readouterr().err

    with pytest.raises(InputError, match=r"no such folder: make it with prepare\(LOG, '.*none'\)"):
        read_prepared(tmp_path / "none")
    assert main(["describe", str(tmp_path / "none")]) == 2
    assert f"make it with `tfrecsession prepare LOG --out {tmp_path}/none`" in capsys.readouterr().err


def test_notes_name_the_argument_or_the_option(tmp_path, capsys):
    header, *rows = LOG.replace("2024-03-", "17000000").replace(" 10:00:0", "").splitlines()
    rows = [row.replace("17000000", "17000") for row in rows]
    (tmp_path / "log.csv").write_text("\n".join([header, *rows]) + "\n")
    out, result = tmp_path / "out", tmp_path / "result.json"
    spans = ["--test-span", "20%", "--validation-span", "20%", "--time-unit", "s"]
    log = [*spans, "--json", str(result)]
    assert main(["prepare", str(tmp_path / "log.csv"), "--out", str(out), "--null-values", "b", *log]) == 2
    rows = [row.replace(",u0,", ",NA,") for row in rows]
    (tmp_path / "log.csv").write_text("\n".join([header, *rows]) + "\n")
    capsys.readouterr()
    assert main(["prepare", str(tmp_path / "log.csv"), "--out", str(out), *log]) == 0
    assert "--null-values" in capsys.readouterr().out
    (on_disk,) = (note for note in read_prepared(out).info["notes"] if "null" in note)
    assert "null_values=" in on_disk and not OPTION.search(on_disk)
    assert any("--null-values" in note for note in json.loads(result.read_text())["notes"])


@pytest.fixture
def parser():
    parser = argparse.ArgumentParser()
    parser.add_argument("--test-span")
    parser.add_argument("--context")
    parser.add_argument("--quote")
    parser.add_argument("--overwrite", action="store_true")
    parser.add_argument("--set", action="append")
    parser.add_argument("--spark-conf", action="append")
    return parser


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("test_span='10%': too long", "--test-span 10%: too long"),
        ("give test_span=SPAN.", "give --test-span SPAN."),
        ("(see test_span=)", "(see --test-span)"),
        ("context=['a', 'b c']", "--context 'a,b c'"),
        ("quote='\"'", "--quote '\"'"),
        ("quote=''", "--quote ''"),
        ("with overwrite=True, or not", "with --overwrite, or not"),
        ("settings={'k': 5, 'units': [10]}", "--set k=5 --set 'units=[10]'"),
        ("spark_conf={'a.b': '8g'}", "--spark-conf a.b=8g"),
        ("units=[10]: no option", "units=[10]: no option"),
        ("the cell 'x test_span=3' of the log's end", "the cell 'x test_span=3' of the log's end"),
        ("parts/test_span=3/a.csv: no file", "parts/test_span=3/a.csv: no file"),
        ("--set context=[a]: unknown", "--set context=[a]: unknown"),
    ],
)
def test_only_arguments_become_options(text, expected, parser):
    assert in_options(text, parser, parser) == expected


def test_options_of_prepare_in_other_commands():
    error = InputError("user='u': unknown; prepare the log with user=COLUMN and test_span='10%'")
    expected = "user='u': unknown; prepare the log with --user COLUMN and --test-span 10%"
    assert command_line_text(error, "train") == expected


def test_no_message_of_python_names_options():
    """Looks at the texts of every InputError outside of the command line."""
    found = []
    for path in sorted(SOURCES.rglob("*.py")):
        if path.is_relative_to(SOURCES / "cli"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "InputError":
                texts = [
                    part.value for arg in node.args[:1] for part in ast.walk(arg) if isinstance(part, ast.Constant)
                ]
                found += [f"{path.name}:{node.lineno}" for text in texts if OPTION.search(str(text))]
    assert not found
