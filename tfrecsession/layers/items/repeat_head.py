"""The repeat head: a mixture of something new and something of this session again."""

from __future__ import annotations

import keras
import tensorflow as tf

from tfrecsession.errors import InputError

HIDDEN = -1e9  # the logarithm of a weight that is 0
LARGEST_ID = 1 << 24  # float32 holds ids up to it exactly


@keras.saving.register_keras_serializable(package="tfrecsession")
class RepeatHead(keras.layers.Layer):
    """Mixes the softmax over all items with the events of the session so far.

        a_j  = softmax_j(h K k_j / sqrt(width) + r[age of j])       j: the newest `window` events of the session
        g    = sigmoid(w . h + c . [last item seen before, log of the events read] + b)
        P(i) = (1 - g) softmax(scores)_i + g sum_{j: item of j is i} a_j

    h is the state that is scored, k_j the state after event j. A simple form of RepeatNet (AAAI 2019) for any encoder.
    Unknown items are not read; where no item is read, P is the softmax.

    The layer joins what P needs to h, so that one vector per event still holds all: [h | logit of g | log a of every
    age | item of every age]. Everything is computed in float32, and costs steps * window in a row.

    Args:
        window: the newest events of the session that can be repeated.
    """

    def __init__(self, window: int = 64, **kwargs):
        super().__init__(**{"dtype": "float32", **kwargs})
        if not isinstance(window, int) or isinstance(window, bool) or window < 1:
            raise InputError(f"window={window!r}: must be a whole number of events, at least 1")
        self.window = window

    def build(self, hidden_shape, *other_shapes):
        self.width = hidden_shape[-1]
        self.kernel = self.add_weight(name="kernel", shape=(self.width, self.width))  # K
        self.ages = self.add_weight(name="ages", shape=(self.window,), initializer="zeros")  # r
        self.gate_kernel = self.add_weight(name="gate_kernel", shape=(self.width, 1), initializer="zeros")  # w
        self.gate_features = self.add_weight(name="gate_features", shape=(2, 1), initializer="zeros")  # c
        start = keras.initializers.Constant(-1.0)
        self.gate_bias = self.add_weight(name="gate_bias", shape=(1,), initializer=start)  # b
        self.built = True

    def call(self, hidden, keys, items, position):
        """Joins to each step's state what it may repeat.

        Args:
            hidden: [rows, steps, width], the states that are scored.
            keys: [rows, steps, width], the states after each event.
            items: int32 [rows, steps].
            position: int32 [rows, steps], how many steps of the same session directly precede each step; those before
                the first step of the row are not read.

        Returns:
            float32 [rows, steps, width + 1 + 2 ages]; `ages` is the window, or the steps where these are known and
            fewer.
        """
        window, width, steps = self.window, self.width, items.shape[1]
        index = tf.range(tf.shape(items)[1])
        reach = tf.minimum(tf.cast(position, tf.int32), index)  # (rows, steps)
        if steps is not None and steps <= window:
            return tf.concat([hidden, self._read(hidden, keys, items, reach)], axis=-1)
        rows, steps = tf.unstack(tf.shape(items))
        blocks = (steps + window - 1) // window
        tail = blocks * window - steps

        def in_blocks(array):  # (rows, steps, ...) -> (rows * blocks, window, ...)
            padded = tf.pad(array, [[0, 0], [0, tail]] + [[0, 0]] * (len(array.shape) - 2))
            return tf.reshape(padded, [rows * blocks, window, *array.shape[2:]])

        def with_block_before(array):  # (rows, steps, ...) -> (rows * blocks, 2 window, ...)
            padded = tf.pad(array, [[0, 0], [window, tail]] + [[0, 0]] * (len(array.shape) - 2))
            cut = tf.reshape(padded, [rows, blocks + 1, window, *array.shape[2:]])
            both = tf.concat([cut[:, :-1], cut[:, 1:]], axis=2)  # (rows, blocks, 2 window, ...)
            return tf.reshape(both, [rows * blocks, 2 * window, *array.shape[2:]])

        read = self._read(in_blocks(hidden), with_block_before(keys), with_block_before(items), in_blocks(reach))
        read = tf.reshape(read, [rows, blocks * window, 1 + 2 * window])[:, :steps]  # (rows, steps, 1 + 2 window)
        return tf.ensure_shape(tf.concat([hidden, read], axis=-1), (None, None, width + 1 + 2 * window))

    # State of a session that goes on ---------------------------------------------------------------------------------

    @property
    def state_width(self) -> int:
        """The width of the state: the keys and items of the newest `window` events."""
        return self.window * (self.width + 1)

    def advance(self, hidden, key, items, state, is_event=None):
        """Advances sessions by one event.

        Args:
            hidden, key: [rows, width], the state that is scored and the state after the event.
            items: int32 [rows], the event; below 2: nothing new, the state stays.
            state: float32 [rows, state_width], zeros before the first event.
            is_event: bool [rows, 1], whether there is an event; it may have no item. None: where `items` has one.

        Returns:
            float32 [rows, width + 1 + 2 window], as `call`, and the state after the event.
        """
        hidden, key = tf.cast(hidden, tf.float32), tf.cast(key, tf.float32)
        new = tf.concat([key, tf.cast(items, tf.float32)[:, None]], axis=1)  # (rows, width + 1)
        shifted = tf.concat([state[:, self.width + 1 :], new], axis=1)  # (rows, state_width)
        state = tf.where(items[:, None] > 1 if is_event is None else is_event, shifted, state)
        events = tf.reshape(state, [-1, self.window, self.width + 1])  # oldest first
        # a state comes from outside: an id must not lie outside the table
        ids = tf.cast(tf.clip_by_value(events[..., -1], 0, LARGEST_ID), tf.int32)  # (rows, window)
        reach = tf.fill([tf.shape(ids)[0], 1], self.window - 1)
        read = self._read(hidden[:, None], events[..., :-1], ids, reach)  # (rows, 1, 1 + 2 window)
        return tf.concat([hidden, read[:, 0]], axis=-1), state

    # The mixture -----------------------------------------------------------------------------------------------------

    def split(self, joined):
        """Returns the parts of vectors: h [..., width], logit of g [...], log a and items [..., ages]."""
        ages = (joined.shape[-1] - self.width - 1) // 2
        hidden, gate, weights, items = tf.split(joined, [self.width, 1, ages, ages], axis=-1)
        return hidden, gate[..., 0], weights, tf.cast(items, tf.int32)

    def mixed(self, scores, joined):
        """Returns log P of every item: scores [n, size] of h alone, joined [n, ...] -> float32 [n, size]."""
        _, gate, weights, items = self.split(joined)
        scores = tf.cast(scores, tf.float32)
        items = tf.where(items < tf.shape(scores)[1], items, 0)
        total = self.log_total(scores, joined) + tf.nn.softplus(gate)  # (n,)
        fresh = scores - total[:, None]  # (n, size): log of (1 - g) softmax
        copied = copied_shares(gate, weights, items, items)  # (n, ages)
        both = log_of_sum(tf.gather(fresh, items, batch_dims=1), copied)  # (n, ages)
        return written(fresh, items, both)

    def log_total(self, scores, joined):
        """Returns the log of the softmax's sum: scores [n, size] of h alone, joined [n, ...] -> float32 [n]."""
        return tf.reduce_logsumexp(scores[:, 2:], axis=1)

    def mixed_among(self, ids, scores, total, joined):
        """Returns log P of some items.

        Args:
            ids: int32 [n, m], no item twice in a row; values below 2 are no items.
            scores: float32 [n, m], theirs by h alone.
            total: float32 [n], as `log_total`, or an estimate of it.
            joined: [n, width + 1 + 2 ages].

        Returns:
            float32 [n, m].
        """
        _, gate, weights, items = self.split(joined)
        fresh = scores - (total + tf.nn.softplus(gate))[:, None]  # (n, m)
        return log_of_sum(fresh, copied_shares(gate, weights, items, ids))

    def is_in_softmax(self, ids, joined):
        """Returns which items the softmax is over: int32 [n, m], joined [n, ...] -> bool [n, m]."""
        return ids > 1

    def excluded(self, joined):
        """Returns the items that take no part in the softmax of each event, int32 [n, ages], or None."""
        return None

    def losses(self, log_fresh, joined, targets):
        """Returns -log P of each target, float32 [n].

        Args:
            log_fresh: float32 [n], the log of the target's share of the softmax.
            joined: [n, width + 1 + 2 ages].
            targets: int32 [n].
        """
        _, gate, weights, items = self.split(joined)
        copied = tf.reduce_logsumexp(tf.where(items == targets[:, None], weights, HIDDEN), axis=-1)  # (n,)
        return -log_of_sum(log_fresh - tf.nn.softplus(gate), copied + tf.math.log_sigmoid(gate))

    def _read(self, hidden, keys, items, reach):
        """Returns logit of g, log a and items by age: [rows, steps, 1 + 2 ages].

        hidden [rows, steps, width] stand at the last steps of keys [rows, seen, width] and items [rows, seen]; reach
        [rows, steps] is how many steps before it each reads.
        """
        steps, ages = hidden.shape[1], min(self.window, keys.shape[1])
        queries = tf.matmul(hidden, tf.convert_to_tensor(self.kernel)) * self.width**-0.5
        logits = by_age(tf.matmul(queries, keys, transpose_b=True), ages)  # (rows, steps, ages)
        items = by_age(tf.repeat(items[:, None], steps, axis=1), ages)  # (rows, steps, ages)
        is_read = (tf.range(ages) <= reach[..., None]) & (items > 1)  # (rows, steps, ages)
        logits = tf.where(is_read, logits + tf.convert_to_tensor(self.ages)[:ages], HIDDEN)
        weights = logits - tf.reduce_logsumexp(logits, axis=-1, keepdims=True)
        weights = tf.where(is_read, weights, HIDDEN)
        count = tf.reduce_sum(tf.cast(is_read, tf.float32), axis=-1)  # (rows, steps)
        is_again = tf.reduce_any(is_read[..., 1:] & (items[..., 1:] == items[..., :1]), axis=-1)  # (rows, steps)
        features = tf.stack([tf.cast(is_again, tf.float32), tf.math.log(tf.maximum(count, 1.0))], axis=-1)
        gate = tf.matmul(hidden, tf.convert_to_tensor(self.gate_kernel))  # (rows, steps, 1)
        gate += tf.matmul(features, tf.convert_to_tensor(self.gate_features)) + tf.convert_to_tensor(self.gate_bias)
        gate = tf.where(count[..., None] > 0, gate, HIDDEN)
        return tf.concat([gate, weights, tf.cast(tf.where(is_read, items, 0), tf.float32)], axis=-1)

    def compute_output_shape(self, hidden_shape, *other_shapes):
        steps = hidden_shape[1]
        ages = self.window if steps is None else min(self.window, steps)
        return (*hidden_shape[:-1], hidden_shape[-1] + 1 + 2 * ages)

    def get_config(self):
        return super().get_config() | {"window": self.window}


def by_age(array, ages: int):
    """Returns the values by how far back they lie: [rows, steps, seen] -> [rows, steps, ages], 0 before the first.

    Step s of `steps` stands at index seen - steps + s of `seen`. A shift by reshaping, whose gradient is one too.
    """
    steps, seen = array.shape[1:]
    width = seen + steps
    newest_first = tf.pad(array[..., ::-1], [[0, 0], [0, 0], [0, steps]])  # (rows, steps, width)
    flat = tf.reshape(newest_first, [-1, steps * width])[:, steps - 1 : steps * width - 1]
    return tf.reshape(flat, [-1, steps, width - 1])[..., :ages]


def copied_shares(gate, weights, items, ids):
    """Returns log(g sum_j a_j) of `ids`, j: the events of this item: [n], [n, ages], [n, ages], [n, m] -> [n, m]."""
    is_same = ids[:, :, None] == items[:, None]  # (n, m, ages)
    shares = tf.reduce_logsumexp(tf.where(is_same, weights[:, None], HIDDEN), axis=-1)  # (n, m)
    return shares + tf.math.log_sigmoid(gate)[:, None]


def written(scores, items, values):
    """Returns the scores with `values` at `items`: [n, size], [n, ages], [n, ages] -> [n, size].

    An item that the session has several times is written several times, with the same value.
    """
    rows = tf.broadcast_to(tf.range(tf.shape(items)[0])[:, None], tf.shape(items))
    return tf.tensor_scatter_nd_update(scores, tf.stack([rows, items], axis=-1), values)


def log_of_sum(first, second):
    """Returns log(exp(first) + exp(second)); `second` may be `HIDDEN`."""
    return first + tf.nn.softplus(second - first)
