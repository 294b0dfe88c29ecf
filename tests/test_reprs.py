"""The reprs of objects fit on a screen of a notebook."""

import numpy as np
import pytest

import tfrecsession as trs
from tfrecsession.sessions.store import read_prepared


def fits(thing, *shown):
    lines = repr(thing).splitlines()
    assert len(lines) <= 10 and max(map(len, lines)) <= 100, repr(thing)
    assert all(text in repr(thing) for text in shown), repr(thing)
    assert " object at 0x" not in repr(thing)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("a" * 60) / ("b" * 60)
    trs.prepare("synthetic:items=60,sessions=500,seed=1", folder)
    return trs.load(folder)


def test_data_and_its_parts(data, shop):
    fits(data, data.fingerprint, f"{len(data.items):,} items", "train", "validation", "test", " to ")
    fits(shop, "in memory", f"{len(shop.items)} items")
    fits(data.items, f"{len(data.items)} items", repr(data.items.ids[0]))
    fits(data.train, f"{len(data.train):,} sessions")
    fits(data.train.arrays, f"{data.train.events:,} events")
    fits(read_prepared(data.path), "test")
    fits(trs.batches.Interactions.of(data.train), "users")
    fits(trs.evaluation.hold_out_users(shop.train, 50), "users held out")


@pytest.mark.parametrize("names", [[], ["x" * 500], ["a", "b", "c", "d"]])
def test_items_of_any_size(names):
    fits(
        trs.models.Popularity(10).items if not names else type(trs.models.Popularity(10).items)(names, [1] * len(names))
    )


def test_runs_and_results(data, tmp_path):
    settings = trs.training.settings_of("gru4rec", {"units": [8], "epochs": 1})
    model = trs.training.train(data, "gru4rec", tmp_path / "run", settings)
    fits(trs.training.open_run(tmp_path / "run"), "gru4rec", "epochs=1", data.fingerprint)
    fits(trs.evaluation.evaluate(model, data.test, (1, 2, 3, 5, 10, 20), beyond_accuracy=True), "recall@20=0.")
    fits(model.recommend([[item] for item in data.items.ids[:50]], k=20), "[50x20]")
    fits(model.recommend([], k=3), "[0x3]")
    trials = [{"trial": number, "settings": settings} for number in range(100)]
    best = {"model": "gru4rec", "settings": settings, "measured": {"metric": "mrr@20", "mrr@20": 0.5, "trial": 7}}
    fits(trs.evaluation.Tuning(best, trials), "100 trials", "mrr@20 0.5000 in trial 7")
    assert np.isfinite(model.recommend([[]], k=3).scores).all()
