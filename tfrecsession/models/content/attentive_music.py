"""AttentiveMusic: two bidirectional encoders, over the songs of a session and over their tags, with attention each."""

from __future__ import annotations

from collections.abc import Mapping

import keras
import tensorflow as tf
from keras import ops

from tfrecsession.batches.batch import last_step
from tfrecsession.layers import SessionBidirectional, SessionGRU
from tfrecsession.layers.attention.windowed_attention import HIDDEN
from tfrecsession.layers.blocks import in_blocks
from tfrecsession.layers.items.content_vectors import ContentVectors
from tfrecsession.layers.items.item_content import ContentEncoder
from tfrecsession.layers.session_window import history_length
from tfrecsession.recommender.arguments import check_number, check_whole, checked_widths, refuse
from tfrecsession.recommender.search_space import Choice, Float, Int
from tfrecsession.recommender.sequence_model import SequenceModel
from tfrecsession.sessions.content_columns import ContentColumns
from tfrecsession.sessions.content_kinds import checked_content
from tfrecsession.sessions.item_columns import kinds_of

HELD = 24  # numbers that an event of a window holds, in the width of a state


class Branch(keras.layers.Layer):
    """A bidirectional encoder of windows, and attention over its states.

        H = [GRU forward | GRU backward] (x_1 ... x_n)             [2 units] each
        C = sum_j a_j H_j,  a = softmax_j(v . tanh(W H_j + b))     [2 units]

    Args:
        units: width of each recurrent layer and direction, first to last; the last is also the width of W.
    """

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.recurrent = [
            SessionBidirectional(
                SessionGRU(width, reset_after=True, name=f"forward_{index}"),
                SessionGRU(width, reset_after=True, name=f"backward_{index}"),
                name=f"both_{index}",
            )
            for index, width in enumerate(units)
        ]
        self.energy = keras.layers.Dense(units[-1], activation="tanh", name="energy")
        self.score = keras.layers.Dense(1, use_bias=False, name="score")

    def call(self, windows, starts, is_read):
        """Encodes windows: float [n, window, width], bool [n, window] twice -> float [n, 2 units]."""
        for layer in self.recurrent:
            windows = layer(windows, starts)  # (n, window, 2 units)
        energy = ops.cast(self.score(self.energy(windows))[..., 0], "float32")  # (n, window)
        weights = tf.nn.softmax(tf.where(is_read, energy, HIDDEN))  # (n, window)
        return ops.sum(ops.cast(weights, windows.dtype)[..., None] * windows, axis=1)  # (n, 2 units)


@keras.saving.register_keras_serializable(package="tfrecsession")
class AttentiveMusic(SequenceModel):
    """Attentive neural network over songs and their tags (STABR, Sachdeva et al., RecSys 2018, arXiv 1811.08203).

        C_s = attention(BiGRU(e_1 ... e_n))                        [2 units]: the songs, see `Branch`
        C_t = attention(BiGRU(t_1 ... t_n))                        [2 units]: the tags, t_j their mean embedding
        C = relu(W [C_s ; C_t] + b)                                [bottleneck]
        score of item i = o_i . C + b_i                            [size]

    over the newest `window` events of the session so far. With `tags=None` it is SABR: the songs alone, without C_t.

    Both directions run within the prefix that ends at an event, so no event reads a later one, and every event has its
    target. This costs `window` recurrent steps for each event, on all prefixes of a session at once.

    The paper does not say the width of the GRU, the window and the form of the attention; the defaults are ours. Its
    vector of songs without tags is 0; here it is trained and starts at 0.

    Args:
        items: the vocabulary, `data.items`.
        tags: columns of the item table, such as "tags" or ["tags", "title:words"]. Lists of tags and words are the
            paper's; columns of other kinds are encoded as `ContentEncoder` says, and summed. None: SABR.
        dim: width of the input table of songs.
        tag_dim: width of the tags' embeddings.
        units: width of each recurrent layer and direction, first to last.
        bottleneck: width of C and of the output table.
        window: the newest events of the session that are read.
        dropout: share of [C_s ; C_t] and of C set to zero in training.
        initializer: of the item tables, see `ItemEmbedding`.
        content: further columns, which join the vectors of the songs, see `SequenceModel`.
        negatives, score_dtype, joined, context, request, context_as, context_dropout, repeats, repeat_window: see
            `SequenceModel`. Context joins the songs.

    Raises:
        InputError: an argument out of its range, or `tags` that the item table does not have.

    Example:

        model = trs.models.AttentiveMusic(data.items, tags=["tags"])
        model.compile(trs.optimizers.LazyAdagrad(0.05), trs.losses.CrossEntropy(logq=1.0), [trs.metrics.Recall(20)])
        model.fit(data.train.batches(rows=64, steps=20), validation_data=data.validation.batches(), epochs=10)
    """

    # Declarations
    learning = SequenceModel.learning.but(
        defaults={"steps": 20, "epochs": 10, "learning_rate": 0.05}, harmless=("dropout",)
    )
    search_space = {
        "dim": Choice(50, 100, 200),
        "units": Choice([50], [100]),
        "bottleneck": Choice(50, 100, 200),
        "window": Int(5, 50, log=True),
        "dropout": Float(0.0, 0.5),
    }

    def __init__(
        self,
        items,
        tags=None,
        dim=50,
        tag_dim=25,
        units=(50,),
        bottleneck=50,
        window=20,
        dropout=0.1,
        initializer=None,
        negatives="popularity",
        content=(),
        **kwargs,
    ):
        # Arguments
        check_whole("dim", dim)
        check_whole("tag_dim", tag_dim)
        units = checked_widths("units", units)
        check_whole("bottleneck", bottleneck)
        check_whole("window", window)
        check_number("dropout", dropout, 0, 1)
        tags = [tags] if isinstance(tags, str) else list(tags or ())
        super().__init__(items, negatives=negatives, content=content_with_tags(items, content, tags), **kwargs)
        self.tags = tags
        self.dim = dim
        self.tag_dim = tag_dim
        self.units = units
        self.bottleneck = bottleneck
        self.window = window
        self.dropout = dropout
        self.initializer = initializer

        # Layers
        names = checked_content(tags)
        columns = self.content.columns if self.content is not None else ()
        of_tags = tuple(column for column in columns if column.name in names)
        of_songs = tuple(column for column in columns if column.name not in names)
        self.input_items = self.item_table(dim, initializer=initializer, name="input_items", scored=False)
        self.output_items = self.item_table(bottleneck, bias=True, initializer=initializer, name="items")
        self.input_items, self.output_items = self.with_content(self.input_items, self.output_items, of_songs)
        self.songs = Branch(units, name="songs")
        self.tag_items = self.tag_branch = None
        if of_tags:
            encoder = ContentEncoder(of_tags, tag_dim, name="tag_encoder")
            self.tag_items = ContentVectors(self.item_content, encoder, name="tag_items")
            self._content_layers.append(self.tag_items)
            self.tag_branch = Branch(units, name="tags")
        self.middle_dropout = keras.layers.Dropout(dropout)
        self.middle = keras.layers.Dense(bottleneck, activation="relu", name="middle")
        self.output_dropout = keras.layers.Dropout(dropout)
        self.build()

    # Recommendations

    def encode(self, batch, training=False):
        rows, steps = tf.unstack(tf.shape(batch["items"]))
        row, step = tf.meshgrid(tf.range(rows), tf.range(steps), indexing="ij")
        cells = tf.stack([tf.reshape(row, [-1]), tf.reshape(step, [-1])], axis=1)  # (rows * steps, 2)
        hidden = self._encoded(batch, cells, training)  # (rows * steps, bottleneck)
        hidden = tf.reshape(hidden, [rows, steps, self.bottleneck])  # (rows, steps, bottleneck)
        return self.with_request(hidden, batch, training)

    def encode_last(self, batch, length):
        if self.repeat_head is not None:  # it reads the encoding of every step
            return super().encode_last(batch, length)
        cells = tf.stack([tf.range(tf.size(length)), tf.maximum(length - 1, 0)], axis=1)  # (rows, 2)
        hidden = self._encoded(batch, cells)  # (rows, bottleneck)
        return self.with_request(hidden[:, None], last_step(batch, length))[:, 0]  # (rows, bottleneck)

    def _encoded(self, batch, cells, training=False):
        """Encodes the prefixes that end at the cells, int32 [n, 2], (row, step): [n, bottleneck]."""
        items, position = batch["items"], batch["position"]
        songs = self.with_context(self.input_items(items), batch, training)  # (rows, steps, dim or more)
        inputs = [songs] if self.tag_items is None else [songs, self.tag_items(items)]
        steps = items.shape[1]
        window = history_length(batch, self.window) if steps is None else min(steps, self.window)
        total = tf.shape(items)[1]
        inputs = [tf.reshape(vectors, [-1, vectors.shape[-1]]) for vectors in inputs]  # (rows * steps, width) each

        def encoded(cells):
            age = tf.range(window - 1, -1, -1)[None]  # (1, window): steps back
            step = cells[:, 1:]  # (n, 1)
            reach = tf.minimum(tf.minimum(tf.gather_nd(position, cells)[:, None], step), window - 1)  # (n, 1)
            index = cells[:, :1] * total + tf.maximum(step - age, 0)  # (n, window)
            starts, is_read = tf.equal(age, reach), age <= reach  # (n, window) each
            branches = zip((self.songs, self.tag_branch), inputs, strict=False)
            read = [branch(tf.gather(vectors, index), starts, is_read) for branch, vectors in branches]
            hidden = self.middle_dropout(tf.concat(read, axis=-1), training=training)  # (n, 2 or 4 units)
            return self.output_dropout(self.middle(hidden), training=training)  # (n, bottleneck)

        if training or not self.built:
            return encoded(cells)
        held = window * HELD * max(self.units)
        return in_blocks(encoded, [cells], held, tf.TensorSpec((None, self.bottleneck), self.compute_dtype))

    # Configuration

    def get_config(self):
        return {
            **super().get_config(),
            "tags": self.tags,
            "dim": self.dim,
            "tag_dim": self.tag_dim,
            "units": list(self.units),
            "bottleneck": self.bottleneck,
            "window": self.window,
            "dropout": self.dropout,
            "initializer": self.initializer,
        }


def content_with_tags(items, content, tags: list):
    """Returns the columns of songs and of tags as one argument `content`."""
    names = checked_content(tags)
    learned = isinstance(content, ContentColumns) or (isinstance(content, Mapping) and "columns" in content)
    if learned:  # those of a saved model hold both
        there = content.names if isinstance(content, ContentColumns) else [c["name"] for c in content["columns"]]
        if missing := [name for name in names if name not in there]:
            refuse("content", there, f"with the tags {missing!r}, or names of columns")
    if learned or not names:
        return content
    known = kinds_of(items.content, items.tensors)
    for name in names:
        if name not in known:
            there = (
                f"one of {', '.join(known)}" if known else "None: this data set has no content, see prepare(items=...)"
            )
            refuse("tags", name, there)
    content = checked_content(content) or {}
    for name in names:
        if name in content:
            refuse("content", list(content), f"without {name!r}, which is read as tags")
    return {**content, **names}
