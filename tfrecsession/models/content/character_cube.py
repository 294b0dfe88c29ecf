"""The convolutions of CharacterCNN over cubes of characters, and the columns that they read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import keras
import tensorflow as tf

from tfrecsession.layers.items.gather import gather_rows
from tfrecsession.recommender.arguments import refuse
from tfrecsession.sessions.content_columns import ContentColumns
from tfrecsession.sessions.content_kinds import checked_content

LETTERS = 55  # rows of a one-hot character: 54 of the paper's alphabet, and one for any other


class CubeCNN(keras.layers.Layer):
    """The residual 3D convolutions of a cube [clicks, fields * rows, characters] (Tuan and Phuong, RecSys 2017).

        convolution       [5, rows, 5], stride 2 in each direction, filters[0]
        identity block    x + two convolutions [3, 3, 3], filters[0]
        projection block  for each further filter count: convolution [3, 3, 3], stride 2 over rows and characters, one
                          of stride 1, and a [1, 1, 1] convolution of that stride beside them
        average pool      [3, 3, 3], stride 2

    ReLU after each sum and between two convolutions; everything is padded ("same"). All of it computes in float32 in
    mixed precision too: TensorFlow's 3D convolutions in bfloat16 give NaN gradients on CPUs for maps smaller than the
    kernel, or end the process. The result has the compute dtype.

    Args:
        fields: blocks of rows of a frame.
        embedding: rows of a character; 0: one-hot.
        filters: see above.
    """

    def __init__(self, fields: int, embedding: int, filters, **kwargs):
        super().__init__(**kwargs)
        self.fields, self.embedding, self.filters = fields, embedding, tuple(filters)
        self.rows = embedding or LETTERS
        self.letters = None
        if embedding:
            self.letters = self.add_weight(
                name="letters",
                shape=(LETTERS + 1, embedding),
                initializer=keras.initializers.RandomNormal(stddev=(LETTERS / embedding) ** -0.5),
                autocast=False,
            )

        def convolution(count, size, strides=1, activation=None):
            return keras.layers.Conv3D(
                count,
                size,
                strides,
                padding="same",
                activation=activation,
                kernel_initializer="he_normal",
                dtype="float32",
            )

        self.first = convolution(filters[0], (5, self.rows, 5), 2, "relu")
        self.blocks = [(convolution(filters[0], 3, 1, "relu"), convolution(filters[0], 3))]
        for count in filters[1:]:
            shrink = (1, 2, 2)
            self.blocks.append(
                (convolution(count, 3, shrink, "relu"), convolution(count, 3), convolution(count, 1, shrink))
            )
        self.pool = keras.layers.AveragePooling3D(3, 2, padding="same", dtype="float32")

    @property
    def convolutions(self) -> list:
        """All convolutions, those of shortcuts too."""
        return [self.first, *(layer for block in self.blocks for layer in block)]

    def cube(self, codes):
        """Returns cubes: int32 [n, clicks, fields, characters] -> [n, clicks, fields * rows, characters, 1]."""
        codes = tf.minimum(codes, LETTERS)
        if self.letters is None:
            frames = tf.one_hot(codes - 1, LETTERS, axis=3)  # nothing for code 0
        else:
            vectors = gather_rows(self.letters.value, codes)  # (n, clicks, fields, characters, embedding)
            vectors *= tf.cast(codes > 0, vectors.dtype)[..., None]
            frames = tf.transpose(vectors, (0, 1, 2, 4, 3))
        clicks, characters = codes.shape[1], codes.shape[3]
        return tf.reshape(frames, [-1, clicks, self.fields * self.rows, characters, 1])

    def call(self, codes):
        """Encodes characters: int32 [n, clicks, fields, characters] -> [n, features]."""
        maps = self.first(self.cube(codes))  # (n, clicks / 2, rows / 2, characters / 2, filters)
        for first, second, *shortcut in self.blocks:
            beside = shortcut[0](maps) if shortcut else maps
            maps = tf.nn.relu(second(first(maps)) + beside)
        maps = tf.cast(self.pool(maps), self.compute_dtype)
        return tf.reshape(maps, [-1, math.prod(maps.shape[1:])])

    def held(self, clicks: int, characters: int) -> int:
        """Returns how many numbers the largest maps of one cube hold."""
        cube = clicks * self.fields * self.rows * characters
        return 2 * cube + 4 * math.ceil(cube / 8) * self.filters[0]


def as_characters(items, content, characters: int):
    """Returns the columns of `content` as characters of one width."""
    if isinstance(content, ContentColumns) or (isinstance(content, Mapping) and "columns" in content):
        return content  # of a saved model
    wanted = checked_content(content) or {}
    for name, kind in wanted.items():
        if kind not in (None, "characters"):
            refuse("content", f"{name}:{kind}", f"{name!r} or '{name}:characters': this model reads characters")
    if not wanted:
        return ()
    columns = ContentColumns.learn(items, dict.fromkeys(wanted, "characters")).columns
    return ContentColumns(replace(column, width=characters) for column in columns)
