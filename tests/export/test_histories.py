"""Histories of any length: what is cut, and what it costs."""

import time

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

import tfrecsession as trs
from tfrecsession import InputError
from tfrecsession.export.histories import newest


@settings(max_examples=100, deadline=None)
@given(
    rows=st.integers(1, 4).flatmap(
        lambda steps: st.lists(st.lists(st.integers(0, 4), min_size=steps, max_size=steps), min_size=1, max_size=3)
    ),
    longest=st.integers(1, 5),
)
def test_the_newest_are_kept_in_their_order(rows, longest):
    ids = tf.constant(rows, tf.int32)
    kept, beside = (array.numpy() for array in newest(longest, ids > 1, ids, 10 * ids))
    if ids.shape[1] <= longest:
        assert kept.tolist() == rows
    else:
        known = [[item for item in row if item > 1][-longest:] for row in rows]
        assert kept.tolist() == [[*row, *[0] * (longest - len(row))] for row in known]
    assert (beside == 10 * kept).all()


@pytest.fixture(scope="module")
def exported(shop, tmp_path_factory):
    """A GRU that reads ten items, and the same that reads all."""
    keras.utils.set_random_seed(1)
    model = trs.models.GRU4Rec(shop.items, units=[8], negatives=trs.negatives.Popularity(8))
    folder = tmp_path_factory.mktemp("histories")
    paths = [model.export(folder / str(n), k=5, longest=n) for n in (10, 10**9)]
    return model, [tf.saved_model.load(str(path)).signatures for path in paths]


def test_up_to_the_limit_answers_are_the_same_and_beyond_it_those_of_the_newest(exported, shop):
    model, (short, whole) = exported
    history = np.random.default_rng(0).choice(shop.items.ids, 30).tolist()
    for length in (1, 9, 10, 11, 30):
        rows = tf.constant(
            [history[-length:], ["", "unknown", *history[-length:]][:length], [history[0]] + [""] * (length - 1)]
        )
        for signature in ("serving_default", "encode"):
            cut, all_of_it = short[signature](items=rows), whole[signature](items=rows)
            if length <= 10:
                assert all((cut[name].numpy() == all_of_it[name].numpy()).all() for name in cut)
        best = short["serving_default"](items=rows)
        expected = model.recommend([[item for item in row if item in set(history)][-10:] for row in decoded(rows)], k=5)
        assert decoded(best["items"]) == expected.items.tolist()
        np.testing.assert_allclose(best["scores"], expected.scores, rtol=1e-5)
    rest = model.recommend(decoded(rows), k=5).scores  # the rest would have counted
    assert not np.allclose(best["scores"], rest, rtol=1e-5)


def decoded(strings):
    return [[item.decode() for item in row] for row in strings.numpy()]


def test_sessions_go_along_with_their_items(shop, tmp_path):
    """With a last session of unknown items, which has just started."""
    keras.utils.set_random_seed(1)
    model = trs.models.HRNN(shop.items, units=[8], user_units=[4], negatives=trs.negatives.Popularity(8))
    asked = tf.saved_model.load(str(model.export(tmp_path / "1", k=5, longest=6))).signatures
    rng = np.random.default_rng(0)
    for _ in range(5):
        people = [
            [rng.choice(shop.items.ids, n).tolist() for n in (4, 3, 2)],
            [["a"] * 4, rng.choice(shop.items.ids, 2).tolist(), ["b"]],
        ]
        flat = [sum(person, []) for person in people]
        numbers = [[n for n, session in enumerate(person) for _ in session] for person in people]
        width = max(map(len, flat))
        items = tf.constant([row + [""] * (width - len(row)) for row in flat])
        sessions = tf.constant([row + [row[-1]] * (width - len(row)) for row in numbers], tf.int32)
        best = asked["with_sessions"](items=items, sessions=sessions)
        newest_six = [[people[0][0][-1:], *people[0][1:]], [["a"] * 3, *people[1][1:]]]
        assert decoded(best["items"]) == model.recommend_with_sessions(newest_six, k=5).items.tolist()
        user = tf.zeros((1, 4))
        whole = asked["advance_user"](items=items[:1], user_state=user)["user_state"]
        np.testing.assert_allclose(
            whole, asked["advance_user"](items=items[:1, 3:], user_state=user)["user_state"], rtol=1e-6
        )


def test_a_very_long_history_is_soon_answered(exported, shop):
    _, (short, _) = exported
    rows = tf.fill((1, 200_000), shop.items.ids[0])
    short["serving_default"](items=rows)
    start = time.perf_counter()
    short["serving_default"](items=rows)
    assert time.perf_counter() - start < 5  # of which all but milliseconds is the machine's; unlimited it took 13 s


@pytest.mark.parametrize("longest", [0, -1, 1.5, "10"])
def test_what_is_no_length(shop, tmp_path, longest):
    with pytest.raises(InputError, match="longest="):
        trs.models.Popularity(shop.items).export(tmp_path / "1", longest=longest)
    assert not list(tmp_path.iterdir())
