"""Models learn what there is to learn, and nothing where there is nothing."""

import keras
import numpy as np
import pytest

import tfrecsession as trs
from tfrecsession import InputError, evaluation, training


def test_every_event_is_scored(name, fitted, shop):
    scored = evaluation.evaluate(fitted(name), shop.test)
    assert scored.events == shop.test.scored_events == len(scored.ranks)
    assert scored.ranks.min() >= 1 and scored.ranks.max() <= len(shop.items)


def test_keras_evaluate_agrees_with_ours(name, fitted, shop):
    model = fitted(name)
    ours = evaluation.evaluate(model, shop.test)
    theirs = model.evaluate(shop.test, verbose=0, return_dict=True)
    for metric, value in ours.metrics.items():
        assert theirs[metric] == pytest.approx(value, abs=1e-6)


def test_nobody_beats_the_ceiling_and_everybody_beats_chance(name, fitted, shop):
    scored = evaluation.evaluate(fitted(name), shop.test).metrics["recall@20"]
    top = evaluation.ceiling(shop.info["shop"], shop.test).metrics["recall@20"]
    floor = evaluation.chance(len(shop.items), 1).metrics["recall@20"]
    if name == "random":  # it is chance
        assert abs(scored - floor) < 5 * np.sqrt(floor * (1 - floor) / shop.test.scored_events)
        return
    assert floor < scored <= top + 0.02


def test_learns_the_shop_to_near_its_ceiling(neural, trained):
    shop = trs.synthetic_sessions(items=100, sessions=12_000, seed=5)  # enough of it to learn the law
    keras.utils.set_random_seed(0)
    model = trained(neural, shop, {"epochs": 8, "rows": 16, "steps": 8, "negatives": 128, "dropout": 0.1})
    scored = evaluation.evaluate(model, shop.test, (10,)).metrics["recall@10"]
    assert scored > 0.85 * evaluation.ceiling(shop.info["shop"], shop.test, (10,)).metrics["recall@10"]


def test_stays_at_chance_on_noise(neural, noise, trained):
    keras.utils.set_random_seed(0)
    model = trained(neural, noise, {"epochs": 3, "rows": 16, "steps": 8, "negatives": 64})
    scored = evaluation.evaluate(model, noise.test)
    chance = 20 / len(noise.items)
    error = np.sqrt(chance * (1 - chance) / scored.events)
    assert abs(scored.metrics["recall@20"] - chance) < 5 * error


@pytest.fixture(scope="module")
def noise(tmp_path_factory):
    """Sessions of items drawn uniformly and independently."""
    import pyarrow as pa

    folder = tmp_path_factory.mktemp("noise")
    rng = np.random.default_rng(0)
    sessions, length = 3000, 5
    table = pa.table(
        {
            "session": np.repeat(np.arange(sessions), length),
            "user": np.repeat(np.arange(sessions) % 700, length),
            "item": [f"i{number}" for number in rng.integers(0, 200, sessions * length)],
            "time": 1_700_000_000 + np.arange(sessions * length) * 120,
        }
    )
    trs.prepare(table, folder / "data", test_span="20%", validation_span="0d")
    return trs.load(folder / "data")


def test_the_same_seed_gives_the_same_model(neural, shop, trained):
    answers = []
    for seed in (7, 7, 8):
        keras.utils.set_random_seed(seed)
        model = trained(neural, shop, {"epochs": 1, "rows": 16, "steps": 8, "negatives": 64}, seed=seed)
        answers.append(model.recommend([[shop.items.ids[3]]], k=10).scores)
    np.testing.assert_array_equal(answers[0], answers[1])
    assert not np.array_equal(answers[0], answers[2])


def test_another_data_set_is_refused(name, fitted):
    other = trs.synthetic_sessions(items=150, sessions=800, seed=9)
    for use in (
        lambda model: model.evaluate(other.test),
        lambda model: model.fit(other.train.batches(rows=4, steps=4, one_target=not model.causal)),
    ):
        with pytest.raises(InputError, match="another data set"):
            use(fitted(name))


def test_a_loss_that_is_not_a_number_stops_the_training(neural, shop, built):
    model, settings = built(neural, shop.items, {"epochs": 1, "rows": 16, "steps": 8})
    model.optimizer.learning_rate = float("inf")
    with pytest.raises(InputError, match="lower learning_rate"):
        training.fit(model, shop, settings)
