"""HRNN: a recurrent network over the sessions of a user, which starts the network over each session."""

from __future__ import annotations

import keras
import tensorflow as tf

from tfrecsession.batches.batch import Reads
from tfrecsession.errors import InputError
from tfrecsession.layers import SessionHierarchy
from tfrecsession.recommender.arguments import check_choice, check_number, checked_widths, refuse
from tfrecsession.recommender.search_space import Choice, Float
from tfrecsession.recommender.sequence_model import SequenceModel
from tfrecsession.recommender.streaming import Streaming
from tfrecsession.recommender.user_states import UserStates

FORMS = ("init", "all")
USER_INPUTS = ("all_gates", "reset_update")
INITIALIZED = ("all", "first")
EMBEDDINGS = ("tied", "separate", "one_hot")


@keras.saving.register_keras_serializable(package="tfrecsession")
class HRNN(UserStates, Streaming, SequenceModel):
    """The hierarchical recurrent network of arXiv 1706.04148: GRU4Rec with a state per user across sessions.

        c_m = GRU_usr(s_{m-1, last}, c_{m-1})         [user_units]; after session m - 1 of the user; c_1 = 0
        s_{m,0} = tanh(W c_m + b)                     [units]; s_{1,0} = 0: a new user starts from zeros
        s_{m,t} = GRU_ses(x_{m,t}, s_{m,t-1})         [units]; with form="all" also of c_m, see `SessionHierarchy`
        score of item i = e_i . s_{m,t} + b_i         [size]

    Where the paper and the authors' code differ, the defaults are the paper's. The code is
    `HRNN(..., user_in="reset_update", initialize="first", last_event=False, embedding="one_hot")`.

    Args:
        items: the vocabulary, `data.items`.
        units, user_units: width of each session layer and of each user layer, first to last.
        form: "init", the user state starts the session; "all", it is an input of every step too.
        user_in: with form="all": whether it enters "all_gates" of the session GRU or "reset_update" alone.
        initialize: whether "all" session layers start from the user state, or only the "first", and the others continue
            from the last session.
        last_event: whether the user GRU reads a session's last event. The authors' batches never feed it.
        embedding: the input of an item: "tied", one table for input and output; "separate", a table of its own;
            "one_hot", the paper's 1-of-N input: a row per item and gate, no input kernel.
        dim: width of the input table where it is separate; None: the first layer's units.
        embedding_dropout: share of the input embedding set to zero in training.
        dropout, user_dropout, init_dropout: share of each session state, user state and initial session state set to
            zero in training; the next step starts from the state after dropout, as in the authors' code.
        lanes: rows of user-parallel batches (`data.train.batches(rows=lanes, steps=20, by_user=True, carry=True)`),
            whose state is carried from batch to batch as a constant; None: every batch starts afresh.
        initializer: of the item tables, see `ItemEmbedding`; the authors' is "glorot_uniform".
        negatives: see `SequenceModel`, as for score_dtype, context, request, context_as, context_dropout,
            repeats and repeat_window.

    Raises:
        InputError: an argument out of its range, or `embedding_dropout` with one_hot.

    Example:

        model = trs.models.HRNN(data.items, units=[100], user_units=[100], lanes=64)
        model.compile(trs.optimizers.LazyAdagrad(0.1), trs.losses.CrossEntropy(logq=1.0), [trs.metrics.Recall(20)])
        model.fit(data.train.batches(rows=64, steps=20, by_user=True, carry=True), epochs=5)
        model.recommend_with_sessions([[["item-4", "item-7"], ["item-17"]]], k=20)  # one user, two sessions
    """

    # Declarations
    reads = Reads(users="visits")
    learning = SequenceModel.learning.but(
        defaults={"lanes": 64, "steps": 20},
        harmless=("embedding_dropout", "dropout", "user_dropout", "init_dropout", "lanes"),
    )
    log_defaults = {}  # lanes carry the states of cut sessions
    search_space = {
        "form": Choice("init", "all"),
        "units": Choice([100], [200], [400]),
        "user_units": Choice([100], [200], [400]),
        "embedding_dropout": Float(0.0, 0.5, when={"embedding": ("tied", "separate")}),
        "dropout": Float(0.0, 0.6),
        "user_dropout": Float(0.0, 0.5),
        "init_dropout": Float(0.0, 0.5),
    }

    def __init__(
        self,
        items,
        units=(100,),
        user_units=(100,),
        form="init",
        user_in="all_gates",
        initialize="all",
        last_event=True,
        embedding="tied",
        dim=None,
        embedding_dropout=0.0,
        dropout=0.1,
        user_dropout=0.0,
        init_dropout=0.0,
        lanes=None,
        initializer=None,
        negatives="popularity",
        **kwargs,
    ):
        # Arguments
        units = checked_widths("units", units)
        user_units = checked_widths("user_units", user_units)
        check_choice("form", form, FORMS)
        check_choice("user_in", user_in, USER_INPUTS)
        check_choice("initialize", initialize, INITIALIZED)
        check_choice("embedding", embedding, EMBEDDINGS)
        check_number("embedding_dropout", embedding_dropout, 0, 1)
        check_number("dropout", dropout, 0, 1)
        check_number("user_dropout", user_dropout, 0, 1)
        check_number("init_dropout", init_dropout, 0, 1)
        if embedding == "one_hot" and embedding_dropout:
            refuse("embedding_dropout", embedding_dropout, "0 with embedding='one_hot', which has no embedding")
        self.keeps_input_width = embedding == "one_hot"
        super().__init__(items, negatives=negatives, **kwargs)
        self.units = units
        self.user_units = user_units
        self.form = form
        self.user_in = user_in
        self.initialize = initialize
        self.last_event = last_event
        self.embedding = embedding
        self.dim = dim
        self.dropout = dropout
        self.user_dropout = user_dropout
        self.init_dropout = init_dropout
        self.lanes = lanes
        self.initializer = initializer

        # Layers
        self.output_items = self.item_table(units[-1], bias=True, initializer=initializer, name="items")
        self.input_items, dims = self.output_items, units[-1]
        if embedding != "tied":
            dims = 3 * units[0] if embedding == "one_hot" else dim or units[0]
            self.input_items = self.item_table(dims, initializer=initializer, name="input_items", scored=False)
        self.input_items, self.output_items = self.with_content(self.input_items, self.output_items)
        self.embedding_dropout = keras.layers.Dropout(embedding_dropout)
        self.hierarchy = SessionHierarchy(
            units,
            user_units,
            user_in if form == "all" else None,
            initialize,
            last_event,
            dropout=dropout,
            user_dropout=user_dropout,
            init_dropout=init_dropout,
            project=embedding != "one_hot",
            name="hierarchy",
        )
        self.keep_states([self.hierarchy])
        self.build()

    # Recommendations

    def encode_from(self, batch, state, training=False):
        """Encodes rows that continue from a state.

        Args:
            batch: packed rows with `visit`, the number of the session among those of its user.
            state: float32 [rows, state_width], read where the first step does not start a user; None: zeros.
            training: whether dropout acts.

        Returns:
            [rows, steps, units], and the state after the last step, [rows, state_width]. Padding leaves the state as it
            is, except in training.
        """
        if "visit" not in batch:
            raise InputError(
                "batch: must have `visit`, as those of batches(by_user=True): HRNN learns from all sessions of a user"
            )
        starts = batch["position"] == 0  # (rows, steps)
        vectors = self.embedding_dropout(self.input_items(batch["items"]), training=training)  # (rows, steps, dim)
        vectors = self.with_context(vectors, batch, training)  # (rows, steps, dim + width of the context)
        mask = None if training else batch["segment"] > 0  # (rows, steps)
        # (rows, steps, units), (rows, state_width)
        hidden, state = self.hierarchy(vectors, starts, starts & (batch["visit"] == 0), mask, state, training=training)
        return hidden, tf.cast(state, tf.float32)

    def encode_state(self, state):
        return self.hierarchy.output(state)  # (rows, units)

    @property
    def user_width(self) -> int:
        return self.hierarchy.user_width

    def end_session(self, state):
        return self.hierarchy.end_session(state)  # (rows, state_width)

    def state_from_user(self, user_state):
        return self.hierarchy.state_from_user(user_state)  # (rows, state_width)

    # Configuration

    def get_config(self):
        return {
            **super().get_config(),
            "units": list(self.units),
            "user_units": list(self.user_units),
            "form": self.form,
            "user_in": self.user_in,
            "initialize": self.initialize,
            "last_event": self.last_event,
            "embedding": self.embedding,
            "dim": self.dim,
            "embedding_dropout": self.embedding_dropout.rate,
            "dropout": self.dropout,
            "user_dropout": self.user_dropout,
            "init_dropout": self.init_dropout,
            "lanes": self.lanes,
            "initializer": self.initializer,
        }
