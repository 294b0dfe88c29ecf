"""GRU4Rec: a recurrent network over the session, whose state is scored against the items."""

from __future__ import annotations

from dataclasses import replace

import keras
from keras import ops

from tfrecsession.layers import (
    DiscountedMean,
    SessionBidirectional,
    SessionGRU,
    SessionLSTM,
    SessionRNN,
)
from tfrecsession.recommender.arguments import check_choice, check_number, checked_widths, refuse
from tfrecsession.recommender.search_space import Choice, Float
from tfrecsession.recommender.sequence_defaults import repeats, trend
from tfrecsession.recommender.sequence_model import SequenceModel
from tfrecsession.recommender.streaming import Streaming

CELLS = {"gru": SessionGRU, "lstm": SessionLSTM, "rnn": SessionRNN}
EMBEDDINGS = ("tied", "separate", "one_hot")


@keras.saving.register_keras_serializable(package="tfrecsession")
class GRU4Rec(Streaming, SequenceModel):
    """Session-based recommendation with a GRU (arXiv 1511.06939), as refined in arXiv 1706.03847.

        h_t = GRU(x_t, h_{t-1})                       [units]; x_t is the input vector of event t
        score of item i = e_i . h_t + b_i             [size]; e_i and b_i from the output table

    With `embedding="tied"` the output table is the input too: x_t = e_{i_t}.

    Args:
        items: the vocabulary, `data.items`.
        units: width of each recurrent layer, first to last.
        cell: "gru", "lstm" or "rnn" (plain tanh). In the paper, GRU was the best of the three.
        embedding: the input of an item. "tied", one table for input and output; "separate", a table of its own;
            "one_hot", the paper's 1-of-N input: a row per item and gate, no input kernel.
        dim: width of the input table where it is separate; None: the first layer's units.
        discount: weight of each earlier event of the session in the input (`DiscountedMean`); 0: the last alone.
        embedding_dropout: share of the input embedding set to zero in training.
        dropout: share of each layer's output set to zero in training.
        carry_dropout: whether the next step starts from the state after dropout, as in the authors' code, or before.
        reset_after: see `SessionGRU`.
        residual: whether every layer after the first adds its input to its output; all must be of one width.
        bidirectional: whether every layer also reads the session backwards; its output has 2 units. Train on
            `batches(one_target=True)`, one target after each prefix.
        lanes: rows of session-parallel batches (`data.train.batches(rows=lanes, steps=1, carry=True)`), whose state is
            carried from batch to batch as a constant; None: every batch starts afresh.
        initializer: of the item tables, see `ItemEmbedding`; the authors' is "glorot_uniform".
        negatives: see `SequenceModel`, as for score_dtype, joined, context, request, context_as, context_dropout,
            repeats and repeat_window.

    Raises:
        InputError: an argument out of its range, `embedding_dropout` with one_hot, `residual` with layers of several
            widths, or `lanes` with `bidirectional`.

    Example:

        model = trs.models.GRU4Rec(data.items, units=[100])
        model.compile(trs.optimizers.LazyAdagrad(0.1), trs.losses.CrossEntropy(logq=1.0), [trs.metrics.Recall(20)])
        model.fit(data.train.batches(rows=64, steps=16), validation_data=data.validation.batches(), epochs=5)
    """

    # Declarations
    learning = SequenceModel.learning.but(harmless=("embedding_dropout", "dropout", "lanes"))
    log_defaults = {**SequenceModel.log_defaults, "repeats": repeats, "trend": trend}
    search_space = {
        "units": Choice([100], [200], [400]),
        "embedding_dropout": Float(0.0, 0.5, when={"embedding": ("tied", "separate")}),
        "dropout": Float(0.0, 0.6),
    }

    def __init__(
        self,
        items,
        units=(100,),
        cell="gru",
        embedding="tied",
        dim=None,
        discount=0.0,
        embedding_dropout=0.0,
        dropout=0.3,
        carry_dropout=False,
        reset_after=False,
        residual=False,
        bidirectional=False,
        lanes=None,
        initializer=None,
        negatives="popularity",
        **kwargs,
    ):
        # Arguments
        units = checked_widths("units", units)
        check_choice("cell", cell, CELLS)
        check_choice("embedding", embedding, EMBEDDINGS)
        check_number("embedding_dropout", embedding_dropout, 0, 1)
        check_number("dropout", dropout, 0, 1)
        if embedding == "one_hot" and embedding_dropout:
            refuse("embedding_dropout", embedding_dropout, "0 with embedding='one_hot', which has no embedding")
        if residual and len(set(units)) > 1:
            refuse("units", units, "of one width with residual=True, which adds a layer's input to its output")
        if bidirectional and lanes:
            refuse("lanes", lanes, "None with bidirectional=True, which has no state to carry")
        self.keeps_input_width = embedding == "one_hot"
        super().__init__(items, negatives=negatives, **kwargs)
        self.units = units
        self.cell = cell
        self.embedding = embedding
        self.dim = dim
        self.discount = discount
        self.dropout = dropout
        self.carry_dropout = carry_dropout
        self.reset_after = reset_after
        self.residual = residual
        self.bidirectional = bidirectional
        self.lanes = lanes
        self.initializer = initializer
        if bidirectional:
            self.reads = replace(self.reads, targets="last_step")

        # Layers
        self.recurrent = [self._layer(index) for index in range(len(units))]
        dims = self.recurrent[-1].units
        self.output_items = self.item_table(dims, bias=True, initializer=initializer, name="items")
        self.input_items = self.output_items
        if embedding != "tied":
            one_hot = CELLS[cell].gates * self.recurrent[0].units
            dims = one_hot if embedding == "one_hot" else dim or units[0]
            self.input_items = self.item_table(dims, initializer=initializer, name="input_items", scored=False)
        self.input_items, self.output_items = self.with_content(self.input_items, self.output_items)
        self.embedding_dropout = keras.layers.Dropout(embedding_dropout)
        self.mean = DiscountedMean(discount, units=dims, name="mean") if discount else None
        self.output_dropout = keras.layers.Dropout(0.0 if carry_dropout else dropout)
        if not bidirectional:
            self.keep_states([*([self.mean] if self.mean else []), *self.recurrent])
        self.build()

    def _layer(self, index: int):
        """Creates the recurrent layer at `index`, first to last."""
        settings = {"dropout": self.dropout if self.carry_dropout else 0.0}
        settings |= {"project": index > 0 or self.embedding != "one_hot"}
        settings |= {"reset_after": self.reset_after} if self.cell == "gru" else {}
        directions = [
            CELLS[self.cell](self.units[index], name=f"{self.cell}_{index}{suffix}", **settings)
            for suffix in (("_forward", "_backward") if self.bidirectional else ("",))
        ]
        return SessionBidirectional(*directions, name=f"both_{index}") if self.bidirectional else directions[0]

    # Recommendations

    def encode_from(self, batch, state, training=False):
        starts = batch["position"] == 0  # (rows, steps)
        before, after = iter(self.states(state) if self.state_width else []), []
        hidden = self.embedding_dropout(self.input_items(batch["items"]), training=training)  # (rows, steps, dim)
        if self.mean:
            # (rows, steps, dim), (rows, dim + 1)
            hidden, layer_state = self.mean(hidden, starts, next(before, None), training=training)
            after.append(layer_state)
        hidden = self.with_context(hidden, batch, training)  # (rows, steps, dim + width of the context)
        for index, layer in enumerate(self.recurrent):
            if self.bidirectional:
                output = layer(hidden, starts, training=training)  # (rows, steps, 2 units)
                if index == len(self.recurrent) - 1:
                    output = layer.finished(output, batch["position"])  # (rows, steps, 2 units)
            else:
                # (rows, steps, units), (rows, units), with cell="lstm" (rows, 2 units)
                output, layer_state = layer(hidden, starts, next(before), training=training)
                after.append(layer_state)
            output = self.output_dropout(output, training=training)
            hidden = hidden + output if self.residual and index else output  # (rows, steps, units or 2 units)
        if not self.state_width:
            return hidden, state
        return hidden, ops.cast(ops.concatenate(after, axis=-1), "float32")  # (rows, state_width)

    def encode_state(self, state):
        states = self.states(state)[-len(self.recurrent) :]  # (rows, width) per layer, without that of the mean
        outputs = [layer.output(layer_state) for layer, layer_state in zip(self.recurrent, states, strict=True)]
        return ops.cast(sum(outputs) if self.residual else outputs[-1], self.compute_dtype)  # (rows, units)

    # Configuration

    def get_config(self):
        return {
            **super().get_config(),
            "units": list(self.units),
            "cell": self.cell,
            "embedding": self.embedding,
            "dim": self.dim,
            "discount": self.discount,
            "embedding_dropout": self.embedding_dropout.rate,
            "dropout": self.dropout,
            "carry_dropout": self.carry_dropout,
            "reset_after": self.reset_after,
            "residual": self.residual,
            "bidirectional": self.bidirectional,
            "lanes": self.lanes,
            "initializer": self.initializer,
        }
