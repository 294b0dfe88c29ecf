"""GRU4Rec: a recurrent network reads the session, its state is scored against the items."""

from __future__ import annotations

import keras

from tfrecsession.errors import InputError
from tfrecsession.layers import ItemEmbedding, SessionGRU
from tfrecsession.models.sequence_model import SequenceModel


@keras.saving.register_keras_serializable(package="tfrecsession.models")
class GRU4Rec(SequenceModel):
    """Session-based recommendation with a GRU (arXiv 1511.06939), as refined in arXiv 1706.03847.

    The state after an event is the session's vector; an item's score is its dot product with the item's row of the
    output table plus the item's bias. With `embedding="tied"` the same table is the input.

    Args:
        items: the vocabulary, `data.items`.
        units: width of each recurrent layer, first to last.
        embedding: "tied" (one table for input and output) or "separate".
        dim: width of the input table where it is separate; None: the first layer's units.
        embedding_dropout: share of the input embedding set to zero in training.
        dropout: share of each layer's output set to zero in training.
        carry_dropout: whether the next step starts from the dropped state, as in the authors' code, or from the whole.
        reset_after: see `SessionGRU`.
        lanes: rows of session-parallel batches (`data.train.batches(rows=lanes, steps=1, carry=True)`), whose state is
            carried from batch to batch as a constant; None: every batch starts afresh.
        initializer: of the item tables, see `ItemEmbedding`; the authors' is "glorot_uniform".
        negatives: see `SequenceModel`.

    Example:

        model = trs.models.GRU4Rec(data.items, units=[100])
        model.compile(trs.optimizers.LazyAdagrad(0.1), trs.losses.CrossEntropy(logq=1.0), [trs.metrics.Recall(20)])
        model.fit(data.train.batches(rows=64, steps=16), validation_data=data.validation.batches(), epochs=5)
    """

    def __init__(
        self,
        items,
        units=(100,),
        embedding="tied",
        dim=None,
        embedding_dropout=0.0,
        dropout=0.3,
        carry_dropout=False,
        reset_after=False,
        lanes=None,
        initializer=None,
        negatives="popularity",
        **kwargs,
    ):
        units = [units] if isinstance(units, int) else list(units)
        if not units or any(not isinstance(width, int) or width < 1 for width in units):
            raise InputError(f"units={units!r}: say the width of each layer, e.g. [100]")
        if embedding not in ("tied", "separate"):
            raise InputError(f"embedding={embedding!r}: say 'tied' or 'separate'")
        super().__init__(items, negatives=negatives, **kwargs)
        self.units = units
        self.embedding = embedding
        self.dim = dim

        self.output_items = ItemEmbedding(self.size, units[-1], bias=True, initializer=initializer, name="items")
        self.input_items = self.output_items
        width = units[-1]
        if embedding == "separate":
            width = dim or units[0]
            self.input_items = ItemEmbedding(self.size, width, initializer=initializer, name="input_items")
        self.embedding_dropout = keras.layers.Dropout(embedding_dropout)
        self.recurrent = []
        for number, layer_units in enumerate(units):
            layer = SessionGRU(layer_units, reset_after, dropout if carry_dropout else 0.0, name=f"gru_{number}")
            layer.build((None, None, width))
            self.recurrent.append(layer)
            width = layer_units
        self.output_dropout = keras.layers.Dropout(0.0 if carry_dropout else dropout)
        self.dropout = dropout
        self.carry_dropout = carry_dropout
        self.reset_after = reset_after
        self.lanes = lanes
        self.initializer = initializer
        self.carried = [
            self.add_weight(name=f"carried_{number}", shape=(lanes, layer_units), initializer="zeros", trainable=False)
            for number, layer_units in enumerate(units if lanes else [])
        ]
        self.build()

    def encode(self, batch, training=False):
        starts = batch["position"] == 0
        if training and self.lanes not in (None, starts.shape[0]):
            raise InputError(
                f"lanes={self.lanes}, but the batches have {starts.shape[0]} rows: say batches(rows=lanes)"
            )
        hidden = self.embedding_dropout(self.input_items(batch["items"]), training=training)  # (rows, steps, dim)
        for number, layer in enumerate(self.recurrent):
            carried = self.carried[number] if training and self.lanes else None
            hidden, last = layer(hidden, starts, carried, training=training)  # (rows, steps, units)
            if carried is not None:
                carried.assign(last)
            hidden = self.output_dropout(hidden, training=training)
        return hidden

    def get_config(self):
        return {
            **super().get_config(),
            "units": list(self.units),
            "embedding": self.embedding,
            "dim": self.dim,
            "embedding_dropout": self.embedding_dropout.rate,
            "dropout": self.dropout,
            "carry_dropout": self.carry_dropout,
            "reset_after": self.reset_after,
            "lanes": self.lanes,
            "initializer": self.initializer,
        }
