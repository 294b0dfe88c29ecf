"""Whether a model has learned anything yet, and the warning where it has not."""

from __future__ import annotations

import sys
import warnings

import keras
import tensorflow as tf

PACKAGE = __name__.partition(".")[0]
TABLE = 4096  # rows from which a weight is read by rows
UNTRAINED = "the exported model is untrained"
ROWS = 64  # first rows of each weight that are compared: those of a table belong to the most frequent items


class FittedState:
    """Knows whether a model was fitted, loaded, or given its weights. Mixed in before `keras.Model`.

    A custom training loop is known by its weights: they are no longer those that `build` drew.
    """

    fitted = False  # whether `fit` was called, also before the model was saved
    _drawn: int | None = None  # a hash of the first weights; None: not built yet

    @property
    def has_learned(self) -> bool:
        """Whether the weights are more than a first random draw, as far as it can be known."""
        if self.fitted or (self.compiled and int(self.optimizer.iterations) > 0):
            return True
        self.fitted = self._drawn is not None and self._drawn != self._hash_of_weights()
        return self.fitted

    def keep_first_weights(self) -> None:
        """Keeps a hash of the weights that `build` drew."""
        if self._drawn is None and tf.executing_eagerly():
            self._drawn = self._hash_of_weights()

    def _hash_of_weights(self) -> int:
        return hash(tuple(_first_rows(variable).tobytes() for variable in self.trainable_variables))

    def set_weights(self, weights):
        """Sets the weights, as Keras does; the model then counts as fitted."""
        super().set_weights(weights)
        self.fitted = True

    def load_own_variables(self, store):
        super().load_own_variables(store)
        self.fitted = True


def _first_rows(variable):
    """Returns the first rows of a Keras variable, NumPy."""
    rows = variable.value
    if len(variable.shape) and variable.shape[0] > TABLE:  # a dense read of a table that was gathered from copies it
        rows = tf.gather(rows, tf.range(ROWS))
    elif len(variable.shape):
        rows = rows[:ROWS]
    return keras.ops.convert_to_numpy(rows)


def warn_unfitted(model, meaning: str = "its answers mean nothing: call fit, or load trained weights") -> None:
    """Warns about a model that has learned nothing yet."""
    if not model.has_learned:
        warn_user(f"this {type(model).__name__} has never been fitted: {meaning}")


def warn_user(text: str) -> None:
    """Warns at the line outside of this package that called it."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == PACKAGE:
        frame, level = frame.f_back, level + 1
    warnings.warn(text, stacklevel=level)
