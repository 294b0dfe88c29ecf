"""Models learn what there is to learn, and nothing where there is nothing."""

import keras
import numpy as np
import pytest

from tfrecsession import InputError, evaluation, training


def test_every_event_is_scored(name, scored, shop):
    ours = scored(name)
    assert ours.events == shop.test.scored_events == len(ours.ranks)
    assert ours.ranks.min() >= 1 and ours.ranks.max() <= len(shop.items)


def test_keras_evaluate_agrees_with_ours(name, fitted, scored, shop):
    theirs = fitted(name).evaluate(shop.test, verbose=0, return_dict=True)
    for metric, value in scored(name).metrics.items():
        assert theirs[metric] == pytest.approx(value, abs=1e-6)


@pytest.fixture(scope="session")
def ceiling(shop):
    return evaluation.ceiling(shop.info["shop"], shop.test).metrics["recall@20"]


def test_nobody_beats_the_ceiling_and_everybody_beats_chance(name, scored, ceiling, shop):
    ours = scored(name).metrics["recall@20"]
    floor = evaluation.chance(len(shop.items), 1).metrics["recall@20"]
    if name == "random":  # it is chance
        assert abs(ours - floor) < 5 * np.sqrt(floor * (1 - floor) / shop.test.scored_events)
        return
    assert floor < ours <= ceiling + 0.02


def test_learns_the_shop_to_near_its_ceiling(neural, large_shop, trained):
    shop = large_shop
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


def test_the_same_seed_gives_the_same_model(neural, shop, trained):
    answers = []
    for seed in (7, 7, 8):
        keras.utils.set_random_seed(seed)
        model = trained(neural, shop, {"epochs": 1, "rows": 16, "steps": 8, "negatives": 64}, seed=seed)
        answers.append(model.recommend([[shop.items.ids[3]]], k=10).scores)
    np.testing.assert_array_equal(answers[0], answers[1])
    assert not np.array_equal(answers[0], answers[2])


def test_another_data_set_is_refused(name, fitted, another_shop):
    other = another_shop
    for use in (
        lambda model: model.evaluate(other.test),
        lambda model: model.fit(other.train.batches(rows=4, steps=4, one_target=model.reads.one_target)),
    ):
        with pytest.raises(InputError, match="another data set"):
            use(fitted(name))


def test_a_loss_that_is_not_a_number_stops_the_training(neural, shop, built):
    model, settings = built(neural, shop.items, {"epochs": 1, "rows": 16, "steps": 8})
    model.optimizer.learning_rate = float("inf")
    with pytest.raises(InputError, match="lower learning_rate"):
        training.fit(model, shop, settings)
