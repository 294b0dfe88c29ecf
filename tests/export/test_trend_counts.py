"""Item counts of an export: exact answers, and their update by one file."""

import json
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfrecsession as trs
from tests.export.strings import strings, text
from tfrecsession import InputError, training
from tfrecsession.batches.data import Sessions
from tfrecsession.events import Columns
from tfrecsession.export import update_counts
from tfrecsession.sessions.store import SessionArrays

K = 8
SETTINGS = {"units": [8], "rows": 32, "steps": 8, "epochs": 1, "trend": [0.25, 2]}
DAY = 86_400_000_000


@pytest.fixture(scope="module")
def fitted(shop):
    keras.utils.set_random_seed(0)
    settings = training.settings_of("gru4rec", SETTINGS)
    model = training.build("gru4rec", shop.items, settings)
    training.fit(model, shop, settings)
    model.trend_head.kernel.assign([0.8, 0.5, -2.0])
    return model


@pytest.fixture(scope="module")
def export(fitted, tmp_path_factory):
    return fitted.export(tmp_path_factory.mktemp("exports") / "gru4rec" / "1", k=K)


def histories_of(shop):
    return [list(shop.items.ids[[3, 8, 3]]), list(shop.items.ids[[5]]), [], ["unknown"]]


def answer(path, shop):
    found = tf.saved_model.load(str(path)).signatures["serving_default"](items=strings(histories_of(shop)))
    return text(found["items"]), found["scores"].numpy()


def newer_log(model, shop, days=1.5):
    """Returns a table of events after the counts of the model: a rare item, an unknown one, and an old event."""
    now, rare = int(model.trend_head.now.numpy()), shop.items.ids[-1]
    times = [*(now + np.arange(50) * int(days * DAY / 50)), now + 5, now - DAY]
    items = [*[rare] * 50, "never-seen", shop.items.ids[0]]
    return {"item": items, "time": [int(time) for time in times], "session": [f"s{row % 7}" for row in range(52)]}


def table_of(columns):
    import pyarrow as pa

    return pa.table(columns)


COLUMNS = Columns(item="item", time="time", session="session")


@pytest.mark.slow
def test_an_export_answers_as_the_model(fitted, export, shop):
    expected = fitted.recommend(histories_of(shop), k=K)
    items, scores = answer(export, shop)
    assert items == expected.items.tolist()
    np.testing.assert_allclose(scores, expected.scores, rtol=1e-5, atol=1e-5)
    card = json.loads((export / "assets.extra" / "tfrecsession.json").read_text())["trend"]
    assert card["half_lives"] == [0.25, 2] and card["weights"] == pytest.approx([0.8, 0.5]) and card["new"] == -2
    signatures = tf.saved_model.load(str(export)).signatures
    query = signatures["encode"](items=strings([histories_of(shop)[0]]))["vector"].numpy()
    vectors = signatures["encode_items"](items=tf.constant(expected.items[0].tolist()))["vector"].numpy()
    np.testing.assert_allclose(vectors @ query[0], expected.scores[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "index", ["exact", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("exact-bf16", "exact-int8"))]
)
def test_updated_it_answers_as_the_updated_model(fitted, shop, tmp_path, index):
    """Both versions answer in one process, each by its own counts."""
    path = fitted.export(tmp_path / "model" / "1", k=K, index=index)
    log = newer_log(fitted, shop)
    found = update_counts(tmp_path / "model", table_of(log), COLUMNS)
    assert found[0].name == "2" and found[1:4] == (50, 1, 1)
    newer = keras.models.clone_model(fitted)
    newer.set_weights(fitted.get_weights())
    values = newer.items.encode(log["item"])
    arrays = SessionArrays(newer.items, values, [0, len(values)], {"times": np.array(log["time"])})
    newer.update_trend(Sessions(arrays, "test"))
    assert found.until == int(newer.trend_head.now.numpy())
    before, after = answer(path, shop), answer(found.path, shop)
    expected = newer.recommend(histories_of(shop), k=K)
    if index == "exact":
        assert after[0] == expected.items.tolist() and before[0] != after[0]
    tolerance = {"exact": 1e-5, "exact-bf16": 0.02, "exact-int8": 0.02}[index]
    np.testing.assert_allclose(after[1], expected.scores, rtol=tolerance, atol=tolerance)
    assert answer(path, shop)[0] == before[0]
    rare = shop.items.ids[-1]
    assert rare in after[0][0] and rare not in before[0][0]


@pytest.mark.slow
def test_with_repeats(shop, tmp_path):
    keras.utils.set_random_seed(0)
    settings = training.settings_of("gru4rec", SETTINGS, {"repeats": True})
    model = training.build("gru4rec", shop.items, settings)
    training.fit(model, shop, settings)
    path = model.export(tmp_path / "1", k=K)
    expected, (items, scores) = model.recommend(histories_of(shop), k=K), answer(path, shop)
    assert items == expected.items.tolist()
    np.testing.assert_allclose(scores, expected.scores, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_in_place_it_loads_in_a_process_with_tensorflow_alone(fitted, shop, tmp_path):
    path = fitted.export(tmp_path / "1", k=K)
    log = newer_log(fitted, shop)
    found = update_counts(path, table_of(log), COLUMNS, in_place=True)
    assert found.path == path
    code = (
        "import sys, tensorflow as tf\n"
        f"signature = tf.saved_model.load({str(path)!r}).signatures['serving_default']\n"
        f"found = signature(items=tf.constant([{histories_of(shop)[0]!r}]))['items'].numpy()[0]\n"
        "assert 'tfrecsession' not in sys.modules\n"
        "print(*[item.decode() for item in found])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert shown.stdout.split() == answer(path, shop)[0][0]
    assert shop.items.ids[-1] in shown.stdout.split()
    with pytest.raises(InputError, match="has no event after"):
        update_counts(path, table_of(log), COLUMNS, in_place=True)


def test_bad_input(fitted, export, shop, tmp_path):
    log = newer_log(fitted, shop)
    plain = trs.models.GRU4Rec(shop.items, units=[4])
    plain.fitted = True
    plain.export(tmp_path / "plain" / "1", k=K)
    with pytest.raises(InputError, match="has no counts to update: export a model with a trend"):
        update_counts(tmp_path / "plain", table_of(log), COLUMNS)
    timeless = table_of({name: log[name] for name in ("item", "session")})
    with pytest.raises(InputError, match="needs a column of times"):
        update_counts(export, timeless, Columns(item="item", session="session", time="none"))
    with pytest.raises(InputError, match="has no SavedModel"):
        update_counts(tmp_path / "nothing", table_of(log), COLUMNS)
    (export.parent / "2").mkdir()
    (export.parent / "2" / "other").write_text("")
    with pytest.raises(InputError, match="2"):
        update_counts(export, table_of(log), COLUMNS)
    assert not list(export.parent.glob("*partial*"))
