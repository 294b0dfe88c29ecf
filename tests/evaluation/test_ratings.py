import numpy as np
import pytest

from tests.logs import DAY
from tfrecsession import InputError
from tfrecsession.batches import Interactions, Sessions
from tfrecsession.evaluation import Ratings, evaluate_ratings, random_folds
from tfrecsession.evaluation.ratings import scores_of
from tfrecsession.sessions.store import SessionArrays
from tfrecsession.sessions.vocabulary import Items

# user, (item id (1: not in training), day, rating); one session per line
LOG = [
    ("ann", [(2, 0, 4), (3, 1, 2), (2, 2, 5)]),
    ("bob", [(4, 1, 1), (1, 2, 3), (1, 3, 5)]),
    ("ann", [(2, 5, 1), (4, 6, 3)]),
]


def sessions():
    events = [event for _, session in LOG for event in session]
    items, days, ratings = (np.array(column) for column in zip(*events, strict=True))
    columns = {"user": np.array([user for user, _ in LOG], object), "times": days * DAY, "rating": ratings}
    offsets = np.r_[0, np.cumsum([len(session) for _, session in LOG])]
    return Sessions(SessionArrays(Items(["a", "b", "c"], [3, 2, 1]), items, offsets, columns), "test")


@pytest.mark.parametrize(("duplicates", "of_a"), [("last", [1]), ("mean", [10 / 3]), ("max", [5]), ("each", [4, 5, 1])])
def test_several_ratings_of_one_item(duplicates, of_a):
    found = Ratings.of(sessions(), duplicates=duplicates)
    rows = sorted(zip(found.users, found.items, found.values, strict=True))
    others = [("ann", "b", 2), ("ann", "c", 3), ("bob", "", 3), ("bob", "", 5), ("bob", "c", 1)]
    assert rows == sorted(others + [("ann", "a", value) for value in of_a])


def test_invalid_ratings():
    for wrong, message in (({"duplicates": "first"}, "duplicates='first'"), ({"rating": "stars"}, "'stars'")):
        with pytest.raises(InputError, match=message):
            Ratings.of(sessions(), **wrong)
    with pytest.raises(InputError, match="2, 1 and 2"):
        Ratings(["a", "b"], ["c"], [1, 2])


class FixedPredictions:
    """A model with given predictions."""

    def __init__(self, *predictions):
        self.predictions = np.array(predictions)

    def predict_ratings(self, users, items):
        return self.predictions[: len(users)]


def test_rmse_and_mae_by_hand():
    held_out = Ratings(["a", "b", "a", "c"], ["x"] * 4, [1, 5, 3, 4])
    scores = evaluate_ratings(FixedPredictions(0, 7, 4.5, 2), held_out)  # the first two are clipped to 1 and 5
    assert scores.rmse == pytest.approx(np.sqrt((1.5**2 + 2**2) / 4))
    assert scores.mae == pytest.approx((1.5 + 2) / 4)
    assert (scores.ratings, scores.users) == (4, 3)
    wide = evaluate_ratings(FixedPredictions(0, 7, 4.5, 2), held_out, scale=(0, 7))
    assert wide.rmse == pytest.approx(np.sqrt((1 + 4 + 1.5**2 + 2**2) / 4))


def test_the_interval_samples_whole_users():
    """Compares one bad user with many ratings to 40 good users: samples of users often miss the bad one."""
    users = np.array(["bad"] * 40 + [f"u{number}" for number in range(40)])
    errors = np.r_[np.full(40, 2.0), np.full(40, 0.1)]
    scores = scores_of(users, errors, draws=2000)
    low, high = scores.rmse_interval
    assert low == pytest.approx(0.1) and 1.4 < scores.rmse < 1.42 and high > 1.6
    rng = np.random.default_rng(0)  # reference: users sampled one by one
    drawn = []
    for _ in range(2000):
        times = rng.poisson(1, 41)
        weight = np.r_[np.full(40, times[0]), times[1:]]
        drawn.append(np.sqrt((weight * errors**2).sum() / weight.sum()))
    np.testing.assert_allclose((low, high), np.percentile(drawn, [2.5, 97.5]), atol=0.05)
    order = np.random.default_rng(1).permutation(80)
    assert scores_of(users[order], errors[order], draws=2000) == scores
    alone = scores_of(["one"] * 3, [1, 2, 3])
    assert np.isnan(alone.rmse_interval).all() and alone.rmse == pytest.approx(np.sqrt(14 / 3))


@pytest.mark.parametrize("value", [0.5, 6, float("nan"), float("inf")])
def test_a_rating_outside_of_the_scale_names_its_row(value):
    held_out = Ratings(["a", "b"], ["x", "y"], [3, value])
    with pytest.raises(InputError, match=r"row 2: user 'b' gave item 'y'"):
        evaluate_ratings(FixedPredictions(3, 3), held_out)


def test_invalid_scales_and_no_rating():
    single = Ratings(["a"], ["x"], [3])
    for scale in ((5, 1), (3, 3), (1, float("nan"))):
        with pytest.raises(InputError, match="scale="):
            evaluate_ratings(FixedPredictions(3), single, scale)
    with pytest.raises(InputError, match="no rating"):
        evaluate_ratings(FixedPredictions(), Ratings([], [], []))


def interactions():
    rng = np.random.default_rng(0)
    rated = rng.random((13, 9)) < 0.5
    rated[4] = False  # a user without ratings
    user, item = np.nonzero(rated)
    return Interactions(
        items=Items([f"i{number}" for number in range(9)], rated.sum(axis=0)),
        users=np.array([f"u{number}" for number in range(13)], object),
        named=np.ones(13, bool),
        offsets=np.r_[0, np.cumsum(rated.sum(axis=1))],
        values=(item + 2).astype(np.int32),
        weights=rng.integers(1, 6, len(item)).astype(np.float32),
        of_session=np.arange(13),
    )


def rows_of(ratings):
    matrix = ratings.csr().tocoo()
    return sorted(zip(ratings.users[matrix.row], ratings.items.decode(matrix.col), matrix.data, strict=True))


def test_folds_hold_out_every_rating_once():
    whole = interactions()
    held_out = []
    for train, out in random_folds(whole, 5, seed=3):
        rows = list(zip(out.users, out.items, out.values, strict=True))
        assert sorted(rows_of(train) + rows) == rows_of(whole)
        assert len(train) == len(whole) and len(out) in (len(whole.values) // 5, len(whole.values) // 5 + 1)
        held_out += rows
    assert sorted(held_out) == rows_of(whole)
    first, again, other = (next(random_folds(whole, 5, seed))[1] for seed in (3, 3, 4))
    assert first.items.tolist() == again.items.tolist() != other.items.tolist()
    for folds in (1, 10**6, 2.5):
        with pytest.raises(InputError, match="folds="):
            next(random_folds(whole, folds))
