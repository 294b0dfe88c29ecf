"""NARM: a recurrent network reads the session, attention looks back at what of it the last event is about."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from tfrecsession.batches.batch import of_histories
from tfrecsession.errors import InputError
from tfrecsession.events.id_texts import texts
from tfrecsession.layers import ItemEmbedding, SessionAttention, SessionGRU
from tfrecsession.recommender.search_space import Choice, Float
from tfrecsession.recommender.sequence_model import SequenceModel


@keras.saving.register_keras_serializable(package="tfrecsession")
class NARM(SequenceModel):
    """Neural attentive session-based recommendation (Li et al., CIKM 2017, arXiv 1711.04725).

        h_1 ... h_t = GRU(emb_1 ... emb_t)            the events of the session so far
        c_t = [h_t ; sum_j a_tj h_j]                  global: the last state; local: attention, see `SessionAttention`
        score of item i = emb_i . B c_t (+ bias_i)    bilinear, with the table that the items enter by

    Every prefix of every session is learned from in one pass over packed rows: step t looks at the steps of its own
    session up to itself, exactly as if the prefix stood alone. Of a session that is longer than a row, the newest
    events are kept (the authors' code keeps the oldest 19).

    Args:
        items: the vocabulary, `data.items`.
        units: width of each recurrent layer, first to last; of the last also that of the attention.
        dim: width of the item table.
        embedding_dropout: share of the input embedding set to zero in training.
        dropout: share of c set to zero in training.
        activation: s in the attention, "sigmoid" or "hard_sigmoid", see `SessionAttention`.
        normalize: whether attention weights sum to 1, as in the authors' code, or are the raw ones of the paper.
        reset_after: see `SessionGRU`.
        bias: whether an item's score has an offset of its own; the paper has none.
        initializer: of the item table, see `ItemEmbedding`.
        negatives, score_dtype: see `SequenceModel`.

    Example:

        model = trs.models.NARM(data.items)
        model.compile(trs.optimizers.LazyAdagrad(0.1), trs.losses.CrossEntropy(logq=1.0), [trs.metrics.Recall(20)])
        model.fit(data.train.batches(rows=64, steps=20), validation_data=data.validation.batches(), epochs=5)
        model.attention(["item-17", "item-4"])  # a weight for each of the two events
    """

    search_space = {
        "units": Choice([100], [200]),
        "dim": Choice(50, 100, 200),
        "embedding_dropout": Float(0.0, 0.5),
        "dropout": Float(0.0, 0.7),
    }

    learning = SequenceModel.learning.but(
        defaults={"epochs": 10, "decay": "linear"}, harmless=("embedding_dropout", "dropout")
    )

    def __init__(
        self,
        items,
        units=(100,),
        dim=50,
        embedding_dropout=0.25,
        dropout=0.5,
        activation="sigmoid",
        normalize=True,
        reset_after=True,
        bias=False,
        initializer=None,
        negatives="popularity",
        **kwargs,
    ):
        units = [units] if isinstance(units, int) else list(units)
        if not units or any(not isinstance(width, int) or width < 1 for width in units):
            raise InputError(f"units={units!r}: say the width of each layer, e.g. [100]")
        super().__init__(items, negatives=negatives, **kwargs)
        self.units = units
        self.dim = dim
        self.activation = activation
        self.normalize = normalize
        self.reset_after = reset_after
        self.bias = bias
        self.initializer = initializer

        self.output_items = ItemEmbedding(self.size, dim, bias=bias, initializer=initializer, name="items")
        self.embedding_dropout = keras.layers.Dropout(embedding_dropout)
        self.recurrent = [
            SessionGRU(width, reset_after=reset_after, name=f"gru_{number}") for number, width in enumerate(units)
        ]
        self.local = SessionAttention(units[-1], activation, normalize, name="attention")
        self.output_dropout = keras.layers.Dropout(dropout)
        self.decoder = keras.layers.Dense(dim, use_bias=False, name="decoder")  # B
        self.build()
        self._attended = tf.function(self._attended_by, reduce_retracing=True, autograph=False)

    @property
    def abilities(self):
        return (*super().abilities, "attention")

    def encode(self, batch, training=False):
        states = self._states(batch, training)
        return self._decoded(states, self.local(states, batch["position"]), training)

    def encode_last(self, batch, length):
        states = self._states(batch)  # (rows, steps, units)
        state = tf.gather(states, tf.maximum(length - 1, 0), batch_dims=1)
        return self._decoded(state, self.local.last(states, length))

    def attention(self, history, per_step: bool = False) -> np.ndarray:
        """Which events of a session the local encoder looks at: the weights a_tj.

        Args:
            history: item ids as they stand in the log, oldest first.
            per_step: what every step looked at, and not the last alone.

        Returns:
            float32 [events], a weight per event of the history, for the recommendation after its last one; with
            `per_step` [events, events], row t for the recommendation after event t. An unknown item weighs nothing, and
            after it everything is as before it.
        """
        ids = self.items.encode(texts(history, "history"))
        known = np.flatnonzero(ids > 1)
        weights = np.zeros((len(ids), len(ids)) if per_step else len(ids), np.float32)
        if not len(known):
            return weights
        found = self._attended(tf.constant(ids[known]), per_step).numpy()
        if not per_step:
            weights[known] = found
            return weights
        weights[np.ix_(known, known)] = found
        newest = np.cumsum(ids > 1) - 1  # which known event is the newest at each event; -1: none yet
        weights[newest >= 0] = weights[known[newest[newest >= 0]]]
        return weights

    def _attended_by(self, ids, per_step: bool):
        """int32 [events], known items -> the weights of the last event, [events], or of every one, [events, events]."""
        batch = of_histories(ids[None], self.reads)
        states, position = self._states(batch), batch["position"]
        if per_step:
            return self.local.matrix(states, position)[0]
        return self.local.last_weights(states, tf.size(ids)[None])[0]

    def _states(self, batch, training=False):
        hidden = self.embedding_dropout(self.output_items(batch["items"]), training=training)  # (rows, steps, dim)
        starts = batch["position"] == 0
        for layer in self.recurrent:
            hidden, _ = layer(hidden, starts)
        return hidden

    def _decoded(self, states, local, training=False):
        """B [h ; local], [..., dim]: its product with an item's vector is the item's score."""
        both = tf.concat([states, local], axis=-1)
        return self.decoder(self.output_dropout(both, training=training))

    def get_config(self):
        return {
            **super().get_config(),
            "units": list(self.units),
            "dim": self.dim,
            "embedding_dropout": self.embedding_dropout.rate,
            "dropout": self.output_dropout.rate,
            "activation": self.activation,
            "normalize": self.normalize,
            "reset_after": self.reset_after,
            "bias": self.bias,
            "initializer": self.initializer,
        }
