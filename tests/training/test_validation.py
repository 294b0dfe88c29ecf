"""The validation that training ranks: all of a small split, a fixed sample of users of a large one."""

import json

import numpy as np
import pytest

import tfrecsession as trs
from tfrecsession import training
from tfrecsession.batches import Sessions
from tfrecsession.sessions.store import SessionArrays
from tfrecsession.training import validation


@pytest.fixture(scope="module")
def on_disk(tmp_path_factory):
    folder = tmp_path_factory.mktemp("validation") / "data"
    trs.prepare("synthetic:items=60,sessions=900,seed=3", folder)
    return trs.load(folder)


def test_a_sample_is_fixed_and_has_users_with_all_their_sessions(on_disk):
    split = on_disk.validation
    few = split.sample(40)
    assert 40 <= few.scored_events < split.scored_events
    np.testing.assert_array_equal(few.values, split.sample(40).values)
    assert few.values.tolist() != split.sample(40, seed=1).values.tolist()
    users, kept = split.column("user").tolist(), few.column("user").tolist()
    assert all(kept.count(user) == users.count(user) for user in set(kept))
    assert split.sample(split.scored_events) is split


def test_anonymous_sessions_are_sampled_one_by_one(on_disk):
    of = on_disk.validation
    user = np.array(of.column("user"), object)
    user[::2] = None
    split = Sessions(SessionArrays(of.items, of.values, of.offsets, {"user": user}), "validation")
    few = split.sample(60)
    assert 60 <= few.scored_events < split.scored_events and None in few.column("user").tolist()


def test_train_ranks_a_sample_of_a_large_split_and_says_so(on_disk, tmp_path, monkeypatch, capsys):
    def metrics(name, **more):
        training.train(on_disk, name, tmp_path / name, settings, overwrite=True, verbose=1, **more)
        return json.loads((tmp_path / name / "metrics.json").read_text())

    settings = training.settings_of("gru4rec", {"epochs": 1, "rows": 16, "steps": 8, "negatives": 32, "units": [8]})
    monkeypatch.setattr(validation, "LEAST", 50)
    monkeypatch.setattr(validation, "ITEMS_AN_EVENT", 0)
    found = metrics("gru4rec")
    every, sample = on_disk.validation, validation.sampled(on_disk)
    assert found["sample"] == {"events": sample.scored_events, "of": every.scored_events}
    assert f"a fixed sample, {found['sample']['events']} of" in capsys.readouterr().out
    settings = {}
    assert metrics("popularity")["sample"] == found["sample"]
    assert "sample" not in metrics("popularity", whole_validation=True)
