"""`trend` on the command line: training, evaluation with counts that go on, and `update-counts`."""

import json

import numpy as np
import pytest

import tfrecsession as trs
from tfrecsession.cli import main

QUICK = ["--set", "units=[4]", "--set", "rows=32", "--set", "steps=4", "--set", "negatives=16", "--epochs", "1"]
TREND = ["--set", "trend=[0.25,2]", "--set", "trend_every=0.5"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = tmp_path_factory.mktemp("trend")
    assert main(["prepare", "synthetic:items=40,sessions=300,seed=2", "--out", f"{place}/data"]) == 0
    assert main(["train", f"{place}/data", "--model", "gru4rec", "--out", f"{place}/run", *QUICK, *TREND]) == 0
    assert main(["export", f"{place}/run", "--out", f"{place}/saved/trend", "--k", "5"]) == 0
    return place


def read(path):
    return json.loads(path.read_text())


@pytest.mark.slow
def test_evaluate_live(place, tmp_path, capsys):
    words = ["evaluate", f"{place}/run", "--no-slices", "--json"]
    assert main([*words, f"{tmp_path}/frozen.json"]) == 0
    assert "go on" not in capsys.readouterr().out
    assert main([*words, f"{tmp_path}/live.json", "--live"]) == 0
    assert "counts of recent events go on" in capsys.readouterr().out.replace("\n", " ")
    frozen, live = read(tmp_path / "frozen.json"), read(tmp_path / "live.json")
    assert live.pop("live") is True and "live" not in frozen
    assert live["events"] == frozen["events"] and live["metrics"] != frozen["metrics"]


def test_update_counts(place, tmp_path, capsys):
    items = trs.load(f"{place}/data").items.ids
    until = read(place / "saved/trend/1/assets.extra/tfrecsession.json")["trend"]["until"]
    day = until[:10]
    lines = [f"{items[-1]},{np.datetime64(day) + 1}T00:00:{second:02}" for second in range(9)]
    lines += [f"never-seen,{np.datetime64(day) + 1}T01:00:00", f"{items[0]},2020-01-01"]
    (tmp_path / "new.csv").write_text("item,time\n" + "\n".join(lines) + "\n")
    words = ["update-counts", f"{place}/saved/trend", "--events", f"{tmp_path}/new.csv"]
    assert main([*words, "--json", f"{tmp_path}/u.json"]) == 0
    printed = capsys.readouterr().out
    assert "9 events added" in printed and "1 counted before and 1 on items that the model does not know" in printed
    found = read(tmp_path / "u.json")
    assert found["path"] == f"{place}/saved/trend/2" and found["until"] > until
    assert (found["added"], found["earlier"], found["unknown"]) == (9, 1, 1)
    assert main(["recommend", f"{place}/saved/trend", items[1]]) == 0
    assert main(words) == 2
    assert "has no event after" in capsys.readouterr().err
    assert main(["update-counts", f"{place}/run", "--events", f"{tmp_path}/new.csv"]) == 2
    assert "it is a run: export it with" in capsys.readouterr().err


def test_a_log_without_times_is_refused_before_training(place, tmp_path, capsys):
    (tmp_path / "log.txt").write_text("\n".join(f"a{row % 5} a{row % 3} a{row % 2}" for row in range(60)))
    prepare = ["prepare", f"{tmp_path}/log.txt", "--test-span", "10%", "--validation-span", "10%"]
    assert main([*prepare, "--out", f"{tmp_path}/data"]) == 0
    words = ["train", f"{tmp_path}/data", "--model", "gru4rec", "--out", f"{tmp_path}/run", *QUICK, *TREND]
    assert main(words) == 2
    assert "trend=[0.25, 2]: needs the times of the events" in capsys.readouterr().err


def test_training_data_read_from_its_files(place, tmp_path):
    """Times and counts too, part by part."""
    words = ["train", f"{place}/data", "--model", "gru4rec", *QUICK, *TREND, "--data-memory", "64MB"]
    assert main([*words, "--out", f"{tmp_path}/run"]) == 0
    found, expected = (trs.training.open_run(f"{folder}/run").model().trend_head for folder in (tmp_path, place))
    np.testing.assert_array_equal(found.now.numpy(), expected.now.numpy())
    np.testing.assert_allclose(found.counts.numpy(), expected.counts.numpy(), rtol=1e-6)
    assert np.abs(found.kernel.numpy()).min() > 0
