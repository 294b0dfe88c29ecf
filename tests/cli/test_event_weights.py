"""Weights and target events on the command line."""

import json

import pytest

from tfrecsession.cli import main


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = tmp_path_factory.mktemp("weights")
    source = "synthetic:items=40,sessions=800,seed=1,cart=0.2,purchase=0.2"
    assert main(["prepare", source, "--out", f"{place}/data", "--event", "event", "--validation-span", "2d"]) == 0
    return place


def settings(**more):
    return [word for name, value in more.items() for word in ("--set", f"{name}={value}")]


@pytest.mark.slow
def test_train_and_evaluate(place, tmp_path, capsys):
    small = settings(units="[8]", negatives=16) + ["--epochs", "1"]
    weighted = settings(event_weights="purchase=5,cart=2", session_decay=2, target_events="[purchase,cart]")
    options = ["--event-weights", "purchase=5,cart=2", "--target-events", "purchase,cart", *settings(session_decay=2)]
    trainings = {
        "gru": ["--model", "gru4rec", *small, *weighted],
        "streamed": ["--model", "gru4rec", *small, *settings(event_weights="{purchase: 5}"), "--data-memory", "100MB"],
        "knn": ["--model", "item_knn", *weighted],
        "options": ["--model", "item_knn", *options],
        "plain": ["--model", "item_knn"],
        "vsknn": ["--model", "vsknn", *settings(session_decay=2)],
    }
    for name, words in trainings.items():
        assert main(["train", f"{place}/data", "--out", f"{tmp_path}/{name}", *words]) == 0
    validated = {name: json.loads((tmp_path / name / "metrics.json").read_text())["metrics"] for name in trainings}
    assert validated["knn"] == validated["options"] != validated["plain"] and 0 < validated["gru"]["recall@20"] <= 1

    found = {}
    for words in ([], ["--events", "purchase"], ["--events", "purchase,cart", "--split", "validation", "--k", "20"]):
        assert main(["evaluate", f"{tmp_path}/knn", *words, "--json", f"{tmp_path}/scores.json"]) == 0
        found[len(words)] = json.loads((tmp_path / "scores.json").read_text())
    assert "targets purchase only" in capsys.readouterr().out
    assert found[2]["event_types"] == ["purchase"] and "event_types" not in found[0]
    by_type = found[0]["slices"]["event_type"]["purchase"]
    assert found[2]["events"] == by_type["events"] < found[0]["events"]
    assert found[2]["metrics"]["recall@20"] == pytest.approx(by_type["recall@20"])
    # validation inside `train` scores the target events alone
    assert found[6]["metrics"]["recall@20"] == pytest.approx(validated["knn"]["recall@20"])


def test_options_are_settings(place, tmp_path):
    words = ["--event-weights", "purchase=5,cart=2", "--target-events", "purchase,cart"]
    assert main(["train", f"{place}/data", "--model", "popularity", "--out", f"{tmp_path}/run", *words]) == 0
    found = json.loads((tmp_path / "run" / "run.json").read_text())["settings"]
    assert (found["event_weights"], found["target_events"]) == ("purchase=5,cart=2", ["purchase", "cart"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (settings(target_events="[buy]"), "--target-events buy: must be an event type of the train split, one of "),
        (["--target-events", "purchase,buy"], "--target-events buy: must be an event type of the train split, one of "),
        (["--event-weights", "purchase=much"], "the weight of 'purchase' must be a number of at least 0, not 'much'"),
        (["--event-weights", "purchase=2", *settings(event_weights="cart=2")], "--event-weights: must be left out"),
        (settings(event_weights="purchase=-1"), "the weight of 'purchase' must be a number of at least 0, not '-1'"),
        (settings(weight="dwell"), "to keep it, prepare the log with --context dwell"),
        (settings(session_decay=0), "session_decay=0: must be a number of days above 0"),
    ],
)
def test_bad_weights_are_one_line_before_the_run(place, tmp_path, capsys, words, message):
    assert main(["train", f"{place}/data", "--model", "item_knn", "--out", f"{tmp_path}/run", *words]) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert len(error) == 1 and error[0].startswith("error: ") and message in error[0]
    assert not list(tmp_path.iterdir())


def test_bad_events_of_evaluate(place, tmp_path, capsys):
    assert main(["train", f"{place}/data", "--model", "popularity", "--out", f"{tmp_path}/run"]) == 0
    assert main(["evaluate", f"{tmp_path}/run", "--events", "buy"]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: --events buy: must be an event type of the test split, one of ")
    assert main(["train", f"{place}/data", "--model", "random", "--out", f"{tmp_path}/no", *settings(weight="x")]) == 2
    assert "random has no setting 'weight'" in capsys.readouterr().err
