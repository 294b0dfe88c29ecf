"""Item vectors of a teacher, and for items that it has never seen those that a network computes from content."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from tfrecsession.errors import InputError
from tfrecsession.layers.items.gather import gather_rows
from tfrecsession.layers.items.item_content import ContentEncoder
from tfrecsession.layers.items.item_scores import ItemScores
from tfrecsession.layers.items.matmul import products
from tfrecsession.models.content.teachers import query_of

BLOCK = 4096  # items that are computed at once
RIDGE = 1e-6  # share of the mean square that the second moment of the histories is raised by


class TaughtItems(ItemScores):
    """Item vectors [size, width], as a teacher scores by them: its own, and the network's of the other items.

        v'_i = mean + scale * network(content of i)      [width]

    mean [width] and scale are the mean of the teacher's vectors and their deviation from it. Answers read a table that
    `settle` computes, so that content costs nothing there.

    Args:
        teacher: the fitted model; it is read, never changed.
        content: the `ItemContent` of the catalogue.
        columns: its columns.
        layers: widths of the hidden layers; none: the sum of the columns' encodings.
        dropout: share of each hidden layer's output that training sets to zero.
        by_scores: whether the loss compares scores.
        replace: "unseen" or "all", the items whose vectors are the network's.
        size: rows of the catalogue, at least those of the teacher.
    """

    by_products = True

    def __init__(self, teacher, content, columns, layers, dropout, by_scores, replace, size, **kwargs):
        super().__init__(**{"dtype": "float32", **kwargs})
        self.content, self.replace, self.size = content, replace, size
        self.taught_size = teacher.size
        self.of_teacher, self.of_query = teacher.score_vectors, query_of(teacher)  # functions, which Keras does not own
        self.width, self.dim = teacher.score_vectors([0]).shape[1], teacher.item_vectors().shape[1]
        self.encoder = ContentEncoder(columns, layers[0] if layers else self.width, name="encoder")
        widths = [*layers[1:], self.width] if layers else []
        self.dense = [Scaled(width, name=f"dense_{n}") for n, width in enumerate(widths)]
        self.hidden_dropout = keras.layers.Dropout(dropout)
        for before, layer in zip(layers, self.dense, strict=True):
            layer.build((None, before))

        def state(name, *shape):
            return self.add_weight(name=name, shape=shape, initializer="zeros", trainable=False, autocast=False)

        self.table = state("table", size, self.width)
        self.is_taught = state("is_taught", size)  # 1: the teacher has a vector
        self.mean = state("mean", self.width)
        self.scale = state("scale")
        self.root = state("root", self.width, self.width) if by_scores else None
        self.built = True

    @property
    def state(self) -> list:
        """The variables that follow from the catalogue, the teacher and the learned weights."""
        return [self.table, self.is_taught]

    def take_counts(self, counts) -> None:
        """Does nothing: `learn` takes the counts of the teacher."""

    def learn(self, ids, counts, queries=None) -> None:
        """Takes mean and scale from the teacher's vectors.

        Args:
            ids: int [n], the items whose vectors teach.
            counts: int [size of the teacher], events of each id in the teacher's training.
            queries: float [histories, width], whose scores are compared; None: the vectors themselves.
        """
        self.is_taught.assign(np.pad(np.asarray(counts) > 0, (0, self.size - len(counts))).astype(np.float32))
        vectors = np.concatenate(
            [np.asarray(self.of_teacher(ids[first : first + BLOCK])) for first in range(0, len(ids), BLOCK)]
        )
        centred = vectors - vectors.mean(axis=0)  # (n, width)
        scale = float(np.sqrt(np.mean(centred**2)))
        if not np.isfinite(scale) or scale < 1e-12:
            raise InputError(
                f"teacher: the vectors of its {len(ids):,} items are all alike: is it trained, on more than one item?"
            )
        self.mean.assign(vectors.mean(axis=0))
        self.scale.assign(scale)
        if self.root is not None:
            moment = queries.T @ queries / len(queries)  # (width, width)
            root = np.linalg.cholesky(moment + RIDGE * np.trace(moment) / self.width * np.eye(self.width))
            self.root.assign(root / np.sqrt(np.mean((centred / scale @ root) ** 2)))

    def compared(self, ids, training: bool = False):
        """Returns what the loss compares, of the teacher and of the network: int [n] -> float32 [n, width] twice.

        Both have mean square 1: a network that gives every item the mean has a mean squared error of 1.
        """
        target = (self.of_teacher(ids) - self.mean.value) / self.scale.value  # (n, width)
        predicted = self.network(self.content(ids), training)  # (n, width)
        if self.root is None:
            return target, predicted
        return tf.matmul(target, self.root.value), tf.matmul(predicted, self.root.value)

    def network(self, content, training: bool = False):
        """Returns standardized vectors from what `ItemContent` returns: key -> [n, ...] -> float32 [n, width]."""
        hidden = self.encoder(content)  # (n, width of the first layer)
        for layer in self.dense:
            hidden = layer(self.hidden_dropout(tf.nn.relu(hidden), training=training))  # (n, width)
        return hidden

    def predict(self, content):
        """Returns vectors from what `ItemContent` returns: key -> [n, ...] -> float32 [n, width]."""
        return self.mean.value + self.scale.value * self.network(content)

    def settle(self, ids=None, content=None) -> None:
        """Computes the table: of all items, or of `ids`, int [n], from `content`, what `ItemContent` would return."""
        ids = np.arange(2, self.size, dtype=np.int32) if ids is None else np.asarray(ids, np.int32)
        table, is_taught = self.table.numpy(), self.is_taught.numpy() > 0
        for first in range(0, len(ids), BLOCK):
            block = ids[first : first + BLOCK]
            given = content and {key: tf.constant(array[first : first + BLOCK]) for key, array in content.items()}
            vectors = self.predict(given or self.content(tf.constant(block))).numpy()
            if self.replace == "unseen":
                kept = is_taught[block]
                vectors[kept] = self.of_teacher(block[kept])
            table[block] = vectors
        self.table.assign(table)

    def known_to_teacher(self, ids):
        """Replaces items that the teacher has never seen by the unknown one: int [...] -> the same."""
        unseen = (ids > 1) & (gather_rows(self.is_taught.value, tf.maximum(ids, 0)) == 0)
        return tf.where(unseen, 1, ids)

    @property
    def content_columns(self) -> tuple:
        return tuple(self.content.columns) if self.content.is_complete else ()

    def part_of_column(self, column, ids):
        content = self.content(ids)
        missing = {key: tf.zeros_like(content[key]) for key in self.content.of_column(column, ids)}
        part = self.scale.value * (self.network(content) - self.network({**content, **missing}))  # (n, width)
        is_taught = gather_rows(self.is_taught.value, ids)[:, None] > 0
        return tf.where(is_taught, 0.0, part) if self.replace == "unseen" else part

    # As outputs

    def query(self, hidden):
        return self.of_query(hidden)

    def score_all(self, hidden):
        query = tf.cast(self.query(hidden), tf.float32)
        if self.width > query.shape[-1]:
            query = tf.pad(query, [[0, 0], [0, 1]], constant_values=1)  # (n, width): the bias has a 1
        return products(query, tf.convert_to_tensor(self.table.value))  # (n, size)

    def vectors(self, ids):
        return gather_rows(self.table.value, ids)  # (n, width)

    def all_vectors(self):
        return tf.convert_to_tensor(self.table.value)[:, : self.dim], None  # (size, dim)


class Scaled(keras.layers.Layer):
    """y = x kernel / sqrt(inputs) + bias, so that steps that are right for embeddings are right for the kernel."""

    def __init__(self, units, **kwargs):
        super().__init__(**{"dtype": "float32", **kwargs})
        self.units = units

    def build(self, input_shape):
        normal = keras.initializers.RandomNormal(stddev=2**0.5)
        self.kernel = self.add_weight(name="kernel", shape=(input_shape[-1], self.units), initializer=normal)
        self.bias = self.add_weight(name="bias", shape=(self.units,), initializer="zeros")

    def call(self, inputs):
        return tf.matmul(inputs, self.kernel.value) / inputs.shape[-1] ** 0.5 + self.bias.value  # (n, units)


def taught(items):
    """Returns the layer, which a teacher brings; InputError where there was no teacher yet."""
    if items is None:
        raise InputError("teacher: must be given before recommendations, as in fit(data.train, teacher=als)")
    return items
