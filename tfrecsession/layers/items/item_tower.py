"""The item side of a two-tower model: an item's vector from its id and its content."""

import keras
import tensorflow as tf
from keras import ops

from tfrecsession.layers.items.item_embedding import ItemEmbedding


@keras.saving.register_keras_serializable(package="tfrecsession")
class Combined(keras.layers.Layer):
    """Combines several vectors of one width: their sum, or an MLP (ReLU) over their concatenation.

    Args:
        parts: the number of vectors.
        dim: their width, and that of the result.
        hidden: widths of the MLP's hidden layers; none: the sum.
    """

    def __init__(self, parts, dim, hidden=(), **kwargs):
        super().__init__(**kwargs)
        self.parts, self.dim, self.hidden = parts, dim, list(hidden)
        self.stack = []
        width = parts * dim
        for units in [*self.hidden, dim] if self.hidden else []:
            dense = keras.layers.Dense(units, activation="relu" if len(self.stack) < len(self.hidden) else None)
            dense.build((None, width))
            self.stack.append(dense)
            width = units
        self.built = True

    def call(self, parts):
        """Combines a list of float [..., dim] -> float [..., dim]."""
        if not self.stack:
            return sum(parts)
        vectors = ops.concatenate(parts, axis=-1)  # (..., parts * dim)
        for dense in self.stack:
            vectors = dense(vectors)  # (..., units)
        return vectors

    def get_config(self):
        return super().get_config() | {"parts": self.parts, "dim": self.dim, "hidden": self.hidden}


@keras.saving.register_keras_serializable(package="tfrecsession")
class ItemTower(keras.layers.Layer):
    """v_i = combined(e_i, mean of the embeddings of the item's values in column c for every c, W numbers_i + b).

    Row 1 of the id table stands for every item not seen in training: with `dropout` it replaces other items' ids in
    training, next to their content. Only the requested rows are read.

    Args:
        size: rows of the id table: the items + 2.
        dim: width of a vector.
        hidden: widths of the hidden layers of the MLP that combines; none: a sum.
        widths, rows, numbers: of the content, see `sessions.content.Content`.
        deviation: of the initial vectors' length.
        dropout: share of the ids that training replaces by the unknown id, if there is content.
    """

    def __init__(self, size, dim, hidden=(), widths=(), rows=1, numbers=0, deviation=1.0, dropout=0.1, **kwargs):
        super().__init__(**kwargs)
        self.size, self.dim, self.hidden, self.widths = size, dim, list(hidden), list(widths)
        self.rows, self.numbers, self.deviation, self.dropout = rows, numbers, deviation, dropout

        def normal():
            return keras.initializers.RandomNormal(stddev=deviation / dim**0.5)

        self.of_id = ItemEmbedding(size, dim, initializer=normal(), name="ids")
        self.of_value = ItemEmbedding(max(rows, 3), dim, initializer=normal(), name="values") if self.widths else None
        self.of_numbers = None
        if numbers:
            self.of_numbers = keras.layers.Dense(dim, kernel_initializer=normal(), name="numbers")
            self.of_numbers.build((None, numbers))
        self.combined = Combined(1 + len(self.widths) + bool(numbers), dim, hidden, name="combined")
        self.seed_generator = keras.random.SeedGenerator()

        def content_weight(name, width, dtype):
            shape = (size, width)
            return self.add_weight(
                name=name, shape=shape, dtype=dtype, initializer="zeros", trainable=False, autocast=False
            )

        self.codes = content_weight("codes", sum(self.widths), "int32") if self.widths else None
        self.standardized = content_weight("standardized", numbers, "float32") if numbers else None
        self.built = True

    @property
    def reads_content(self):
        return bool(self.widths or self.numbers)

    def hold(self, codes, numbers):
        """Stores the content of the catalogue: int32 [items, sum of widths] and float32 [items, numbers]."""
        for weight, content in ((self.codes, codes), (self.standardized, numbers)):
            if weight is not None:
                weight.assign(tf.pad(content, [[2, 0], [0, 0]]))  # (items + 2, ...)

    def call(self, ids, training=False, read=None):
        """Returns the vectors of items: int32 [n] -> float32 [n, dim].

        `read`: int32 [sum of widths] and float32 [numbers], 0 for the content that is taken as missing; None: all is
        read.
        """
        codes = tf.gather(self.codes.value, ids) if self.widths else None  # (n, sum of widths)
        numbers = tf.gather(self.standardized.value, ids) if self.numbers else None  # (n, numbers)
        if read is not None:
            of_codes, of_numbers = read
            codes = codes * of_codes if self.widths else None
            numbers = numbers * of_numbers if self.numbers else None
        if training and self.dropout and self.reads_content:
            chance = keras.random.uniform(ops.shape(ids), seed=self.seed_generator)
            ids = tf.where(chance < self.dropout, tf.ones_like(ids), ids)
        return self.vectors(ids, codes, numbers)

    def vectors(self, ids, codes, numbers):
        """Returns the vectors of ids int32 [n] with codes int32 [n, sum of widths] and numbers float32 [n, numbers]."""
        parts, start = [self.of_id(ids)], 0
        for width in self.widths:
            code = codes[:, start : start + width]  # (n, width)
            start += width
            mask = tf.cast(code > 0, tf.float32)  # (n, width)
            total = tf.reduce_sum(self.of_value(code) * mask[..., None], axis=1)  # (n, dim)
            parts.append(tf.math.divide_no_nan(total, tf.reduce_sum(mask, axis=1, keepdims=True)))
        if self.numbers:
            parts.append(self.of_numbers(numbers))  # (n, dim)
        return self.combined(parts)  # (n, dim)

    def get_config(self):
        own = ("size", "dim", "hidden", "widths", "rows", "numbers", "deviation", "dropout")
        return super().get_config() | {name: getattr(self, name) for name in own}
