"""Blends of runs: what is learned where, what is refused, and the command."""

import json
import shutil

import numpy as np
import pytest

import tfrecsession as trs
from tfrecsession import InputError, training
from tfrecsession.cli import main
from tfrecsession.training.held_out import with_held_out


def prepared(folder, **options):
    trs.prepare("synthetic:items=40,sessions=300,seed=1", folder, **options)
    return trs.load(folder)


def trained(data, folder, *names, **options):
    for name in names:
        training.train(data, name, folder / name, training.settings_of(name, data=data), **options)
    return [folder / name for name in names]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return prepared(tmp_path_factory.mktemp("blending") / "data")


@pytest.fixture(scope="module")
def runs(data, tmp_path_factory):
    return trained(data, tmp_path_factory.mktemp("runs"), "markov", "item_knn")


def test_the_command_makes_a_run_that_is_used_like_any_other(data, runs, tmp_path, capsys):
    out, report = tmp_path / "blend", tmp_path / "blend.json"
    assert main(["blend", *map(str, runs), "--out", str(out), "--refit", "--json", str(report)]) == 0
    said = json.loads(report.read_text())
    assert said["model"] == "blend" and said["blend"]["members"] == ["markov", "item_knn"]
    assert said["metrics"]["mrr@20"] > 0 and said["refit"]["splits"] == ["train", "validation"]
    assert "weights" in capsys.readouterr().out
    both = training.refit.with_validation(data)[0]
    learned, again = training.open_run(out).model(), trs.models.MarkovChain(both.items)
    again.fit(both.train)
    used = learned.used.index(0) if 0 in learned.used else None
    if used is not None:  # the member with weight has seen validation
        history = [data.items.decode(data.validation[0]).tolist()]
        expected, found = (model.recommend(history, k=5).items.tolist() for model in (again, learned.members[0]))
        assert found == expected
    assert main(["export", str(out), "--out", str(tmp_path / "saved"), "--k", "5"]) == 0
    histories = data.test.beginnings(5)
    items, _ = trs.export.ask(tmp_path / "saved", histories)
    assert items.tolist() == learned.recommend(histories, k=5).items.tolist()
    assert main(["evaluate", str(out), "--no-slices", "--k", "5"]) == 0
    assert main(["blend", *map(str, runs), "--out", str(out)]) == 2
    assert "exists already, a run of the same settings" in capsys.readouterr().err


def test_without_validation_the_end_of_train_is_held_out(tmp_path, capsys):
    data = prepared(tmp_path / "data", validation_span="0s")
    runs = trained(data, tmp_path / "runs", "markov", "item_knn")
    out = tmp_path / "blend"
    assert main(["blend", *map(str, runs), "--out", str(out)]) == 0
    assert "no validation split: the weights were learned on the newest" in capsys.readouterr().out
    told = json.loads((out / "run.json").read_text())["blend"]
    part, sessions = with_held_out(data)
    assert told["held_out"]["sessions"] == sessions == len(part.validation) == round(len(data.train) * 0.1)
    assert len(part.train) + sessions == len(data.train)
    starts = np.asarray(data.train.column("times"))[data.train.offsets[:-1]]
    first = np.asarray(part.validation.column("times"))[0]
    assert (starts[: len(part.train)] <= first).all()
    members = training.open_run(out).model().members  # those of the runs, fitted on all of train
    expected = training.open_run(runs[0]).model()
    history = data.test.beginnings(3)
    assert members[0].recommend(history, k=5).items.tolist() == expected.recommend(history, k=5).items.tolist()
    assert main(["blend", *map(str, runs), "--out", str(tmp_path / "b"), "--refit"]) == 2
    assert "--refit: the data has no validation split" in capsys.readouterr().err


def test_what_is_refused(data, runs, tmp_path, capsys):
    def refused(words, *options):
        assert main(["blend", *map(str, words), "--out", str(tmp_path / "no"), *options]) == 2
        (line,) = capsys.readouterr().err.strip().splitlines()
        return line

    assert "two or more run folders" in refused(runs[:1])
    assert "different runs" in refused([runs[0], runs[0]])
    assert "--weights 1: must be 2 numbers" in refused(runs, "--weights", "1")
    assert "is not a run folder" in refused([runs[0], tmp_path / "nothing"])
    (again,) = trained(data, tmp_path / "refit", "markov", refit=True)
    assert "fitted again on validation" in refused([again, runs[1]])
    other = prepared(tmp_path / "other", min_item_support=2)
    (foreign,) = trained(other, tmp_path / "foreign", "markov")
    assert "a blend has runs of one data set" in refused([runs[0], foreign])
    users = tmp_path / "hrnn"
    shutil.copytree(runs[0], users)
    small = {"units": [4], "user_units": [4], "negatives": 4}
    training.build("hrnn", data.items, training.settings_of("hrnn", small)).save(users / "model.keras")
    line = refused([runs[0], users])
    assert str(users) in line and "reads earlier sessions of a user" in line
    assert not (tmp_path / "no").exists()


def test_given_weights_need_no_validation(data, tmp_path):
    runs = trained(data, tmp_path / "runs", "markov", "popularity", refit=True)
    blend = training.blend(data, runs, tmp_path / "blend", weights=[3, 1])
    assert blend.weights_by_length.tolist() == [[0.75, 0.25]]
    with pytest.raises(InputError, match="exists already, a run of the same settings"):
        training.blend(data, runs, tmp_path / "blend", weights=[3, 1])


def test_single_events_cannot_be_learned_from(data):
    train = data.train
    with pytest.raises(InputError, match="every session of train has a single event"):
        single = train.only(np.diff(train.offsets) == 99)
        nothing = data.validation.only(np.zeros(len(data.validation), bool))
        with_held_out(trs.batches.Data(data.items, single, nothing, data.test, data.info))
