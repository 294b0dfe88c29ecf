"""The interface of the samplers of negative items."""

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from tfrecsession.errors import InputError


class Negatives(keras.layers.Layer):
    """A sampler of the items that the targets of a training step are compared with; all targets share one draw.

    `build_from(counts)` fits a sampler to the catalogue. It keeps what it needs in weights that are not trained, and so
    is saved and loaded with its model. A new sampler is one file: a subclass with `fill`, `draw`, `log_probability`,
    the weights of `build`, and `get_config` for its own arguments.

    Args:
        count: items per draw. None: as many as the step has targets, for samplers that reuse them.
        mask_hits: whether a sampled item that equals the target is masked for that target. The authors of GRU4Rec do
            not mask it.
        seed: of the draws. None: from `keras.utils.set_random_seed`.
    """

    def __init__(self, count, mask_hits=True, seed=None, **kwargs):
        kwargs.setdefault("trainable", False)
        super().__init__(**kwargs)
        if count is not None and count < 1:
            raise InputError(f"count={count}: must be at least 1 item per draw")
        self.count = count
        self.mask_hits = mask_hits
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        self._size = None

    def build_from(self, counts):
        """Fits the sampler to `counts` int [size], the events of every id; rows 0 and 1 are never sampled."""
        if not self.built:
            self.build(len(counts))
        if len(counts) != self.size:
            raise InputError(f"counts: {len(counts)} rows, but this sampler was built for {self.size}")
        self.fill(counts)

    def build(self, size):
        """Creates the weights for a catalogue of `size` ids (items + 2); `build_from` or a saved file fills them."""
        if size < 3:
            raise InputError(f"size={size}: must be at least 3 rows: padding, unknown and one item")
        self._size = size

    @property
    def size(self):
        """The rows of the catalogue: the items + 2."""
        if self._size is None:
            raise InputError(f"{type(self).__name__} does not know the catalogue: call build_from(counts) first")
        return self._size

    def fill(self, counts):
        """Sets the weights from `counts` [size]."""
        raise NotImplementedError

    def draw(self, targets=None):
        """Returns one draw: int32 [count]. `targets` int [...] are the step's, for samplers that reuse them."""
        raise NotImplementedError

    def log_probability(self, ids):
        """Returns log P(a sampled item is the given one): ids int [...] -> float32 [...], finite."""
        raise NotImplementedError

    def log_weight(self, ids):
        """Returns `log_probability` before normalization, where that has a meaning of its own: alpha * log support."""
        return self.log_probability(ids)

    def log_q(self, targets, negatives):
        """Returns what logQ subtracts from the scores of targets [...] and of one draw [count]: float32 alike."""
        return self.log_probability(targets), self.log_probability(negatives)

    def log_expected(self, ids, targets=None):
        """Returns the log of how often each id is expected in a draw: ids int [...] -> float32 [...].

        `targets` int [...] are the step's, for samplers that reuse them.
        """
        count = ops.maximum(ops.sum(ops.cast(targets > 1, "float32")), 1.0) if self.count is None else self.count
        return self.log_probability(ids) + ops.log(ops.cast(count, "float32"))

    def keep(self, targets, negatives):
        """Returns which negatives count for which target: targets [...], negatives [count] -> bool [..., count].

        None (all count) where `mask_hits` is off. Samplers that reuse the targets always mask padding.
        """
        return ops.not_equal(targets[..., None], negatives) if self.mask_hits else None

    def hits(self, targets, negatives):
        """Returns the cells that `keep` masks, without a pass over all n * count of them.

        Args:
            targets: int32 [n].
            negatives: int32 [count], of one draw.

        Returns:
            int32 [hits, 2]: (index of the target, index in the draw). None: use `keep` instead.
        """
        if not self.mask_hits:
            return None
        return self.cells_of(targets, negatives)

    @staticmethod
    def cells_of(ids, negatives):
        """Returns where ids stand in one draw: int32 [n], int32 [count] -> int32 [cells, 2], (index of the id, of the
        draw). The cost is (n + count) log count.
        """
        order = tf.argsort(negatives)
        ordered = tf.gather(negatives, order)
        first = tf.searchsorted(ordered, ids)
        repeats = tf.searchsorted(ordered, ids, side="right") - first  # how often each id was sampled
        index = tf.repeat(tf.range(tf.size(ids)), repeats)
        nth = tf.range(tf.size(index)) - tf.repeat(tf.cumsum(repeats, exclusive=True), repeats)
        return tf.stack([index, tf.gather(order, tf.gather(first, index) + nth)], axis=1)

    def get_build_config(self):
        return {"size": self.size} if self.built else None

    def build_from_config(self, config):
        self.build(config["size"])

    def get_config(self):
        return super().get_config() | {"count": self.count, "mask_hits": self.mask_hits, "seed": self.seed}


def log_support(counts):
    """Returns the float64 log of the events of every id [size].

    Padding and items without events get the log of one event: such an item is never sampled, yet may be a target.

    Raises:
        InputError: the counts are not finite, below 0, or all 0.
    """
    counts = np.asarray(counts, np.float64)
    support = counts[2:]
    if not (np.isfinite(support).all() and support.min() >= 0 and support.max() > 0):
        raise InputError("counts: item counts must be finite and at least 0, with at least one above 0")
    return np.log(np.concatenate([[1.0], np.maximum(counts[1:], 1.0)]))
