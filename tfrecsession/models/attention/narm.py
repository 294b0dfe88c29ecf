"""NARM: a recurrent network over the session, with attention over its earlier events."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from tfrecsession.batches.batch import last_step
from tfrecsession.events.id_texts import texts
from tfrecsession.layers import SessionAttention, SessionGRU
from tfrecsession.recommender.arguments import check_number, checked_widths
from tfrecsession.recommender.search_space import Choice, Float
from tfrecsession.recommender.sequence_model import SequenceModel


@keras.saving.register_keras_serializable(package="tfrecsession")
class NARM(SequenceModel):
    """Neural attentive session-based recommendation (Li et al., CIKM 2017, arXiv 1711.04725).

        h_1 ... h_t = GRU(emb_1 ... emb_t)            [units] each: the events of the session so far
        c_t = [h_t ; sum_j a_tj h_j]                  [2 units]: the last state; attention, see `SessionAttention`
        score of item i = emb_i . B c_t (+ bias_i)    [size]: bilinear, with the table of the input; B [dim, 2 units]

    One pass over packed rows trains on every prefix of every session: step t attends to the steps of its own session up
    to itself, as if the prefix stood alone. A session longer than a row keeps its newest events (the authors' code
    keeps the oldest 19).

    Args:
        items: the vocabulary, `data.items`.
        units: width of each recurrent layer, first to last; the last is also the width of the attention.
        dim: width of the item table.
        embedding_dropout: share of the input embedding set to zero in training.
        dropout: share of c set to zero in training.
        activation: of the attention, "sigmoid" or "hard_sigmoid", see `SessionAttention`.
        normalize: whether attention weights sum to 1, as in the authors' code, or stay unnormalized, as in the paper.
        reset_after: see `SessionGRU`.
        bias: whether every item has a bias; the paper has none.
        initializer: of the item table, see `ItemEmbedding`.
        negatives: see `SequenceModel`, as for score_dtype, joined, context, request, context_as, context_dropout,
            repeats and repeat_window.

    Raises:
        InputError: an argument out of its range.

    Example:

        model = trs.models.NARM(data.items)
        model.compile(trs.optimizers.LazyAdagrad(0.1), trs.losses.CrossEntropy(logq=1.0), [trs.metrics.Recall(20)])
        model.fit(data.train.batches(rows=64, steps=20), validation_data=data.validation.batches(), epochs=5)
        model.attention(["item-17", "item-4"])  # a weight for each of the two events
    """

    # Declarations
    learning = SequenceModel.learning.but(
        defaults={"epochs": 10, "decay": "linear"}, harmless=("embedding_dropout", "dropout")
    )
    search_space = {
        "units": Choice([100], [200]),
        "dim": Choice(50, 100, 200),
        "embedding_dropout": Float(0.0, 0.5),
        "dropout": Float(0.0, 0.7),
    }

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
        # Arguments
        units = checked_widths("units", units)
        check_number("embedding_dropout", embedding_dropout, 0, 1)
        check_number("dropout", dropout, 0, 1)
        super().__init__(items, negatives=negatives, **kwargs)
        self.units = units
        self.dim = dim
        self.activation = activation
        self.normalize = normalize
        self.reset_after = reset_after
        self.bias = bias
        self.initializer = initializer

        # Layers
        self.output_items = self.item_table(dim, bias=bias, initializer=initializer, name="items")
        self.input_items, self.output_items = self.with_content(self.output_items, self.output_items)
        self.embedding_dropout = keras.layers.Dropout(embedding_dropout)
        self.recurrent = [
            SessionGRU(width, reset_after=reset_after, name=f"gru_{index}") for index, width in enumerate(units)
        ]
        self.local = SessionAttention(units[-1], activation, normalize, name="attention")
        self.output_dropout = keras.layers.Dropout(dropout)
        self.decoder = keras.layers.Dense(dim, use_bias=False, name="decoder")  # B
        self.build()
        self._weights_graph = tf.function(self._attention_weights, reduce_retracing=True, autograph=False)

    # Recommendations

    @property
    def abilities(self):
        return (*super().abilities, "attention")

    def encode(self, batch, training=False):
        states = self._states(batch, training)  # (rows, steps, units)
        local = self.local(states, batch["position"])  # (rows, steps, units)
        return self.with_request(self._decoded(states, local, training), batch, training)  # (rows, steps, dim)

    def encode_last(self, batch, length):
        if self.repeat_head is not None:  # it reads the encoding of every step
            return super().encode_last(batch, length)
        states = self._states(batch)  # (rows, steps, units)
        state = tf.gather(states, tf.maximum(length - 1, 0), batch_dims=1)  # (rows, units)
        hidden = self._decoded(state, self.local.last(states, length))  # (rows, dim)
        return self.with_request(hidden[:, None], last_step(batch, length))[:, 0]  # (rows, dim)

    def attention(self, history, per_step: bool = False) -> np.ndarray:
        """Returns the attention weights a_tj of the events of a session.

        Args:
            history: item ids as they stand in the log, oldest first.
            per_step: whether to return the weights of every step, not of the last alone.

        Returns:
            float32 [events], a weight per event of the history, for the recommendation after its last one; with
            `per_step` [events, events], row t for the recommendation after event t. An unknown item has weight 0, and
            its row repeats the row before it.
        """
        ids = self.items.encode(texts(history, "history"))
        known = np.flatnonzero(ids > 1)  # (known events,)
        weights = np.zeros((len(ids), len(ids)) if per_step else len(ids), np.float32)
        if not len(known):
            return weights
        known_weights = self._weights_graph(tf.constant(ids[known]), per_step).numpy()
        if not per_step:
            weights[known] = known_weights
            return weights
        weights[np.ix_(known, known)] = known_weights
        newest = np.cumsum(ids > 1) - 1  # index of the newest known event at each event; -1: none yet
        weights[newest >= 0] = weights[known[newest[newest >= 0]]]
        return weights

    def _attention_weights(self, ids, per_step: bool):
        """Returns the weights of the last of the known items, [events], or of every one, [events, events]."""
        batch = self.batch_of_histories(ids[None])  # (1, events) each
        states, position = self._states(batch), batch["position"]  # (1, events, units), (1, events)
        if per_step:
            return self.local.matrix(states, position)[0]  # (events, events)
        return self.local.last_weights(states, tf.size(ids)[None])[0]  # (events,)

    def _states(self, batch, training=False):
        hidden = self.embedding_dropout(self.input_items(batch["items"]), training=training)  # (rows, steps, dim)
        hidden = self.with_context(hidden, batch, training)  # (rows, steps, dim + width of the context)
        starts = batch["position"] == 0  # (rows, steps)
        for layer in self.recurrent:
            hidden, _ = layer(hidden, starts)  # (rows, steps, units)
        return hidden

    def _decoded(self, states, local, training=False):
        """Returns B [h ; local], [..., dim], whose product with an item's vector is the item's score."""
        both = tf.concat([states, local], axis=-1)  # (..., 2 units)
        return self.decoder(self.output_dropout(both, training=training))  # (..., dim)

    # Configuration

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
