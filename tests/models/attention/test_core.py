import keras
import numpy as np
import pytest

import tfrecsession as trs
from tests.logs import packed
from tests.numpy_reference import softmax
from tfrecsession import InputError
from tfrecsession.models import CORE


def model_of(items, **given):
    keras.utils.set_random_seed(0)
    settings = {"dim": 8, "window": 4, "dropout": 0.0, "item_dropout": 0.0, "temperature": 0.5} | given
    model = CORE(items, negatives=trs.negatives.Popularity(8), **settings)
    rng = np.random.default_rng(0)
    for weight in model.trainable_variables:
        weight.assign(rng.normal(size=weight.shape))
    return model


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


@pytest.mark.parametrize("layers", [0, 2])
def test_a_session_is_a_weighted_mean_of_its_items(shop, layers):
    """Every step of a packed row, beside other sessions and padding; the weights follow from the blocks' outputs."""
    model = model_of(shop.items, layers=layers)
    table = unit(np.asarray(model.output_items.table, float))
    sessions = [5, 9, 5, 5, 12, 30, 31, 5, 9], [3], [7, 1, 40, 7]
    encoded, column = model.encode(packed(list(sessions), steps=17)), 0
    scores = np.asarray(model.score_all(encoded[0]))
    for session in sessions:
        weights = np.zeros(len(session))
        if layers:
            alone = packed([session])
            vectors = model.input_items(alone["items"]) * np.sqrt(8)
            found = model.transformer(vectors, alone["position"])  # whose own tests are those of SASRec
            weights = np.asarray(found[0], float) @ np.asarray(model.weigh.kernel, float)[:, 0]
        for t in range(len(session)):
            js = slice(max(0, t - 3), t + 1)
            h = softmax(weights[js]) @ table[session[js]]
            np.testing.assert_allclose(encoded[0, column], h, rtol=1e-3, atol=1e-4)
            np.testing.assert_allclose(scores[column], table @ unit(h) / 0.5, rtol=1e-3, atol=1e-3)
            column += 1


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"heads": 3}, "heads=3: must be a divisor of dim=8"),
        ({"normalize": False}, "normalize=False: must be True for CORE"),
        ({"layers": -1}, "layers=-1: must be a whole number"),
        ({"item_dropout": 2}, "item_dropout=2: must be a number from 0 to 1"),
    ],
)
def test_bad_arguments_are_named(shop, given, message):
    with pytest.raises(InputError, match=message):
        model_of(shop.items, **given)
