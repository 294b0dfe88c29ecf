"""The content of items, for any model: for ids a dict of tensors, and the encoders that turn them into a vector."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from tfrecsession.errors import InputError
from tfrecsession.layers.items.column_encoders import ENCODERS
from tfrecsession.layers.items.gather import gather_rows
from tfrecsession.sessions.item_columns import PLURALS, TENSORS


class ItemContent(keras.layers.Layer):
    """The content of the catalogue: for ids a dict of tensors, at a cost that follows the ids.

    Small kinds are weights with a row per id. Vectors, images and sounds stay where they lie, such as
    a memory-mapped file, and are read there on the CPU. A model that was loaded from its file has them again once it
    sees the data set.

    Args:
        columns: tuple of `sessions.content_columns.ContentColumn`.
        size: the items + 2.
    """

    def __init__(self, columns, size, **kwargs):
        super().__init__(**{"trainable": False, "dtype": "float32", **kwargs})
        self.columns, self.size = tuple(columns), size
        self.arrays: dict = {}  # name -> (values, present) of the kinds in TENSORS
        self.stored = {}
        for number, column in enumerate(self.columns):
            for key, (shape, dtype) in column.tensors().items():
                self.stored[key] = self.add_weight(
                    name=f"column_{number}{'_weight' if key.endswith('/weight') else ''}",
                    shape=(size, *shape),
                    dtype=dtype,
                    initializer="zeros",
                    trainable=False,
                    autocast=False,
                )
        self.built = True

    def hold(self, encoded: dict, tensors: dict) -> None:
        """Stores the catalogue: what `ContentColumns.encode` returned, and its `Items.tensors`."""
        for key, weight in self.stored.items():
            rows = encoded[key]
            weight.assign(np.concatenate([np.zeros((2, *rows.shape[1:]), rows.dtype), rows]))
        self.read_from(tensors)

    def read_from(self, tensors: dict) -> None:
        """Reads vectors, images and sounds from `Items.tensors` from now on.

        Raises:
            InputError: a column is missing or of another shape.
        """
        for column in self.columns:
            if column.kind in TENSORS:
                tensor = tensors.get(column.name)
                if tensor is None or tuple(tensor.values.shape[1:]) != tuple(column.shape):
                    shape = "missing" if tensor is None else f"of shape {list(tensor.values.shape[1:])}"
                    raise InputError(
                        f"content: column {column.name!r} is {shape}, this model reads {PLURALS[column.kind]} of shape "
                        f"{list(column.shape)}"
                    )
                self.arrays[column.name] = tensor.values, tensor.present

    @property
    def is_complete(self) -> bool:
        """Whether all columns can be read, those of vectors, images and sounds included."""
        return all(map(self.has, self.columns))

    def call(self, ids):
        """Returns the content of items: int32 [n] -> key -> [n, ...], zeros for padding and the unknown item.

        The key of a column is its name; NAME/weight are weights of words, NAME/present tells missing tensors.
        """
        return {key: rows for column in self.columns for key, rows in self.of_column(column, ids).items()}

    def of_column(self, column, ids) -> dict:
        """Returns the content of one column alone, see `call`."""
        if column.kind in TENSORS:
            return dict(zip((column.name, f"{column.name}/present"), self._read(column, ids), strict=True))
        return {key: gather_rows(self.stored[key].value, ids) for key in column.tensors()}

    def has(self, column) -> bool:
        """Whether a column can be read: those of vectors, images and sounds are not in a model's file."""
        return column.kind not in TENSORS or column.name in self.arrays

    def _read(self, column, ids):
        if column.name not in self.arrays:
            raise InputError(
                f"content: the {PLURALS[column.kind]} of {column.name!r} are not in the model's file; call fit or "
                "evaluate with the data set that has them"
            )
        values, present = self.arrays[column.name]
        dtype = tf.uint8 if column.kind == "image" else tf.float32

        def read(ids):
            row = np.maximum(ids - 2, 0)
            known = (ids > 1) & present[row]
            rows = np.zeros((len(ids), *column.shape), dtype.as_numpy_dtype)
            rows[known] = values[row[known]]
            return rows, known.astype(np.float32)

        rows, known = tf.numpy_function(read, [ids], (dtype, tf.float32), stateful=False)
        return tf.ensure_shape(rows, (None, *column.shape)), tf.ensure_shape(known, (None,))


@keras.saving.register_keras_serializable(package="tfrecsession")
class ContentEncoder(keras.layers.Layer):
    """The vector of an item's content: a sum over its columns.

    A column adds, by its kind: category and list, the mean of its values' embeddings; words, the sum of their
    embeddings weighted by TF-IDF; number, a linear function of itself and a piecewise linear one of its quantile;
    vector, a projection; characters, a CNN with filters of 3 and 5 characters and the maximum over them; image, a CNN
    of three layers and the mean over its pixels; audio, a CNN of three layers over time, and the mean and the maximum
    over it. A missing value adds a trained vector that starts at 0.

    Args:
        columns: tuple of `sessions.content_columns.ContentColumn`.
        dim: width of the vector.
    """

    def __init__(self, columns, dim, **kwargs):
        super().__init__(**{"dtype": "float32", **kwargs})
        self.columns, self.dim = tuple(columns), dim
        self.parts = [ENCODERS[column.kind](column, dim, name=f"column_{n}") for n, column in enumerate(self.columns)]
        self.built = True

    def call(self, content):
        """Encodes what `ItemContent` returns: key -> [n, ...] -> float32 [n, dim]."""
        return sum(part(content) for part in self.parts)

    def added_by(self, column, content):
        """Returns what a value adds beyond a missing one: a column, what `of_column` returns -> float32 [n, dim]."""
        part = self.parts[self.columns.index(column)]
        return part(content) - part.missing.value

    def get_config(self):
        return super().get_config() | {"columns": list(self.columns), "dim": self.dim}
