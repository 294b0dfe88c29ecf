"""Encoders of the columns of item content: what `ItemContent` returns for a column -> a vector per item."""

from __future__ import annotations

import itertools
import math

import keras
import tensorflow as tf
from keras import ops

from tfrecsession.layers.items.gather import gather_rows

LENGTH = 0.3  # of the initial vector of a value
KNOTS = 8  # of the piecewise linear function of a number's quantile
ALPHABET_ROWS = 64  # codes of characters, padding included
CHARACTER_DIM, CHARACTER_FILTERS = 16, 32
IMAGE_FILTERS = (16, 32, 64)
AUDIO_FILTERS, AUDIO_WIDTH = (32, 64, 64), 4  # frames that a filter spans


class _Column(keras.layers.Layer):
    """Base of the encoders of one column."""

    def __init__(self, column, dim, **kwargs):
        super().__init__(**{"dtype": "float32", **kwargs})
        self.column, self.dim = column, dim
        self.missing = self.add_weight(name="missing", shape=(dim,), initializer="zeros", autocast=False)
        self.create()
        self.built = True

    def create(self):
        """Creates the weights."""

    def normal(self, fan: int = 1):
        """Returns an initializer of vectors of length LENGTH, for sums over `fan` inputs that are divided by `fan`."""
        return keras.initializers.RandomNormal(stddev=LENGTH * (fan / self.dim) ** 0.5)

    def value_table(self):
        """Creates the table of values; the rows of missing and unknown ones start at 0."""
        normal = self.normal()

        def initial(shape, dtype=None):
            return normal(shape, dtype=dtype) * ops.cast(ops.arange(shape[0])[:, None] > 1, dtype)

        shape = (self.column.codes, self.dim)
        return self.add_weight(name="values", shape=shape, initializer=initial, autocast=False)

    def create_projection(self, width: int):
        self.projection = self.add_weight(
            name="projection", shape=(width, self.dim), initializer=self.normal(width), autocast=False
        )

    def project(self, inputs):
        """Projects float32 [n, width] -> [n, dim], divided by the width.

        A step of an optimizer that is right for embeddings then moves the result as far as it moves an embedding.
        """
        return tf.matmul(inputs, self.projection.value) / inputs.shape[-1]

    def create_filters(self, name: str, *shape: int):
        return self.add_weight(
            name=name, shape=shape, initializer=keras.initializers.RandomNormal(stddev=2**0.5), autocast=False
        )

    def or_missing(self, vectors, present):
        """Replaces the vectors of missing values: float32 [n, dim], bool [n] -> [n, dim]."""
        return tf.where(present[:, None], vectors, self.missing)


class _Values(_Column):
    """Mean of the embeddings of a category's value, or of those of a list."""

    def create(self):
        self.table = self.value_table()

    def call(self, content):
        codes = content[self.column.name]  # (n, width)
        mask = tf.cast(codes > 0, tf.float32)  # (n, width)
        total = tf.reduce_sum(gather_rows(self.table.value, codes) * mask[..., None], axis=1)  # (n, dim)
        count = tf.reduce_sum(mask, axis=1)  # (n,)
        return self.or_missing(total / tf.maximum(count, 1.0)[:, None], count > 0)


class _Words(_Column):
    """Sum of the embeddings of a text's words, weighted by TF-IDF.

    The weights of n words, of length 1, have a sum of up to sqrt(n), and Adam and Adagrad step as far whatever the
    gradient. The lazy optimizers therefore take 1/sqrt(n) of the learning rate, with the n of the longest text, so that
    a text moves no farther in a step than the vector of an id. At the full rate long texts outgrow the ids.
    """

    def create(self):
        self.table = self.value_table()
        self.table.rate_factor = self.column.width**-0.5

    def call(self, content):
        codes, weights = content[self.column.name], content[f"{self.column.name}/weight"]  # (n, width) each
        total = tf.reduce_sum(gather_rows(self.table.value, codes) * weights[..., None], axis=1)  # (n, dim)
        return self.or_missing(total, tf.reduce_any(codes > 0, axis=1))


class _Number(_Column):
    """Linear function of the standardized number, and a piecewise linear one of its quantile."""

    def create(self):
        self.create_projection(1 + KNOTS)

    def call(self, content):
        z, quantile, present = tf.unstack(content[self.column.name], axis=1)  # (n,) each
        knots = tf.linspace(0.0, 1.0, KNOTS)
        hats = tf.maximum(1 - tf.abs(quantile[:, None] - knots) * (KNOTS - 1), 0.0)  # (n, knots)
        return self.or_missing(self.project(tf.concat([z[:, None], hats], axis=1)), present > 0)


class _Vector(_Column):
    """Projection of a given vector, whose entries are standardized."""

    def create(self):
        self.create_projection(self.column.width)

    def call(self, content):
        scaled = (content[self.column.name] - self.column.mean) / self.column.deviation  # (n, width)
        return self.or_missing(self.project(scaled), content[f"{self.column.name}/present"] > 0)


class _Characters(_Column):
    """CNN over the characters of a name: filters of 3 and 5 characters, ReLU, maximum over the positions."""

    def create(self):
        normal = keras.initializers.RandomNormal(stddev=1.0)
        shape = (ALPHABET_ROWS, CHARACTER_DIM)
        self.table = self.add_weight(name="characters", shape=shape, initializer=normal, autocast=False)
        self.filters = [
            self.create_filters(f"filters_{size}", size, CHARACTER_DIM, CHARACTER_FILTERS) for size in (3, 5)
        ]
        self.create_projection(2 * CHARACTER_FILTERS)

    def call(self, content):
        codes = tf.cast(content[self.column.name], tf.int32)  # (n, width)
        mask = tf.cast(codes > 0, tf.float32)[..., None]  # (n, width, 1)
        vectors = gather_rows(self.table.value, codes) * mask  # (n, width, characters' dim)
        pooled = [
            tf.reduce_max(tf.nn.relu(tf.nn.conv1d(vectors, scaled(kernel), 1, "SAME")) * mask, axis=1)  # (n, filters)
            for kernel in self.filters
        ]
        features = standardized(tf.concat(pooled, axis=1))  # (n, filters)
        return self.or_missing(self.project(features), tf.reduce_any(codes > 0, axis=1))


class _Image(_Column):
    """CNN over the pixels: three convolutions of 3 x 3 with stride 2, ReLU, mean over what is left."""

    def create(self):
        channels = [self.column.shape[-1], *IMAGE_FILTERS]
        self.filters = [
            self.create_filters(f"filters_{n}", 3, 3, *pair) for n, pair in enumerate(itertools.pairwise(channels))
        ]
        self.create_projection(channels[-1])

    def call(self, content):
        maps = tf.cast(content[self.column.name], tf.float32) / 127.5 - 1  # (n, height, width, channels)
        for kernel in self.filters:
            maps = tf.nn.relu(tf.nn.conv2d(maps, scaled(kernel), 2, "SAME"))  # (n, height / 2, width / 2, filters)
        features = standardized(tf.reduce_mean(maps, axis=[1, 2]))  # (n, filters)
        return self.or_missing(self.project(features), content[f"{self.column.name}/present"] > 0)


class _Audio(_Column):
    """CNN over the frames of a spectrogram, whose bands are channels (van den Oord et al., NIPS 2013).

        x_0 = (frames - mean) / deviation;   x_l = ReLU(conv of AUDIO_WIDTH frames with stride 2 (x_{l-1})), l = 1..3

    The features are the means and the maxima of x_3 over time.
    """

    def create(self):
        channels = [self.column.width, *AUDIO_FILTERS]
        pairs = itertools.pairwise(channels)
        self.filters = [self.create_filters(f"filters_{n}", AUDIO_WIDTH, *pair) for n, pair in enumerate(pairs)]
        self.create_projection(2 * channels[-1])

    def call(self, content):
        frames = (content[self.column.name] - self.column.mean) / self.column.deviation  # (n, frames, bands)
        for kernel in self.filters:
            frames = tf.nn.relu(tf.nn.conv1d(frames, scaled(kernel), 2, "SAME"))  # (n, frames / 2, filters)
        pooled = [tf.reduce_mean(frames, axis=1), tf.reduce_max(frames, axis=1)]  # (n, filters) each
        features = standardized(tf.concat(pooled, axis=1))  # (n, 2 filters)
        return self.or_missing(self.project(features), content[f"{self.column.name}/present"] > 0)


def scaled(kernel):
    """Divides a kernel by the square root of its inputs, so that all kernels learn at one pace."""
    return kernel.value / math.prod(kernel.shape[:-1]) ** 0.5


def standardized(features):
    """Returns features with mean 0 and deviation 1 over each row, [n, features] -> the same."""
    mean, variance = tf.nn.moments(features, axes=[1], keepdims=True)
    return (features - mean) * tf.math.rsqrt(variance + 1e-6)


ENCODERS = {
    "category": _Values,
    "list": _Values,
    "words": _Words,
    "number": _Number,
    "vector": _Vector,
    "characters": _Characters,
    "image": _Image,
    "audio": _Audio,
}
"""Kind of a column -> its encoder. To add one, write a subclass of `_Column`."""
