"""GRU4Rec: a recurrent network reads the session, its state is scored against the items."""

from __future__ import annotations

from dataclasses import replace

import keras
from keras import ops

from tfrecsession.errors import InputError
from tfrecsession.layers import (
    DiscountedMean,
    ItemEmbedding,
    SessionBidirectional,
    SessionGRU,
    SessionLSTM,
    SessionRNN,
)
from tfrecsession.recommender.search_space import Choice, Float
from tfrecsession.recommender.sequence_model import SequenceModel
from tfrecsession.recommender.streaming import Streaming

CELLS = {"gru": SessionGRU, "lstm": SessionLSTM, "rnn": SessionRNN}
EMBEDDINGS = ("tied", "separate", "one_hot")


@keras.saving.register_keras_serializable(package="tfrecsession")
class GRU4Rec(Streaming, SequenceModel):
    """Session-based recommendation with a GRU (arXiv 1511.06939), as refined in arXiv 1706.03847.

    The state after an event is the session's vector; an item's score is its dot product with the item's row of the
    output table plus the item's bias. With `embedding="tied"` the same table is the input.

    Args:
        items: the vocabulary, `data.items`.
        units: width of each recurrent layer, first to last.
        cell: "gru", "lstm" or "rnn" (plain tanh). The paper measured GRU above the other two.
        embedding: how an item enters. "tied", one table for input and output; "separate", a table of its own;
            "one_hot", the paper's 1-of-N input: a row per item and gate, no input kernel.
        dim: width of the input table where it is separate; None: the first layer's units.
        discount: how much each earlier event of the session counts in the input (`DiscountedMean`); 0: the last alone.
        embedding_dropout: share of the input embedding set to zero in training.
        dropout: share of each layer's output set to zero in training.
        carry_dropout: whether the next step starts from the dropped state, as in the authors' code, or from the whole.
        reset_after: see `SessionGRU`.
        residual: whether every layer after the first adds its input to its output; all must be of one width.
        bidirectional: whether every layer also reads the session backwards, twice the units wide. Only a finished
            session can be read so: train on `batches(one_target=True)`, a target after each prefix.
        lanes: rows of session-parallel batches (`data.train.batches(rows=lanes, steps=1, carry=True)`), whose state is
            carried from batch to batch as a constant; None: every batch starts afresh.
        initializer: of the item tables, see `ItemEmbedding`; the authors' is "glorot_uniform".
        negatives, score_dtype: see `SequenceModel`.

    Example:

        model = trs.models.GRU4Rec(data.items, units=[100])
        model.compile(trs.optimizers.LazyAdagrad(0.1), trs.losses.CrossEntropy(logq=1.0), [trs.metrics.Recall(20)])
        model.fit(data.train.batches(rows=64, steps=16), validation_data=data.validation.batches(), epochs=5)
    """

    learning = SequenceModel.learning.but(harmless=("embedding_dropout", "dropout", "lanes"))
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
        units = [units] if isinstance(units, int) else list(units)
        _check(units, cell, embedding, embedding_dropout, residual, bidirectional, lanes)
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

        self.recurrent = [self._layer(number) for number in range(len(units))]
        dims = self.recurrent[-1].units
        self.output_items = ItemEmbedding(self.size, dims, bias=True, initializer=initializer, name="items")
        self.input_items = self.output_items
        if embedding != "tied":
            one_hot = CELLS[cell].gates * self.recurrent[0].units
            dims = one_hot if embedding == "one_hot" else dim or units[0]
            self.input_items = ItemEmbedding(self.size, dims, initializer=initializer, name="input_items")
        self.embedding_dropout = keras.layers.Dropout(embedding_dropout)
        self.mean = DiscountedMean(discount, units=dims, name="mean") if discount else None
        self.output_dropout = keras.layers.Dropout(0.0 if carry_dropout else dropout)
        if not bidirectional:
            self.keep_states([*([self.mean] if self.mean else []), *self.recurrent])
        self.build()

    def _layer(self, number: int):
        """The recurrent layer of that number, first to last."""
        settings = {"dropout": self.dropout if self.carry_dropout else 0.0}
        settings |= {"project": number > 0 or self.embedding != "one_hot"}
        settings |= {"reset_after": self.reset_after} if self.cell == "gru" else {}
        directions = [
            CELLS[self.cell](self.units[number], name=f"{self.cell}_{number}{suffix}", **settings)
            for suffix in (("_forward", "_backward") if self.bidirectional else ("",))
        ]
        return SessionBidirectional(*directions, name=f"both_{number}") if self.bidirectional else directions[0]

    def encode_from(self, batch, state, training=False):
        starts = batch["position"] == 0
        before, after = iter(self.states(state) if self.state_width else []), []
        hidden = self.embedding_dropout(self.input_items(batch["items"]), training=training)  # (rows, steps, dim)
        if self.mean:
            hidden, left = self.mean(hidden, starts, next(before, None), training=training)
            after.append(left)
        for number, layer in enumerate(self.recurrent):
            if self.bidirectional:
                output = layer(hidden, starts, training=training)
                if number == len(self.recurrent) - 1:
                    output = layer.finished(output, batch["position"])
            else:
                output, left = layer(hidden, starts, next(before), training=training)
                after.append(left)
            output = self.output_dropout(output, training=training)
            hidden = hidden + output if self.residual and number else output  # (rows, steps, units)
        if not self.state_width:
            return hidden, state
        return hidden, ops.cast(ops.concatenate(after, axis=-1), "float32")

    def encode_state(self, state):
        states = self.states(state)[-len(self.recurrent) :]  # without the mean's
        outputs = [layer.output(left) for layer, left in zip(self.recurrent, states, strict=True)]
        return ops.cast(sum(outputs) if self.residual else outputs[-1], self.compute_dtype)

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


def _check(units, cell, embedding, embedding_dropout, residual, bidirectional, lanes):
    if not units or any(not isinstance(width, int) or width < 1 for width in units):
        raise InputError(f"units={units!r}: say the width of each layer, e.g. [100]")
    if cell not in CELLS:
        raise InputError(f"cell={cell!r}: say one of {', '.join(CELLS)}")
    if embedding not in EMBEDDINGS:
        raise InputError(f"embedding={embedding!r}: say one of {', '.join(EMBEDDINGS)}")
    if embedding == "one_hot" and embedding_dropout:
        raise InputError(f"embedding_dropout={embedding_dropout}: a one-hot input has no embedding, say 0")
    if residual and len(set(units)) > 1:
        raise InputError(f"units={units}: layers that add their input to their output must be of one width")
    if bidirectional and lanes:
        raise InputError(f"lanes={lanes}: a session that is also read backwards has no state to carry, say None")
