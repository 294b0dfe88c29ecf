import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings

import tfrecsession as trs
from tests.logs import logs, sessions_of
from tests.numpy_reference import sigmoid, softmax
from tfrecsession import InputError
from tfrecsession.models import NARM

KINDS = {
    "as the authors' code": {},
    "as the paper": {"normalize": False, "reset_after": False},
    "hard": {"activation": "hard_sigmoid", "bias": True},
    "two layers": {"units": [5, 7], "dim": 3},
}


def model_of(items, **settings):
    keras.utils.set_random_seed(0)
    small = {"units": [6], "dim": 4, "embedding_dropout": 0.0, "dropout": 0.0}
    model = NARM(items, negatives=trs.negatives.Popularity(8), **small | settings)
    model.compile(trs.optimizers.LazyAdagrad(0.1), trs.losses.CrossEntropy(logq=1.0))
    rng = np.random.default_rng(0)
    for weight in model.trainable_variables:  # large enough that all gates and weights differ
        weight.assign(rng.normal(size=weight.shape))
    return model


def row_of(*sessions, width=None):
    """Returns a batch of one row: sessions of ids end to end, then padding."""
    lengths = [len(session) for session in sessions]
    cells = {
        "items": np.concatenate(sessions),
        "position": np.concatenate([np.arange(length) for length in lengths]),
        "segment": np.repeat(np.arange(len(sessions)) + 1, lengths),
    }
    width = width or sum(lengths)
    return {name: np.pad(cell, (0, width - len(cell)))[None].astype(np.int32) for name, cell in cells.items()}


def by_hand(model, prefix):
    """Returns the scores after one prefix, float64 [size], from the paper's equations."""
    table = np.asarray(model.output_items.table, float)
    states = table[prefix]
    for layer in model.recurrent:
        kernel, recurrent, bias = (np.asarray(w, float) for w in (layer.kernel, layer.recurrent_kernel, layer.bias))
        more = np.asarray(layer.recurrent_bias, float) if layer.reset_after else np.zeros_like(bias)
        (w_z, w_r, w_c), (u_z, u_r, u_c) = np.split(kernel, 3, axis=1), np.split(recurrent, 3, axis=1)
        (b_z, b_r, b_c), (d_z, d_r, d_c) = np.split(bias, 3), np.split(more, 3)
        h, after = np.zeros(layer.units), []
        for x in states:
            z = sigmoid(x @ w_z + h @ u_z + b_z + d_z)
            r = sigmoid(x @ w_r + h @ u_r + b_r + d_r)
            held = r * (h @ u_c + d_c) if layer.reset_after else (r * h) @ u_c
            h = (1 - z) * h + z * np.tanh(x @ w_c + b_c + held)
            after.append(h)
        states = np.array(after)
    a_1, a_2, v = (np.asarray(w, float) for w in (model.local.query_kernel, model.local.key_kernel, model.local.energy))
    sums = [states[-1] @ a_1 + h_j @ a_2 for h_j in states]
    if model.activation == "sigmoid":
        alpha = np.array([v[:, 0] @ sigmoid(x) for x in sums])
    else:
        alpha = np.array([v[:, 0] @ np.clip(x / 5 + 0.5, 0, 1) for x in sums])
    if model.normalize:
        alpha = softmax(alpha)
    c = np.concatenate([states[-1], sum(a * h for a, h in zip(alpha, states, strict=True))])
    biases = np.asarray(model.output_items.biases, float) if model.bias else 0.0
    return table @ (np.asarray(model.decoder.kernel, float).T @ c) + biases


def scores(model, batch):
    encoded = model.encode(batch)
    flat = model.score_all(tf.reshape(encoded, (-1, encoded.shape[-1])))
    return np.reshape(flat, (*encoded.shape[:2], -1))


@pytest.mark.parametrize("kind", KINDS)
def test_every_step_of_a_packed_row_equals_the_papers_forward_pass(shop, kind):
    """Next to other sessions, padding and unknown items, with repeats."""
    model = model_of(shop.items, **KINDS[kind])
    sessions = [5, 9, 5, 5, 12], [3], [7, 1, 40, 7]
    found, column = scores(model, row_of(*sessions, width=14))[0], 0
    for session in sessions:
        for upto in range(1, len(session) + 1):
            expected = by_hand(model, session[:upto])
            np.testing.assert_allclose(found[column], expected, rtol=1e-4, atol=1e-4)
            column += 1


@pytest.mark.parametrize("normalize", [True, False])
def test_one_pass_equals_every_prefix_alone(normalize):
    model = model_of(sessions_of([[2, 3]]).items, normalize=normalize)

    @settings(max_examples=20)
    @given(logs)
    def check(log):
        together = np.asarray(model.encode(row_of(*log)))[0]
        alone = [row_of(session[:upto], width=9) for session in log for upto in range(1, len(session) + 1)]
        rows = {name: np.concatenate([row[name] for row in alone]) for name in alone[0]}
        last = rows["segment"].sum(axis=1) - 1
        prefixes = np.asarray(model.encode(rows))[np.arange(len(last)), last]
        np.testing.assert_allclose(together[: len(last)], prefixes, atol=1e-4)

    check()


@pytest.mark.parametrize("kind", KINDS)
def test_training_on_packed_rows_equals_training_on_every_prefix(shop, kind):
    """One pass has the same loss and the same gradients as all prefixes in rows of their own."""
    model = model_of(shop.items, **KINDS[kind])
    model.negatives.draw = lambda targets=None: tf.constant([4, 9, 9, 17, 3], tf.int32)
    few = sessions_of([[5, 9, 5, 30], [7, 8], [3, 4, 9, 9, 2, 11, 12], [40, 41, 42]], items=200)
    found = []
    for one_target in (False, True):
        batch, targets = next(iter(few.batches(rows=32, steps=8, one_target=one_target)))
        variables = [weight.value for weight in model.trainable_variables]
        with tf.GradientTape() as tape:
            loss, events = model.training_loss(model.encode(batch, training=True), targets)
        assert events == few.scored_events
        found.append([loss, *map(tf.convert_to_tensor, tape.gradient(loss, variables))])
    for packed, alone in zip(*found, strict=True):
        assert np.abs(packed).max() > 0
        np.testing.assert_allclose(packed, alone, rtol=1e-3, atol=1e-5)


def test_a_cut_session_keeps_its_newest_events():
    log = sessions_of([[2, 3, 4, 5, 6, 7, 8]])
    for one_target in (False, True):
        batch, targets = next(iter(log.batches(rows=8, steps=3, one_target=one_target)))
        items, targets = batch["items"].numpy(), targets.numpy()
        row, last = np.argwhere(targets == 8)[0]
        assert items[row, last - 2 : last + 1].tolist() == [5, 6, 7]
    model = model_of(log.items)
    newest, _ = next(iter(log.batches(rows=1, steps=3)))
    np.testing.assert_allclose(model.encode(newest)[0, -1], model.encode(row_of([5, 6, 7]))[0, -1], atol=1e-6)


def test_evaluation_and_recommendations_read_all_events(shop):
    """All of 300 events count, the first too."""
    model = model_of(shop.items)
    ids = np.random.default_rng(0).integers(2, 190, 300)
    expected = by_hand(model, ids)
    np.testing.assert_allclose(scores(model, row_of(ids))[0, -1], expected, rtol=1e-4, atol=1e-4)
    answered = model.recommend([shop.items.decode(ids)], k=5)
    np.testing.assert_allclose(answered.scores[0], np.sort(expected[2:])[:-6:-1], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("normalize", [True, False])
def test_attention_returns_the_weights_of_the_local_encoder(shop, normalize):
    model = model_of(shop.items, normalize=normalize)
    ids = [5, 9, 5, 12]
    history = list(shop.items.decode(np.array(ids)))
    weights = model.attention(history, per_step=True)
    assert weights.shape == (4, 4) and not np.triu(weights, 1).any() and np.diag(weights).all()
    np.testing.assert_allclose(model.attention(history), weights[-1], rtol=1e-5)
    if normalize:
        np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-5)
    states = model._states(row_of(ids))
    local = weights @ states[0].numpy()
    encoded = model.decoder(np.concatenate([states[0], local], axis=1))
    np.testing.assert_allclose(encoded, model.encode(row_of(ids))[0], atol=1e-5)

    with_unknown = model.attention(["?", *history[:2], "?", *history[2:]], per_step=True)
    known = [1, 2, 4, 5]
    np.testing.assert_array_equal(with_unknown[np.ix_(known, known)], weights)
    assert not with_unknown[:, [0, 3]].any() and not with_unknown[0].any()
    np.testing.assert_array_equal(with_unknown[3], with_unknown[2])
    np.testing.assert_allclose(model.attention([*history, "?"]), [*weights[-1], 0], rtol=1e-5)
    assert model.attention(["?", "?"]).tolist() == [0, 0]
    assert model.attention([]).shape == (0,) and model.attention([], per_step=True).shape == (0, 0)
    with pytest.raises(InputError, match="history: must be a list of ids"):
        model.attention("item-1")


@pytest.mark.parametrize(
    ("wrong", "named"), [({"units": []}, "units="), ({"units": [0]}, "units="), ({"activation": "relu"}, "activation=")]
)
def test_bad_arguments_are_refused_by_name(shop, wrong, named):
    with pytest.raises(InputError, match=named):
        NARM(shop.items, **wrong)
