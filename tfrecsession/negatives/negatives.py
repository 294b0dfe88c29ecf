"""What every sampler of negative items offers to a model."""

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from tfrecsession.errors import InputError


class Negatives(keras.layers.Layer):
    """Draws the items that the targets of a training step are compared with, one draw shared by all of them.

    A sampler is told the catalogue by `build_from(counts)`, keeps what it needs in weights that are not trained, and so
    comes back whole with the model that holds it. A new sampler is one file: a subclass with `fill`, `draw`,
    `log_probability`, the weights of `build`, and `get_config` for its own arguments.

    Args:
        count: how many items one draw gives; None: as many as the step has targets, for samplers that reuse them.
        mask_hits: whether a drawn item that happens to be the target is left out for that target. The authors of
            GRU4Rec do not.
        seed: of the draws. None: from `keras.utils.set_random_seed`.
    """

    def __init__(self, count, mask_hits=True, seed=None, **kwargs):
        kwargs.setdefault("trainable", False)
        super().__init__(**kwargs)
        if count is not None and count < 1:
            raise InputError(f"count={count}: a draw of negatives needs at least 1 item")
        self.count = count
        self.mask_hits = mask_hits
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        self._size = None

    def build_from(self, counts):
        """Learns the catalogue from `counts` int [size]: events of every id; rows 0 and 1 are never drawn."""
        if not self.built:
            self.build(len(counts))
        if len(counts) != self.size:
            raise InputError(f"counts: {len(counts)} rows, but this sampler was built for {self.size}")
        self.fill(counts)

    def build(self, size):
        """Makes the weights for a catalogue of `size` ids (items + 2), to be filled by `build_from` or a saved file."""
        if size < 3:
            raise InputError(f"size={size}: negatives need at least one item (3 rows with padding and unknown)")
        self._size = size

    @property
    def size(self):
        """Rows of the catalogue: the items + 2."""
        if self._size is None:
            raise InputError(f"{type(self).__name__} does not know the catalogue: call build_from(counts) first")
        return self._size

    def fill(self, counts):
        """Sets the weights from `counts` [size]."""
        raise NotImplementedError

    def draw(self, targets=None):
        """One draw: int32 [count]. `targets` int [...] are the step's own targets, for samplers that reuse them."""
        raise NotImplementedError

    def log_probability(self, ids):
        """log of the probability that one drawn item is the given one: ids int [...] -> float32 [...], finite."""
        raise NotImplementedError

    def log_weight(self, ids):
        """`log_probability` before it is normalized, where that has a meaning of its own: alpha * log support."""
        return self.log_probability(ids)

    def log_q(self, targets, negatives):
        """What the logQ correction takes from the scores of targets [...] and of one draw [count]: float32, alike."""
        return self.log_probability(targets), self.log_probability(negatives)

    def keep(self, targets, negatives):
        """Which negatives count for which target: targets [...], negatives [count] -> bool [..., count].

        None (all of them) where `mask_hits` is off. Samplers that reuse the targets always hide padding.
        """
        return ops.not_equal(targets[..., None], negatives) if self.mask_hits else None

    def hits(self, targets, negatives):
        """`keep` said by the cells that do not count, at a cost of (n + count) log count instead of n * count.

        Args:
            targets: int32 [n].
            negatives: int32 [count], of one draw.

        Returns:
            int32 [hits, 2], (place among the targets, place in the draw); None where only `keep` can say it.
        """
        if not self.mask_hits:
            return None
        order = tf.argsort(negatives)
        ordered = tf.gather(negatives, order)
        first = tf.searchsorted(ordered, targets)
        number = tf.searchsorted(ordered, targets, side="right") - first  # how often each target was drawn
        target = tf.repeat(tf.range(tf.size(targets)), number)
        nth = tf.range(tf.size(target)) - tf.repeat(tf.cumsum(number, exclusive=True), number)
        return tf.stack([target, tf.gather(order, tf.gather(first, target) + nth)], axis=1)

    def get_build_config(self):
        return {"size": self.size} if self.built else None

    def build_from_config(self, config):
        self.build(config["size"])

    def get_config(self):
        return super().get_config() | {"count": self.count, "mask_hits": self.mask_hits, "seed": self.seed}


def log_support(counts):
    """log of the events of every id [size], in float64. An item without events is never drawn, yet may be a target:
    its logarithm is that of one event, as is that of padding.

    Raises:
        InputError: there is nothing to draw.
    """
    counts = np.asarray(counts, np.float64)
    support = counts[2:]
    if not (np.isfinite(support).all() and support.min() >= 0 and support.max() > 0):
        raise InputError("counts: negatives need finite item counts, none below 0 and at least one above it")
    return np.log(np.concatenate([[1.0], np.maximum(counts[1:], 1.0)]))
