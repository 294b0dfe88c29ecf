"""Compressed item tables as a setting of the sequence models: trained, saved, exported, grown."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfrecsession as trs
from tests.export.strings import strings, text
from tfrecsession import InputError, training

SMALL = {"units": [16], "rows": 16, "steps": 8, "epochs": 3, "negatives": 64, "dropout": 0.0}


def trained(data, model="gru4rec", **settings):
    keras.utils.set_random_seed(0)
    known = training.settings_of(model)
    every = training.settings_of(model, {key: value for key, value in SMALL.items() if key in known}, settings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # qr collapses
        built = training.build(model, data.items, every)
    return built, training.fit(built, data, every)["loss"]


@pytest.fixture(scope="module")
def jpq(shop):
    return trained(shop, items_as="jpq", code_values=16)


def test_codes_learned_from_the_log_train_and_answer(jpq, shop):
    model, losses = jpq
    assert losses[-1] < losses[0]
    assert model.code_table.codes.shape == (model.size, 8)
    assert not any(model.size in variable.shape for variable in model.trainable_variables if len(variable.shape) > 1)
    names = list(shop.items.ids[[3, 8]])
    vectors = model.output_items.rows(tf.range(model.size)).numpy()
    cosines = vectors @ vectors[shop.items.encode(names[:1])[0]] / np.maximum(np.linalg.norm(vectors, axis=1), 1e-6)
    best = model.similar_items(names[:1], k=3)
    order = [item for item in np.argsort(-cosines) if item not in (0, 1, shop.items.encode(names[:1])[0])]
    assert best.items[0].tolist() == shop.items.decode(order[:3]).tolist()
    only = model.recommend([names], k=2, only=[list(shop.items.ids[:6])])
    every = model.recommend([names], k=len(shop.items))
    score_of = dict(zip(every.items[0], every.scores[0], strict=True))
    np.testing.assert_allclose(only.scores[0], [score_of[item] for item in only.items[0]], rtol=1e-4)


def test_files_and_exports_answer_the_same(jpq, shop, tmp_path):
    model, _ = jpq
    names = [list(shop.items.ids[[3, 8]])]
    expected = model.recommend(names, k=5)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.recommend(names, k=5).scores, expected.scores)
    assert (loaded.items_as, loaded.code_count, loaded.code_values) == ("jpq", 8, 16)
    export = tf.saved_model.load(str(loaded.export(tmp_path / "1", k=5)))
    answer = export.signatures["serving_default"](items=strings(names))
    assert text(answer["items"]) == expected.items.tolist()
    np.testing.assert_allclose(answer["scores"], expected.scores, rtol=1e-4)
    near = export.signatures["similar_items"](items=tf.constant([names[0][0]]))
    assert text(near["items"])[0] == model.similar_items(names[0][:1], k=5).items[0].tolist()
    with pytest.raises(InputError, match="index='exact-int8': must be 'exact' with items_as='jpq'"):
        model.export(tmp_path / "2", index="exact-int8")


FURTHER = [pytest.param(kind, marks=pytest.mark.slow) for kind in ("hashed", "qr", "chars")]


@pytest.mark.parametrize("kind", ["bloom", *FURTHER])
def test_every_kind_learns(kind, shop):
    model, losses = trained(shop, items_as=kind, epochs=2)
    assert losses[-1] < losses[0]
    assert len(model.recommend([list(shop.items.ids[:2])], k=5).items[0]) == 5


def test_a_code_table_is_shared_between_models(jpq, shop):
    model, _ = jpq
    other = trs.models.SASRec(shop.items, dim=16, items_as=model.item_codes())
    np.testing.assert_array_equal(other.code_table.codes, model.code_table.codes)
    assert other.get_config()["items_as"] == "jpq"
    given = shop.item_codes("jpq", 4, 16)
    assert trs.models.GRU4Rec(shop.items, units=[8], items_as=given).code_count == 4
    with pytest.raises(InputError, match="codes=8: must be 4, that of the code table, or left out"):
        trs.models.GRU4Rec(shop.items, units=[8], items_as=given, codes=8)


COMPOSED = {"items_as": "jpq", "code_values": 16, "repeats": True, "normalize": True, "embedding": "separate"}


@pytest.mark.slow
def test_tables_learn_beside_repeats_and_trend(shop):
    losses = trained(shop, **COMPOSED, dim=24, trend=[1.0], epochs=2)[1]
    assert losses[-1] < losses[0]


def test_tables_compose_with_repeats_and_untied_inputs(shop):
    model = trs.models.GRU4Rec(shop.items, units=[16], dim=24, **COMPOSED)
    assert model.input_items.codes is model.output_items.codes
    assert np.isfinite(model.recommend([list(shop.items.ids[:2])], k=5).scores).all()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"items_as": "jqp"}, "items_as='jqp': must be one of .*; did you mean 'jpq'"),
        ({"items_as": "jpq", "codes": 5}, "codes=5: must divide the width of the item vectors, 16"),
        ({"codes": 4}, "codes=4: must be left out with items_as='full'"),
        ({"items_as": "bloom", "codes": 0}, "codes=0: must be a whole number, at least 1"),
        ({"items_as": "jpq", "code_values": 1}, "code_values=1: must be a whole number, at least 2"),
    ],
)
def test_bad_settings_are_named(settings, words, shop):
    with pytest.raises(InputError, match=words):
        trs.models.GRU4Rec(shop.items, units=[16], **settings)
