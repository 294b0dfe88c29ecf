"""Contextual GRU: the three places of context, each by its equation and switched apart."""

import keras
import numpy as np
import pytest

import tfrecsession as trs
from tests.numpy_reference import sigmoid
from tfrecsession import InputError, evaluation, training

CONTEXT = {"context": ["gap", "hour"], "request": ["weekday"]}


@pytest.fixture(scope="module")
def data():
    return trs.synthetic_sessions(items=50, sessions=300, seed=1)


def model_of(data, random=True, **settings):
    """A small model whose weights are all random."""
    settings = {"units": [4], "negatives": trs.negatives.Popularity(8), "normalize": False, **CONTEXT, **settings}
    model = trs.models.ContextualGRU(data.items, **settings)
    rng = np.random.default_rng(0)
    for weight in model.trainable_variables if random else ():
        weight.assign(rng.normal(size=weight.shape) * 0.5)
    return model


def batch_of(data, model):
    batch, _ = next(data.test.batches(rows=4, steps=12, every_event=True, context=model.context).as_numpy_iterator())
    return batch


def context_of(layer, batch):
    """The context vector of every event, from its table: the columns are all categories."""
    first, found = 0, 0
    for name, codes, _ in layer.columns:
        found = found + layer.table.numpy()[first + batch[f"{layer.side}/{name}"]]
        first += codes
    return found


@pytest.mark.parametrize("dynamics", [False, True])
@pytest.mark.parametrize("context_as", ["concatenate", "both", None])
@pytest.mark.parametrize("asked", [[], ["weekday"]])
def test_it_equals_its_equations(data, dynamics, context_as, asked):
    if context_as is None and not dynamics:
        return  # refused
    model = model_of(data, dynamics=dynamics, context_as=context_as, request=asked, request_as="both")
    batch, layer, inputs = batch_of(data, model), model.recurrent[0], model.event_input
    c = context_of(inputs, batch)
    x = model.output_items(batch["items"]).numpy()
    if context_as == "both":
        x = x * (1 + c @ inputs.factor.numpy())
    x = np.concatenate([x, c], axis=-1) if context_as else x
    factor = 1 + c @ layer.context_kernel.numpy() if dynamics else np.ones((*c.shape[:2], 12))
    u, projected = layer.recurrent_kernel.numpy(), x @ layer.kernel.numpy() + layer.bias.numpy()
    rows, steps = batch["items"].shape
    h, expected = np.zeros((rows, 4)), []
    for t in range(steps):
        h = np.where(batch["position"][:, t, None] == 0, 0, h)
        z, r = (
            sigmoid(projected[:, t, part] + h @ u[:, part] * factor[:, t, part]) for part in (slice(4), slice(4, 8))
        )
        h = (1 - z) * h + z * np.tanh(projected[:, t, 8:] + (r * h) @ u[:, 8:] * factor[:, t, 8:])
        expected.append(h)
    expected = np.stack(expected, axis=1)
    if asked:
        q = context_of(model.request_input, batch)
        expected = expected * (1 + q @ model.request_input.factor.numpy()) + q @ model.request_input.projection.numpy()
    np.testing.assert_allclose(model.encode(batch), expected, rtol=1e-4, atol=1e-5)


def test_each_place_is_switched_apart(data):
    """A part that is switched off has no weights, and no effect."""

    def weights(**settings):
        return {weight.path.split("/", 1)[1] for weight in model_of(data, False, **settings).trainable_variables}

    whole = weights()
    assert whole - weights(dynamics=False) == {"gru_0/context_kernel"}
    assert whole - weights(context_as=None) == {"event_input/factor"}
    assert whole - weights(request=[]) == {f"request_input/{name}" for name in ("table", "factor", "projection")}
    assert whole - weights(request_as="concatenate") == {"request_input/factor"}
    assert weights(context=[], request=[]) == weights(context=[], request=[], dynamics=False)


def test_without_context_it_is_gru4rec(data):
    ours = model_of(data, context=[], request=[], units=[4, 3], embedding="tied", lanes=None)
    theirs = trs.models.GRU4Rec(data.items, units=[4, 3], negatives=trs.negatives.Popularity(8))
    batch = batch_of(data, ours)
    named = {weight.path.split("/", 1)[1]: weight for weight in ours.trainable_variables}
    for weight in theirs.trainable_variables:
        weight.assign(named[weight.path.split("/", 1)[1]])
    np.testing.assert_allclose(ours.encode(batch), theirs.encode(batch), rtol=1e-5, atol=1e-6)


def test_files_of_earlier_versions_learn_context_at_the_whole_rate(data):
    model = model_of(data, False)
    earlier = {name: value for name, value in model.get_config().items() if name != "context_rate"}
    again, older = (type(model).from_config(config) for config in (model.get_config(), earlier))
    shares = [built.event_input.table.rate_factor for built in (model, again, older)]
    assert shares == [1 / 2, 1 / 2, 1.0]  # of two columns
    with pytest.raises(InputError, match="context_rate=2"):
        model_of(data, False, context_rate=2)


def test_every_layer_of_a_stack_reads_context(data):
    model = model_of(data, units=[5, 4], context_as=None, embedding="separate")
    batch = batch_of(data, model)
    before = model.encode(batch).numpy()
    for layer in model.recurrent:
        kernel = layer.context_kernel.numpy()
        layer.context_kernel.assign(0 * kernel)
        assert not np.allclose(model.encode(batch), before)
        layer.context_kernel.assign(kernel)
    again = type(model).from_config(model.get_config())
    again.set_weights(model.get_weights())
    np.testing.assert_array_equal(again.encode(batch), before)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"context_as": None, "dynamics": False}, "context_as=None: must be a way to join with dynamics=False"),
        ({"context_as": "concat"}, "context_as='concat': must be one of .*; did you mean 'concatenate'"),
        ({"request_as": None}, "request_as=None: must be one of concatenate, multiply, both, latent_cross"),
        ({"dynamics": "gates"}, "dynamics='gates': must be one of False, True"),
        ({"embedding": "one_hot"}, "embedding='one_hot': must be one of tied, separate"),
    ],
)
def test_bad_arguments(data, settings, message):
    with pytest.raises(InputError, match=message):
        model_of(data, **settings)


@pytest.mark.slow
def test_it_beats_every_ranking_that_cannot_see_context():
    """On the shop with a context law; a GRU without context stays below that ceiling."""
    shop = trs.synthetic_sessions(items=60, sessions=12_000, seed=5, cart=0.3, late=0.0, context=True)
    known, blind = (
        evaluation.ceiling(shop.info["shop"], shop.test, context=seen).metrics["mrr@20"] for seen in (True, False)
    )
    found = {}
    for name, own in (
        ("contextual_gru", {"context": ["event", "device", "hour"], "context_dropout": 0.0}),
        ("gru4rec", {}),
    ):
        keras.utils.set_random_seed(0)
        settings = training.settings_of(name, {"epochs": 10, "rows": 32, "negatives": 59, "dropout": 0.2, **own})
        model = training.build(name, shop.items, settings)
        training.fit(model, shop, settings, seed=0)
        found[name] = evaluation.evaluate(model, shop.test).metrics["mrr@20"]
    assert found["gru4rec"] < blind < found["contextual_gru"] < known
