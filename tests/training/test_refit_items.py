"""Items that occur in validation alone: a refit learns them, and test is scored with them."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest

import tfrecsession as trs
from tests.training.test_resume import settings_of
from tfrecsession import InputError, training
from tfrecsession.cli import main
from tfrecsession.training.refit import with_validation

DAYS = {
    1: ["a b"] * 6 + ["b c", "c b"],
    8: ["a new"] * 9 + ["b c", "b x"],  # validation
    9: ["a new", "a b", "a late"],  # test
}


def log():
    rows = [
        (f"{day}/{number}", item, f"2026-01-{day:02} {9 + day}:{number:02}:{second:02}")
        for day, sessions in DAYS.items()
        for number, session in enumerate(sessions)
        for second, item in enumerate(session.split())
    ]
    return pd.DataFrame(rows, columns=["session", "item", "time"])


CONTENT = {
    "item": ["a", "new", "c", "x"],
    "color": ["red", "blue", "red", "green"],
    "size": [[1, 0], [0, 1], [0, 2], None],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("refit") / "data"
    options = {"unknown_items": "keep", "min_item_support": 1}
    trs.prepare(log(), out, items=CONTENT, content=["color:category", "size:vector"], **options)
    return out


@pytest.fixture(scope="module")
def data(folder):
    return trs.load(folder)


def trained(data, out, *names, **options):
    for name in names:
        training.train(data, name, out / name, training.settings_of(name, data=data), k=(2,), **options)
    return [out / name for name in names]


def test_the_joined_data_is_that_of_a_log_without_validation(data, tmp_path):
    trs.prepare(log(), tmp_path / "whole", unknown_items="keep", min_item_support=1, validation_span="0d")
    whole, (both, described) = trs.load(tmp_path / "whole"), with_validation(data)
    for role in ("train", "test"):
        found, expected = getattr(both, role), getattr(whole, role)
        assert both.items.decode(found.values).tolist() == whole.items.decode(expected.values).tolist()
        for name in ("session", "times"):
            assert found.column(name).tolist() == expected.column(name).tolist()
    counts = dict(zip(both.items.ids, both.items.counts.tolist(), strict=True))
    assert counts == dict(zip(whole.items.ids, whole.items.counts.tolist(), strict=True))
    assert both.items.ids.tolist() == ["b", "a", "c", "new", "x"]  # those of train first
    assert (described["vocabulary"], described["new_items"], described["unknown"]) == ("train and validation", 2, 0)
    assert both.items.content["color"].to_pylist() == [None, "red", "red", "blue", "green"]
    assert both.items.tensors["size"].values.tolist() == [[0, 0], [1, 0], [0, 2], [0, 1], [0, 0]]
    assert both.items.tensors["size"].present.tolist() == [False, True, True, True, False]
    assert len(data.items) == 3 and (data.validation.values == 1).sum() == 10  # the data set itself is as before


def test_a_refitted_model_recommends_them_and_is_scored_on_them(data, folder, tmp_path, capsys):
    (run,) = trained(data, tmp_path, "markov", refit=True)
    model = training.open_run(run).model()
    assert model.recommend([["a"]], k=2).items.tolist() == [["new", "b"]]
    scored = trs.evaluation.evaluate(model, data.coded_for(model.items).test, (2,), slices=False)
    assert (scored.events, scored.metrics["mrr@2"]) == (3, pytest.approx((1 + 1 / 2 + 0) / 3))
    as_prepared = trs.evaluation.evaluate(model, data.test, (2,), slices=False)
    assert (as_prepared.events, as_prepared.metrics["mrr@2"]) == (3, pytest.approx(1 / 2 / 3))
    report = tmp_path / "report.json"
    assert main(["evaluate", str(run), "--k", "2", "--no-slices", "--json", str(report)]) == 0
    assert json.loads(report.read_text())["metrics"]["mrr@2"] == pytest.approx(1 / 2)
    assert "this run knows 2 items that validation alone has" in " ".join(capsys.readouterr().out.split())
    (plain,) = trained(data, tmp_path / "plain", "markov")
    assert data.coded_for(training.open_run(plain).model().items) is data


def test_so_do_a_blend_and_a_run_that_is_fitted_again(data, tmp_path):
    runs = trained(data, tmp_path, "markov", "popularity")
    blend = training.blend(data, runs, tmp_path / "blend", weights=[1, 0], refit=True, k=(2,))
    assert blend.recommend([["a"]], k=1).items.tolist() == [["new"]]
    assert [len(member.items) for member in blend.members] == [5, 5]  # one without a weight, too
    assert training.open_run(tmp_path / "blend").info["refit"]["new_items"] == 2
    again = training.refit_run(data, runs[0], tmp_path / "again")
    assert again.recommend([["a"]], k=1).items.tolist() == [["new"]]


@pytest.mark.slow
def test_a_network_grows_to_them_and_continues(data, tmp_path):
    model, settings = settings_of("packed")
    training.train(data, model, tmp_path / model, settings, k=(2,))
    runs = [tmp_path / model, *trained(data, tmp_path, "markov")]
    for weights, continues in ([0.9, 0.1], [0]), ([0, 1], ()):
        fixed = {"weights": weights, "continues": continues, "refit": True, "k": (2,), "overwrite": True}
        blend = training.blend(data, runs, tmp_path / "blend", **fixed)
        assert [len(member.items) for member in blend.members] == [5, 5]
        told = training.open_run(tmp_path / "blend").info["refit"]
        assert told["new_items"] == 2 and ("continued" in told) == bool(continues)


@pytest.mark.slow
def test_a_student_knows_the_items_of_a_teacher_that_was_fitted_again(data, tmp_path):
    (run,) = trained(data, tmp_path, "als", refit=True)
    settings = training.settings_of("content_to_factors", {"content": ["color"], "teacher": str(run), "epochs": 1})
    student = training.train(data, "content_to_factors", tmp_path / "student", settings, k=(2,))
    assert student.items.ids.tolist() == ["b", "a", "c", "new", "x"]
    assert training.open_run(tmp_path / "student").info["teacher"]["new_items"] == 2
    (plain,) = trained(data, tmp_path / "plain", "markov")
    with pytest.raises(InputError, match="knows 2 items that .*plain.* does not: fit all runs again with refit=True"):
        training.blend(data, [plain, run], tmp_path / "blend", weights=[1, 1])


def test_a_data_set_prepared_before_keeps_the_items_of_train(folder, tmp_path, capsys):
    old = tmp_path / "old"
    shutil.copytree(folder, old)
    shutil.rmtree(old / "joint")
    info = json.loads((old / "dataset.json").read_text())
    del info["joint"]
    (old / "dataset.json").write_text(json.dumps(info))
    run = tmp_path / "run"
    assert main(["train", str(old), "--model", "markov", "--out", str(run), "--refit", "--k", "2"]) == 0
    assert "note: with the items of train alone, the data set does not have" in capsys.readouterr().out
    told = training.open_run(run).info["refit"]
    assert (told["vocabulary"], told["new_items"], told["unknown"]) == ("train", 0, 10)
    assert training.open_run(run).model().items.ids.tolist() == ["b", "a", "c"]


def test_items_that_training_knows_already_need_no_further_files(tmp_path):
    train = log()[lambda rows: rows.item.isin(["a", "b", "c"])]
    info = trs.prepare(train, tmp_path / "data", min_item_support=1, min_session_length=1)
    assert info["joint"] == {"items": 0} and not (tmp_path / "data" / "joint").exists()
    both, described = with_validation(trs.load(tmp_path / "data"))
    assert both.items.counts.tolist() == [10, 15, 3] and described["vocabulary"] == "train and validation"
    with pytest.raises(InputError, match="joint.*items.parquet: is missing"):
        broken = {**info, "joint": {**info["joint"], "items": 1}}
        (tmp_path / "data" / "dataset.json").write_text(json.dumps(broken))
        trs.load(tmp_path / "data").joint.items  # noqa: B018 - reading is the point
    assert np.array_equal(trs.load(tmp_path / "data").train.values, both.train.values[:16])
