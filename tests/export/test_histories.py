"""Histories of any length: truncation and cost."""

import time

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

import tfrecsession as trs
from tfrecsession import InputError
from tfrecsession.layers.ragged import newest


@settings(max_examples=100, deadline=None)
@given(
    rows=st.integers(1, 4).flatmap(
        lambda steps: st.lists(st.lists(st.integers(0, 4), min_size=steps, max_size=steps), min_size=1, max_size=3)
    ),
    longest=st.integers(1, 5),
)
def test_newest_keeps_the_last_cells_in_order(rows, longest):
    ids = tf.constant(rows, tf.int32)
    kept, tenfold = (array.numpy() for array in newest(longest, ids > 1, ids, 10 * ids))
    if ids.shape[1] <= longest:
        assert kept.tolist() == rows
    else:
        known = [[item for item in row if item > 1][-longest:] for row in rows]
        assert kept.tolist() == [[*row, *[0] * (longest - len(row))] for row in known]
    assert (tenfold == 10 * kept).all()


@pytest.fixture(scope="module")
def exported(shop, tmp_path_factory):
    """Exports the same GRU4Rec twice: one export reads ten items, the other all."""
    keras.utils.set_random_seed(1)
    model = trs.models.GRU4Rec(shop.items, units=[8], negatives=trs.negatives.Popularity(8))
    folder = tmp_path_factory.mktemp("histories")
    paths = [model.export(folder / str(n), k=5, longest=n) for n in (10, 10**9)]
    return model, [tf.saved_model.load(str(path)).signatures for path in paths]


@pytest.mark.slow
def test_longer_histories_are_answered_like_their_newest_items(exported, shop):
    model, (limited, unlimited) = exported
    history = np.random.default_rng(0).choice(shop.items.ids, 30).tolist()
    for length in (1, 9, 10, 11, 30):
        rows = tf.constant(
            [history[-length:], ["", "unknown", *history[-length:]][:length], [history[0]] + [""] * (length - 1)]
        )
        for signature in ("serving_default", "encode"):
            answer, expected = limited[signature](items=rows), unlimited[signature](items=rows)
            if length <= 10:
                assert all((answer[name].numpy() == expected[name].numpy()).all() for name in answer)
        best = limited["serving_default"](items=rows)
        expected = model.recommend([[item for item in row if item in set(history)][-10:] for row in decoded(rows)], k=5)
        assert decoded(best["items"]) == expected.items.tolist()
        np.testing.assert_allclose(best["scores"], expected.scores, rtol=1e-5)
    whole = model.recommend(decoded(rows), k=5).scores  # older items would change the scores
    assert not np.allclose(best["scores"], whole, rtol=1e-5)


def decoded(strings):
    return [[item.decode() for item in row] for row in strings.numpy()]


@pytest.mark.slow
def test_sessions_are_truncated_with_their_items(shop, tmp_path):
    """Includes a last session of unknown items, which has just started."""
    keras.utils.set_random_seed(1)
    model = trs.models.HRNN(shop.items, units=[8], user_units=[4], negatives=trs.negatives.Popularity(8))
    signatures = tf.saved_model.load(str(model.export(tmp_path / "1", k=5, longest=6))).signatures
    rng = np.random.default_rng(0)
    for _ in range(5):
        users = [
            [rng.choice(shop.items.ids, n).tolist() for n in (4, 3, 2)],
            [["a"] * 4, rng.choice(shop.items.ids, 2).tolist(), ["b"]],
        ]
        flat = [sum(sessions, []) for sessions in users]
        numbers = [[n for n, session in enumerate(sessions) for _ in session] for sessions in users]
        width = max(map(len, flat))
        items = tf.constant([row + [""] * (width - len(row)) for row in flat])
        sessions = tf.constant([row + [row[-1]] * (width - len(row)) for row in numbers], tf.int32)
        best = signatures["with_sessions"](items=items, sessions=sessions)
        newest_six = [[users[0][0][-1:], *users[0][1:]], [["a"] * 3, *users[1][1:]]]
        assert decoded(best["items"]) == model.recommend_with_sessions(newest_six, k=5).items.tolist()
        state = tf.zeros((1, 4))
        whole = signatures["advance_user"](items=items[:1], user_state=state)["user_state"]
        newest = signatures["advance_user"](items=items[:1, 3:], user_state=state)["user_state"]
        np.testing.assert_allclose(whole, newest, rtol=1e-6)


def test_a_very_long_history_is_answered_quickly(exported, shop):
    _, (limited, _) = exported
    rows = tf.fill((1, 200_000), shop.items.ids[0])
    limited["serving_default"](items=rows)
    start = time.perf_counter()
    limited["serving_default"](items=rows)
    assert time.perf_counter() - start < 5  # milliseconds on an idle machine; without the limit it took 13 s


@pytest.mark.parametrize("longest", [0, -1, 1.5, "10"])
def test_invalid_lengths(shop, tmp_path, longest):
    with pytest.raises(InputError, match="longest="):
        trs.models.Popularity(shop.items).export(tmp_path / "1", longest=longest)
    assert not list(tmp_path.iterdir())
