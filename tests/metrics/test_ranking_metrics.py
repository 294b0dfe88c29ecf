import keras
import numpy as np
import pytest

from tfrecsession.errors import InputError
from tfrecsession.metrics import MRR, NDCG, Recall, conservative_ranks

ALL = [Recall, MRR, NDCG]


def test_ranks_by_hand():
    scores = np.array(
        [
            [9.0, 9.0, 0.5, 0.1, 0.9, 0.3],  # padding and unknown lead, and do not compete
            [0.0, 0.0, 0.5, 0.5, 0.1, 0.5],  # a tie of three
            [0.0, 0.0, 1.0, 1.0, 1.0, 1.0],  # a constant scorer
        ],
        "float32",
    )
    np.testing.assert_array_equal(conservative_ranks(scores, np.array([4, 3, 2])), [1, 3, 4])
    np.testing.assert_array_equal(conservative_ranks(scores, np.array([3, 4, 5])), [4, 4, 4])


def test_nan_counts_against_the_model():
    nan = np.nan
    scores = np.array([[nan, nan, 0.9, nan, 0.1, 0.5], [0.0, 0.0, 0.9, nan, 0.1, 0.5]], "float32")
    np.testing.assert_array_equal(conservative_ranks(scores, np.array([2, 3])), [2, 4])


def test_infinities_are_scores_like_any_other():
    scores = np.array([[0.0, 0.0, -np.inf, 1.0, np.inf, -np.inf]], "float32").repeat(3, axis=0)
    np.testing.assert_array_equal(conservative_ranks(scores, np.array([4, 3, 2])), [1, 2, 4])


def test_an_unknown_target_ranks_behind_the_catalogue():
    scores = np.array([[0.0, 9.0, 0.1, 0.2]], "float32")
    np.testing.assert_array_equal(conservative_ranks(scores, np.array([1])), [3])
    recall = Recall(k=2)
    recall.update_state(np.array([1]), scores)
    assert recall.result() == 0 and recall.weight == 1


def test_ranks_equal_a_sort():
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 30, size=(50, 102)).astype("float32")
    targets = rng.integers(2, 102, size=50)
    expected = [(row[2:] >= row[target]).sum() for row, target in zip(scores, targets, strict=True)]
    np.testing.assert_array_equal(conservative_ranks(scores, targets), expected)


@pytest.mark.parametrize(
    "metric, expected",
    [(Recall(2), 2 / 4), (MRR(2), (1 + 1 / 2) / 4), (NDCG(2), (1 + 1 / np.log2(3)) / 4)],
    ids=lambda value: getattr(value, "name", ""),
)
def test_values_by_hand(metric, expected):
    metric.update_from_ranks(np.array([[1, 2], [3, 40]]))
    np.testing.assert_allclose(metric.result(), expected, rtol=1e-6)


def test_rank_k_counts():
    # rank <= k, not rank < k
    for metric in (Recall(20), MRR(20), NDCG(20)):
        metric.update_from_ranks(np.array([20]))
        assert metric.result() > 0
        metric.reset_state()
        metric.update_from_ranks(np.array([21]))
        assert metric.result() == 0


@pytest.mark.parametrize("metric", ALL)
def test_a_constant_scorer_gets_nothing(metric):
    metric = metric(k=20)
    metric.update_state(np.arange(2, 52), np.zeros((50, 102), "float32"))
    assert metric.result() == 0


def test_scores_and_ranks_give_the_same():
    rng = np.random.default_rng(0)
    scores, targets = rng.normal(size=(4, 5, 32)).astype("float32"), rng.integers(2, 32, size=(4, 5))
    for metric in ALL:
        by_score, by_rank = metric(5), metric(5)
        by_score.update_state(targets, scores)
        by_rank.update_from_ranks(conservative_ranks(scores.reshape(-1, 32), targets.reshape(-1)))
        np.testing.assert_allclose(by_score.result(), by_rank.result(), rtol=1e-6)


def test_batches_are_weighted_by_their_events():
    # 3 events of one batch and 1 of another are 4 events, not two means
    metric = Recall(1)
    metric.update_from_ranks(np.array([1, 1, 1]))
    metric.update_from_ranks(np.array([2]))
    np.testing.assert_allclose(metric.result(), 0.75)


def test_targets_of_0_are_no_events_and_weights_weigh():
    scores = np.array([[0.0, 0.0, 0.9, 0.1, 0.5]] * 3, "float32")
    metric = MRR(3)
    metric.update_state(np.array([2, 0, 3]), scores)
    np.testing.assert_allclose(metric.result(), (1 + 1 / 3) / 2, rtol=1e-6)
    metric.reset_state()
    metric.update_state(np.array([2, 0, 3]), scores, sample_weight=np.array([3.0, 5.0, 1.0]))
    np.testing.assert_allclose(metric.result(), (3 + 1 / 3) / 4, rtol=1e-6)


@pytest.mark.parametrize("metric", ALL)
def test_no_event_is_0(metric):
    metric = metric(20)
    assert metric.result() == 0
    metric.update_from_ranks(np.array([], "int32"))
    metric.update_state(np.array([0]), np.zeros((1, 9), "float32"))
    assert metric.result() == 0


def test_a_hundred_million_events_do_not_saturate():
    metric = Recall(1)
    metric.total.assign(5e7)
    metric.weight.assign(1e8)
    for _ in range(5):
        metric.update_from_ranks(np.array([1]))
    assert float(metric.weight) == 1e8 + 5 and float(metric.total) == 5e7 + 5


@pytest.mark.parametrize("k", [0, -3, 2.5, "20", None, True])
@pytest.mark.parametrize("metric", ALL)
def test_refuses_an_invalid_k(metric, k):
    with pytest.raises(InputError, match="k="):
        metric(k=k)


def test_names_are_those_of_the_papers():
    assert [metric().name for metric in ALL] == ["recall@20", "mrr@20", "ndcg@20"]
    assert Recall(5).name == "recall@5" and Recall(5, name="hits").name == "hits"


@pytest.mark.parametrize("metric", ALL)
def test_config_round_trip(metric):
    metric = metric(7)
    again = keras.metrics.deserialize(keras.metrics.serialize(metric))
    assert type(again) is type(metric) and again.get_config() == metric.get_config()


def test_works_in_any_keras_compile():
    scores = np.eye(6, dtype="float32")
    model = keras.Sequential([keras.layers.Embedding(6, 6, embeddings_initializer=lambda shape, dtype: scores)])
    model.compile(loss="sparse_categorical_crossentropy", metrics=[Recall(1), MRR(4)])
    ids = np.array([[2, 3], [4, 0]])
    result = model.evaluate(ids, np.array([[2, 4], [4, 0]]), verbose=0, return_dict=True)
    np.testing.assert_allclose(result["recall@1"], 2 / 3, rtol=1e-6)
    np.testing.assert_allclose(result["mrr@4"], (1 + 1 / 4 + 1) / 3, rtol=1e-6)
