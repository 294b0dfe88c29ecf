"""Continued training of models with compressed item tables: known items keep their codes, new ones get some."""

import keras
import numpy as np
import pytest

import tfrecsession as trs
from tests.training.test_growing import NEW, OLD, log
from tfrecsession import training
from tfrecsession.sessions.item_codes import codes_of_ids

pytestmark = pytest.mark.filterwarnings("ignore:.*begin before an earlier one", "ignore:.*collapse")
SMALL = {"epochs": 1, "rows": 8, "steps": 8, "negatives": 16, "units": [8]}


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    folder, found = tmp_path_factory.mktemp("logs"), []
    for name, names, seed in (("older", OLD, 1), ("newer", NEW, 2)):
        trs.prepare(log(names, 120, seed), folder / name, test_span="20%", validation_span="0d")
        found.append(trs.load(folder / name))
    return found


@pytest.mark.parametrize("kind", ["jpq", "qr", pytest.param("bloom", marks=pytest.mark.slow)])
def test_known_items_keep_codes_and_scores(kind, logs):
    older, newer = logs
    keras.utils.set_random_seed(3)
    settings = training.settings_of("gru4rec", SMALL, {"items_as": kind, "code_values": 16})
    model = training.build("gru4rec", older.items, settings)
    training.fit(model, older, settings)
    grown = training.grow(model, newer)
    before, after = model.item_codes().codes, grown.item_codes().codes
    np.testing.assert_array_equal(after[grown.items.encode(older.items.ids) - 2], before)
    np.testing.assert_array_equal(grown.output_items.table, model.output_items.table)
    one, other = (m.recommend([["a1", "c5", "b2"]], k=len(m.items)) for m in (model, grown))
    score_of = dict(zip(other.items[0], other.scores[0], strict=True))
    np.testing.assert_allclose([score_of[item] for item in one.items[0]], one.scores[0], rtol=1e-5, atol=1e-6)

    fresh = sorted(set(NEW) - set(OLD))
    codes = after[grown.items.encode(fresh) - 2]
    if kind == "qr":
        assert len({tuple(pair) for pair in after.tolist()}) == len(grown.items)
    elif kind == "bloom":
        np.testing.assert_array_equal(codes, codes_of_ids("bloom", fresh, 3, 16))
    else:
        vectors = model.output_items.rows(np.arange(model.size)).numpy()
        similar = training.growing.Growth.of(model, newer, "neighbours", "keep").similar.start(vectors)
        new = [item for item in grown.items.ids if item in fresh]  # in the order of `similar`
        small = model.output_items.table.numpy().reshape(8, 16, 1)
        for mean, row in zip(similar, after[grown.items.encode(new) - 2], strict=True):
            nearest = [np.argmin(np.linalg.norm(small[j] - mean[j], axis=1)) for j in range(8)]
            assert row.tolist() == nearest
    history = grown.fit(newer.train.batches(rows=8, steps=8), epochs=1, verbose=0)
    assert np.isfinite(history.history["loss"][0])
