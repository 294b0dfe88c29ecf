"""Session-parallel GRU4Rec, term by term, against NumPy written from the equations (arXiv 1511.06939, 1706.03847).

Scores, loss, every gradient, every updated row and the carried state, over steps in which sessions end.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfrecsession as trs
from tests.numpy_reference import activated, sigmoid, softmax
from tfrecsession.batches import datasets
from tfrecsession.sessions.vocabulary import Items

LANES, UNITS, CATALOGUE, SAMPLES = 3, 5, 12, 6
LOGQ, ALPHA, ELU, REGULARIZATION = 1.0, 0.5, 0.5, 0.7
RATE, MOMENTUM, EPSILON = 0.07, 0.3, 1e-6


def cross_entropy(positive, negative):
    """Returns the loss per lane and its gradients by the scores."""
    scores = np.concatenate([positive[:, None], negative], axis=1)
    p = softmax(scores)
    gradient = p.copy()
    gradient[:, 0] -= 1
    return -np.log(p[:, 0]), gradient[:, 0], gradient[:, 1:]


def bpr_max(positive, negative):
    """Returns -log sum_j s_j sigma(r_i - r_j) + lambda sum_j s_j r_j^2 and its gradients.

    The scores pass through elu; s = softmax over the negatives.
    """

    def elu_slope(x):
        return np.where(x > 0, 1.0, ELU * np.exp(np.minimum(x, 0)))

    r_i, r = activated(positive, ELU)[:, None], activated(negative, ELU)
    s = softmax(r)
    wins = sigmoid(r_i - r)
    mean_win = (s * wins).sum(axis=1, keepdims=True)
    penalty = (s * r**2).sum(axis=1, keepdims=True)
    loss = -np.log(mean_win) + REGULARIZATION * penalty
    slope = wins * (1 - wins)
    by_positive = -(s * slope).sum(axis=1) / mean_win[:, 0]
    by_negative = -(s * (wins - mean_win) - s * slope) / mean_win
    by_negative += REGULARIZATION * (s * (r**2 - penalty) + 2 * s * r)
    return loss[:, 0], by_positive * elu_slope(positive), by_negative * elu_slope(negative)


class Reference:
    """The model and its optimizer in float64."""

    def __init__(self, model, counts):
        gru, table = model.recurrent[0], model.output_items
        self.weights = {
            "E": table.table.numpy(),
            "B": table.biases.numpy(),
            "W": gru.kernel.numpy(),
            "U": gru.recurrent_kernel.numpy(),
            "b": gru.bias.numpy(),
        }
        self.weights = {name: value.astype(np.float64) for name, value in self.weights.items()}
        self.accumulator = {name: np.zeros_like(value) for name, value in self.weights.items()}
        self.velocity = {name: np.zeros_like(value) for name, value in self.weights.items()}
        self.state = np.zeros((LANES, UNITS))
        self.log_q = np.concatenate([[0, 0], ALPHA * np.log(counts) - np.log((counts**ALPHA).sum())])

    def step(self, items, targets, goes_on, drawn, loss_of, logq):
        w, u = self.weights, UNITS
        before = self.state * goes_on[:, None]
        x = w["E"][items]
        a = x @ w["W"] + w["b"]
        z = sigmoid(a[:, :u] + before @ w["U"][:, :u])
        r = sigmoid(a[:, u : 2 * u] + before @ w["U"][:, u : 2 * u])
        c = np.tanh(a[:, 2 * u :] + (r * before) @ w["U"][:, 2 * u :])
        h = (1 - z) * before + z * c
        self.state = h

        positive = (h * w["E"][targets]).sum(axis=1) + w["B"][targets] - logq * self.log_q[targets]
        negative = h @ w["E"][drawn].T + w["B"][drawn] - logq * self.log_q[drawn]
        loss, by_positive, by_negative = loss_of(positive, negative)
        is_target = targets > 0
        share = is_target / LANES  # averaged over all lanes: steps get smaller when sessions run out
        by_positive, by_negative = by_positive * share, by_negative * share[:, None]

        g = {name: np.zeros_like(value) for name, value in w.items()}
        np.add.at(g["E"], targets, by_positive[:, None] * h)
        np.add.at(g["B"], targets, by_positive)
        np.add.at(g["E"], drawn, by_negative.T @ h)
        np.add.at(g["B"], drawn, by_negative.sum(axis=0))
        dh = by_positive[:, None] * w["E"][targets] + by_negative @ w["E"][drawn]
        dz = dh * (c - before) * z * (1 - z)
        dc = dh * z * (1 - c**2)
        dr = (dc @ w["U"][:, 2 * u :].T) * before * r * (1 - r)
        da = np.concatenate([dz, dr, dc], axis=1)
        g["W"], g["b"] = x.T @ da, da.sum(axis=0)
        g["U"] = np.concatenate([before.T @ dz, before.T @ dr, (r * before).T @ dc], axis=1)
        np.add.at(g["E"], items, da @ w["W"].T)

        touched = np.zeros(len(w["E"]), bool)
        touched[np.concatenate([items, targets, drawn])] = True
        touched_biases = np.zeros(len(w["B"]), bool)
        touched_biases[np.concatenate([targets, drawn])] = True
        for name in w:
            rows = {"E": touched, "B": touched_biases}.get(name, np.ones(len(w[name]), bool))
            self.accumulator[name][rows] += g[name][rows] ** 2
            step = RATE * g[name][rows] / np.sqrt(self.accumulator[name][rows] + EPSILON)
            self.velocity[name][rows] = MOMENTUM * self.velocity[name][rows] - step
            w[name][rows] += self.velocity[name][rows]
        return loss[is_target].mean(), positive, g


@pytest.mark.parametrize("kind", ["cross_entropy", "bpr_max"])
def test_equals_the_equations_step_by_step(kind):
    rng = np.random.default_rng(0)
    lengths = rng.integers(2, 6, 14)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    values = rng.integers(2, CATALOGUE + 2, offsets[-1]).astype(np.int32)
    counts = rng.integers(1, 30, CATALOGUE)
    items = Items((f"i{number}" for number in range(CATALOGUE)), counts)

    keras.utils.set_random_seed(0)
    negatives = trs.negatives.Popularity(SAMPLES, alpha=ALPHA, mask_hits=False)
    model = trs.models.GRU4Rec(items, units=[UNITS], dropout=0.0, lanes=LANES, negatives=negatives)
    logq = LOGQ if kind == "cross_entropy" else 0.0
    loss = {
        "cross_entropy": trs.losses.CrossEntropy(logq=LOGQ),
        "bpr_max": trs.losses.BPRMax(regularization=REGULARIZATION, elu=ELU),
    }[kind]
    model.compile(trs.optimizers.LazyAdagrad(RATE, epsilon=EPSILON, momentum=MOMENTUM), loss)
    reference = Reference(model, counts)
    ended = steps = 0
    for batch, targets in datasets.session_parallel(values, offsets, rows=LANES, steps=1):
        drawn = rng.integers(2, CATALOGUE + 2, SAMPLES).astype(np.int32)
        model.negatives.draw = lambda targets=None, drawn=drawn: tf.constant(drawn)
        position = batch["position"].numpy()[:, 0]
        ended += int((position == 0).sum())
        model._loss_tracker.reset_state()
        found = model.train_step((batch, targets))["loss"]
        expected, _, _ = reference.step(
            batch["items"].numpy()[:, 0],
            targets.numpy()[:, 0],
            position > 0,
            drawn,
            {"cross_entropy": cross_entropy, "bpr_max": bpr_max}[kind],
            logq,
        )
        np.testing.assert_allclose(found, expected, rtol=1e-5)
        np.testing.assert_allclose(model.carried[0].numpy(), reference.state, atol=1e-5)
        w, gru = reference.weights, model.recurrent[0]
        for weight, expected_weight in (
            (model.output_items.table, w["E"]),
            (model.output_items.biases, w["B"]),
            (gru.kernel, w["W"]),
            (gru.recurrent_kernel, w["U"]),
            (gru.bias, w["b"]),
        ):
            np.testing.assert_allclose(weight.numpy(), expected_weight, atol=1e-5)
        steps += 1
    assert steps >= 5 and ended > LANES
