import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings

import tfrecsession as trs
from tests.logs import logs, packed, sessions_of
from tests.numpy_reference import sigmoid, softmax
from tfrecsession import InputError
from tfrecsession.models import SASRec

KINDS = {
    "classic": {},
    "learned positions": {"positions": "learned"},
    "no order": {"positions": None, "bias": False},
    "modern": {"style": "modern", "heads": 2, "expand": 2},
    "modern, learned": {"style": "modern", "positions": "learned"},
    "one block, four heads": {"layers": 1, "heads": 4},
    "short window": {"window": 2},
}


def model_of(items, **given):
    keras.utils.set_random_seed(0)
    model = SASRec(items, negatives=trs.negatives.Popularity(8), **{"dim": 8, "window": 4, "dropout": 0.0} | given)
    model.compile(trs.optimizers.LazyAdam(0.01), trs.losses.CrossEntropy(logq=1.0))
    rng = np.random.default_rng(0)
    for weight in model.trainable_variables:  # large enough that all weights of the attention differ
        weight.assign(rng.normal(size=weight.shape) * (0.4 if len(weight.shape) == 2 else 1.0))
    return model


def norm(layer, x):
    gamma, beta = np.asarray(layer.gamma, float), np.asarray(layer.beta, float)
    return (x - x.mean()) / np.sqrt(x.var() + 1e-6) * gamma + beta


def by_hand(model, prefix):
    """Returns the scores after one prefix, float64 [size]: the equations, event by event and head by head."""
    stack, table = model.transformer, np.asarray(model.output_items.table, float)
    window, heads, modern = model.window, model.heads, model.style == "modern"
    hidden = [table[item] * np.sqrt(model.dim) for item in prefix]
    if model.positions == "learned":
        learned = np.asarray(stack.position_table, float)
        hidden = [x + learned[min(number, window - 1)] for number, x in enumerate(hidden)]
    for n in range(stack.blocks):
        kernel = {
            name: np.asarray(layers[n].kernel, float)
            for name, layers in (("qkv", stack.projections), ("inner", stack.inner), ("outer", stack.outer))
        }
        q, k, v = zip(*(np.split(norm(stack.norms[n][0], x) @ kernel["qkv"], 3) for x in hidden), strict=True)
        after = []
        for t, x in enumerate(hidden):
            read = []
            for head in range(heads):
                part = slice(head * model.dim // heads, (head + 1) * model.dim // heads)
                js = range(max(0, t - window + 1), t + 1)
                logits = [q[t][part] @ k[j][part] / np.sqrt(model.dim // heads) for j in js]
                if model.positions == "relative":
                    ages = np.asarray(stack.biases[n], float)
                    logits = [logit + ages[t - j, head] for logit, j in zip(logits, js, strict=True)]
                read.append(sum(a * v[j][part] for a, j in zip(softmax(np.array(logits)), js, strict=True)))
            read = np.concatenate(read)
            if modern:
                gates = [(np.asarray(gate.kernel, float), np.asarray(gate.bias, float)) for gate in stack.gates[n]]
                y = x + sigmoid(x @ gates[0][0] + gates[0][1]) * (read @ np.asarray(stack.joins[n].kernel, float))
                to_gate, inner = np.split(norm(stack.norms[n][1], y) @ kernel["inner"], 2)
                forward = (to_gate * sigmoid(to_gate) * inner) @ kernel["outer"]
                after.append(y + sigmoid(y @ gates[1][0] + gates[1][1]) * forward)
            else:
                y = x + read
                inner = np.maximum(norm(stack.norms[n][1], y) @ kernel["inner"] + np.asarray(stack.inner[n].bias), 0)
                after.append(y + inner @ kernel["outer"] + np.asarray(stack.outer[n].bias))
        hidden = after
    biases = np.asarray(model.output_items.biases, float) if model.bias else 0.0
    return table @ norm(stack.last_norm, hidden[-1]) + biases


def scores(model, batch):
    encoded = model.encode(batch)
    flat = model.score_all(tf.reshape(encoded, (-1, encoded.shape[-1])))
    return np.reshape(flat, (*encoded.shape[:2], -1))


@pytest.mark.parametrize("kind", KINDS)
def test_every_step_of_a_packed_row_equals_the_equations(shop, kind):
    """Next to other sessions and padding, with repeats, within one block of the window and over several."""
    model = model_of(shop.items, **KINDS[kind])
    sessions = [5, 9, 5, 5, 12, 30, 31, 5, 9], [3], [7, 1, 40, 7]
    found, column = scores(model, packed(list(sessions), steps=17))[0], 0
    for session in sessions:
        for upto in range(1, len(session) + 1):
            np.testing.assert_allclose(found[column], by_hand(model, session[:upto]), rtol=1e-4, atol=1e-4)
            column += 1
    narrow = scores(model, packed([[3], [7, 1]]))[0]  # no longer than the window: one block
    np.testing.assert_allclose(narrow[2], by_hand(model, [7, 1]), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_going_on_from_a_state_equals_the_whole_row(shop, kind):
    """However the session is cut, also where the rest of a row holds other sessions."""
    model, rng = model_of(shop.items, **KINDS[kind]), np.random.default_rng(1)
    session = rng.integers(2, 60, 23).astype(np.int32)
    whole = np.asarray(model.encode(packed([session])))[0]
    for cut in (1, 2, 3, 4, 9, 20):
        first, rest = packed([[3, 4], session[:cut]]), packed([session[cut:], [8, 8, 8]])
        rest["position"][0, : 23 - cut] += cut
        _, state = model.encode_from(first, tf.zeros([1, model.state_width]))
        np.testing.assert_allclose(model.encode_state(state)[0], whole[cut - 1], atol=1e-5)
        found, _ = model.encode_from(rest, state)
        np.testing.assert_allclose(found[0, : 23 - cut], whole[cut:], atol=1e-5)
        alone = np.asarray(model.encode(packed([[8, 8, 8]])))[0]
        np.testing.assert_allclose(found[0, 23 - cut :], alone, atol=1e-5)


def test_one_pass_equals_every_prefix_alone():
    model = model_of(sessions_of([[2, 3]]).items)

    @settings(max_examples=20)
    @given(logs)
    def check(log):
        together = np.asarray(model.encode(packed(log)))[0]
        alone = packed(*[[session[:upto]] for session in log for upto in range(1, len(session) + 1)], steps=9)
        last = alone["segment"].sum(axis=1) - 1
        prefixes = np.asarray(model.encode(alone))[np.arange(len(last)), last]
        np.testing.assert_allclose(together[: len(last)], prefixes, atol=1e-4)

    check()


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_of_a_packed_row_are_the_sum_of_those_of_its_sessions(shop, kind):
    model = model_of(shop.items, **KINDS[kind])
    sessions = [5, 9, 5, 30, 2, 11], [7, 8], [3, 4, 9]

    def gradients(batch):
        variables = [weight.value for weight in model.trainable_variables]
        with tf.GradientTape() as tape:
            encoded = model.encode(batch)
            count = tf.cast(batch["segment"] > 0, tf.float32)[..., None]
            loss = tf.reduce_sum(tf.sin(encoded) * count)
        return [tf.convert_to_tensor(g) if g is not None else 0.0 for g in tape.gradient(loss, variables)]

    together = gradients(packed(list(sessions), steps=14))
    alone = [gradients(packed([session])) for session in sessions]
    for whole, *parts in zip(together, *alone, strict=True):
        np.testing.assert_allclose(whole, sum(parts), rtol=1e-3, atol=1e-3)


def test_a_graph_of_unknown_width_gives_the_same(shop):
    model = model_of(shop.items)
    batch = {name: tf.constant(cells) for name, cells in packed([[5, 9, 5, 5, 12, 30, 31], [4]], [[2]]).items()}
    spec = {name: tf.TensorSpec((None, None), tf.int32) for name in batch}
    found = tf.function(model.encode, input_signature=[spec])(batch)
    np.testing.assert_allclose(found, model.encode(batch), atol=1e-5)


def test_the_state_is_bounded_by_the_window(shop):
    assert model_of(shop.items, window=5, layers=3).state_width == 3 * 2 * 4 * 8 + 8 + 1


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"heads": 3}, r"heads=3: must be a divisor of dim=8"),
        ({"window": 1}, r"window=1: must be a whole number, at least 2"),
        ({"style": "moderne"}, r"style='moderne': must be one of classic, modern; did you mean 'modern'"),
        ({"positions": "absolute"}, r"positions='absolute': must be one of relative, learned"),
        ({"dropout": 2}, r"dropout=2: must be a number from 0 to 1"),
        ({"layers": 0}, r"layers=0: must be a whole number"),
    ],
)
def test_bad_arguments_are_named(shop, given, message):
    with pytest.raises(InputError, match=message):
        model_of(shop.items, **given)
