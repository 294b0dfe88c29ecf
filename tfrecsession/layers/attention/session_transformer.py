"""A stack of causal attention blocks over packed rows, with a state of bounded size to go on from."""

from __future__ import annotations

import keras
import tensorflow as tf
from keras import ops

from tfrecsession.errors import InputError
from tfrecsession.layers.attention.windowed_attention import attend

POSITIONS = ("relative", "learned", None)
STYLES = ("classic", "modern")


@keras.saving.register_keras_serializable(package="tfrecsession")
class SessionTransformer(keras.layers.Layer):
    """Self-attention of every event over the newest events of its session up to itself.

        classic   y = x + drop(A(LN x)),             z = y + drop(F(LN y)),   F(n) = relu(n W_1 + b_1) W_2 + b_2
        modern    y = x + s(x G) * drop(A(LN x)),    z = y + s(y H) * drop(F(LN y)),   F(n) = (silu(n W_1) * n W_3) W_2
        A(n)_t = sum_j a_tj n_j V (times O if modern),   a_t = softmax_j(n_t Q (n_j K)' / sqrt(width) + r[t - j])
        output = LN(the last block)

    Classic is the block of SASRec (arXiv 1808.09781, normalized before each part, as its equation has it); modern has
    the gates of LiGR and the SwiGLU feed-forward of eSASRec (arXiv 2508.06450). In every block, j runs over the newest
    `window` events of the session up to t: a row costs steps * window, and the state of a session is bounded.

    The state of a row is `[keys and values of the newest window - 1 events, block by block | output | events]`.

    Args:
        units: width of inputs and outputs.
        blocks: how many blocks.
        heads: of the attention; divides `units`.
        window: the newest events that an event reads, itself included.
        positions: "relative", r learned per head and age; "learned", a vector per position, counted from the session's
            first event up to `window` - 1, added to the input; None: order is not seen within the window.
        style: "classic" or "modern".
        expand: width of the feed-forward part in units.
        dropout: share of each part's output, and of the input, set to zero in training.
    """

    def __init__(
        self,
        units: int,
        blocks: int = 2,
        heads: int = 1,
        window: int = 20,
        positions: str | None = "relative",
        style: str = "classic",
        expand: int = 1,
        dropout: float = 0.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if units % heads:
            raise InputError(f"heads={heads}: must be a divisor of units={units}")
        if window < 2:
            raise InputError(f"window={window}: must be at least 2 events")
        self.units = units
        self.blocks = blocks
        self.heads = heads
        self.window = window
        self.positions = positions
        self.style = style
        self.expand = expand
        self.dropout = dropout
        self.drop = keras.layers.Dropout(dropout)

        def dense(width, bias, name):
            return keras.layers.Dense(width, use_bias=bias, name=name)

        def norm(name):
            return keras.layers.LayerNormalization(epsilon=1e-6, name=name)

        self.norms = [[norm(f"norm_{n}_attention"), norm(f"norm_{n}_forward")] for n in range(blocks)]
        self.projections = [dense(3 * units, False, f"projection_{n}") for n in range(blocks)]  # Q | K | V
        self.biases = []
        modern = style == "modern"
        self.inner = [dense((2 if modern else 1) * expand * units, not modern, f"inner_{n}") for n in range(blocks)]
        self.outer = [dense(units, not modern, f"outer_{n}") for n in range(blocks)]
        self.joins = [dense(units, False, f"join_{n}") for n in range(blocks if modern else 0)]  # O
        self.gates = [[dense(units, True, f"gate_{n}_{p}") for p in (0, 1)] for n in range(blocks if modern else 0)]
        self.last_norm = norm("last_norm")

    @property
    def state_width(self) -> int:
        return self.blocks * 2 * (self.window - 1) * self.units + self.units + 1

    def build(self, inputs_shape, position_shape=None, state_shape=None):
        shape = (None, None, self.units)
        layers = [
            *sum(self.norms, []),
            *self.projections,
            *self.inner,
            *self.joins,
            *sum(self.gates, []),
            self.last_norm,
        ]
        for layer in layers:
            layer.build(shape)
        for layer in self.outer:
            layer.build((None, None, self.expand * self.units))
        if self.positions == "relative":
            self.biases = [
                self.add_weight(name=f"age_{n}", shape=(self.window, self.heads), initializer="zeros")
                for n in range(self.blocks)
            ]
        elif self.positions == "learned":
            self.position_table = self.add_weight(
                name="positions",
                shape=(self.window, self.units),
                initializer=keras.initializers.RandomNormal(0.0, 0.02),
            )
        self.built = True

    def call(self, inputs, position, state=None, training=False):
        """Encodes packed rows.

        Args:
            inputs: float [rows, steps, units].
            position: int32 [rows, steps], 0 where a session starts.
            state: float32 [rows, state_width], read by a first session that began before (position > 0 at the first
                step); zeros: nothing came before. None: every row starts afresh, and no state is returned.
            training: whether dropout acts.

        Returns:
            float [rows, steps, units]; with a state also float32 [rows, state_width], the state after the last step.
        """
        steps = tf.range(tf.shape(position)[1])
        before, event = [None] * self.blocks, tf.cast(position, tf.int32)  # event: its number in the session
        reach = tf.minimum(event, steps)
        if state is not None:
            before, count = self._unpacked(state, inputs.dtype)
            event = reach = tf.where(event > steps, count[:, None] + steps, event)
        reach = tf.minimum(reach, self.window - 1)  # (rows, steps)
        hidden = inputs  # (rows, steps, units)
        if self.positions == "learned":
            vectors = tf.cast(tf.convert_to_tensor(self.position_table), inputs.dtype)
            hidden += tf.gather(vectors, tf.minimum(event, self.window - 1))
        hidden, after = self.drop(hidden, training=training), []
        for number in range(self.blocks):
            hidden, kept = self._block(number, hidden, reach, before[number], training)
            after.append(kept)
        hidden = self.last_norm(hidden)  # (rows, steps, units)
        if state is None:
            return hidden
        return hidden, self._packed(after, hidden, tf.minimum(event[:, -1] + 1, self.window))

    def output(self, state):
        """Returns the output of the step that left this state: [rows, state_width] -> [rows, units]."""
        return state[:, -1 - self.units : -1]

    def _block(self, number, hidden, reach, before, training):
        attention_norm, forward_norm = self.norms[number]
        projected = self.projections[number](attention_norm(hidden))  # (rows, steps, 3 units)
        width = self.units // self.heads
        shape = tf.concat([tf.shape(hidden)[:2], [self.heads, width]], axis=0)
        queries, keys, values = (
            tf.ensure_shape(tf.reshape(part, shape), (*hidden.shape[:2], self.heads, width))
            for part in tf.split(projected, 3, axis=-1)
        )  # (rows, steps, heads, width)
        bias = tf.convert_to_tensor(self.biases[number]) if self.biases else None
        read = attend(queries * width**-0.5, keys, values, reach, self.window, bias, before)
        read = tf.reshape(read, tf.shape(hidden))  # (rows, steps, units)
        read = tf.ensure_shape(read, hidden.shape)
        if self.joins:
            read = self.joins[number](read)
        hidden = self._add(number, 0, hidden, read, training)
        inner = self.inner[number](forward_norm(hidden))  # (rows, steps, expand * units, modern: twice that)
        if self.style == "modern":
            gate, inner = tf.split(inner, 2, axis=-1)
            inner *= ops.silu(gate)
        else:
            inner = ops.relu(inner)
        hidden = self._add(number, 1, hidden, self.outer[number](inner), training)
        kept = None
        if before is not None:
            both = zip(before, (keys, values), strict=True)
            kept = [tf.concat([old, new], axis=1)[:, 1 - self.window :] for old, new in both]
        return hidden, kept

    def _add(self, number, part, hidden, found, training):
        found = self.drop(found, training=training)
        if self.style == "modern":
            found *= ops.sigmoid(self.gates[number][part](hidden))
        return hidden + found

    def _unpacked(self, state, dtype):
        """Splits a state: keys and values [rows, window - 1, heads, width] of each block, and the events [rows]."""
        kept, count = state[:, : -1 - self.units], tf.cast(state[:, -1], tf.int32)
        shape = [-1, self.blocks, 2, self.window - 1, self.heads, self.units // self.heads]
        kept = tf.cast(tf.reshape(kept, [tf.shape(state)[0], *shape[1:]]), dtype)
        return [(kept[:, number, 0], kept[:, number, 1]) for number in range(self.blocks)], count

    def _packed(self, after, hidden, count):
        age = tf.range(self.window - 1, 0, -1)  # of the kept steps, seen from the next one
        is_kept = tf.cast(age <= count[:, None], tf.float32)[:, None, None, :, None, None]
        kept = tf.cast(tf.stack([tf.stack(both, axis=1) for both in after], axis=1), tf.float32) * is_kept
        rows = tf.shape(hidden)[0]
        kept = tf.reshape(kept, [rows, self.blocks * 2 * (self.window - 1) * self.units])
        last = tf.cast(hidden[:, -1], tf.float32)  # (rows, units)
        return tf.concat([kept, last, tf.cast(count, tf.float32)[:, None]], axis=1)  # (rows, state_width)

    def compute_output_shape(self, inputs_shape, position_shape=None, state_shape=None):
        return inputs_shape if state_shape is None else (inputs_shape, state_shape)

    def get_config(self):
        return super().get_config() | {
            "units": self.units,
            "blocks": self.blocks,
            "heads": self.heads,
            "window": self.window,
            "positions": self.positions,
            "style": self.style,
            "expand": self.expand,
            "dropout": self.dropout,
        }
