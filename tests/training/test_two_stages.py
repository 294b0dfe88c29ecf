"""Pipelines of runs: the command, what it refuses, and answers by REST and by TensorFlow alone."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tfrecsession as trs
from tfrecsession import InputError, training
from tfrecsession.cli import main

ALONE = Path(__file__).parents[1] / "conformance" / "alone.py"
SMALL = ["--set", "hidden=[8]", "--set", "dim=4", "--set", "buckets=200", "--set", "epochs=1", "--set", "negatives=8"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two_stages") / "data"
    trs.prepare("synthetic:items=40,sessions=300,seed=1,context=True", folder, event="event", context=["device"])
    return trs.load(folder)


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "markov"
    training.train(data, "markov", path, training.settings_of("markov", data=data))
    return path


@pytest.fixture(scope="module")
def made(run, tmp_path_factory):
    """The run of a pipeline, and what its command said as JSON."""
    folder = tmp_path_factory.mktemp("pipelines")
    columns = ["--set", "context=[device]", "--set", "crosses=[last*item,context.device*item]"]
    words = ["--n", "10", "--k", "5,10", "--json", str(folder / "said.json"), *columns, *SMALL]
    assert main(["pipeline", str(run), "--out", str(folder / "run"), *words]) == 0
    return folder / "run", json.loads((folder / "said.json").read_text())


def test_the_command_makes_a_run_with_the_models_of_the_runs(data, made):
    path, said = made
    assert said["model"] == "pipeline" and said["pipeline"]["members"] == ["markov"]
    assert said["metrics"]["mrr@10"] > 0 and said["pipeline"]["first_stage"]["mrr@20"] > 0
    assert said["pipeline"]["held_out"] == {"sessions": round(0.2 * len(data.train)), "of": "train", "newest": True}
    assert 0 < said["pipeline"]["examples"] <= said["pipeline"]["events"]
    assert [row["cross"] for row in said["pipeline"]["crosses"]] == ["last*item", "context.device*item"]
    pipeline = training.open_run(path).model()
    assert pipeline.ranker.item_counts.numpy()[2:].tolist() == data.items.counts.tolist()
    whole = trs.models.MarkovChain(data.items)
    whole.fit(data.train)  # the first stage of the pipeline has seen all of train
    history = [data.items.decode(data.train[len(data.train) - 1]).tolist()]
    expected = whole.recommend(history, k=10).items.tolist()
    assert pipeline.candidates.recommend(history, k=10).items.tolist() == expected


def test_the_ranker_is_fitted_with_the_counts_of_the_older_part(data, run, tmp_path, monkeypatch):
    """Counts of all of train know which items were clicked in the part that the ranker learns to predict."""
    seen = []

    def fit(ranker, split, **_):
        seen.append((ranker.item_counts.numpy(), split))
        raise KeyboardInterrupt

    monkeypatch.setattr(trs.models.WideAndDeep, "fit", fit)
    with pytest.raises(KeyboardInterrupt):
        training.pipeline(data, [run], tmp_path / "run", n=10, k=(5,), settings={"dim": 4, "hidden": [8]})
    ((counts, split),) = seen
    of_newest = np.bincount(split.values, minlength=len(data.items) + 2)
    assert counts[2:].tolist() == (data.items.counts - of_newest[2:]).tolist()


@pytest.mark.slow
def test_rest_and_tensorflow_alone_answer_as_python(made, tmp_path):
    path, _ = made
    out = tmp_path / "saved"
    assert main(["export", str(path), "--out", str(out / "pipeline"), "--k", "5"]) == 0
    pipeline = training.open_run(path).model()
    histories, devices = [["item-1", "item-2"], ["item-3"], []], [["phone", "desktop"], ["phone"], []]
    assert main(["evaluate", str(path), "--no-slices", "--k", "10", "--json", str(tmp_path / "test.json")]) == 0
    assert json.loads((tmp_path / "test.json").read_text())["metrics"]["recall@10"] > 0
    expected = pipeline.recommend(histories, k=5, context={"device": devices})
    with trs.serving.Server(out, rest_port=0, grpc_port=0) as server:
        client = trs.serving.Client(server.url)
        answer = client.recommend("pipeline", histories, context={"device": devices})
    assert np.array(answer.items).tolist() == expected.items.tolist()
    np.testing.assert_allclose(answer.scores, expected.scores, atol=1e-5)
    inputs = {"items": [["item-1", "item-2"], ["item-3", ""], ["", ""]]}
    inputs["context_device"] = [["phone", "desktop"], ["phone", ""], ["", ""]]
    version = next(out.glob("*/*/saved_model.pb")).parent
    request = json.dumps([str(version), "recommend_in_context", [inputs]])
    said = subprocess.run([sys.executable, ALONE], input=request + "\n", capture_output=True, text=True).stdout
    items, scores = json.loads(said.split("answer ", 1)[1])["answers"][0]
    assert items == expected.items.tolist()
    np.testing.assert_allclose(scores, expected.scores, atol=1e-5)


@pytest.mark.parametrize(
    "words, said",
    [
        (["--n", "10"], "--n 10: must be at least the longest list of k, 20"),
        (["--set", "crosses=[last*colour]"], "crosses: 'colour' must be one of last, length"),
        (["--set", "context=[daytime]"], "'daytime' must be one of event, device"),
        (["--set", "epoch=2"], "'epoch' must be one of vectors, crosses, .*; did you mean epochs?"),
        (["--share", "2"], "--share 2.0: must be a number above 0 and below 1"),
    ],
    ids=["n", "crosses", "context", "setting", "share"],
)
def test_refuses(run, tmp_path, capsys, words, said):
    assert main(["pipeline", str(run), "--out", str(tmp_path / "run"), "--n", "30", *SMALL, *words]) == 2
    error = capsys.readouterr().err
    assert said.split(", .*")[0] in error and said.rpartition("; ")[2] in error and error.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_refuses_runs_of_other_data(run, made, tmp_path):
    trs.prepare("synthetic:items=30,sessions=60,seed=2", tmp_path / "other")
    other = trs.load(tmp_path / "other")
    with pytest.raises(InputError, match="a pipeline has runs of one data set"):
        training.pipeline(other, [run], tmp_path / "run")
    with pytest.raises(InputError, match="is a pipeline, whose models cannot be fitted apart in time"):
        training.pipeline(training.open_run(run).data(), [made[0]], tmp_path / "run")
