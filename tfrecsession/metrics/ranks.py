"""Where the target stands in the whole catalogue."""

from keras import ops


def conservative_ranks(scores, targets):
    """Rank of every target among all items, ties against the model.

    The rank is the number of items whose score is not less than the target's, the target included: a constant scorer
    puts every target last, and a NaN, on either side of the comparison, counts as a score above the target's.

    Args:
        scores: float [n, size], a row per position; columns 0 (padding) and 1 (unknown) never compete.
        targets: int [n]. An unknown target (1) ranks behind the whole catalogue.

    Returns:
        int32 [n], from 1 (best) to size - 2, or size - 1 where the target is no item.
    """
    items = ops.shape(scores)[-1] - 2
    own = ops.take_along_axis(scores, targets[:, None], axis=-1)
    # to leave two columns out afterwards is cheaper than to copy all the others
    below = _count(scores < own) - _count(scores[:, :2] < own)
    return ops.where(targets > 1, items - below, items + 1)


def _count(hits):
    return ops.sum(ops.cast(hits, "int32"), axis=-1)
