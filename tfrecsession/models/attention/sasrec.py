"""SASRec: causal self-attention over the session, in its classic and a modern form."""

from __future__ import annotations

import keras

from tfrecsession.layers import SessionTransformer
from tfrecsession.layers.attention.session_transformer import POSITIONS, STYLES
from tfrecsession.recommender.arguments import check_choice, check_number, check_whole, refuse
from tfrecsession.recommender.search_space import Choice, Float, Int
from tfrecsession.recommender.sequence_model import SequenceModel
from tfrecsession.recommender.streaming import Streaming

EXPAND = {"classic": 1, "modern": 4}


@keras.saving.register_keras_serializable(package="tfrecsession")
class SASRec(Streaming, SequenceModel):
    """Self-attentive sequential recommendation (Kang and McAuley, ICDM 2018, arXiv 1808.09781).

        x_t = sqrt(dim) e_{i_t} (+ p_t)                [dim]: the event's item, with `positions="learned"` its position
        h_1 ... h_t = blocks(x_1 ... x_t)              [dim] each, see `SessionTransformer`
        score of item i = e_i . h_t (+ b_i)            [size]: the table of the input

    One pass over packed rows trains on every prefix of every session: an event reads itself and the events of its
    session before it, never another session, the future or padding. Every block reads the newest `window` events. Their
    keys and values are the state of `advance`, which equals a replay of the whole session.

    The paper's loss (binary, one negative) is by far the weakest known for this encoder; trained with sampled
    cross-entropy, as here by default, it is a strong model (arXiv 2309.07602).

    Args:
        items: the vocabulary, `data.items`.
        dim: width of the item table and of the blocks.
        layers: how many blocks.
        heads: of the attention; divides `dim`.
        window: the newest events of the session that a block reads.
        positions: "relative", a learned bias per head and age of the event read; "learned", the paper's vector per
            position, counted from the first event of the session; None: order is not seen.
        style: "classic", the paper's blocks; "modern", gated residuals and SwiGLU, as in eSASRec (arXiv 2508.06450).
        expand: width of the feed-forward part in `dim`; None: 1 in the classic style, 4 in the modern one.
        dropout: share of the input and of each part's output set to zero in training.
        bias: whether every item has a bias.
        initializer: of the item table, see `ItemEmbedding`.
        negatives, score_dtype, joined, context, request, repeats, repeat_window: see `SequenceModel`.

    Raises:
        InputError: an argument out of its range, or `heads` that do not divide `dim`.

    Example:

        model = trs.models.SASRec(data.items, dim=100)
        model.compile(trs.optimizers.LazyAdam(0.001), trs.losses.CrossEntropy(logq=1.0), [trs.metrics.Recall(20)])
        model.fit(data.train.batches(rows=64, steps=20), validation_data=data.validation.batches(), epochs=5)
    """

    # Declarations
    learning = SequenceModel.learning.but(
        defaults={"steps": 20, "optimizer": "adam", "learning_rate": 0.002}, harmless=("dropout",)
    )
    search_space = {
        "dim": Choice(50, 100, 200),
        "layers": Int(1, 4),
        "heads": Choice(1, 2),
        "positions": Choice("relative", "learned"),
        "style": Choice("classic", "modern"),
        "dropout": Float(0.0, 0.6),
    }

    keeps_input_width = True  # the blocks are residual

    def __init__(
        self,
        items,
        dim=100,
        layers=2,
        heads=1,
        window=20,
        positions="relative",
        style="classic",
        expand=None,
        dropout=0.2,
        bias=True,
        initializer=None,
        negatives="popularity",
        **kwargs,
    ):
        # Arguments
        check_whole("dim", dim)
        check_whole("layers", layers)
        check_whole("heads", heads)
        check_whole("window", window, 2)
        check_choice("positions", positions, POSITIONS)
        check_choice("style", style, STYLES)
        check_whole("expand", expand, optional=True)
        check_number("dropout", dropout, 0, 1)
        if dim % heads:
            refuse("heads", heads, f"a divisor of dim={dim}")
        super().__init__(items, negatives=negatives, **kwargs)
        self.dim = dim
        self.heads = heads
        self.window = window
        self.positions = positions
        self.style = style
        self.expand = expand
        self.dropout = dropout
        self.bias = bias
        self.initializer = initializer
        self.blocks = layers  # `layers` is Keras' list of all layers

        # Layers
        self.output_items = self.item_table(dim, bias=bias, initializer=initializer, name="items")
        self.input_items, self.output_items = self.with_content(self.output_items, self.output_items)
        self.transformer = SessionTransformer(
            dim,
            layers,
            heads,
            window,
            positions,
            style,
            expand or EXPAND[style],
            dropout,
            name="transformer",
        )
        self.keep_states([self.transformer])
        self.build()

    # Recommendations

    def encode(self, batch, training=False):
        hidden = self._encoded(batch, None, training)  # (rows, steps, dim); a state would cost time
        return self.with_request(hidden, batch, training)

    def encode_from(self, batch, state, training=False):
        return self._encoded(batch, state, training)

    def encode_state(self, state):
        return keras.ops.cast(self.transformer.output(state), self.compute_dtype)  # (rows, dim)

    def _encoded(self, batch, state, training):
        hidden = self.with_context(self.input_items(batch["items"]), batch, training)  # (rows, steps, dim)
        return self.transformer(hidden * self.dim**0.5, batch["position"], state, training=training)

    # Configuration

    def get_config(self):
        return {
            **super().get_config(),
            "dim": self.dim,
            "layers": self.blocks,
            "heads": self.heads,
            "window": self.window,
            "positions": self.positions,
            "style": self.style,
            "expand": self.expand,
            "dropout": self.dropout,
            "bias": self.bias,
            "initializer": self.initializer,
        }
