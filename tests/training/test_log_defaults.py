"""Runs whose settings follow the log."""

import json

import pytest

import tfrecsession as trs
from tests.training.dying import Kill, Killed
from tfrecsession import training
from tfrecsession.models import GRU4Rec

SMALL = {"units": [4], "rows": 16, "steps": 8, "negatives": 16}


@pytest.mark.slow
def test_an_interrupted_training_resumes_with_the_same_defaults(tmp_path, monkeypatch):
    because = "the log is small"
    monkeypatch.setattr(GRU4Rec, "log_defaults", {"epochs": lambda log, given: (3, because)})
    trs.prepare("synthetic:items=60,sessions=500,seed=2", tmp_path / "data")

    def train(out, callbacks=()):
        data = trs.load(tmp_path / "data")
        settings, defaults = training.settings_of("gru4rec", SMALL, data=data), training.log_defaults("gru4rec", data)
        options = {"checkpoint": 2, "callbacks": callbacks, "defaults": defaults}
        return training.train(data, "gru4rec", tmp_path / out, settings, **options)

    with pytest.raises(Killed):
        train("broken", [Kill(7)])
    resumed, whole = train("broken"), train("whole")
    for one, other in zip(whole.variables, resumed.variables, strict=True):
        assert (one.numpy() == other.numpy()).all(), one.path
    info = json.loads((tmp_path / "broken" / "run.json").read_text())
    assert info["settings"]["epochs"] == 3
    assert info["defaults"] == {"epochs": {"value": 3, "because": because}}
