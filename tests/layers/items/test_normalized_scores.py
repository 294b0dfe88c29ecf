import keras
import numpy as np
import pytest
import tensorflow as tf

import tfrecsession as trs
from tfrecsession import InputError, training
from tfrecsession.layers import ItemEmbedding


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


@pytest.mark.parametrize(("temperature", "scale"), [(0.5, 2.0), ("learned", 1 / 0.07)])
@pytest.mark.parametrize("bias", [False, True])
def test_every_way_to_score_is_the_cosine_over_the_temperature(temperature, scale, bias):
    keras.utils.set_random_seed(0)
    layer = ItemEmbedding(9, 4, bias=bias, normalize=True, temperature=temperature)
    rng = np.random.default_rng(0)
    layer.table.assign(rng.normal(size=(9, 4)) * 3)
    hidden, table = rng.normal(size=(5, 4)).astype("float32"), np.asarray(layer.table)
    offsets = np.zeros(9)
    if bias:
        layer.biases.assign(rng.normal(size=9))
        offsets = np.asarray(layer.biases)
    expected = scale * unit(hidden) @ unit(table).T + offsets
    close = {"rtol": 1e-4, "atol": 1e-5}
    np.testing.assert_allclose(layer.score_all(hidden), expected, **close)
    np.testing.assert_allclose(layer.scorer()(hidden), expected, **close)
    np.testing.assert_allclose(layer.score(hidden, [3, 8]), expected[:, [3, 8]], **close)
    np.testing.assert_allclose(layer.score_each(hidden, [2, 3, 4, 5, 6]), expected[range(5), range(2, 7)], **close)
    queries = np.asarray(layer.query(hidden))
    vectors, biases = layer.all_vectors()
    np.testing.assert_allclose(queries @ np.asarray(vectors).T + (biases if bias else 0), expected, **close)
    np.testing.assert_allclose(layer(np.array([5])), unit(table)[[5]], rtol=1e-5)
    again = ItemEmbedding.from_config(layer.get_config())
    assert again.normalize and again.temperature == temperature


def test_gradients_are_those_of_the_cosine_and_of_the_rows_read():
    keras.utils.set_random_seed(0)
    layer = ItemEmbedding(9, 4, normalize=True, temperature="learned")
    hidden = tf.constant(np.random.default_rng(0).normal(size=(5, 4)), tf.float32)
    variables = [layer.table.value, layer.log_scale.value]
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.sin(layer.score(hidden, [3, 8])))
    ours = tape.gradient(loss, variables)
    assert isinstance(ours[0], tf.IndexedSlices)
    with tf.GradientTape() as tape:
        table = tf.math.l2_normalize(tf.convert_to_tensor(variables[0]), axis=1)
        cosine = tf.math.l2_normalize(hidden, axis=1) @ tf.transpose(table)
        loss = tf.reduce_sum(tf.sin(tf.gather(cosine * tf.exp(variables[1]), [3, 8], axis=1)))
    for found, expected in zip(ours, tape.gradient(loss, variables), strict=True):
        np.testing.assert_allclose(tf.convert_to_tensor(found), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("temperature", [0, -1.0, "hot", None, True])
def test_a_bad_temperature_is_named(temperature):
    with pytest.raises(InputError, match="temperature=.*: must be a number above 0, or 'learned'"):
        ItemEmbedding(9, 4, temperature=temperature)


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({"normalize": True, "temperature": 0.1}, marks=pytest.mark.slow),
        {"normalize": True, "temperature": "learned", "sampler": "full"},
        pytest.param({"loss": "gbce", "calibration": 0.5}, marks=pytest.mark.slow),
        {"top_negatives": 10, "label_smoothing": 0.1},
    ],
)
def test_each_is_a_setting_of_every_sequence_model(shop, settings, tmp_path):
    keras.utils.set_random_seed(0)
    small = {"units": [16], "rows": 16, "steps": 8, "epochs": 3, "negatives": 64, "dropout": 0.0}
    all_settings = training.settings_of("gru4rec", small, settings)
    model = training.build("gru4rec", shop.items, all_settings)
    losses = training.fit(model, shop, all_settings)["loss"]
    assert losses[-1] < losses[0]
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    history = [list(shop.items.ids[[3, 8]])]
    best = model.recommend(history, k=5)
    np.testing.assert_array_equal(loaded.recommend(history, k=5).scores, best.scores)
    path = model.export(tmp_path / "1", k=5, index="exact-int8")
    answer = tf.saved_model.load(str(path)).signatures["serving_default"](items=tf.constant(history))
    np.testing.assert_allclose(answer["scores"][0], best.scores[0], atol=0.1)
    assert loaded.get_config()["normalize"] == settings.get("normalize", False)
    assert isinstance(loaded.ranking_loss, trs.losses.RankingLoss)
    assert loaded.get_compile_config()["loss"] == model.get_compile_config()["loss"]
