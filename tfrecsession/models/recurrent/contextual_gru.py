"""ContextualGRU: a recurrent network whose input, dynamics and output depend on context."""

from __future__ import annotations

import keras
from keras import ops

from tfrecsession.layers import SessionContextGRU, SessionGRU
from tfrecsession.layers.event_input import JOINS
from tfrecsession.recommender.arguments import check_choice, check_number, checked_widths, refuse
from tfrecsession.recommender.search_space import Choice, Float
from tfrecsession.recommender.sequence_model import SequenceModel
from tfrecsession.recommender.streaming import Streaming

EMBEDDINGS = ("tied", "separate")


@keras.saving.register_keras_serializable(package="tfrecsession")
class ContextualGRU(Streaming, SequenceModel):
    """A contextual recurrent network over the session (CRNN, arXiv 1706.07684), with a GRU.

        x_t = join(e_{i_t}, c_t)                        input: `context_as`; c_t is the context of event t
        h_t = GRU(x_t, h_{t-1}; U h -> (U h) * (1 + D c_t))       dynamics: in both gates and the candidate
        y_t = join(h_t, q_t)                            output: `request_as`; q_t is what is known of the request
        score of item i = e_i . y_t + b_i               [size]

    Each part is switched apart: `context_as=None`, `dynamics=False` and `request=[]` leave one out. Without any, it is
    `GRU4Rec`.

    From the paper are the three places of context, concatenation, product and both at once, and dynamics by an
    element-wise product with a linear map of the context. Ours are: that the factor scales the products with the
    state, not those with the input, in every gate; that factors are 1 + C c, where the paper has C c; that every
    layer of a stack reads c_t; that y_t keeps the width of h_t (h_t * (1 + C q_t) + A q_t), so that one item table
    scores it; that c and q have tables of their own; and the training, which is that of `GRU4Rec`.

    Args:
        items: the vocabulary, `data.items`.
        units: width of each recurrent layer, first to last.
        dynamics: whether context changes the dynamics.
        context_as: how context joins an event's vector, see `EventInput`: "concatenate", "multiply", "both", which is
            the paper's best, or "latent_cross"; None: it does not.
        request_as: how a request joins the state that is scored: one of these four.
        embedding: the input of an item: "tied", one table for input and output; "separate", a table of its own.
        embedding_dropout: share of the input embedding set to zero in training.
        dropout: share of each layer's output set to zero in training.
        reset_after: see `SessionGRU`.
        lanes: see `GRU4Rec`.
        initializer: of the item tables, see `ItemEmbedding`.
        negatives, score_dtype, joined, context, request, context_dropout, repeats, repeat_window: see `SequenceModel`.

    Raises:
        InputError: an argument out of its range, or context that neither input nor dynamics read.

    Example:

        model = trs.models.ContextualGRU(data.items, units=[100], context=["gap", "hour"], request=["gap", "hour"])
        model.compile(trs.optimizers.LazyAdagrad(0.1), trs.losses.CrossEntropy(logq=1.0), [trs.metrics.Recall(20)])
        model.fit(data.train.batches(rows=64, steps=16), validation_data=data.validation.batches(), epochs=5)
    """

    # Declarations
    learning = SequenceModel.learning.but(
        defaults={"context_as": "both"}, harmless=("embedding_dropout", "dropout", "lanes")
    )
    search_space = {
        "units": Choice([100], [200], [400]),
        "dynamics": Choice(False, True),
        "context_as": Choice("concatenate", "multiply", "both", "latent_cross"),
        "request_as": Choice("concatenate", "multiply", "both", "latent_cross"),
        "embedding_dropout": Float(0.0, 0.5),
        "dropout": Float(0.0, 0.6),
    }
    joins = (*JOINS, None)

    def __init__(
        self,
        items,
        units=(100,),
        dynamics=True,
        context_as="both",
        request_as="both",
        embedding="tied",
        embedding_dropout=0.0,
        dropout=0.3,
        reset_after=False,
        lanes=None,
        initializer=None,
        negatives="popularity",
        **kwargs,
    ):
        # Arguments
        units = checked_widths("units", units)
        check_choice("dynamics", dynamics, (False, True))
        check_choice("request_as", request_as, JOINS)
        check_choice("embedding", embedding, EMBEDDINGS)
        check_number("embedding_dropout", embedding_dropout, 0, 1)
        check_number("dropout", dropout, 0, 1)
        self.request_as = request_as
        super().__init__(items, negatives=negatives, context_as=context_as, **kwargs)
        if self.event_input and context_as is None and not dynamics:
            refuse("context_as", None, "a way to join with dynamics=False, or nothing reads the context")
        self.units = units
        self.dynamics = dynamics
        self.embedding = embedding
        self.dropout = dropout
        self.reset_after = reset_after
        self.lanes = lanes
        self.initializer = initializer

        # Layers
        self.in_context = dynamics and self.event_input is not None  # whether the recurrent layers read context
        cell = SessionContextGRU if self.in_context else SessionGRU
        self.recurrent = [cell(width, reset_after, name=f"gru_{index}") for index, width in enumerate(units)]
        self.output_items = self.item_table(units[-1], bias=True, initializer=initializer, name="items")
        self.input_items = self.output_items
        if embedding == "separate":
            self.input_items = self.item_table(units[0], initializer=initializer, name="input_items", scored=False)
        self.input_items, self.output_items = self.with_content(self.input_items, self.output_items)
        self.embedding_dropout = keras.layers.Dropout(embedding_dropout)
        self.output_dropout = keras.layers.Dropout(dropout)
        self.keep_states(self.recurrent)
        self.build()

    def context_join(self, side):
        return self.context_as if side == "context" else self.request_as

    # Recommendations

    def encode_from(self, batch, state, training=False):
        starts = batch["position"] == 0  # (rows, steps)
        hidden = self.embedding_dropout(self.input_items(batch["items"]), training=training)  # (rows, steps, dim)
        context = {}
        if self.event_input:
            # (rows, steps, dim + width), (rows, steps, width)
            hidden, vectors = self.event_input(hidden, batch, training=training, return_context=True)
            context = {"context": vectors} if self.in_context else {}
        after = []
        for layer, before in zip(self.recurrent, self.states(state), strict=True):
            hidden, last = layer(hidden, starts, before, **context)  # (rows, steps, units), (rows, units)
            after.append(last)
            hidden = self.output_dropout(hidden, training=training)
        return hidden, ops.cast(ops.concatenate(after, axis=-1), "float32")  # (rows, state_width)

    def encode_state(self, state):
        return ops.cast(self.states(state)[-1], self.compute_dtype)  # (rows, units)

    # Configuration

    def get_config(self):
        return {
            **super().get_config(),
            "units": list(self.units),
            "dynamics": self.dynamics,
            "request_as": self.request_as,
            "embedding": self.embedding,
            "embedding_dropout": self.embedding_dropout.rate,
            "dropout": self.dropout,
            "reset_after": self.reset_after,
            "lanes": self.lanes,
            "initializer": self.initializer,
        }
