"""LRU: a complex diagonal recurrence over the session, computed over all steps at once."""

from __future__ import annotations

import keras

from tfrecsession.layers import LinearBlocks, SessionLRU
from tfrecsession.recommender.arguments import check_number, check_whole
from tfrecsession.recommender.search_space import Choice, Float, Int
from tfrecsession.recommender.sequence_model import SequenceModel
from tfrecsession.recommender.streaming import Streaming


@keras.saving.register_keras_serializable(package="tfrecsession")
class LRU(Streaming, SequenceModel):
    """Linear recurrent units for sequential recommendation (LRURec, arXiv 2310.02367).

        x_t = sqrt(dim) e_{i_t}                        [dim]: the event's item
        h_t = blocks(x_1 ... x_t)                      [dim]: `SessionLRU` and a feed-forward part (GELU), residual
        score of item i = e_i . h_t (+ b_i)            [size]: the table of the input

    The state fades at the same rates whatever comes: only the feed-forward parts are not linear. Blocks normalize their
    input, not their output as the authors' do. Event by event, `advance` gives what the whole session gives.

    Args:
        items: the vocabulary, `data.items`.
        dim: width of the item table and of the blocks.
        layers: how many blocks.
        channels: complex numbers of the state in `dim`.
        expand: width of the feed-forward part in `dim`; 0: there is none.
        dropout: share of the input and of each part's output set to zero in training.
        bias: whether every item has a bias.
        initializer: of the item table, see `ItemEmbedding`.
        negatives, score_dtype, joined, context, request, repeats, repeat_window: see `SequenceModel`.

    Raises:
        InputError: an argument out of its range.

    Example:

        model = trs.models.LRU(data.items, dim=64)
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
        "channels": Int(1, 2),
        "expand": Int(0, 4),
        "dropout": Float(0.0, 0.6),
    }

    keeps_input_width = True  # the blocks are residual

    def __init__(
        self,
        items,
        dim=100,
        layers=1,
        channels=1,
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
        check_whole("channels", channels)
        check_whole("expand", expand, 0)
        check_number("dropout", dropout, 0, 1)
        super().__init__(items, negatives=negatives, **kwargs)
        self.dim = dim
        self.channels = channels
        self.expand = expand
        self.dropout = dropout
        self.bias = bias
        self.initializer = initializer

        # Layers
        self.output_items = self.item_table(dim, bias=bias, initializer=initializer, name="items")
        self.input_items, self.output_items = self.with_content(self.output_items, self.output_items)
        recurrences = [SessionLRU(dim, channels * dim, name=f"lru_{number}") for number in range(layers)]
        self.blocks = LinearBlocks(recurrences, dim, expand, "gelu", dropout, name="blocks")
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
            "channels": self.channels,
            "expand": self.expand,
            "dropout": self.dropout,
            "bias": self.bias,
            "initializer": self.initializer,
        }
