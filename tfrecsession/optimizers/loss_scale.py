"""Loss scaling for half precision, with sparse gradients."""

import keras
import tensorflow as tf

from tfrecsession.errors import InputError


@keras.saving.register_keras_serializable(package="tfrecsession")
class LossScale(keras.optimizers.LossScaleOptimizer):
    """The optimizer of a `mixed_float16` model with sparse gradients (arXiv 1710.03740, section 3.2).

    The loss is multiplied by a scale before differentiation, so that small gradients do not vanish in float16; the
    gradients are divided by it. A step with a gradient that is not finite is skipped and the scale halved. After
    `dynamic_growth_steps` steps without one the scale is doubled. Scales are powers of two: they change no digit.

    It is Keras' `LossScaleOptimizer`, but it reads and scales only the rows that a sparse gradient names. With
    gradients summed over several batches (`gradient_accumulation_steps` of the inner optimizer), a batch with a
    gradient that is not finite is skipped and does not count. `compile` wraps a lazy optimizer in it automatically
    where the model is `mixed_float16`. For one worker only.

    Args:
        inner_optimizer: the optimizer to wrap.
        initial_scale: from 1 to `highest`.
        dynamic_growth_steps: how many steps without infinite gradients double the scale.
        highest: upper limit of the scale.

    Raises:
        InputError: `initial_scale` or `dynamic_growth_steps` out of range.
    """

    def __init__(
        self, inner_optimizer, initial_scale=2.0**15, dynamic_growth_steps=2000, highest=2.0**24, name="loss_scale"
    ):
        if not 1 <= initial_scale <= highest:
            raise InputError(f"initial_scale={initial_scale}: must be from 1 to highest, {highest:g}")
        if dynamic_growth_steps < 1:
            raise InputError(f"dynamic_growth_steps={dynamic_growth_steps}: must be at least 1")
        super().__init__(inner_optimizer, initial_scale, dynamic_growth_steps, name=name)
        self.highest = highest

    def check_finite(self, grads):
        """Returns whether all values of all gradients are finite, bool []."""
        values = [getattr(gradient, "values", gradient) for gradient in grads if gradient is not None]
        return tf.reduce_all([tf.reduce_all(tf.math.is_finite(value)) for value in values])

    def _stateful_handle_finite_grads(self, grads, trainable_variables):
        inverse = 1.0 / self.dynamic_scale.value
        self.inner_optimizer.apply([_scaled(gradient, inverse) for gradient in grads], trainable_variables)
        good = self.step_counter.value + 1
        grows = good >= self.dynamic_growth_steps
        self.step_counter.assign(tf.where(grows, tf.zeros_like(good), good))
        grown = tf.minimum(2.0 * self.dynamic_scale.value, tf.cast(self.highest, tf.float32))
        self.dynamic_scale.assign(tf.where(grows, grown, self.dynamic_scale.value))

    # Delegated to the inner optimizer ---------------------------------------------------------------------------------

    @property
    def norms(self):
        return getattr(self.inner_optimizer, "norms", None)

    def watch_norms(self, variables):
        """Calls `LazyOptimizer.watch_norms` of the inner optimizer."""
        watch = getattr(self.inner_optimizer, "watch_norms", None)
        return bool(watch and watch(variables))

    @property
    def training_state(self):
        return getattr(self.inner_optimizer, "training_state", ())

    def get_config(self):
        return super().get_config() | {"highest": self.highest}


def _scaled(gradient, factor):
    if isinstance(gradient, tf.IndexedSlices):
        return tf.IndexedSlices(
            gradient.values * tf.cast(factor, gradient.dtype), gradient.indices, gradient.dense_shape
        )
    return gradient if gradient is None else gradient * tf.cast(factor, gradient.dtype)
