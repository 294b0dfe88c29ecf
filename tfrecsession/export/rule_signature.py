"""The signatures of lists under rules: filters, boosts, quotas, diversity and pinned items, in core ops."""

from __future__ import annotations

import tensorflow as tf

from tfrecsession.export.vocabulary_tables import EXCLUDE, ONLY

RULES = tf.TensorSpec((None, None), tf.string, name="rules")


def recommending_with_rules(model, served, options) -> dict:
    """Returns the signatures of lists under rules; of models that read context, also one that takes it."""
    tables, inputs, k, exclude_seen = served.tables, served.context_inputs, options.k, options.exclude_seen
    served.ruled_lists = model.ruled_lists()  # its tables are part of the SavedModel
    history = tf.TensorSpec((None, None), tf.string, name="items")

    def ruled(items, rules, exclude, only, texts=None):
        filters = tables.filters(items, exclude, only)
        check = tf.debugging.assert_equal(
            tf.shape(rules)[0], tf.shape(items)[0], "rules: must have one row for each of items"
        )
        with tf.control_dependencies([check]):
            items = tf.identity(items)
        ids, given = (tables.history(items), None) if texts is None else inputs.history(tables, items, texts)
        best, scores, removed, notes = model.answer_with_rules(
            ids, rules, k, exclude_seen, to_ids=tables.ids, given=given, **filters
        )
        return {**tables.answer(best, scores), "removed": removed, "note": notes}

    @tf.function(input_signature=[history, RULES, EXCLUDE, ONLY], autograph=False)
    def recommend_with_rules(items, rules, exclude, only):
        """Recommends like `recommend_filtered`, under rules. `rules` lists them as texts whose fields are separated by
        tabs: `in COLUMN VALUE ...`, `not_in COLUMN VALUE ...`, `between COLUMN LOW HIGH`, `is COLUMN true`,
        `popularity STRENGTH`, `boost BY in COLUMN VALUE ...`, `pin POSITION ITEM`, `at_most COLUMN N`, `diversity
        STRENGTH METHOD ON`. They act in this order. `removed` has how many items each rule removed, and `note` why a
        list is shorter than k. `tfrecsession.json` has the columns as `rules`."""
        return ruled(items, rules, exclude, only)

    if inputs is None:
        return {"recommend_with_rules": recommend_with_rules}

    @tf.function(input_signature=[history, *inputs.specs(), RULES, EXCLUDE, ONLY], autograph=False)
    def recommend_in_context_with_rules(items, *more):
        """Recommends like `recommend_in_context`, under rules, see `recommend_with_rules`."""
        *texts, rules, exclude, only = more
        return ruled(items, rules, exclude, only, texts)

    return {
        "recommend_with_rules": recommend_with_rules,
        "recommend_in_context_with_rules": recommend_in_context_with_rules,
    }
