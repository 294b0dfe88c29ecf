"""LongShortTerm: the items of a user's earlier sessions beside an encoder of the session."""

from __future__ import annotations

import keras
import tensorflow as tf

from tfrecsession.batches.batch import Reads
from tfrecsession.errors import InputError
from tfrecsession.layers import (
    AttentiveMean,
    LongShortAttention,
    LongShortGate,
    SessionGRU,
    SessionNARM,
    SessionTransformer,
)
from tfrecsession.layers.blocks import in_blocks
from tfrecsession.layers.items.earlier_items import EarlierItems
from tfrecsession.layers.items.repeat_head import LARGEST_ID
from tfrecsession.recommender.arguments import check_choice, check_number, check_whole, refuse
from tfrecsession.recommender.search_space import Choice, Float
from tfrecsession.recommender.sequence_model import SequenceModel
from tfrecsession.recommender.streaming import Streaming
from tfrecsession.recommender.user_states import UserStates

ENCODERS = ("shan", "gru4rec", "narm", "sasrec")


@keras.saving.register_keras_serializable(package="tfrecsession")
class LongShortTerm(UserStates, Streaming, SequenceModel):
    """A user's earlier items beside the session: SHAN (IJCAI 2018), or the gate of SDM (arXiv 1909.00385).

        L = the newest `past` items of the user's earlier sessions
        encoder="shan":   h_t = attention over [attention over L, the events of the session], see `LongShortAttention`
        other encoders:   h_t = (1 - g) * p(L) + g * s_t, s_t of the encoder of that model, see `LongShortGate`
        score of item i = e_i . h_t + b_i             [size]: the table of the input and of L

    Users without earlier sessions are answered by the session alone. The user state is the list L, newest first: a
    shop keeps `past` numbers beside the user's record. Ours are, beside the biases, the training of `GRU4Rec`, that
    SHAN's query is one for all users, and that SDM's is the state of the session: new users need no vector. On small
    logs SHAN needs larger steps than the default: LazyAdagrad(0.1).

    Args:
        items: the vocabulary, `data.items`.
        dim: width of the item table and of the encoder.
        encoder: the short-term part: "shan"; or "gru4rec", one GRU layer, "narm", its attention over the newest
            `window` events, or "sasrec", two blocks over the newest `window` events, joined by the gate.
        past: how many of the newest items of earlier sessions are read.
        window: see `encoder`.
        dropout: share of the inputs and of the encoder's output set to zero in training.
        past_dropout: share of the sessions of training whose earlier items are hidden, so that new users, whom these
            sessions stand for, are answered well.
        attention_l2: with "shan": the factor of the squares of its attention's matrices in the loss.
        lanes: see `HRNN`.
        initializer: of the item table, see `ItemEmbedding`.
        negatives, score_dtype, context, request, context_as, context_dropout, repeats, repeat_window: see
            `SequenceModel`.

    Raises:
        InputError: an argument out of its range, or batches without `visit`.

    Example:

        model = trs.models.LongShortTerm(data.items, encoder="gru4rec", lanes=64)
        model.compile(trs.optimizers.LazyAdam(0.002), trs.losses.CrossEntropy(logq=1.0), [trs.metrics.Recall(20)])
        model.fit(data.train.batches(rows=64, steps=20, by_user=True, carry=True), epochs=5)
        model.recommend_with_sessions([[["item-4", "item-7"], ["item-17"]]], k=20)  # one user, two sessions
    """

    # Declarations
    reads = Reads(users="visits")
    learning = SequenceModel.learning.but(
        defaults={"lanes": 64, "steps": 20, "optimizer": "adam", "learning_rate": 0.002},
        harmless=("dropout", "past_dropout", "attention_l2", "lanes"),
    )
    log_defaults = {}  # lanes carry the states of cut sessions
    search_space = {
        "encoder": Choice("shan", "gru4rec", "narm", "sasrec"),
        "dim": Choice(50, 100, 200),
        "past": Choice(20, 50, 100),
        "dropout": Float(0.0, 0.6),
        "past_dropout": Float(0.0, 0.5),
        "attention_l2": Choice(0.0, 1e-5, 1e-4, 1e-3, when={"encoder": "shan"}),
    }
    keeps_input_width = True  # earlier items and the session are vectors of one space

    def __init__(
        self,
        items,
        dim=100,
        encoder="gru4rec",
        past=50,
        window=20,
        dropout=0.2,
        past_dropout=0.1,
        attention_l2=0.0,
        lanes=None,
        initializer=None,
        negatives="popularity",
        **kwargs,
    ):
        # Arguments
        check_whole("dim", dim)
        check_choice("encoder", encoder, ENCODERS)
        check_whole("past", past)
        check_whole("window", window, 2)
        check_number("dropout", dropout, 0, 1)
        check_number("past_dropout", past_dropout, 0, 1)
        check_number("attention_l2", attention_l2, 0)
        if attention_l2 and encoder != "shan":
            refuse("attention_l2", attention_l2, f"0 with encoder={encoder!r}, whose join has no such attention")
        super().__init__(items, negatives=negatives, **kwargs)
        if self.size > LARGEST_ID:
            raise InputError(f"items: must be fewer than {LARGEST_ID:,} for the lists of ids in user states")
        self.dim = dim
        self.past = past
        self.window = window
        self.dropout = dropout
        self.past_dropout = past_dropout
        self.attention_l2 = attention_l2
        self.lanes = lanes
        self.initializer = initializer
        self.short_term = encoder  # `encoder` is a method of every model

        # Layers
        self.output_items = self.item_table(dim, bias=True, initializer=initializer, name="items")
        self.input_items, self.output_items = self.with_content(self.output_items, self.output_items)
        self.input_dropout = keras.layers.Dropout(dropout)
        self.output_dropout = keras.layers.Dropout(dropout)
        self.hide_past = keras.layers.Dropout(past_dropout)
        self.earlier = EarlierItems(self.size, past)
        if encoder == "shan":
            self.join = LongShortAttention(dim, attention_l2, name="join")
            self.session = AttentiveMean(name="session")
            self.session.build((None, None, dim + 1))
        else:
            self.join = LongShortGate(dim, name="join")
            self.session = {
                "gru4rec": lambda: SessionGRU(dim, name="session"),
                "narm": lambda: SessionNARM(dim, window, name="session"),
                "sasrec": lambda: SessionTransformer(dim, window=window, dropout=dropout, name="session"),
            }[encoder]()
        self.join.build()  # not within the blocks that call it
        self.keep_states([self.earlier, self.session])
        self.build()

    # Recommendations

    def encode_from(self, batch, state, training=False):
        if "visit" not in batch:
            raise InputError(
                "batch: must have `visit`, as those of batches(by_user=True): LongShortTerm learns from all sessions "
                "of a user"
            )
        before, session_before = self.states(state)
        earlier, owner, after = self.earlier.windows(batch, before)  # (sessions, past), (cells,), (rows, 2 past)
        vectors = self.input_dropout(self.input_items(batch["items"]), training=training)  # (rows, steps, dim)
        vectors = self.with_context(vectors, batch, training)  # (rows, steps, dim)
        session, session_after = self._session(vectors, batch["position"], session_before, training)
        cells = tf.reshape(session, [-1, session.shape[-1]])  # (cells, dim), shan: (cells, dim + 2)
        hidden = self._joined(cells, earlier, owner, training)  # (cells, dim)
        hidden = tf.reshape(hidden, tf.concat([tf.shape(session)[:2], [self.dim]], axis=0))  # (rows, steps, dim)
        hidden = tf.ensure_shape(hidden, (*session.shape[:2], self.dim))
        return hidden, tf.concat([after, tf.cast(session_after, tf.float32)], axis=1)  # (rows, state_width)

    def encode_state(self, state):
        before, session = self.states(state)
        earlier = self.earlier.of_state(before)  # (rows, past)
        session = tf.cast(self.session.output(session), tf.float32 if self.short_term == "shan" else self.compute_dtype)
        return self._joined(session, earlier, tf.range(tf.shape(earlier)[0]))  # (rows, dim)

    def _session(self, vectors, position, state, training):
        """Returns the encodings of the session, [rows, steps, width], and the state of the encoder after it."""
        starts = tf.convert_to_tensor(position) == 0  # (rows, steps)
        if self.short_term == "shan":
            return self.session(self.join.session_inputs(vectors), starts, state)
        if self.short_term == "sasrec":
            return self.session(vectors * self.dim**0.5, position, state, training=training)
        session, after = self.session(vectors, starts if self.short_term == "gru4rec" else position, state)
        return self.output_dropout(session, training=training), after

    def _joined(self, cells, earlier, owner, training=False):
        """Joins encodings [cells, width] with earlier items [sessions, past]; `owner`: the session of each cell."""
        if training and self.past_dropout:
            shown = self.hide_past(tf.ones([tf.shape(earlier)[0], 1]), training=True) > 0  # (sessions, 1)
            earlier = tf.where(shown, earlier, 0)
        if self.short_term == "shan":
            (long,) = self._bounded(lambda ids: (self.join(self.input_items(ids), ids > 0),), [earlier], training)
            return tf.cast(self.join.join(cells, tf.gather(long, owner)), self.compute_dtype)

        def gated(cells, owner):
            ids = tf.gather(earlier, owner)  # (cells, past)
            return (self.join(cells, self.input_items(ids), ids > 0),)

        return self._bounded(gated, [cells, owner], training)[0]

    def _bounded(self, function, arrays, training):
        """Applies a function whose rows hold the vectors of `past` items, in blocks except in training."""
        if training:
            return function(*arrays)
        width, dtype = (self.dim + 2, tf.float32) if self.short_term == "shan" else (self.dim, self.compute_dtype)
        return in_blocks(function, arrays, 3 * self.past * self.dim, (tf.TensorSpec((None, width), dtype),))

    # Users

    @property
    def user_width(self) -> int:
        return self.past

    def end_session(self, state):
        before, session = self.states(state)
        return tf.concat([self.earlier.end_session(before), tf.zeros_like(session)], axis=1)  # (rows, state_width)

    def state_from_user(self, user_state):
        user_state = self.earlier.checked(user_state)
        return tf.pad(user_state, [[0, 0], [0, self.state_width - self.past]])  # (rows, state_width)

    # Configuration

    def get_config(self):
        return {
            **super().get_config(),
            "dim": self.dim,
            "encoder": self.short_term,
            "past": self.past,
            "window": self.window,
            "dropout": self.dropout,
            "past_dropout": self.past_dropout,
            "attention_l2": self.attention_l2,
            "lanes": self.lanes,
            "initializer": self.initializer,
        }
