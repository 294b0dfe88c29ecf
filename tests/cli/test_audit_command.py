"""`tfrecsession audit` over runs, exports and functions: lines, JSON and exit codes."""

import json

import pytest

from tfrecsession.cli import main

FUNCTIONS = """
import numpy as np

ITEMS = {items}


def honest(histories):
    return np.stack([np.random.default_rng(list(history[-1].encode())).normal(size=ITEMS) for history in histories])


def centred(histories):
    return honest(histories) - honest(histories).mean(axis=0)
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = tmp_path_factory.mktemp("audited")
    assert main(["prepare", "synthetic:items=60,sessions=400,seed=2", "--out", f"{place}/data"]) == 0
    assert main(["train", f"{place}/data", "--model", "item_knn", "--out", f"{place}/run"]) == 0
    assert main(["export", f"{place}/run", "--out", f"{place}/saved", "--k", "7"]) == 0
    return place


@pytest.mark.slow
def test_a_run_and_its_export_pass(place, tmp_path, capsys):
    assert main(["audit", f"{place}/run", "--json", f"{tmp_path}/a.json"]) == 0
    assert "evaluation: evaluation ranks by the history alone" in capsys.readouterr().out
    found = json.loads((tmp_path / "a.json").read_text())
    assert found["passed"] and found["kind"] == "run" and found["k"] == 20 and len(found["checks"]) == 12
    assert main(["audit", f"{place}/saved", "--data", f"{place}/data", "--histories", "16"]) == 0
    assert "ok   target" in capsys.readouterr().out


def test_a_function(place, tmp_path, monkeypatch, capsys):
    from tfrecsession.batches import load

    (tmp_path / "audited_functions.py").write_text(FUNCTIONS.format(items=len(load(place / "data").items)))
    monkeypatch.syspath_prepend(tmp_path)
    audit = ["audit", "--data", f"{place}/data", "--k", "5"]
    assert main([*audit, "audited_functions:honest"]) == 0
    capsys.readouterr()
    assert main([*audit, "audited_functions:centred"]) == 1
    out = capsys.readouterr().out
    assert "FAIL neighbours" in out and "failed: neighbours" in out.replace("\n", " ")
    for wrong, message in (
        ("audited_functions:nothing", "has no function nothing"),
        ("no_module:f", "cannot be imported"),
    ):
        assert main([*audit, wrong]) == 2 and message in capsys.readouterr().err


@pytest.mark.parametrize(
    "words, message",
    [
        (["{0}/saved"], "--data: must be given"),
        (["{0}/data"], "must be a run, an export, or a function"),
        (["{0}/saved", "--data", "{0}/data", "--k", "8"], "--k 8: must be at most 7"),
        (["{0}/run", "--context", "time"], "--context: must be left out"),
        (["{0}/run", "--histories", "0"], "--histories 0: must be a whole number from 1"),
    ],
)
def test_bad_input(place, words, message, capsys):
    assert main(["audit", *(word.format(place) for word in words)]) == 2
    assert message in capsys.readouterr().err
