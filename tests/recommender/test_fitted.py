"""Models that have learned nothing warn where they answer; those that have learned, in any way, do not."""

import warnings

import keras
import pytest
import tensorflow as tf

import tfrecsession as trs
from tfrecsession.recommender.fitted import warn_unfitted


@pytest.fixture(scope="module")
def data():
    return trs.synthetic_sessions(items=60, sessions=300, seed=1)


def network(data):
    model = trs.models.GRU4Rec(data.items, units=[4], negatives=trs.negatives.Popularity(8))
    model.compile(trs.optimizers.LazyAdagrad(0.1), trs.losses.CrossEntropy(), [trs.metrics.Recall(20)])
    return model


ANSWERS = {
    "recommend": lambda model, data: model.recommend([[data.items.ids[0]]], k=3),
    "similar_items": lambda model, data: model.similar_items([data.items.ids[0]], k=3),
    "advance": lambda model, data: model.advance([data.items.ids[0]], model.initial_state(1), k=3),
    "evaluate": lambda model, data: model.evaluate(data.test.batches(), verbose=0),
    "trs.evaluation.evaluate": lambda model, data: trs.evaluation.evaluate(model, data.test, k=(5,)),
    "save_to_preset": None,
}


@pytest.mark.parametrize("name", ANSWERS)
def test_an_unfitted_network_warns_at_the_line_that_asks_it(name, data, tmp_path):
    answer = ANSWERS[name] or (lambda model, _: model.save_to_preset(tmp_path / "preset"))
    with pytest.warns(UserWarning, match="this GRU4Rec has never been fitted: ") as said:
        answer(network(data), data)
    assert [warning.filename for warning in said if "never been fitted" in str(warning.message)] == [__file__]


def test_an_unfitted_counted_model_warns(data):
    for model in (trs.models.ItemKNN(data.items), trs.models.ALS(data.items, factors=4)):
        with pytest.warns(UserWarning, match="its answers mean nothing: call fit, or load trained weights"):
            model.recommend([[data.items.ids[0]]], k=3)


def test_a_twin_without_weights_warns(data):
    model = network(data)
    model.fit(data.train.batches(rows=16, steps=8), verbose=0)
    with pytest.warns(UserWarning, match="never been fitted"):
        warn_unfitted(keras.models.clone_model(model))


@pytest.fixture
def no_warning():
    with warnings.catch_warnings():
        warnings.filterwarnings("error", ".*never been fitted")
        yield


def by_fit(model, data, tmp_path):
    model.fit(data.train.batches(rows=16, steps=8), validation_data=data.validation.batches(), verbose=0)
    return model


def by_one_batch(model, data, tmp_path):
    model.train_on_batch(*next(iter(data.train.batches(rows=16, steps=8))))
    return model


def by_own_loop(model, data, tmp_path):
    optimizer, variables = keras.optimizers.SGD(0.1), model.trainable_variables
    batch, targets = next(iter(data.train.batches(rows=16, steps=8)))
    with tf.GradientTape() as tape:
        loss, _ = model.training_loss(model.encode(batch, training=True), targets)
    gradients = tape.gradient(loss, [variable.value for variable in variables])
    optimizer.apply_gradients(zip(gradients, variables, strict=True))
    return model


def by_weights(model, data, tmp_path):
    model.set_weights(model.get_weights())
    return model


def by_layer(model, data, tmp_path):
    layer = model.recurrent[0]
    layer.set_weights([weight + 1 for weight in layer.get_weights()])
    return model


def by_weights_file(model, data, tmp_path):
    model.save_weights(tmp_path / "model.weights.h5")
    twin = network(data)
    twin.load_weights(tmp_path / "model.weights.h5")
    return twin


def by_file(model, data, tmp_path):
    by_one_batch(model, data, tmp_path).save(tmp_path / "model.keras")
    return keras.saving.load_model(tmp_path / "model.keras")


def by_preset(model, data, tmp_path):
    by_one_batch(model, data, tmp_path).save_to_preset(tmp_path / "preset")
    return trs.models.from_preset(tmp_path / "preset")


def compiled_again(model, data, tmp_path):
    by_fit(model, data, tmp_path).compile("sgd", trs.losses.BPRMax())
    return model


WAYS = [by_fit, by_one_batch, by_own_loop, by_weights, by_layer, by_weights_file, by_file, by_preset, compiled_again]


@pytest.mark.parametrize("learned", WAYS, ids=lambda way: way.__name__)
def test_a_model_that_has_learned_does_not_warn(learned, data, tmp_path, no_warning):
    model = learned(network(data), data, tmp_path)
    model.recommend([[data.items.ids[0]]], k=3)
    warn_unfitted(model)


def test_counted_models_that_have_learned_do_not_warn(data, tmp_path, no_warning):
    for model in (trs.models.MarkovChain(data.items), trs.models.ALS(data.items, factors=4)):
        model.compile(metrics=[trs.metrics.Recall(20)])
        model.fit(data.train, validation_data=data.validation)  # ALS evaluates between its sweeps
        model.save(tmp_path / "model.keras")
        for each in (model, keras.saving.load_model(tmp_path / "model.keras")):
            each.recommend([[data.items.ids[0]]], k=3)
    trs.models.Random(data.items).recommend([[data.items.ids[0]]], k=3)  # has nothing to learn


def test_content_to_factors_without_a_teacher_says_so(tmp_path):
    data = trs.synthetic_sessions(items=60, sessions=300, seed=1, described=True)
    with pytest.raises(trs.InputError, match="^teacher: must be given before recommendations, as in fit"):
        trs.models.ContentToFactors(data.items).recommend([[data.items.ids[0]]], k=3)
