"""CharacterCNN: a 3D convolutional network over the characters of the session's items."""

from __future__ import annotations

import keras
import tensorflow as tf

from tfrecsession.batches.batch import last_step
from tfrecsession.layers.blocks import in_blocks
from tfrecsession.layers.items.gather import gather_rows
from tfrecsession.models.content.character_cube import CubeCNN, as_characters
from tfrecsession.recommender.arguments import check_choice, check_number, check_whole, checked_widths, refuse
from tfrecsession.recommender.search_space import Choice, Float
from tfrecsession.recommender.sequence_model import SequenceModel
from tfrecsession.sessions.content_columns import ContentColumn

FORMS = {
    "small": {"characters": 32, "embedding": 8, "filters": (8, 16, 32, 64), "hidden": 100},
    "paper": {"characters": 150, "embedding": 0, "filters": (16, 32, 64, 128, 256, 512), "hidden": 1000},
}
TARGETS = ("next", "rest")


@keras.saving.register_keras_serializable(package="tfrecsession")
class CharacterCNN(SequenceModel):
    """3D convolutions over characters of items (Tuan and Phuong, 3D convolutional networks, RecSys 2017).

        frame of an event    the characters of the item's id and of its content columns, a block of rows per field,
                             one-hot (55 rows) or as vectors (`embedding` rows), `characters` columns
        cube                 the frames of `clicks` events: of a longer session the first 3 and the last 4, in a shorter
                             one nothing behind the last
        h_t = hidden layer(residual 3D convolutions(cube_t))       [hidden], see `CubeCNN`
        score of item i = o_i . h_t + b_i                          [size]

    The cube of an event holds its session up to it and no later event. Characters stay codes until a block of cubes is
    computed. With `form="paper"` a cube of three fields has 14.4 million weights in its convolutions and costs 2.4
    billion multiplications: train it on a GPU. `form="small"` costs 11 million and trains on CPUs.

    With `targets="rest"` an event learns all later targets of its session as a set, each item once: the paper's task,
    with `target_events` of the training (`--set target_events=[cart]`). Its loss is the sum over the set, as in the
    paper, not the mean.

    From the paper are cube, network, L2 and dropout of the hidden layer. Ours are the start of the weights (He et al.
    instead of a deviation of 0.1), sampled negatives by default, and 3 first and 4 last events.

    Args:
        items: the vocabulary, `data.items`.
        form: "small" or "paper", the sizes of the four settings that are None.
        characters: of a field that are read.
        embedding: width of the vector of a character; 0: one-hot, as in the paper.
        filters: of the first convolution, and of the residual blocks after it.
        hidden: width of the hidden layer and of the output table.
        clicks: events of a session that are read.
        ids: whether the item's id, as it stands in the log, is the first field.
        targets: "next", the next item, or "rest", see above.
        dropout: share of the hidden layer set to zero in training.
        l2: weight of the squared kernel of the hidden layer in the loss.
        initializer: of the item table, see `ItemEmbedding`.
        content: columns of texts, the further fields, such as ["title", "category"]. They are read as characters.
        negatives, score_dtype, joined, request, repeats, repeat_window: see `SequenceModel`.

    Raises:
        InputError: an argument out of its range, no field at all, or a column that holds no texts.

    Example:

        model = trs.models.CharacterCNN(data.items, content=["title", "category"])
        model.compile(trs.optimizers.LazyAdam(0.001), trs.losses.CrossEntropy(logq=1.0), [trs.metrics.Recall(20)])
        model.fit(data.train.batches(rows=16, steps=16), validation_data=data.validation.batches(), epochs=10)
    """

    # Declarations
    can_be_taught = False  # its targets are not those of the batch
    learning = SequenceModel.learning.but(
        defaults={"rows": 32, "epochs": 10, "optimizer": "adam", "learning_rate": 0.001, "content_side": "input"},
        harmless=("dropout", "l2"),
    )
    search_space = {
        "embedding": Choice(None, 16, 32),
        "hidden": Choice(None, 50, 200),
        "dropout": Float(0.0, 0.6),
    }

    def __init__(
        self,
        items,
        form="small",
        characters=None,
        embedding=None,
        filters=None,
        hidden=None,
        clicks=7,
        ids=True,
        targets="next",
        dropout=0.5,
        l2=1e-4,
        initializer=None,
        negatives="popularity",
        content=(),
        content_side="input",
        **kwargs,
    ):
        # Arguments
        check_choice("form", form, FORMS)
        given = {"characters": characters, "embedding": embedding, "filters": filters, "hidden": hidden}
        chosen = {name: FORMS[form][name] if value is None else value for name, value in given.items()}
        check_whole("characters", chosen["characters"])
        check_whole("embedding", chosen["embedding"], 0)
        filters = checked_widths("filters", chosen["filters"])
        check_whole("hidden", chosen["hidden"])
        check_whole("clicks", clicks, 2)
        check_choice("ids", ids, (True, False))
        check_choice("targets", targets, TARGETS)
        check_number("dropout", dropout, 0, 1)
        check_number("l2", l2, 0)
        if content_side != "input":
            refuse("content_side", content_side, "'input': characters are read, and the ids are scored")
        content = as_characters(items, content, chosen["characters"])
        super().__init__(items, negatives=negatives, content=content, content_side=content_side, **kwargs)
        fields = int(ids) + len(self.content.columns if self.content is not None else ())
        if not fields:
            refuse("ids", ids, "True without content: there is nothing to read")
        self.form = form
        self.characters = chosen["characters"]
        self.embedding = chosen["embedding"]
        self.filters = filters
        self.hidden = chosen["hidden"]
        self.clicks = clicks
        self.ids = ids
        self.targets = targets
        self.dropout = dropout
        self.l2 = l2
        self.initializer = initializer

        # Layers
        self.id_codes = None
        if ids:
            self.id_codes = self.add_weight(
                name="id_codes",
                shape=(self.size, self.characters),
                dtype="uint8",
                initializer="zeros",
                trainable=False,
                autocast=False,
            )
            self._take_ids()
        self.output_items = self.item_table(self.hidden, bias=True, initializer=initializer, name="items")
        self.cnn = CubeCNN(fields, self.embedding, self.filters, name="cnn")
        self.dense = keras.layers.Dense(
            self.hidden, activation="relu", kernel_regularizer=keras.regularizers.L2(l2) if l2 else None, name="hidden"
        )
        self.output_dropout = keras.layers.Dropout(dropout)
        self.build()

    def _take_ids(self) -> None:
        if self.id_codes is not None:
            column = ContentColumn("item", "characters", width=self.characters)
            self.id_codes[2:].assign(column.encode(self.items.ids.tolist())["item"])

    # Content
    @property
    def content_state(self):
        return [*super().content_state, *([self.id_codes] if self.id_codes is not None else [])]

    def check_content(self):
        """Accepts all columns: each is a field."""

    def take_items(self, items):
        super().take_items(items)
        self._take_ids()

    def settle_new(self, ids, encoded, tensors):
        super().settle_new(ids, encoded, tensors)
        self._take_ids()

    # Training
    def compared(self, batch, encoded, targets, weight):
        if self.targets == "next":
            return encoded, targets, weight
        weight = tf.ones(tf.shape(targets)) if weight is None else tf.cast(weight, tf.float32)
        pairs = later(batch["segment"], targets, weight > 0)  # (pairs, 3)
        of_prefix, of_target = pairs[:, :2], tf.gather(pairs, [0, 2], axis=1)  # (pairs, 2) each
        none = [[0, 1], [0, 0]]  # one vector without a target, so that there is always one
        return (
            tf.pad(tf.gather_nd(encoded, of_prefix), none)[:, None],
            tf.pad(tf.gather_nd(targets, of_target), none[:1])[:, None],
            tf.pad(tf.gather_nd(weight, of_target), none[:1])[:, None],
        )

    # Recommendations
    def encode(self, batch, training=False):
        is_event = batch["segment"] > 0 if self.built else tf.ones(tf.shape(batch["segment"]), tf.bool)
        cells = tf.cast(tf.where(is_event), tf.int32)  # (events, 2)
        hidden = self._encoded(batch, cells, training)  # (events, hidden)
        shape = tf.concat([tf.shape(batch["items"]), [self.hidden]], axis=0)
        hidden = tf.ensure_shape(tf.scatter_nd(cells, hidden, shape), [*batch["items"].shape, self.hidden])
        return self.with_request(hidden, batch, training)  # (rows, steps, hidden)

    def encode_last(self, batch, length):
        if self.repeat_head is not None:  # it reads the encoding of every step
            return super().encode_last(batch, length)
        cells = tf.stack([tf.range(tf.size(length)), tf.maximum(length - 1, 0)], axis=1)  # (rows, 2)
        hidden = self._encoded(batch, cells)  # (rows, hidden)
        return self.with_request(hidden[:, None], last_step(batch, length))[:, 0]  # (rows, hidden)

    def codes(self, batch, cells):
        """Returns the cubes of cells, int32 [n, 2], (row, step), as codes: int32 [n, clicks, fields, characters]."""
        items, position = batch["items"], batch["position"]
        step, click, first = cells[:, 1:], tf.range(self.clicks)[None], self.clicks // 2  # (n, 1), (1, clicks)
        reach = tf.minimum(tf.gather_nd(position, cells)[:, None], step)  # (n, 1): events before the last
        from_end = (reach >= self.clicks) & (click >= first)  # (n, clicks): the middle of a longer session is left out
        steps = tf.where(from_end, step - (self.clicks - 1) + click, step - reach + click)  # (n, clicks)
        index = cells[:, :1] * tf.shape(items)[1] + tf.minimum(steps, step)  # (n, clicks)
        ids = tf.where(steps <= step, tf.gather(tf.reshape(items, [-1]), index), 0)  # (n, clicks)
        fields = [] if self.id_codes is None else [gather_rows(self.id_codes.value, ids)]
        if self.content is not None:
            found = self.item_content(ids)
            fields += [found[column.name] for column in self.content.columns]
        return tf.stack([tf.cast(field, tf.int32) for field in fields], axis=2)

    def _encoded(self, batch, cells, training=False):
        """Encodes the prefixes that end at the cells, int32 [n, 2], (row, step): [n, hidden]."""

        def encoded(cells):
            codes = tf.pad(self.codes(batch, cells), [[0, 1], [0, 0], [0, 0], [0, 0]])  # convolutions need a cube
            features = self.cnn(codes)[:-1]  # (n, features)
            return self.output_dropout(self.dense(features), training=training)  # (n, hidden)

        if training or not self.built:
            return encoded(cells)
        held = self.cnn.held(self.clicks, self.characters)
        return in_blocks(encoded, [cells], held, tf.TensorSpec((None, self.hidden), self.compute_dtype))

    # Configuration
    def get_config(self):
        return {
            **super().get_config(),
            "form": self.form,
            "characters": self.characters,
            "embedding": self.embedding,
            "filters": list(self.filters),
            "hidden": self.hidden,
            "clicks": self.clicks,
            "ids": self.ids,
            "targets": self.targets,
            "dropout": self.dropout,
            "l2": self.l2,
            "initializer": self.initializer,
        }


def later(segment, targets, counts):
    """Lists the later targets of every event, its own included, each item once.

    Args:
        segment, targets: int32 [rows, steps].
        counts: bool [rows, steps], whether a target counts.

    Returns:
        int32 [pairs, 3]: row, step of the event, step of the target.
    """
    step = tf.range(tf.shape(segment)[1])
    counts = counts & (targets > 1)
    same = (segment[:, :, None] == segment[:, None, :]) & counts[:, None, :]  # (rows, event, target)
    again = same & counts[:, :, None] & (targets[:, :, None] == targets[:, None, :]) & (step[:, None] < step)
    before = tf.reduce_max(tf.where(again, step[:, None], -1), axis=1)  # (rows, target): the same item's step before
    return tf.cast(tf.where(same & (step[:, None] <= step) & (before[:, None, :] < step[:, None])), tf.int32)
