"""Models that compute in half precision: how they are made, kept and compiled."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import keras

from tfrecsession.optimizers import LazyOptimizer, LossScale


@contextlib.contextmanager
def made_in(precision: str | None) -> Iterator[None]:
    """Layers that are made in this block compute in `precision`, as "mixed_bfloat16"; None: in what Keras is set to."""
    before = keras.config.dtype_policy()
    if precision is not None:
        keras.config.set_dtype_policy(precision)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


class InPrecision:
    """A model comes back from its file in the precision it was made in, whatever Keras is set to by then; in
    `mixed_float16`, where small gradients vanish, its lazy optimizer is put into a `LossScale`."""

    def compile(self, optimizer="rmsprop", **kwargs):
        if isinstance(optimizer, LazyOptimizer) and self.dtype_policy.name == "mixed_float16":
            optimizer = LossScale(optimizer)  # Keras would take its own, which makes sparse gradients dense
        super().compile(optimizer=optimizer, **kwargs)

    @classmethod
    def from_config(cls, config):
        def read(value):
            nested = isinstance(value, dict) and "class_name" in value
            return keras.saving.deserialize_keras_object(value) if nested else value

        with made_in(config.get("precision")):
            return cls(**{name: read(value) for name, value in config.items() if name != "precision"})
