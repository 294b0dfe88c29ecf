"""A blend keeps the promises that are made of every model.

It has no row in descriptors.py, as it is made from fitted models and not from settings. `encode` returns what each
member encodes, a tuple, so that promises about packed rows ask event by event, as evaluation does. Answers under rules
and filters are left out: two items may have probabilities that differ in their last bits, and the graph of an export
may order them otherwise.
"""

import functools
import inspect

import keras
import pytest

import tfrecsession as trs
from tests.conformance import test_answers as answers
from tests.conformance import test_keras_border as border
from tests.conformance import test_learning as learning
from tests.conformance import test_saving as saving
from tfrecsession import evaluation

PROMISES = [
    answers.test_sessions_of_a_row_do_not_mix,
    answers.test_rows_do_not_mix,
    answers.test_the_future_does_not_leak,
    answers.test_what_evaluation_asks_follows_from_the_scores,
    answers.test_alone_in_a_batch_and_with_unknown_items_is_the_same,
    answers.test_nothing_known_gives_the_popular_items,
    answers.test_seen_items_and_candidates,
    answers.test_a_very_long_history_is_answered,
    answers.test_k_is_checked,
    answers.test_a_bare_string_is_no_list_of_histories,
    saving.test_keras_file_round_trip,
    pytest.param(saving.test_preset_round_trip, marks=pytest.mark.slow),
    pytest.param(saving.test_the_export_answers_as_the_model_does_in_tensorflow_alone, marks=pytest.mark.slow),
    pytest.param(saving.test_the_export_holds_core_ops_only, marks=pytest.mark.slow),
    pytest.param(saving.test_an_export_of_no_history_at_all, marks=pytest.mark.slow),
    saving.test_k_beyond_the_catalogue_leaves_nothing_behind,
    learning.test_every_event_is_scored,
    learning.test_keras_evaluate_agrees_with_ours,
    learning.test_no_model_beats_the_ceiling_and_every_model_beats_chance,
    border.test_summary_and_count_params_before_and_after_fit,
    border.test_evaluate_takes_splits_batches_and_lists,
    border.test_what_is_no_data_is_refused,
    border.test_weights_that_cannot_be_honoured_are_refused,
    border.test_metrics_are_ranking_metrics_or_refused,
    pytest.param(answers.test_the_audit_finds_nothing, marks=pytest.mark.slow),
]


@pytest.fixture(scope="module")
def blend(trained, shop):
    """A blend of a network with a repeat head and of a counted model, whose weights depend on the history's length."""
    keras.utils.set_random_seed(1)
    members = [trained(name, shop) for name in ("gru4rec-repeats", "markov")]
    blend = trs.models.Blend(members, [[0.3, 0.7], [0.6, 0.4]], lengths=(1, 2))
    blend.compile(metrics=["recall@20", "mrr@20", "ndcg@20"])
    return blend


@pytest.fixture(scope="module")
def given(blend, shop, ceiling_of, tensorflow_alone, tmp_path_factory):
    """Settings that a promise may ask for -> their values for the blend."""

    @functools.cache
    def exported(name, exclude_seen=False):
        return blend.export(tmp_path_factory.mktemp("exported") / "1", k=10, exclude_seen=exclude_seen)

    return {
        "name": "blend",
        "data": shop,
        "fitted": lambda name: blend,
        "built": lambda name, items: (blend, {}),
        "exported": exported,
        "scored": functools.cache(lambda name: evaluation.evaluate(blend, shop.test)),
        "ceiling_of": lambda name: ceiling_of("gru4rec"),
        "tensorflow_alone": tensorflow_alone,
        "exclude_seen": True,
        "k": 0,
    }


@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.__name__.removeprefix("test_"))
def test_a_blend_promises(promise, given, tmp_path):
    given = {**given, "tmp_path": tmp_path}
    promise(**{argument: given[argument] for argument in inspect.signature(promise).parameters})
