"""Two stages as one model: the order of its answers, evaluation, files, exports."""

import keras
import numpy as np
import pytest

import tfrecsession as trs
from tfrecsession import InputError, evaluation

HISTORIES = [["item-1", "item-2"], [], ["nothing"], ["item-3", "nothing", "item-9", "item-4", "item-3"]]
N = 12


@pytest.fixture(scope="module")
def pipeline(data, first):
    keras.utils.set_random_seed(0)
    ranker = trs.models.WideAndDeep(
        data.items, scores_of=[first], context=["device"], content=["category"], dim=4, hidden=[8], buckets=300
    )
    made = trs.models.Pipeline(candidates=first, ranker=ranker, n=N)
    made.fit(data.validation, epochs=2)
    return made


def test_candidates_are_ranked_and_the_others_follow_in_the_first_order(pipeline, first):
    history = [HISTORIES[0]]
    query, ids, _ = pipeline._encode_histories(pipeline.items.encode(history[0])[None])
    scores = pipeline.score_all(query).numpy()[0, 2:]
    order = pipeline.items.ids[np.argsort(-scores, kind="stable")].tolist()
    of_first = first.recommend(history, k=len(first.items)).items[0].tolist()
    ranked = pipeline.ranker.rank(history, [of_first[:N]])[0]
    expected = np.array(of_first[:N])[np.argsort(-ranked, kind="stable")].tolist()
    assert order[:N] == expected != of_first[:N]
    assert order[N:] == of_first[N:]
    np.testing.assert_allclose(np.sort(scores)[::-1][:N], np.sort(ranked)[::-1], atol=1e-5)


def test_filters_act_before_the_candidates(pipeline, first):
    of_first = first.recommend([HISTORIES[0]], k=len(first.items)).items[0].tolist()
    allowed = [of_first[position] for position in (0, 20, 30)]  # two of them are no candidate of the whole catalogue
    answer = pipeline.recommend([HISTORIES[0]], k=3, only=[allowed])
    ranked = pipeline.ranker.rank([HISTORIES[0]], [allowed])[0]
    assert answer.items[0].tolist() == np.array(allowed)[np.argsort(-ranked, kind="stable")].tolist()
    np.testing.assert_allclose(answer.scores[0], np.sort(ranked)[::-1], atol=1e-5)


def test_alone_in_a_batch_and_with_unknown_items_is_the_same(pipeline):
    alone = pipeline.recommend([["item-3", "item-9"]], k=8)
    together = pipeline.recommend([["item-1"] * 9, ["nothing", "item-3", "item-9", "nothing"]], k=8)
    assert together.items[1].tolist() == alone.items[0].tolist()
    np.testing.assert_allclose(together.scores[1], alone.scores[0], rtol=1e-4, atol=1e-5)


def test_evaluation_ranks_in_the_order_of_recommend(pipeline, data):
    scored = evaluation.evaluate(pipeline, data.test, k=(N,), slices=False, draws=0)
    columns = data.test.column("device")
    for rank, event in list(zip(scored.ranks, scored.event, strict=True))[:10]:
        session = np.searchsorted(data.test.offsets, event, side="right") - 1
        before = slice(data.test.offsets[session], event)
        answer = pipeline.recommend(
            [data.items.decode(data.test.values[before]).tolist()], k=N, context={"device": [columns[before].tolist()]}
        )
        target = data.items.decode(data.test.values[event : event + 1])[0]
        items = answer.items[0].tolist()
        assert rank == items.index(target) + 1 if target in items else rank > N


@pytest.mark.slow
def test_saved_and_exported_pipelines_answer_alike(pipeline, tmp_path):
    pipeline.save(tmp_path / "pipeline.keras")
    loaded = keras.models.load_model(tmp_path / "pipeline.keras")
    assert loaded.candidates is loaded.ranker.members[0]
    context = {"device": [["phone", "desktop"], [], [""], ["phone"] * 5]}
    expected = pipeline.recommend(HISTORIES, k=10, exclude_seen=True, context=context)
    again = loaded.recommend(HISTORIES, k=10, exclude_seen=True, context=context)
    assert again.items.tolist() == expected.items.tolist()
    np.testing.assert_allclose(again.scores, expected.scores, atol=1e-6)
    loaded.export(tmp_path / "pipeline" / "1", k=10, exclude_seen=True)
    items, scores = trs.export.ask(tmp_path / "pipeline", HISTORIES, context=context)
    assert items.tolist() == expected.items.tolist()
    np.testing.assert_allclose(scores, expected.scores, atol=1e-5)
    popular = pipeline.items.ids[np.argsort(-pipeline.items.counts, kind="stable")][:10]
    assert items[1].tolist() == items[2].tolist() == popular.tolist()


def test_refuses(pipeline, data, first):
    with pytest.raises(InputError, match=f"k=13: must be at most n={N}"):
        pipeline.recommend(HISTORIES, k=N + 1)
    other = trs.synthetic_sessions(items=30, sessions=60, seed=2)
    with pytest.raises(InputError, match="ranker: is of other data"):
        trs.models.Pipeline(first, trs.models.WideAndDeep(other.items, dim=2, hidden=[2], buckets=10), n=5)
    with pytest.raises(InputError, match="ranker: must be a trs.models.WideAndDeep, not MarkovChain"):
        trs.models.Pipeline(first, first)
    with pytest.raises(InputError, match="candidates='gru': must be one of markovchain"):
        trs.models.Pipeline("gru", pipeline.ranker)
    with pytest.raises(InputError, match="n=0: must be a whole number"):
        trs.models.Pipeline(first, pipeline.ranker, n=0)
