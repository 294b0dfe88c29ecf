"""RecGAN: both players against an independent NumPy pass, phases, the baseline, and what is refused."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfrecsession as trs
from tfrecsession import InputError

SHOP = {"items": 12, "sessions": 120, "min_item_support": 1, "seed": 2}


@pytest.fixture(scope="module")
def data():
    return trs.synthetic_sessions(**SHOP)


def model_of(data, optimizer=None, **settings):
    keras.utils.set_random_seed(0)
    model = trs.models.RecGAN(data.items, **{"units": [3], "zeros": 4, "dropout": 0.0, "negatives": None, **settings})
    model.compile(optimizer or trs.optimizers.LazyAdam(0.01), trs.losses.CrossEntropy(), run_eagerly=True)
    return model


# An independent pass --------------------------------------------------------------------------------------------------


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def states(cell, x, recurrent, bias):
    """h_1..h_T of one session, from the products of its inputs, [T, 3 units]."""
    units = recurrent.shape[0]
    h, found = np.zeros(units), []
    for now in x + bias:
        a = now[: 2 * units] + h @ recurrent[:, : 2 * units]
        z = sigmoid(a[:units]) if cell == "plain" else np.clip(np.where(a[:units] > 0, 1, 0.01) * a[:units], 0, 1)
        c = np.tanh(now[2 * units :] + (sigmoid(a[units:]) * h) @ recurrent[:, 2 * units :])
        h = (1 - z) * h + z * c
        found.append(h)
    return np.array(found)


def losses(w, cell, items, targets, zeros, reconstruction):
    """L_G and L_D of one session; `w`: the weights by name."""
    scores = states(cell, w["g_in"][items], w["g_rec"], w["g_bias"]) @ w["g_out"].T + w["g_out_bias"]
    scores[:, :2] = -np.inf
    p = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)  # (steps, size)
    steps = np.arange(len(items))
    judged = np.concatenate([targets[:, None], np.tile(zeros, (len(items), 1))], axis=1)  # (steps, 1 + zeros)
    mask = np.ones(judged.shape)
    mask[:, 1:] = judged[:, 1:] != targets[:, None]

    def logits(vectors):
        h = states(cell, vectors @ w["d_in"], w["d_rec"], w["d_bias"])
        return np.einsum("tu,tju->tj", h, w["d_out"][judged]) + w["d_out_bias"][judged]

    real, generated = np.zeros(p.shape), np.zeros(p.shape)
    real[steps, targets] = 1
    generated[steps, targets] = p[steps, targets]
    for zero in zeros:  # an item that is sampled twice counts twice
        generated[:, zero] += p[:, zero] * (zero != targets)
    d_real, d_fake = sigmoid(logits(real)), sigmoid(logits(generated))
    adversarial = (np.log(1 - d_fake) * mask).sum() / mask.sum()
    likelihood = -np.log(p[steps, targets]).mean()
    discriminator = -((np.log(d_real) + np.log(1 - d_fake)) * mask).sum() / mask.sum()
    return adversarial + reconstruction * likelihood, discriminator


def numeric_step(w, own, loss, rate):
    """One step of gradient descent on `own` weights, by central differences."""
    gradients = {name: np.zeros_like(w[name]) for name in own}
    for name in own:
        for index in np.ndindex(w[name].shape):
            before, values = w[name][index], []
            for epsilon in (1e-5, -1e-5):
                w[name][index] = before + epsilon
                values.append(loss())
            w[name][index] = before
            gradients[name][index] = (values[0] - values[1]) / 2e-5
    for name in own:
        w[name] -= rate * gradients[name]


@pytest.mark.parametrize(("cell", "reconstruction"), [("plain", 1.0), ("rectified", 0.0)])
def test_both_players_step_as_in_numpy(data, cell, reconstruction):
    """Four steps in turn give the weights of an independent pass with numeric gradients."""
    model = model_of(data, keras.optimizers.SGD(0.5), cell=cell, reconstruction=reconstruction, zeros=2, units=[2])
    model.phase.assign(1)
    d = model.discriminator
    weights = {
        "g_in": model.input_items.table,
        "g_rec": model.recurrent[0].recurrent_kernel,
        "g_bias": model.recurrent[0].bias,
        "g_out": model.output_items.table,
        "g_out_bias": model.output_items.biases,
        "d_in": d.inputs.table,
        "d_rec": d.cells[0].recurrent_kernel,
        "d_bias": d.cells[0].bias,
        "d_out": d.outputs.table,
        "d_out_bias": d.outputs.biases,
    }
    for name in weights:  # away from the corners of the rectified gate
        weights[name].assign(weights[name] + 0.3 * (name in ("g_bias", "d_bias")))
    w = {name: np.array(weight.numpy(), np.float64) for name, weight in weights.items()}
    session, drawn = np.array([3, 5, 2, 9]), np.array([[4, 5], [7, 7], [2, 10], [9, 3]])
    items, targets = session[:-1], session[1:]
    batch = {
        name: tf.constant([row], tf.int32)
        for name, row in {"items": items, "position": [0, 1, 2], "segment": [1, 1, 1]}.items()
    }
    for step, zeros in enumerate(drawn):
        model.draw_zeros = lambda zeros=zeros: tf.constant(zeros, tf.int32)
        player = ("generator", "discriminator")[step % 2]
        own = [v for v in model.trainable_variables if model.player_of(v) == player]
        model.play((batch, tf.constant([targets], tf.int32)), player, own)
        names = [name for name in w if name.startswith(player[0])]

        def loss(zeros=zeros, turn=step % 2):
            return losses(w, cell, items, targets, zeros, reconstruction)[turn]

        numeric_step(w, names, loss, 0.5)
    for name, weight in weights.items():
        np.testing.assert_allclose(weight.numpy(), w[name], atol=2e-5, err_msg=name)


def test_phases(data):
    """Likelihood comes first, with the generator alone; then players take turns."""
    model = model_of(data, pretraining=1, generator_steps=1, discriminator_steps=2)
    tables = {"generator": model.output_items.table, "discriminator": model.discriminator.outputs.table}
    changed, before = [], {name: table.numpy() for name, table in tables.items()}

    class Watch(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            changed.append({name for name, table in tables.items() if (table.numpy() != before[name]).any()})
            before.update({name: table.numpy() for name, table in tables.items()})

    history = model.fit(data.train.batches(rows=8, steps=4), epochs=2, verbose=0, callbacks=[Watch()]).history
    assert changed == [{"generator"}, {"generator", "discriminator"}]
    assert np.isfinite(history["loss"]).all() and int(model.turn.numpy()) > 3


def test_likelihood_alone_is_the_baseline(data):
    """Without a discriminator, or before it plays, a step is that of the likelihood."""
    alone, both = model_of(data, pretraining=None), model_of(data)
    assert alone.discriminator is None
    own = [weight for weight in both.trainable_variables if both.player_of(weight) == "generator"]
    for weight, twin in zip(alone.trainable_variables, own, strict=True):
        twin.assign(weight)
    batch = next(iter(data.train.batches(rows=8, steps=4)))
    for model in (alone, both):
        model.train_on_batch(*batch)
    for weight, twin in zip(alone.trainable_variables, own, strict=True):
        np.testing.assert_allclose(weight, twin, atol=1e-6)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"cell": "lstm"}, "cell='lstm': must be one of plain, rectified"),
        ({"pretraining": -1}, "pretraining=-1: must be a whole number, at least 0, or None"),
        ({"reconstruction": -1}, "reconstruction=-1: must be"),
        ({"zeros": 0}, "zeros=0: must be a whole number, at least 1"),
    ],
)
def test_refused(data, settings, message):
    with pytest.raises(InputError, match=message):
        model_of(data, **settings)


def test_large_catalogues_are_refused():
    with pytest.raises(InputError, match="items: must be at most 20,000 .* there are 20,001: .* min_item_support"):
        trs.models.RecGAN(20_001, units=[2])
    trs.models.RecGAN(20_001, units=[2], pretraining=None)
