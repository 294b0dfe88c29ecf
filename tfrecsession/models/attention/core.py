"""CORE: a session is a weighted mean of its items' vectors, in the space in which items are scored."""

from __future__ import annotations

import keras
import tensorflow as tf

from tfrecsession.layers import SessionTransformer
from tfrecsession.layers.attention.windowed_attention import attend
from tfrecsession.recommender.arguments import check_number, check_whole, refuse
from tfrecsession.recommender.search_space import Choice, Float, Int
from tfrecsession.recommender.sequence_model import SequenceModel


@keras.saving.register_keras_serializable(package="tfrecsession")
class CORE(SequenceModel):
    """Simple and effective session-based recommendation within a consistent representation space (arXiv 2204.11067).

        f_1 ... f_t = blocks(e_{i_1} ... e_{i_t})      [dim] each: causal attention, see `SessionTransformer`
        a_tj = softmax_j(w . f_j)                      over the newest `window` events j of the session up to t
        h_t = sum_j a_tj e_{i_j}                       [dim]: a mean of item vectors, no other output layer
        score of item i = cos(h_t, e_i) / temperature  [size]

    With `layers=0` all a_tj are equal, the paper's CORE-ave. Item vectors have length 1 wherever they are read (the
    authors' only where they are scored). One pass over packed rows trains on every prefix of every session.

    Args:
        items: the vocabulary, `data.items`.
        dim: width of the item table and of the blocks.
        layers: how many blocks weigh the events; 0: the plain mean.
        heads: of the blocks; divides `dim`.
        window: the newest events of the session that count.
        dropout: share of each part's output in the blocks set to zero in training.
        item_dropout: share of the vectors of the session's items set to zero in training.
        initializer: of the item table, see `ItemEmbedding`.
        negatives, score_dtype, joined, context, request, temperature, repeats, repeat_window: see `SequenceModel`.

    Raises:
        InputError: an argument out of its range, or `normalize=False`.

    Example:

        model = trs.models.CORE(data.items, dim=100)
        model.compile(trs.optimizers.LazyAdam(0.002), trs.losses.CrossEntropy(logq=1.0), [trs.metrics.Recall(20)])
        model.fit(data.train.batches(rows=64, steps=20), validation_data=data.validation.batches(), epochs=5)
    """

    # Declarations
    learning = SequenceModel.learning.but(
        defaults={"steps": 20, "optimizer": "adam", "learning_rate": 0.002, "normalize": True},
        space={"normalize": Choice(True)},
        harmless=("dropout", "item_dropout"),
    )
    search_space = {
        "dim": Choice(50, 100, 200),
        "layers": Int(0, 2),
        "dropout": Float(0.0, 0.6),
        "item_dropout": Float(0.0, 0.4),
    }
    keeps_input_width = True  # h is a mean of item vectors

    def __init__(
        self,
        items,
        dim=100,
        layers=2,
        heads=2,
        window=20,
        dropout=0.2,
        item_dropout=0.2,
        initializer=None,
        negatives="popularity",
        normalize=True,
        **kwargs,
    ):
        # Arguments
        check_whole("dim", dim)
        check_whole("layers", layers, 0)
        check_whole("heads", heads)
        check_whole("window", window, 2)
        check_number("dropout", dropout, 0, 1)
        check_number("item_dropout", item_dropout, 0, 1)
        if dim % heads:
            refuse("heads", heads, f"a divisor of dim={dim}")
        if not normalize:
            refuse("normalize", normalize, "True for CORE, whose scores are cosines")
        super().__init__(items, negatives=negatives, normalize=True, **kwargs)
        self.dim = dim
        self.heads = heads
        self.window = window
        self.dropout = dropout
        self.initializer = initializer
        self.blocks = layers  # `layers` is Keras' list of all layers

        # Layers
        self.output_items = self.item_table(dim, initializer=initializer, name="items")
        self.input_items, self.output_items = self.with_content(self.output_items, self.output_items)
        self.item_dropout = keras.layers.Dropout(item_dropout)
        self.transformer = self.weigh = None
        if layers:
            self.transformer = SessionTransformer(
                dim, layers, heads, window, "learned", dropout=dropout, name="transformer"
            )
            self.weigh = keras.layers.Dense(1, use_bias=False, name="weigh")  # w
        self.build()

    # Recommendations

    def encode(self, batch, training=False):
        vectors = self.with_context(self.input_items(batch["items"]), batch, training)  # (rows, steps, dim)
        vectors = self.item_dropout(vectors, training=training)
        position = batch["position"]
        if self.blocks:
            found = self.transformer(vectors * self.dim**0.5, position, training=training)  # (rows, steps, dim)
            logits = self.weigh(found)  # (rows, steps, 1)
        else:
            logits = tf.zeros_like(vectors[..., :1])
        steps = tf.range(tf.shape(position)[1])
        reach = tf.minimum(tf.minimum(tf.cast(position, tf.int32), steps), self.window - 1)  # (rows, steps)
        keys = logits[:, :, None]  # (rows, steps, 1 head, 1): with queries of 1, the logit of the event that is read
        read = attend(tf.ones_like(keys), keys, vectors[:, :, None], reach, self.window)  # (rows, steps, 1, dim)
        return self.with_request(read[:, :, 0], batch, training)  # (rows, steps, dim)

    # Configuration

    def get_config(self):
        return {
            **super().get_config(),
            "dim": self.dim,
            "layers": self.blocks,
            "heads": self.heads,
            "window": self.window,
            "dropout": self.dropout,
            "item_dropout": self.item_dropout.rate,
            "initializer": self.initializer,
        }
