"""Joins of a user's earlier items with the session so far: two levels of attention, and a gate."""

from __future__ import annotations

import keras
import tensorflow as tf

from tfrecsession.layers.attention.windowed_attention import HIDDEN


@keras.saving.register_keras_serializable(package="tfrecsession")
class LongShortAttention(keras.layers.Layer):
    """The two levels of attention of SHAN (Ying et al., IJCAI 2018).

        a_j = softmax_j(u . relu(v_j W_1 + b_1)) over the earlier items,    long = sum_j a_j v_j
        b_j = softmax_j(u . relu(x_j W_2 + b_2)) over x = [long, the events of the session so far],    sum_j b_j x_j

    The sum over the events is an `AttentiveMean`, whose inputs `session_inputs` returns. The paper's u is the vector of
    the user; here it is one for all.

    Args:
        units: width of the vectors.
        l2: factor of the squares of W_1 and W_2 in the loss, the paper's lambda_a.
    """

    def __init__(self, units: int, l2: float = 0.0, **kwargs):
        super().__init__(**kwargs)
        self.units, self.l2 = units, l2

    def build(self, *shapes):
        regularizer = keras.regularizers.L2(self.l2) if self.l2 else None
        # as in the paper: uniform within sqrt(3 / units)
        uniform = keras.initializers.RandomUniform(-((3 / self.units) ** 0.5), (3 / self.units) ** 0.5)
        for level in ("long", "session"):
            kernel = self.add_weight(
                name=f"{level}_kernel", shape=(self.units, self.units), initializer=uniform, regularizer=regularizer
            )
            bias = self.add_weight(name=f"{level}_bias", shape=(self.units,), initializer="zeros")
            setattr(self, f"{level}_kernel", kernel)
            setattr(self, f"{level}_bias", bias)
        self.context = self.add_weight(name="context", shape=(self.units, 1), initializer=uniform)
        self.built = True

    def session_inputs(self, vectors):
        """Returns the inputs of the `AttentiveMean`: float [rows, steps, units] -> float32 [rows, steps, units + 1]."""
        vectors = tf.cast(vectors, tf.float32)
        return tf.concat([vectors, self._logits(vectors, "session")], axis=-1)

    def call(self, earlier, is_item):
        """Returns `[long | its logit | 1]`, zeros where there is no item.

        Args:
            earlier: float [n, past, units].
            is_item: bool [n, past].

        Returns:
            float32 [n, units + 2].
        """
        earlier = tf.cast(earlier, tf.float32)
        logits = tf.where(is_item, self._logits(earlier, "long")[..., 0], HIDDEN)  # (n, past)
        long = tf.einsum("np,npu->nu", tf.nn.softmax(logits), earlier)  # (n, units)
        some = tf.cast(tf.reduce_any(is_item, axis=1, keepdims=True), tf.float32)  # (n, 1)
        return tf.concat([long, self._logits(long, "session"), tf.ones_like(some)], axis=-1) * some

    def join(self, session, long):
        """Returns the mean over the session and `long`: float32 [n, units + 2] twice -> float32 [n, units]."""
        mean, sums = session[:, : self.units], session[:, self.units : self.units + 1]
        weight = tf.sigmoid(long[:, self.units : self.units + 1] - sums) * long[:, -1:]  # (n, 1)
        return mean + weight * (long[:, : self.units] - mean)

    def _logits(self, vectors, level: str):
        """Returns u . relu(v W + b): float32 [..., units] -> [..., 1]."""
        kernel, bias = (tf.cast(getattr(self, f"{level}_{name}"), tf.float32) for name in ("kernel", "bias"))
        return tf.matmul(tf.nn.relu(tf.matmul(vectors, kernel) + bias), tf.cast(self.context, tf.float32))

    def get_config(self):
        return super().get_config() | {"units": self.units, "l2": self.l2}


@keras.saving.register_keras_serializable(package="tfrecsession")
class LongShortGate(keras.layers.Layer):
    """The gated join of SDM (Lv et al., CIKM 2019, arXiv 1909.00385), with the session's state s as its query.

        z = sum_j softmax_j(v_j . s) v_j over the earlier items,    p = tanh(z W + b)
        g = sigmoid(s W_s + p W_p + c),    output = (1 - g) * p + g * s;    s where there are no earlier items

    The paper's query is a profile of the user (age, sex, ...).

    Args:
        units: width of the vectors and of the state.
    """

    def __init__(self, units: int, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.profile = keras.layers.Dense(units, activation="tanh", name="profile")
        self.gate = keras.layers.Dense(units, activation="sigmoid", name="gate")

    def build(self, *shapes):
        self.profile.build((None, self.units))
        self.gate.build((None, 2 * self.units))
        self.built = True

    def call(self, session, earlier, is_item):
        """Returns the joined states.

        Args:
            session: float [n, units].
            earlier: float [n, past, units].
            is_item: bool [n, past].

        Returns:
            float [n, units].
        """
        logits = tf.cast(tf.einsum("npu,nu->np", earlier, session), tf.float32)  # (n, past)
        weights = tf.cast(tf.nn.softmax(tf.where(is_item, logits, HIDDEN)), earlier.dtype)  # (n, past)
        long = self.profile(tf.einsum("np,npu->nu", weights, earlier))  # (n, units)
        gate = self.gate(tf.concat([session, long], axis=-1))  # (n, units)
        some = tf.reduce_any(is_item, axis=1, keepdims=True)  # (n, 1)
        return tf.where(some, (1 - gate) * long + gate * session, session)

    def get_config(self):
        return super().get_config() | {"units": self.units}
