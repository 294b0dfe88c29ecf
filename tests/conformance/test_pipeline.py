"""A pipeline and its ranker keep the promises that are made of every model.

They have no rows in descriptors.py, as they are made from fitted models and not from settings. One fit serves all: the
ranker of the fitted pipeline answers alone, too, from the whole catalogue. Left out is what a pipeline refuses: answers
of more than its n items.
"""

import functools
import inspect

import keras
import numpy as np
import pytest

import tfrecsession as trs
from tests.conformance import test_answers as answers
from tests.conformance import test_context as in_context
from tests.conformance import test_keras_border as border
from tests.conformance import test_learning as learning
from tests.conformance import test_reasons as reasons
from tests.conformance import test_saving as saving
from tfrecsession import evaluation
from tfrecsession.export.asking import answering

N = 30
CONTEXT = {"context": ["gap", "hour"], "request": ["gap", "weekday"]}


def slow(promise):
    return pytest.param(promise, marks=pytest.mark.slow)


OF_BOTH = [
    answers.test_sessions_of_a_row_do_not_mix,
    answers.test_rows_do_not_mix,
    answers.test_the_future_does_not_leak,
    answers.test_recommending_after_a_history_is_scoring_its_last_event,
    answers.test_k_is_checked,
    answers.test_a_bare_string_is_no_list_of_histories,
    saving.test_keras_file_round_trip,
    border.test_summary_and_count_params_before_and_after_fit,
    border.test_what_is_no_data_is_refused,
    border.test_weights_that_cannot_be_honoured_are_refused,
    border.test_metrics_are_ranking_metrics_or_refused,
    in_context.test_the_predicted_event_tells_nothing_of_itself,
    slow(in_context.test_it_is_read),
    slow(border.test_a_clone_and_from_config_know_the_vocabulary),
    slow(saving.test_preset_round_trip),
    slow(answers.test_the_audit_finds_nothing),
]
OF_THE_RANKER = [
    slow(answers.test_what_evaluation_asks_follows_from_the_scores),
    slow(answers.test_nothing_known_gives_the_popular_items),
    slow(answers.test_seen_items_and_candidates),
    slow(learning.test_no_model_beats_the_ceiling_and_every_model_beats_chance),
]
OF_THE_PIPELINE = [
    answers.test_what_evaluation_asks_follows_from_the_scores,
    answers.test_nothing_known_gives_the_popular_items,
    answers.test_alone_in_a_batch_and_with_unknown_items_is_the_same,
    answers.test_a_very_long_history_is_answered,
    saving.test_k_beyond_the_catalogue_leaves_nothing_behind,
    learning.test_no_model_beats_the_ceiling_and_every_model_beats_chance,
    learning.test_every_event_is_scored,
    learning.test_keras_evaluate_agrees_with_ours,
    reasons.test_an_item_loses_most_without_its_reason,
    slow(border.test_evaluate_takes_splits_batches_and_lists),
    slow(in_context.test_a_saved_model_answers_alike),
    slow(saving.test_the_export_answers_as_the_model_does_in_tensorflow_alone),
    slow(saving.test_the_export_answers_under_rules_as_the_model_does),
    slow(saving.test_the_export_holds_core_ops_only),
    slow(saving.test_an_export_of_no_history_at_all),
    slow(border.test_exclude_and_only_answer_as_the_export_does),
    slow(in_context.test_the_export_answers_as_the_model_does),
    slow(in_context.test_padding_changes_nothing),
]


@pytest.fixture(scope="module")
def shop():
    return trs.synthetic_sessions(items=60, sessions=700, seed=2)


@pytest.fixture(scope="module")
def models(shop):
    """Name -> model: a pipeline of a linear model and an untrained network, and its ranker."""
    keras.utils.set_random_seed(1)
    first = trs.models.SessionAggregation(shop.items, dim=8)
    first.fit(shop.train)
    network = trs.models.GRU4Rec(shop.items, units=[4], **CONTEXT)
    network.fitted = True
    ranker = trs.models.WideAndDeep(
        shop.items,
        scores_of=[first, network],
        crosses=["item", "last*item", "context.hour*item.category"],
        content=["price", "category"],
        dim=4,
        hidden=[8],
        buckets=1000,
        **CONTEXT,
    )
    pipeline = trs.models.Pipeline(first, ranker, n=N)
    pipeline.fit(shop.validation, epochs=3)
    found = {"pipeline": pipeline, "wide_and_deep": ranker}
    for model in found.values():
        model.compile(model.optimizer, metrics=["recall@20", "mrr@20", "ndcg@20"])
    return found


@pytest.fixture(scope="module")
def given(models, shop, tensorflow_alone, tmp_path_factory):
    """Settings that a promise may ask for -> their values."""

    @functools.cache
    def exported(name, exclude_seen=False):
        folder = tmp_path_factory.mktemp("exported") / name / "1"
        return models[name].export(folder, k=10, exclude_seen=exclude_seen, reasons=2)

    return {
        "data": shop,
        "data_of": lambda name, kind="": shop,
        "fitted": models.get,
        "built": lambda name, items: (models[name], {}),
        "exported": exported,
        "scored": functools.cache(lambda name: evaluation.evaluate(models[name], shop.test)),
        "ceiling_of": lambda name: evaluation.ceiling(shop.info["shop"], shop.test, (20,)).metrics["recall@20"],
        "tensorflow_alone": tensorflow_alone,
        "exclude_seen": False,
        "missing": (),
        "k": 0,
    }


def name_of(promise):
    return promise.__name__.removeprefix("test_")


def keeps(promise, name, given, tmp_path):
    given = {**given, "name": name, "contextual": name, "tmp_path": tmp_path}
    promise(**{argument: given[argument] for argument in inspect.signature(promise).parameters})


@pytest.mark.parametrize("promise", OF_BOTH, ids=name_of)
@pytest.mark.parametrize("model", ["pipeline", "wide_and_deep"])
def test_both_promise(model, promise, given, tmp_path):
    keeps(promise, model, given, tmp_path)


@pytest.mark.parametrize("promise", OF_THE_RANKER, ids=name_of)
def test_a_ranker_promises(promise, given, tmp_path):
    keeps(promise, "wide_and_deep", given, tmp_path)


@pytest.mark.parametrize("promise", OF_THE_PIPELINE, ids=name_of)
def test_a_pipeline_promises(promise, given, tmp_path):
    keeps(promise, "pipeline", given, tmp_path)


def test_a_loaded_pipeline_goes_on_learning(models, shop, tmp_path):
    models["pipeline"].save(tmp_path / "pipeline.keras")
    loaded = keras.models.load_model(tmp_path / "pipeline.keras")
    losses = loaded.fit(shop.validation, epochs=2).history["loss"]
    before = models["wide_and_deep"].history.history["loss"]
    assert losses[1] < losses[0] < before[0]


@pytest.mark.slow
def test_python_tensorflow_rest_and_grpc_give_one_answer(models, given, shop):
    """Also under rules, in context and with reasons; texts go in and come out."""
    model, path = models["pipeline"], given["exported"]("pipeline")
    histories, context, request = in_context.asked(shop)
    asked = {"context": context, "request": request}
    rules = {"filter": {"price": {"between": [2, None]}}, "popularity": 0.3, "pin": {shop.items.ids[9]: 2}}
    alone = answering(path)
    with trs.serving.Server(path.parents[1], rest_port=0, grpc_port=0, poll_seconds=0.1) as server:
        clients = [trs.serving.Client(url) for url in (server.url, f"grpc://{server.grpc_address}")]
        for more in ({}, asked, {"rules": rules}, {**asked, "rules": rules}):
            expected = model.recommend(histories, k=10, **more)
            answers = [alone(histories, **more), *(one.recommend("pipeline", histories, **more) for one in clients)]
            for items, scores, *ruled in answers:
                assert items.tolist() == expected.items.tolist()
                np.testing.assert_allclose(scores, expected.scores, rtol=1e-4, atol=1e-5)
                assert not ruled or ruled == [expected.removed, expected.notes]
        for more in ({}, asked):
            expected = model.explain(histories, k=10, reasons=2, **more)
            answers = [trs.export.explain(path, histories, **more)]
            answers += [client.explain("pipeline", histories, **more) for client in clients]
            for found in answers:
                assert found.items.tolist() == expected.items.tolist()
                assert found.because.tolist() == expected.because.tolist()
                np.testing.assert_allclose(found.weights, expected.weights, rtol=1e-3, atol=1e-4)
                assert {"item/price", "item/category"} <= set(expected.features) <= set(found.features)
                for name, parts in found.features.items():
                    owed = expected.features.get(name, np.zeros(parts.shape))  # nothing to what was not given
                    np.testing.assert_allclose(parts, owed, rtol=1e-3, atol=1e-4)
