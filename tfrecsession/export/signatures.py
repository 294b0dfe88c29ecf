"""The signatures of a SavedModel: strings in, strings out, in plain TensorFlow ops.

Each ability of a model (`Recommender.abilities`) has the signatures of one function here. The export's README shows the
docstring of each signature.
"""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import tensorflow as tf

from tfrecsession.export.context_inputs import ContextInputs
from tfrecsession.export.index import ExactIndex
from tfrecsession.export.rule_signature import recommending_with_rules
from tfrecsession.export.trend_counts import TrendCounts
from tfrecsession.export.user_signatures import user_signatures
from tfrecsession.export.vocabulary_tables import EXCLUDE, ONLY, VocabularyTables, lookup_tables
from tfrecsession.layers.items.trend_head import served_trend
from tfrecsession.recommender.explain import names_of_features
from tfrecsession.sessions.item_columns import TENSORS

ITEM = tf.TensorSpec((None,), tf.string, name="items")
HISTORY = tf.TensorSpec((None, None), tf.string, name="items")


class Options(NamedTuple):
    """The arguments of an export that its signatures depend on."""

    k: int  # items per answer
    exclude_seen: bool  # whether the items of the history are left out
    index: ExactIndex  # searches the best items
    folder: Path  # where assets are written
    reasons: int = 0  # events that `explain` names for each item; 0: there is no such signature


class ServedModel(tf.Module):
    """The content of a SavedModel: the lookup tables, the weights that an answer needs, and the signatures.

    Args:
        model: a Recommender.
        folder: an existing folder; the vocabulary is written there and becomes an asset of the SavedModel.
        k: items per answer.
        exclude_seen: leave out the items of the history.
        longest: newest known items of a history that are read.
        index: searches the best items; None: an `ExactIndex`.
        reasons: events that `explain` names for each item; 0: there is no such signature.
    """

    def __init__(self, model, folder: Path, k: int, exclude_seen: bool, longest: int, index=None, reasons: int = 0):
        super().__init__()
        self.index = index or ExactIndex(model)
        self.trend = TrendCounts(model.trend_head, folder) if model.trend_head is not None else None
        self.tables = VocabularyTables(model.items.ids, folder, longest)
        self.user_tables = lookup_tables(model.users, folder, "users.txt") if "users" in model.abilities else None
        self.context_inputs = ContextInputs(model.context) if "context" in model.abilities else None
        options = Options(k, exclude_seen, self.index, folder, reasons)
        signatures = {}
        for ability, make in SIGNATURES.items():
            if ability in model.abilities:
                signatures |= make(model, self, options)
        if reasons:
            signatures |= explaining(model, self, options)
        self.signatures = MappingProxyType(signatures)  # a tf.Module would save the functions of a dict, traced again
        # Only the variables that answers read are saved: not the optimizer, not the tables of the negative sampler.
        with self.index.installed(), served_trend(self.trend and self.trend.terms):
            read = [
                variable
                for signature in self.signatures.values()
                for variable in signature.get_concrete_function().variables
            ]
        self.weights = list({id(variable): variable for variable in read}.values())


def recommending(model, served: ServedModel, options: Options) -> dict:
    """Returns the signatures of every model."""
    tables, k, exclude_seen = served.tables, options.k, options.exclude_seen

    @tf.function(input_signature=[HISTORY], autograph=False)
    def serving_default(items):
        """Recommends the next item: returns the k best items for each history, best first, with their scores."""
        return tables.answer(*model.answer(tables.history(items), k, exclude_seen))

    @tf.function(input_signature=[HISTORY, EXCLUDE, ONLY], autograph=False)
    def recommend_filtered(items, exclude, only):
        """Recommends like `serving_default`, from a filtered catalogue. `exclude` lists the items to leave out, e.g.
        out of stock or already bought. `only` lists the items to choose from, e.g. a category; a row of padding allows
        the whole catalogue. If fewer than k items are left, the answer ends in `""`."""
        filters = tables.filters(items, exclude, only)
        return tables.answer(*model.answer(tables.history(items), k, exclude_seen, **filters))

    return {"serving_default": serving_default, "recommend_filtered": recommend_filtered}


def finding_similar(model, served: ServedModel, options: Options) -> dict:
    """Returns the signature of a model that finds similar items."""
    tables, nearest = served.tables, options.index.nearest()

    @tf.function(input_signature=[ITEM], autograph=False)
    def similar_items(items):
        """Returns the k items most similar to each item, most similar first, without the item itself. An unknown item
        gets `""`."""
        return tables.answer(*nearest(tables.ids(items), options.k))

    return {"similar_items": similar_items}


def encoding(model, served: ServedModel, options: Options) -> dict:
    """Returns the signatures of a model that scores by dot products."""
    tables = served.tables

    @tf.function(input_signature=[HISTORY], autograph=False)
    def encode(items):
        """Returns the vector of each history, the query for a vector store that holds the vectors of `encode_items`.
        The dot product of the two is the item's score. A history without a known item gets zeros: do not search with
        them, call `serving_default`, which returns popular items."""
        return {"vector": model.query_vectors(tables.history(items))}

    @tf.function(input_signature=[ITEM], autograph=False)
    def encode_items(items):
        """Returns the vector of each item, for a vector store. Search by dot product, not by cosine: the last component
        is the item's bias, if the model has biases, and `encode` has a 1 there. An unknown item gets zeros."""
        ids = tables.ids(items)
        return {"vector": tf.where(ids[:, None] > 1, model.score_vectors(ids), 0.0)}

    return {"encode": encode, "encode_items": encode_items}


def recommending_to_users(model, served: ServedModel, options: Options) -> dict:
    """Returns the signatures of a model that knows users by their ids."""
    tables, (to_user, _) = served.tables, served.user_tables
    k, exclude_seen, spec = options.k, options.exclude_seen, tf.TensorSpec((None,), tf.string, name="users")

    @tf.function(input_signature=[spec], autograph=False)
    def users(users):
        """Returns the k best items for each user id from the training data. Unknown users get popular items."""
        return tables.answer(*model.answer_users(to_user.lookup(users), k, exclude_seen))

    @tf.function(input_signature=[spec, EXCLUDE, ONLY], autograph=False)
    def users_filtered(users, exclude, only):
        """Returns the items of `users` after filtering by `exclude` and `only`, see `recommend_filtered`."""
        filters = tables.filters(users, exclude, only, "users")
        return tables.answer(*model.answer_users(to_user.lookup(users), k, exclude_seen, **filters))

    return {"users": users, "users_filtered": users_filtered}


def streaming(model, served: ServedModel, options: Options) -> dict:
    """Returns the signature of a model that advances by one event."""
    tables, width = served.tables, model.initial_state().shape[1]
    state_spec = tf.TensorSpec((None, width), tf.float32, name="state")  # static: a client reads the width off it

    @tf.function(input_signature=[ITEM, state_spec], autograph=False)
    def advance(items, state):
        """Adds one event to each of n sessions and returns the k best next items, at the same cost for sessions of any
        length. `state` is the output of the session's previous call; zeros start a session. An unknown item or `""`
        leaves the state unchanged. If the export leaves out items of the history, `advance` leaves out only the item
        just given."""
        best, scores, state = model.advance_ids(tables.ids(items), state, options.k, options.exclude_seen)
        return tables.answer(best, scores) | {"state": state}

    return {"advance": advance}


def remembering_users(model, served: ServedModel, options: Options) -> dict:
    """Returns the signatures of a model that keeps user states between sessions."""
    return user_signatures(model, served.tables, options.k, options.exclude_seen, served.context_inputs)


def recommending_in_context(model, served: ServedModel, options: Options) -> dict:
    """Returns the signatures of a model that reads context; the others answer it with all context missing."""
    tables, inputs, k, exclude_seen = served.tables, served.context_inputs, options.k, options.exclude_seen
    count = len(inputs.names)

    @tf.function(input_signature=[HISTORY, *inputs.specs()], autograph=False)
    def recommend_in_context(items, *texts):
        """Recommends like `serving_default`, in context. `context_...` holds a value for each event, aligned with
        `items`; `request_...` holds what is known of each request. All values are texts, also numbers, and `""` is
        missing. `..._time` is in seconds since 1970; gap (seconds), hour, weekday (0 is Monday) and month follow from
        it where they are not given."""
        ids, given = inputs.history(tables, items, texts)
        return tables.answer(*model.answer(ids, k, exclude_seen, given=given))

    @tf.function(input_signature=[HISTORY, *inputs.specs(), EXCLUDE, ONLY], autograph=False)
    def recommend_in_context_filtered(items, *more):
        """Recommends like `recommend_in_context`, filtered by `exclude` and `only`, see `recommend_filtered`."""
        filters = tables.filters(items, *more[count:])
        ids, given = inputs.history(tables, items, more[:count])
        return tables.answer(*model.answer(ids, k, exclude_seen, given=given, **filters))

    found = {
        "recommend_in_context": recommend_in_context,
        "recommend_in_context_filtered": recommend_in_context_filtered,
    }
    if "advance" not in model.abilities:
        return found
    width = model.initial_state().shape[1]
    state_spec = tf.TensorSpec((None, width), tf.float32, name="state")

    @tf.function(input_signature=[ITEM, state_spec, *inputs.specs(histories=False)], autograph=False)
    def advance_in_context(items, state, *texts):
        """Adds one event to each session like `advance`, in context: a value for each event and each request, see
        `recommend_in_context`."""
        ids, given = inputs.ids(tables, items, texts)
        best, scores, after = model.advance_ids(ids, state, k, exclude_seen, given)
        return tables.answer(best, scores) | {"state": after}

    return found | {"advance_in_context": advance_in_context}


def explaining(model, served: ServedModel, options: Options) -> dict:
    """Returns the signatures that give reasons, for an export that asks for them."""
    tables, inputs, k = served.tables, served.context_inputs, options.k
    content = [column for column in model.explained_content if column.kind not in TENSORS]  # what an export holds

    def explained(ids, given=None) -> dict:
        best, scores = model.answer(ids, k, options.exclude_seen, given=given)
        _, events, weights, features, _ = model.reasons(ids, best, options.reasons, given, content)
        is_event = (events >= 0) & (best > 1)[..., None]  # (n, k, reasons)
        flat = tf.reshape(tf.maximum(events, 0), [tf.shape(events)[0], -1])
        because = tf.reshape(tf.gather(tf.pad(ids, [[0, 0], [0, 1]]), flat, batch_dims=1), tf.shape(events))
        because = tf.where(is_event, tf.maximum(because, 0), 0)
        found = {"because": tables.answer(because, scores)["items"], "weights": tf.where(is_event, weights, 0.0)}
        if names := names_of_features(given or {}, content):
            found["features"] = tf.where(best[..., None] > 1, features, 0.0)
            found["feature_names"] = tf.repeat([names], tf.shape(ids)[0], axis=0)
        return tables.answer(best, scores) | found

    @tf.function(input_signature=[HISTORY], autograph=False)
    def explain(items):
        """Recommends like `serving_default` and gives the reasons. `because` holds the items of the events that carried
        each item, the strongest first, `""` where there are no more, and `weights` the part of the score that each
        carried. Models whose score is no sum over events answer once more without each of the newest 50 events, so this
        costs up to 50 times as much as `serving_default`. If the score of an item follows from its content, `features`
        holds what it owes to each column, in the order of `feature_names`, the same in every row."""
        return explained(tables.history(items))

    if inputs is None:
        return {"explain": explain}

    @tf.function(input_signature=[HISTORY, *inputs.specs()], autograph=False)
    def explain_in_context(items, *texts):
        """Gives reasons like `explain`, in context, see `recommend_in_context`. `features` also holds what each item's
        score owes to each part of the context: `context/NAME` and `request/NAME`, and `time`, all that follows from the
        times."""
        ids, given = inputs.history(tables, items, texts)
        return explained(ids, given)

    return {"explain": explain, "explain_in_context": explain_in_context}


SIGNATURES = {
    "recommend": recommending,
    "rules": recommending_with_rules,
    "context": recommending_in_context,
    "similar_items": finding_similar,
    "vectors": encoding,
    "user_states": remembering_users,
    "users": recommending_to_users,
    "advance": streaming,
}
"""Ability of a model -> the function that makes its signatures."""
