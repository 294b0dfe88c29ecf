"""UserGRU: a recurrent network over the session that knows whose session it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import keras
import tensorflow as tf
from keras import ops

from tfrecsession.layers import (
    SessionAttentionalUserGRU,
    SessionRectifiedUserGRU,
    SessionUserGRU,
    UserEmbedding,
)
from tfrecsession.recommender.arguments import check_choice, check_number, check_whole, checked_widths, refuse
from tfrecsession.recommender.reads_user_content import ReadsUserContent
from tfrecsession.recommender.search_space import Choice, Float
from tfrecsession.recommender.sequence_model import SequenceModel
from tfrecsession.recommender.streaming import Streaming
from tfrecsession.sessions.context import USER, Context, checked_names

CELLS = {"linear": SessionUserGRU, "rectified": SessionRectifiedUserGRU, "attentional": SessionAttentionalUserGRU}
EMBEDDINGS = ("tied", "separate")
UNKNOWN = 1  # the code of a user whom training never saw
DEVIATION = 0.06  # of initial user vectors; the paper's are uniform within 0.1


@keras.saving.register_keras_serializable(package="tfrecsession")
class UserGRU(Streaming, ReadsUserContent, SequenceModel):
    """A recurrent network over the session with a vector for each user (Donkers et al., RecSys 2017).

        h_t = cell(e_{i_t}, h_{t-1}, v_u)             [units]; v_u is the vector of the user
        score of item i = e_i . h_t + b_i             [size]

    The cell is `SessionUserGRU`, `SessionRectifiedUserGRU` or `SessionAttentionalUserGRU`. The user is the column
    `user` of the request, as in a batch: `recommend(..., request={"user": [...]})`. In training, `user_dropout` hides
    the users of some rows. These train the vector of unknown users, which stands for users whom training never saw, and
    where no user is given. A step updates the vectors of its users alone, whatever their number.

    With `user_content`, v_u is the sum of that vector and of the encoded features of the user, or with user_id=False
    the latter alone. Users of the table whom training never saw have features, too. With `describe_users`, a request
    may describe a user who is not in the table: `recommend(..., request={"age": [31], "country": ["fr"]})`.

    Ours are, besides that vector, that the item table scores too, and the training, which is that of `GRU4Rec`. On logs
    with few events for each user, vectors of users may do harm: compare with `GRU4Rec` on the same log.

    Args:
        items: the vocabulary, `data.items`, of a log with users.
        units: width of each recurrent layer, first to last. All layers read v_u.
        cell: "linear", "rectified" or "attentional".
        user_dim: width of a user's vector; None: that of an item's input.
        user_dropout: share of the rows of training whose users count as unknown, above 0. The fewer events a user has,
            the higher it must be: vectors of users with few sessions learn these by heart.
        embedding: the input of an item: "tied", one table for input and output; "separate", a table of its own.
        embedding_dropout: share of the input embedding set to zero in training.
        dropout: share of each layer's output set to zero in training.
        lanes: see `GRU4Rec`.
        initializer: of the item tables, see `ItemEmbedding`.
        user_content: features of the users that are read, such as ["age", "country"], see `prepare(users=...)`. In
            training they are hidden for a share `context_dropout` of the rows.
        user_id: whether each user has a vector of its own.
        describe_users: whether requests may give the categories and numbers of `user_content`, instead of those of the
            table; the export then has an input for each.
        negatives, score_dtype, joined, context, request, context_as, context_dropout, repeats, repeat_window: see
            `SequenceModel`; `request` gets the column `user`.

    Raises:
        InputError: an argument out of its range, or a log without users.

    Example:

        model = trs.models.UserGRU(data.items, units=[100], cell="attentional")
        model.compile(trs.optimizers.LazyAdagrad(0.1), trs.losses.CrossEntropy(logq=1.0), [trs.metrics.Recall(20)])
        model.fit(data.train.batches(rows=64, steps=16), validation_data=data.validation.batches(), epochs=5)
        model.recommend([["item-17"]], request={"user": ["user-3"]})
    """

    # Declarations
    learning = SequenceModel.learning.but(harmless=("embedding_dropout", "dropout", "user_dropout", "lanes"))
    search_space = {
        "cell": Choice("linear", "rectified", "attentional"),
        "units": Choice([100], [200], [400]),
        "user_dropout": Float(0.1, 0.9),
        "embedding_dropout": Float(0.0, 0.5),
        "dropout": Float(0.0, 0.6),
    }

    def __init__(
        self,
        items,
        units=(100,),
        cell="attentional",
        user_dim=None,
        user_dropout=0.5,
        embedding="tied",
        embedding_dropout=0.0,
        dropout=0.3,
        lanes=None,
        initializer=None,
        user_content=(),
        user_id=True,
        describe_users=False,
        negatives="popularity",
        context=(),
        request=(),
        **kwargs,
    ):
        # Arguments
        units = checked_widths("units", units)
        check_choice("cell", cell, CELLS)
        check_whole("user_dim", user_dim, optional=True)
        check_number("user_dropout", user_dropout, 0, 1, above=True)
        check_choice("embedding", embedding, EMBEDDINGS)
        check_number("embedding_dropout", embedding_dropout, 0, 1)
        check_number("dropout", dropout, 0, 1)
        check_choice("user_id", user_id, (False, True))
        check_choice("describe_users", describe_users, (False, True))
        if not isinstance(context, Context | Mapping):
            names = checked_names("request", () if request is None else request)
            request = names if USER in names else [*names, USER]
        super().__init__(items, negatives=negatives, context=context, request=request, **kwargs)
        if USER not in self.context.request:
            refuse("context", self.context, "a Context with the column 'user', data.context(..., request=['user'])")
        self.read_user_content(user_content, self.context.columns[USER].values)
        if not user_id and self.user_features is None:
            refuse("user_id", user_id, "True, or the users need features: user_content=[...]")
        if self.user_features is not None and self.user_features.users is not None:
            self.context = self.context.with_users(self.user_features.users.ids)
        if describe_users and self.user_features is None:
            refuse("describe_users", describe_users, "False without features: user_content=[...]")
        if describe_users:
            self.context = self.context.with_described(self.user_features.in_requests)
        of_log = tuple(name for name in self.context.request if name not in self.context.described)
        self.reads = replace(self.reads, users=self.reads.users or "ids", request=of_log)
        self.units = units
        self.cell = cell
        self.user_dim = user_dim
        self.user_dropout = user_dropout
        self.embedding = embedding
        self.dropout = dropout
        self.lanes = lanes
        self.initializer = initializer
        self.user_id = user_id
        self.describe_users = describe_users

        # Layers
        dim = units[-1] if embedding == "tied" else units[0]
        codes, features = self.context.columns[USER].codes, self.user_features
        self.user_table = UserEmbedding(user_dim or dim, DEVIATION, name="users") if user_id else None
        if user_id:
            self.user_table.build(codes if features is None else features.trained + 2)
        self.recurrent = [CELLS[cell](width, name=f"{cell}_{index}") for index, width in enumerate(units)]
        self.output_items = self.item_table(units[-1], bias=True, initializer=initializer, name="items")
        self.input_items = self.output_items
        if embedding == "separate":
            self.input_items = self.item_table(dim, initializer=initializer, name="input_items", scored=False)
        self.input_items, self.output_items = self.with_content(self.input_items, self.output_items)
        self.embedding_dropout = keras.layers.Dropout(embedding_dropout)
        self.output_dropout = keras.layers.Dropout(dropout)
        self.hide_users = keras.layers.Dropout(user_dropout)
        self.build_user_content(user_dim or dim)
        self.hide_features = keras.layers.Dropout(self.context_dropout) if features else None
        self.keep_states(self.recurrent)
        self.build()

    def input_columns(self, side):
        return [column for column in super().input_columns(side) if column.name not in (USER, *self.context.described)]

    # Recommendations

    def encode_from(self, batch, state, training=False):
        starts = batch["position"] == 0  # (rows, steps)
        hidden = self.embedding_dropout(self.input_items(batch["items"]), training=training)  # (rows, steps, dim)
        hidden = self.with_context(hidden, batch, training)  # (rows, steps, dim + width of the context)
        given = {name: batch[key] for name in self.context.described if (key := f"request/{name}") in batch}
        users = self.user_vectors(batch[f"request/{USER}"], training, given)  # (rows, steps, user_dim)
        after = []
        for layer, before in zip(self.recurrent, self.states(state), strict=True):
            hidden, last = layer(
                hidden, starts, before, users, training=training
            )  # (rows, steps, units), (rows, units)
            after.append(last)
            hidden = self.output_dropout(hidden, training=training)
        return hidden, ops.cast(ops.concatenate(after, axis=-1), "float32")  # (rows, state_width)

    def user_vectors(self, codes, training: bool = False, given=None):
        """Returns the vectors of users: int32 [rows, steps], 0 where none is given -> [rows, steps, user_dim].

        `given` are features of these users in a request, see `UserFeatures`.
        """
        codes = tf.maximum(codes, UNKNOWN)
        parts = []
        if self.user_table is not None:
            ids = tf.where(codes < self.user_table.table.shape[0], codes, UNKNOWN)
            parts.append(self.user_table(self._hidden(ids, self.hide_users, training)))
        if self.user_content_layer is not None:
            given = None if training else given  # a log gives none
            parts.append(self.user_content_layer(self._hidden(codes, self.hide_features, training), given))
        return ops.cast(sum(parts[1:], parts[0]), self.compute_dtype)

    def _hidden(self, codes, dropout, training: bool):
        """Returns the codes of users, int32 [rows, steps], in training unknown in a share of the rows."""
        if not training:
            return codes
        shown = dropout(tf.ones([tf.shape(codes)[0], 1]), training=True) > 0  # (rows, 1)
        return tf.where(shown, codes, UNKNOWN)

    def encode_state(self, state):
        return ops.cast(self.states(state)[-1], self.compute_dtype)  # (rows, units)

    # Configuration

    def get_config(self):
        return {
            **super().get_config(),
            "units": list(self.units),
            "cell": self.cell,
            "user_dim": self.user_dim,
            "user_dropout": self.user_dropout,
            "embedding": self.embedding,
            "embedding_dropout": self.embedding_dropout.rate,
            "dropout": self.dropout,
            "lanes": self.lanes,
            "initializer": self.initializer,
            "user_content": self.user_content_config,
            "user_id": self.user_id,
            "describe_users": self.describe_users,
        }
