"""The towers by hand, no leak of the target, and items that training has not seen."""

import re
import subprocess
import sys

import keras
import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf

import tfrecsession as trs
from tests.logs import sessions_of
from tfrecsession import InputError
from tfrecsession.batches import Interactions, Sessions
from tfrecsession.batches.triples import triples
from tfrecsession.layers import Past
from tfrecsession.losses import CrossEntropy
from tfrecsession.models import TwoTower
from tfrecsession.negatives import InBatch, Mixture, Popularity
from tfrecsession.sessions.store import SessionArrays
from tfrecsession.sessions.vocabulary import Items

LOG = [[2, 3, 3, 8], [4, 2], [2, 5, 6, 7], [3, 4], [8]]
ITEMS = 7


def named(sessions, names):
    arrays = sessions.arrays
    columns = {"user": np.array(names, object)}
    return Sessions(SessionArrays(arrays.items, arrays.values, arrays.offsets, columns), "train", timed=False)


def content_of(items):
    return {
        "item": [f"i{number}" for number in range(2, items + 2)],
        "colour": ["red", "blue", None, "red", "green", "blue", "red"][:items],
        "tags": [["a", "b"], [], ["b"], None, ["c", "a", "a"], ["b"], ["a"]][:items],
        "title": ["One two", "two", "", None, "three ONE", "two three", "one"][:items],
        "price": [1.0, 2.0, None, 4.0, 5.0, 6.0, 7.0][:items],
    }


def small(layers=(), **options):
    train = named(sessions_of(LOG, ITEMS), ["a", "b", "c", "d", None])
    keras.utils.set_random_seed(1)
    negatives = Mixture([InBatch(), Popularity(4, seed=1)], "pooled")
    settings = {"dim": 3, "deviation": 1.0, "words": ["title"], "content": content_of(ITEMS), "negatives": negatives}
    model = TwoTower(train.items, layers=layers, **{**settings, **options})
    model.compile(trs.optimizers.LazyAdagrad(0.1), CrossEntropy(logq=1.0))
    return model, train


def item_by_hand(model, row, unknown=False):
    """Sums the parts for one row of `content_of`."""
    tower, table = model.item_tower, content_of(ITEMS)
    values = np.asarray(tower.of_value.table)
    places, total = {}, 1
    for name in ("colour", "tags", "title"):
        cells = [cell for cell in table[name] if cell is not None]
        parts = {"colour": lambda c: [c], "tags": list, "title": lambda c: c.lower().split()}[name]
        words = sorted({word for cell in cells for word in parts(cell)})
        places[name] = {word: total + number for number, word in enumerate(words)}
        total += len(words)
    found = np.asarray(tower.of_id.table)[1 if unknown else row + 2].astype(float)
    for name in ("colour", "tags", "title"):
        cell = table[name][row]
        words = [] if cell is None else {"colour": [cell], "tags": cell, "title": str(cell).lower().split()}[name]
        if words:
            found = found + np.mean([values[places[name][word]] for word in words], axis=0)
    prices = np.array([price for price in table["price"] if price is not None])
    price = 0 if table["price"][row] is None else (table["price"][row] - prices.mean()) / prices.std()
    kernel, bias = (np.asarray(weight) for weight in tower.of_numbers.get_weights())
    return found + price * kernel[0] + bias


def test_the_item_tower_sums_its_inputs():
    model, _ = small()
    model.item_tower.of_numbers.bias.assign([0.1, -0.2, 0.3])
    found = model.item_tower(tf.range(2, ITEMS + 2)).numpy()
    for row in range(ITEMS):
        np.testing.assert_allclose(found[row], item_by_hand(model, row), rtol=1e-5, atol=1e-6)
    fresh = model.encode_items(content_of(ITEMS))
    for row in range(ITEMS):
        np.testing.assert_allclose(fresh[row], item_by_hand(model, row, unknown=True), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("layers", [(), (5,)])
def test_known_and_new_users_by_hand(layers):
    model, train = small(layers)
    model.fit(train, rows=4, epochs=2, verbose=0)
    table = np.asarray(model.item_table)
    np.testing.assert_allclose(
        table[2:], model.item_tower(tf.range(2, ITEMS + 2)), rtol=1e-5
    )  # computed after training
    kernel, bias = (np.asarray(weight) for weight in model.of_history.get_weights())

    def tower(mean, user):
        history = mean @ kernel + bias
        if not layers:
            return history + user
        first, second = (dense.get_weights() for dense in model.combined.stack)
        return np.maximum(np.r_[history, user] @ first[0] + first[1], 0) @ second[0] + second[1]

    nobody = np.asarray(model.nobody)
    new = [tower(table[sorted(set(session))].mean(axis=0), nobody) for session in LOG]
    histories = [["no-such-item", *train.items.decode(session)] for session in LOG]
    np.testing.assert_allclose(model.encode_users(histories), new, rtol=1e-4, atol=1e-5)
    answer = model.recommend(histories, k=ITEMS)
    for row, vector in enumerate(new):
        np.testing.assert_allclose(answer.scores[row], np.sort(table[2:] @ vector)[::-1], rtol=1e-4, atol=1e-5)
    own = np.asarray(model.user_table.table)
    assert model.users.tolist() == ["a", "b", "c", "d"]
    for row, session in enumerate(LOG[:4]):
        known = tower(table[sorted(set(session))].mean(axis=0), own[row])
        np.testing.assert_allclose(model.user_vectors[row], known, rtol=1e-4, atol=1e-5)


def test_the_target_is_not_in_the_history():
    interactions = Interactions.of(sessions_of(LOG, ITEMS))
    past, seed = Past(), keras.random.SeedGenerator(0)
    past.assign(interactions)
    batch = next(iter(triples(interactions, 12)))
    for window in (2, 3, 10):
        drawn = past.draw(batch["user"], batch["item"], window, seed).numpy()
        for row, user, item in zip(drawn, batch["user"].numpy(), batch["item"].numpy(), strict=True):
            others = set(LOG[user]) - {item}
            found = row[row > 0].tolist()
            assert set(found) <= others and len(set(found)) == len(found)
            assert len(found) >= min(len(others), window) - (len(set(LOG[user])) > window)


def test_long_histories_are_sampled_evenly():
    interactions = Interactions.of(sessions_of([list(range(2, 9))], ITEMS))
    past, seed = Past(), keras.random.SeedGenerator(0)
    past.assign(interactions)
    rows = 7000
    drawn = past.draw(np.zeros(rows, np.int32), np.full(rows, 1, np.int32), 3, seed).numpy()
    np.testing.assert_allclose(np.bincount(drawn.ravel(), minlength=9)[2:] / rows, 3 / 7, atol=0.03)


def test_untouched_rows_keep_every_bit():
    train = named(sessions_of(LOG, 40), ["a", "b", "c", "d", None])
    model = TwoTower(train.items, dim=4, negatives=InBatch())
    model.compile(trs.optimizers.LazyAdam(0.1), CrossEntropy())
    batches = model.triples_of(train, 3, 0)
    model.take(batches.interactions)
    before = np.array(model.item_tower.of_id.table)
    for batch in batches:
        model.train_step(batch)
    after = np.array(model.item_tower.of_id.table)
    assert (before[9:] == after[9:]).all() and (before[2:9] != after[2:9]).any(axis=1).all()


@pytest.fixture(scope="module")
def tastes():
    """Users interact with items of one of two colours. Every fifth item is missing in the log and has content only."""
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 2, 60)
    cold = np.arange(60) % 5 == 4
    log = []
    for user in range(300):
        liked = np.flatnonzero((colours == user % 2) & ~cold)
        log.append(rng.choice(liked, 6, replace=False).tolist())
    counts = np.bincount(np.concatenate(log), minlength=60)
    order = np.array([item for item in np.argsort(-counts, kind="stable") if counts[item]])
    place = {item: number + 2 for number, item in enumerate(order)}
    values = np.array([place[item] for session in log for item in session], np.int32)
    items = Items([f"i{item}" for item in order], counts[order])
    columns = {"user": np.array([f"u{number}" for number in range(300)], object)}
    train = Sessions(SessionArrays(items, values, np.arange(301) * 6, columns), "train", timed=False)
    content = pa.table(
        {
            "item": [f"i{item}" for item in range(60)],
            "colour": np.array(["red", "blue"])[colours],
            "noise": rng.normal(size=60),
        }
    )
    return train, content, colours, cold


@pytest.fixture(scope="module")
def learned(tastes):
    train, content, _, _ = tastes
    keras.utils.set_random_seed(0)
    model = TwoTower(train.items, dim=8, content=content, item_dropout=0.3, negatives=Popularity(20, seed=1))
    model.compile(trs.optimizers.LazyAdagrad(0.2), CrossEntropy(logq=1.0))
    history = model.fit(train, rows=100, epochs=15, verbose=0).history["loss"]
    assert history[-1] < history[0]
    return model


def test_new_items_are_ranked_by_content(tastes, learned):
    train, content, colours, cold = tastes
    fresh = content.filter(pa.array(cold))
    scores = learned.encode_users([train.items.decode(train[user]) for user in range(300)])
    scores = scores @ learned.encode_items(fresh).T
    right = colours[cold][None] == (np.arange(300) % 2)[:, None]
    precision = []
    for row, is_right in zip(scores, right, strict=True):
        precision.append(is_right[np.argsort(-row)[: is_right.sum()]].mean())
    assert np.mean(precision) > 0.95  # chance: a half


def test_new_users_get_items_of_their_taste(tastes, learned):
    train, _, colours, _ = tastes
    numbers = np.array([int(name[1:]) for name in train.items.ids])
    of_item = dict(zip(train.items.ids, colours[numbers], strict=True))
    answer = learned.recommend([["nothing", train.items.ids[0]], ["nothing"]], k=10)
    assert np.mean([of_item[item] == of_item[train.items.ids[0]] for item in answer.items[0]]) > 0.9
    assert answer.items[1].tolist() == train.items.ids[:10].tolist()
    known = learned.recommend_users(["u0", "u1", "nobody"], k=10)
    for row in range(2):
        assert np.mean([of_item[item] == row for item in known.items[row]]) > 0.9
    assert known.items[2].tolist() == train.items.ids[:10].tolist()


def test_a_loaded_model_reads_content_and_learns(tastes, learned, tmp_path):
    train, content, _, _ = tastes
    learned.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.encode_items(content), learned.encode_items(content))
    before = np.array(loaded.item_table)
    loaded.fit(train, rows=100, epochs=1, verbose=0)
    assert not np.array_equal(before, loaded.item_table)
    np.testing.assert_allclose(loaded.item_table[2:], loaded.item_tower(tf.range(2, loaded.size)), rtol=1e-5, atol=1e-6)


def test_invalid_arguments_are_refused(tastes):
    train, content, _, _ = tastes
    for argument in ({"dim": 0}, {"window": 0}, {"user_dropout": 2}, {"item_dropout": -1}, {"l2": -1}, {"layers": [0]}):
        ((name, value),) = argument.items()
        with pytest.raises(InputError, match=f"^{re.escape(f'{name}={value}')}: must be a "):
            TwoTower(train.items, **argument)
    for argument in ({"features": ["size"]}, {"words": ["noise"]}, {"negatives": None}, {"content": 3}):
        with pytest.raises(InputError, match=next(iter(argument))):
            TwoTower(train.items, **{"content": content, **argument})
    with pytest.raises(InputError, match=r"^features=\['colour'\]: needs the table of the items"):
        TwoTower(train.items, features=["colour"])
    model = TwoTower(train.items)
    with pytest.raises(InputError, match="^loss='mean_squared_error': must be one of trs.losses"):
        model.compile("adam", "mean_squared_error")
    with pytest.raises(InputError, match="without content"):
        model.encode_items(content)
    with pytest.raises(InputError, match="'noise' is missing"):
        TwoTower(train.items, content=content).encode_items(content.drop_columns("noise"))
    with pytest.raises(InputError, match="kind"):
        model.index("annoy")


ASK = """
import sys
import keras, numpy as np, pyarrow.parquet as pq
import tfrecsession.training
model = keras.models.load_model(sys.argv[1])
histories = [list(model.items.ids[:3]), [model.items.ids[7], "no-such-item"]]
scores, items = model.index("brute_force", k=5)(model.encode_users(histories))
ours = model.recommend(histories, k=5)
assert [[item.decode() for item in row] for row in items.numpy()] == ours.items.tolist()
np.testing.assert_allclose(scores, ours.scores, rtol=1e-4, atol=1e-5)
content = pq.read_table(sys.argv[2])
scores, items = model.index(k=len(model.items) + len(content), fresh=content)(model.encode_users(histories))
assert set(items.numpy()[0]) == {name.encode() for name in [*model.items.ids, *content["item"].to_pylist()]}
"""


@pytest.mark.slow
def test_the_index_of_tensorflow_recommenders_equals_recommend(tastes, learned, tmp_path):
    pytest.importorskip("tf_keras")
    import os

    import pyarrow.parquet as pq

    learned.save(tmp_path / "model.keras")
    pq.write_table(tastes[1].filter(pa.array(tastes[3])), tmp_path / "fresh.parquet")
    arguments = [sys.executable, "-c", ASK, str(tmp_path / "model.keras"), str(tmp_path / "fresh.parquet")]
    environment = {**os.environ, "TF_USE_LEGACY_KERAS": "1"}
    done = subprocess.run(arguments, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    with pytest.raises(InputError, match="TF_USE_LEGACY_KERAS=1"):  # here it is not set
        learned.index("brute_force", k=5)
