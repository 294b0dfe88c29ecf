"""MinGRU: a recurrence whose gates read the input alone, so that training runs over all steps at once."""

from __future__ import annotations

import keras

from tfrecsession.layers import LinearBlocks, SessionMinGRU
from tfrecsession.recommender.arguments import check_number, check_whole
from tfrecsession.recommender.search_space import Choice, Float, Int
from tfrecsession.recommender.sequence_model import SequenceModel
from tfrecsession.recommender.streaming import Streaming


@keras.saving.register_keras_serializable(package="tfrecsession")
class MinGRU(Streaming, SequenceModel):
    """Session-based recommendation with minimal GRUs (arXiv 2410.01201): linear recurrences, cheap at every step.

        x_t = sqrt(dim) e_{i_t}                        [dim]: the event's item
        h_t = blocks(x_1 ... x_t)                      [dim]: `SessionMinGRU` and a feed-forward part, residual
        score of item i = e_i . h_t (+ b_i)            [size]: the table of the input

    The gate and the candidate of a step read its input, not the state: no matrix product waits for the step before, as
    it does in GRU4Rec. Event by event, `advance` gives what the whole session gives.

    Args:
        items: the vocabulary, `data.items`.
        dim: width of the item table and of the blocks.
        layers: how many blocks.
        expand: width of the feed-forward part in `dim`; 0: there is none.
        dropout: share of the input and of each part's output set to zero in training.
        bias: whether every item has a bias.
        initializer: of the item table, see `ItemEmbedding`.
        negatives, score_dtype, joined, context, request, repeats, repeat_window: see `SequenceModel`.

    Raises:
        InputError: an argument out of its range.

    Example:

        model = trs.models.MinGRU(data.items, dim=100)
        model.compile(trs.optimizers.LazyAdam(0.002), trs.losses.CrossEntropy(logq=1.0), [trs.metrics.Recall(20)])
        model.fit(data.train.batches(rows=64, steps=20), validation_data=data.validation.batches(), epochs=5)
    """

    # Declarations
    learning = SequenceModel.learning.but(
        defaults={"steps": 20, "optimizer": "adam", "learning_rate": 0.002}, harmless=("dropout",)
    )
    search_space = {
        "dim": Choice(50, 100, 200),
        "layers": Int(1, 3),
        "expand": Int(0, 4),
        "dropout": Float(0.0, 0.6),
    }

    keeps_input_width = True  # the blocks are residual

    def __init__(
        self,
        items,
        dim=100,
        layers=1,
        expand=2,
        dropout=0.2,
        bias=True,
        initializer=None,
        negatives="popularity",
        **kwargs,
    ):
        # Arguments
        check_whole("dim", dim)
        check_whole("layers", layers)
        check_whole("expand", expand, 0)
        check_number("dropout", dropout, 0, 1)
        super().__init__(items, negatives=negatives, **kwargs)
        self.dim = dim
        self.expand = expand
        self.dropout = dropout
        self.bias = bias
        self.initializer = initializer

        # Layers
        self.output_items = self.item_table(dim, bias=bias, initializer=initializer, name="items")
        self.input_items, self.output_items = self.with_content(self.output_items, self.output_items)
        recurrences = [SessionMinGRU(dim, name=f"min_gru_{number}") for number in range(layers)]
        self.blocks = LinearBlocks(recurrences, dim, expand, "silu", dropout, name="blocks")
        self.keep_states([self.blocks])
        self.build()

    # Recommendations

    def encode_from(self, batch, state, training=False):
        hidden = self.with_context(self.input_items(batch["items"]), batch, training)  # (rows, steps, dim)
        return self.blocks(hidden * self.dim**0.5, batch["position"] == 0, state, training=training)

    def encode_state(self, state):
        return keras.ops.cast(self.blocks.output(state), self.compute_dtype)  # (rows, dim)

    # Configuration

    def get_config(self):
        return {
            **super().get_config(),
            "dim": self.dim,
            "layers": len(self.blocks.recurrences),
            "expand": self.expand,
            "dropout": self.dropout,
            "bias": self.bias,
            "initializer": self.initializer,
        }
