import keras
import numpy as np
import pytest

import tfrecsession as trs
from tfrecsession import training


class Rates(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.seen = []

    def on_train_batch_end(self, batch, logs=None):
        self.seen.append(float(self.model.optimizer.learning_rate))


def fitted(shop, **options):
    model = trs.models.GRU4Rec(shop.items, units=[4], negatives=trs.negatives.Popularity(8))
    model.compile(trs.optimizers.LazyAdagrad(0.2), trs.losses.CrossEntropy())
    rates = Rates()
    model.fit(
        shop.train.batches(rows=64, steps=8).take(5),
        verbose=0,
        callbacks=[training.LinearDecay(), rates],
        **options,
    )
    return model, rates.seen


def test_the_rate_decays_to_zero_and_is_then_reset(shop):
    model, seen = fitted(shop, epochs=2)
    np.testing.assert_allclose(seen, 0.2 * (1 - np.arange(10) / 10), rtol=1e-5)
    assert float(model.optimizer.learning_rate) == pytest.approx(0.2)


def test_a_limit_of_time_ends_training_at_a_rate_of_zero(shop):
    model = trs.models.GRU4Rec(shop.items, units=[4], negatives=trs.negatives.Popularity(8))
    model.compile(trs.optimizers.LazyAdagrad(0.2), trs.losses.CrossEntropy())
    clock, rates = iter(range(100)), Rates()
    limit = training.TimeLimit(8.0, clock=lambda: next(clock))  # each batch asks twice, and so takes two seconds
    batches = shop.train.batches(rows=64, steps=8).take(5)
    model.fit(batches, epochs=2, verbose=0, callbacks=[training.LinearDecay(), limit, rates])
    np.testing.assert_allclose(
        rates.seen, 0.2 * np.minimum(1 - np.arange(5) / 10, 1.25 * np.array([7, 5, 3, 1, 0]) / 8), rtol=1e-5
    )
    assert limit.late and float(model.optimizer.learning_rate) == pytest.approx(0.2)
    clock, rates = iter(range(100)), Rates()
    late = training.TimeLimit(1000, clock=lambda: next(clock))  # the decay by epochs is not changed
    model.fit(batches, epochs=2, verbose=0, callbacks=[training.LinearDecay(), late, rates])
    np.testing.assert_allclose(rates.seen, 0.2 * (1 - np.arange(10) / 10), rtol=1e-5)
    assert not late.late


def test_a_later_initial_epoch_continues_the_line(shop):
    _, seen = fitted(shop, epochs=4, initial_epoch=3)
    np.testing.assert_allclose(seen, 0.2 * (1 - np.arange(15, 20) / 20), rtol=1e-5)


def test_the_setting_decay_adds_the_callback(shop):
    settings = training.settings_of("gru4rec", {"decay": "linear", "epochs": 1, "units": [4], "negatives": 8})
    model = training.build("gru4rec", shop.items, settings)
    training.fit(model, shop, settings)
    with pytest.raises(trs.InputError, match="decay='cosine'"):
        training.build("gru4rec", shop.items, settings | {"decay": "cosine"})
