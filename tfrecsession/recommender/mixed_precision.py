"""Models that compute in half precision: how they are created, restored and compiled."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import keras

from tfrecsession.optimizers import LazyOptimizer, LossScale


@contextlib.contextmanager
def made_in(precision: str | None) -> Iterator[None]:
    """Sets the precision of layers created in this block, e.g. "mixed_bfloat16"; None: Keras' current policy."""
    before = keras.config.dtype_policy()
    if precision is not None:
        keras.config.set_dtype_policy(precision)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


class InPrecision:
    """Restores a model in the precision it was created in, whatever Keras' current policy.

    Mixed in before `keras.Model`; `get_config` must hold "precision", the name of the dtype policy. In `mixed_float16`,
    where small gradients vanish, `compile` wraps a lazy optimizer in a `LossScale`.
    """

    def compile(self, optimizer="rmsprop", **kwargs):
        if isinstance(optimizer, LazyOptimizer) and self.dtype_policy.name == "mixed_float16":
            optimizer = LossScale(optimizer)  # Keras' own would make sparse gradients dense
        super().compile(optimizer=optimizer, **kwargs)

    @classmethod
    def from_config(cls, config):
        def deserialized(value):
            nested = isinstance(value, dict) and "class_name" in value
            return keras.saving.deserialize_keras_object(value) if nested else value

        with made_in(config.get("precision")):
            return cls(**{name: deserialized(value) for name, value in config.items() if name != "precision"})
