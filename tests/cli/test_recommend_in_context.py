"""`recommend --context COLUMN=VALUE --request COLUMN=VALUE`: values reach the model, bad ones are one line."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import tfrecsession as trs
from tfrecsession.cli import main


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    data = trs.synthetic_sessions(items=40, sessions=200, seed=1)
    context = data.context(["gap", "hour"], request=["hour"])
    model = trs.models.GRU4Rec(data.items, units=[4], context=context, context_as="both", negatives=None)
    rng = np.random.default_rng(0)
    for weight in model.trainable_variables:
        weight.assign(rng.normal(size=weight.shape))
    model.fitted = True
    folder = tmp_path_factory.mktemp("saved") / "model"
    model.export(folder / "1", k=5)
    return data.items.ids[:2].tolist(), str(folder), model


def test_values_reach_the_model(saved, capsys):
    items, folder, model = saved
    assert main(["recommend", folder, *items, "--context", "gap=60,", "--request", "hour=20", "--json", "-"]) == 0
    found = json.loads(capsys.readouterr().out)
    expected = model.recommend([items], k=5, context={"gap": [[60, None]]}, request={"hour": [20]})
    assert found["items"] == expected.items[0].tolist()
    np.testing.assert_allclose(found["scores"], expected.scores[0], rtol=1e-4)
    assert (np.abs(expected.scores - model.recommend([items], k=5).scores) > 1e-3).any()


def test_unknown_items_are_named(saved, capsys):
    items, folder, _ = saved
    assert main(["recommend", folder, items[0], "nothing", "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["unknown"] == ["nothing"]
    assert main(["recommend", folder, "nothing", "nothing"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "and skipped: nothing: the answer to a history without a known item is the popular ones" in shown


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--request", "hour=soon"], "error: --request hour: must hold numbers, or empty texts"),
        (["--request", "hour=nan"], "error: --request hour: must hold numbers, or empty texts"),
        (["--request", "hour=24"], "error: --request hour: is out of range: times are seconds since 1970"),
        (["--context", "gap=-5"], "error: --context gap: is out of range"),
        (["--context", "device=phone"], "error: --context device: must be one that the model reads: gap, hour, time"),
        (["--request", "gap=5"], "error: --request gap: must be one that the model reads: hour, time"),
        (["--request", "hour"], "error: --request hour: must be COLUMN=VALUE, e.g. --request device=phone"),
    ],
)
def test_bad_values_are_one_line(saved, capsys, words, message):
    items, folder, _ = saved
    assert main(["recommend", folder, items[0], *words]) == 2
    assert capsys.readouterr().err.strip().splitlines()[-1].startswith(message)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--request", "hours=20"], "--request hours: must be one that the model reads: hour, time"),
        (["--request", "hour=late"], "--request hour: must hold numbers, or empty texts"),
        (["--context", "gap=5,x"], "--context gap: must hold numbers, or empty texts"),
    ],
)
def test_bad_words_need_no_model(saved, tmp_path, capsys, words, message):
    items, folder, _ = saved
    shutil.copytree(Path(folder, "1/assets.extra"), tmp_path / "1/assets.extra")
    (tmp_path / "1/saved_model.pb").write_text("none")
    assert main(["recommend", str(tmp_path), *items, *words]) == 2
    assert capsys.readouterr().err.strip() == f"error: {message}"
