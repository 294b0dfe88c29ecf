"""One signature of a loaded SavedModel: its inputs and outputs, and the checks before TensorFlow is called."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from tfrecsession.serving.refusal import Refusal, refusal_of

MOST_STRING = 65_536  # maximum bytes of an id


class Signature:
    """A function from named arrays to named arrays.

    Args:
        name: its name in the SavedModel, such as "serving_default".
        function: `loaded.signatures[name]`.
        fills_cores: whether one call uses all cores by itself, so that others had better wait and be joined.
        owner: kept alive as long as the function: the loaded SavedModel with its variables and tables.
        pads: whether rows may be joined with others after padding strings with "", see `Batcher`.

    Attributes:
        inputs, outputs: name -> tf.TensorSpec.
        open_lists: names of the inputs [rows, any] if all of them are strings; otherwise empty.
        by_row: whether every input and output has an open first dimension.
    """

    def __init__(self, name: str, function, pads: bool = False, owner=None, fills_cores: bool = False):
        self.name = name
        self.owner = owner
        self.function = function
        self.pads = pads
        self.fills_cores = fills_cores
        self.inputs = dict(function.structured_input_signature[1])
        self.outputs = dict(function.structured_outputs)
        specs = [*self.inputs.values(), *self.outputs.values()]
        lists = [name for name, spec in self.inputs.items() if not spec.shape[1:].is_fully_defined()]
        strings = all(self.inputs[name].shape.rank == 2 and self.inputs[name].dtype == tf.string for name in lists)
        self.open_lists = lists if strings else []
        self.by_row = bool(self.inputs) and all(open_rows(spec.shape) for spec in specs)

    def check(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Checks names, ranks and fixed dimensions, and for exports of this package the length of strings.

        Raises Refusal.
        """
        self.check_names(arrays)
        for name, array in arrays.items():
            shape = self.inputs[name].shape
            if not shape.is_compatible_with(array.shape):
                text = f"input {name!r} has shape {list(array.shape)}, expected {shape_text(shape)}"
                is_flat = self.pads and shape.rank == 2 and array.ndim == 1 and array.dtype == object
                raise Refusal("INVALID_ARGUMENT", text + (": a row is a list of strings, also one of one" * is_flat))
            if self.pads and array.dtype == object and max(map(len, array.flat), default=0) > MOST_STRING:
                raise Refusal("INVALID_ARGUMENT", f"input {name!r}: a string is longer than {MOST_STRING:,} bytes")

    def check_names(self, names) -> None:
        for name in self.inputs:
            if name not in names:
                raise Refusal("INVALID_ARGUMENT", f"Missing named input: {name} of signature {self.name!r}")
        for name in names:
            if name not in self.inputs:
                among = ", ".join(self.inputs)
                raise Refusal(
                    "INVALID_ARGUMENT", f"input {name[:100]!r} is not one of signature {self.name!r}: {among}"
                )

    def __call__(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Calls the function with checked arrays; strings are object arrays of bytes.

        Raises Refusal if the graph raises an error.
        """
        try:
            tensors = {name: tf.constant(array, self.inputs[name].dtype) for name, array in arrays.items()}
            return {name: answer.numpy() for name, answer in self.function(**tensors).items()}
        except tf.errors.OpError as error:
            raise refusal_of(error) from None


def open_rows(shape: tf.TensorShape) -> bool:
    return shape.rank is not None and shape.rank > 0 and shape[0] is None


def shape_text(shape: tf.TensorShape) -> str:
    """Formats (None, 100) as "[?, 100]"."""
    return f"[{', '.join('?' if size is None else str(size) for size in shape)}]"
