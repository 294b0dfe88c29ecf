"""RepeatNet: a recurrent network that chooses between items of the session and new ones."""

from __future__ import annotations

import keras

from tfrecsession.layers import ItemEmbedding, RepeatNetHead, SessionAttention, SessionGRU
from tfrecsession.recommender.arguments import check_number, check_whole, checked_widths, refuse
from tfrecsession.recommender.search_space import Choice, Float
from tfrecsession.recommender.sequence_model import SequenceModel


@keras.saving.register_keras_serializable(package="tfrecsession")
class RepeatNet(SequenceModel):
    """A repeat aware neural recommendation machine for session-based recommendation (AAAI 2019, arXiv 1812.02646).

        h_1 ... h_t = GRU(emb_1 ... emb_t)             [units] each: the events of the session so far
        c_t = sum_j a_tj h_j                           [units]: additive attention, see `SessionAttention`
        score of item i = [h_t ; c_t] . out_i          [size], of the items that are not in the session
        P = g P_repeat + (1 - g) P_explore             [size], see `RepeatNetHead`

    Scores are log probabilities. `repeats=True` of the other networks is a simpler mixture, in which an item of the
    session keeps its share of the softmax. The released code ends with a session's last 20 events, and so does
    `repeat_window` here, for the repeat mode and the choice; the recurrence reads the whole session.

    Args:
        items: the vocabulary, `data.items`.
        units: width of each recurrent layer, first to last; the last is also the width of the attentions.
        dim: width of the table that is read; the one that is scored has 2 units.
        embedding_dropout: share of the input embedding set to zero in training.
        dropout: share of [h ; c] set to zero in training.
        initializer: of both item tables, see `ItemEmbedding`.
        negatives, score_dtype, joined, context, request, context_as, context_dropout, repeat_window: see
            `SequenceModel`. None: the paper's softmax over all items.

    Raises:
        InputError: an argument out of its range, or `repeats=False`.

    Example:

        model = trs.models.RepeatNet(data.items)
        model.compile(trs.optimizers.LazyAdam(0.001), trs.losses.CrossEntropy(logq=1.0), [trs.metrics.Recall(20)])
        model.fit(data.train.batches(rows=64, steps=20), validation_data=data.validation.batches(), epochs=5)
    """

    # Declarations
    learning = SequenceModel.learning.but(
        defaults={"optimizer": "adam", "learning_rate": 0.002, "repeats": True, "repeat_window": 20},
        space={"repeats": Choice(True)},
        harmless=("embedding_dropout", "dropout"),
    )
    search_space = {
        "units": Choice([50], [100], [200]),
        "embedding_dropout": Float(0.0, 0.6),
        "dropout": Float(0.0, 0.6),
    }
    repeat_layer = RepeatNetHead

    def __init__(
        self,
        items,
        units=(100,),
        dim=100,
        embedding_dropout=0.25,
        dropout=0.25,
        initializer=None,
        negatives="popularity",
        repeats=True,
        repeat_window=20,
        **kwargs,
    ):
        # Arguments
        units = checked_widths("units", units)
        check_whole("dim", dim)
        check_number("embedding_dropout", embedding_dropout, 0, 1)
        check_number("dropout", dropout, 0, 1)
        if not repeats:
            refuse("repeats", repeats, "True for RepeatNet, which is a model of repeats; GRU4Rec and NARM have none")
        super().__init__(items, negatives=negatives, repeats=True, repeat_window=repeat_window, **kwargs)
        self.units = units
        self.dim = dim
        self.initializer = initializer

        # Layers
        self.output_items = ItemEmbedding(
            self.size, 2 * units[-1], initializer=initializer, name="items", **self.scoring
        )
        table = ItemEmbedding(self.size, dim, initializer=initializer, name="input_items")
        self.input_items, self.output_items = self.with_content(table, self.output_items)
        self.embedding_dropout = keras.layers.Dropout(embedding_dropout)
        self.recurrent = [SessionGRU(width, name=f"gru_{index}") for index, width in enumerate(units)]
        self.explore = SessionAttention(units[-1], "tanh", name="attention")
        self.output_dropout = keras.layers.Dropout(dropout)
        self.build()

    # Recommendations

    def encode(self, batch, training=False):
        hidden = self.embedding_dropout(self.input_items(batch["items"]), training=training)  # (rows, steps, dim)
        states = self.with_context(hidden, batch, training)  # (rows, steps, dim + width of the context)
        for layer in self.recurrent:
            states, _ = layer(states, batch["position"] == 0)  # (rows, steps, units)
        both = keras.ops.concatenate([states, self.explore(states, batch["position"])], axis=-1)
        both = self.output_dropout(both, training=training)  # (rows, steps, 2 units)
        return self.with_request(both, batch, training, keys=states)  # (rows, steps, 2 units + 1 + 2 ages)

    def cells_of_an_event(self, batch):
        return 4 * self.repeat_window * (self.repeat_window + self.units[-1])

    # Configuration

    def get_config(self):
        return {
            **super().get_config(),
            "units": list(self.units),
            "dim": self.dim,
            "embedding_dropout": self.embedding_dropout.rate,
            "dropout": self.output_dropout.rate,
            "initializer": self.initializer,
        }
