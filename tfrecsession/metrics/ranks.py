"""Where the target stands in the whole catalogue, and which items stand first."""

from keras import ops

GROUP = 64  # neighbouring ids, of which only the best score is looked at first


def conservative_ranks(scores, targets):
    """Rank of every target among all items, ties against the model.

    The rank is the number of items whose score is not less than the target's, the target included: a constant scorer
    puts every target last, and a NaN, on either side of the comparison, counts as a score above the target's.

    Args:
        scores: float [n, size], a row per position; columns 0 (padding) and 1 (unknown) never compete.
        targets: int [n]. An unknown target (1) ranks behind the whole catalogue.

    Returns:
        int32 [n], from 1 (best) to size - 2, or size - 1 where the target is no item.

    Examples:
        >>> import numpy as np
        >>> scores = np.array([[9.0, 9.0, 3.0, 1.0, 1.0, 2.0]])  # padding, unknown, four items
        >>> [int(conservative_ranks(scores, np.array([target]))[0]) for target in (2, 5, 3, 4, 1)]
        [1, 2, 4, 4, 5]
    """
    items = ops.shape(scores)[-1] - 2
    own = ops.take_along_axis(scores, targets[:, None], axis=-1)
    # to leave two columns out afterwards is cheaper than to copy all the others
    below = _count(scores < own) - _count(scores[:, :2] < own)
    return ops.where(targets > 1, items - below, items + 1)


def _count(hits):
    return ops.sum(ops.cast(hits, "int32"), axis=-1)


def best_items(scores, k):
    """The list a model would show: the ids of the k highest scores of every row, best first.

    Equal scores: the lower id, the item with more events in train, comes first. (A list has to choose where a rank
    need not: a constant scorer shows the most popular items, and yet gets no recall.)

    Args:
        scores: float [n, size], size known; columns 0 (padding) and 1 (unknown) never compete.
        k: length of the lists, from 1.

    Returns:
        int32 [n, k]; 0 where nothing is left: the catalogue is shorter than k, or all else scores -inf or NaN.

    Examples:
        >>> import numpy as np
        >>> np.asarray(best_items(np.array([[9.0, 9.0, 3.0, 1.0, 1.0, 2.0]]), 3))
        array([[2, 5, 3]], dtype=int32)
    """
    size = scores.shape[-1]
    unlike = ops.isnan(ops.sum(scores))  # a NaN, or infinities of both signs; a sum costs less than to look at each
    scores = ops.cond(unlike, lambda: ops.where(ops.isnan(scores), float("-inf"), scores), lambda: scores)
    # The two columns that never compete may be among the best, so two more are looked for: cheaper than a copy.
    wanted = min(k + 2, size)
    values, ids = top_k(scores, wanted)
    real = ops.cast((ids > 1) & (values > float("-inf")), "int32")
    order = ops.argsort(ops.arange(wanted) - real * wanted, axis=-1)  # the real ones first, in their order
    ids = ops.take_along_axis(ids * real, order, axis=-1)[:, :k]
    return ops.pad(ids, [[0, 0], [0, max(k - wanted, 0)]])


def top_k(scores, k):
    """Values and places of the k highest scores of every row, best first, the lower place first where they are equal;
    in a fraction of the time of `keras.ops.top_k` where rows are long.

    Args:
        scores: float [n, size], size known; not NaN.
        k: from 1 to size.

    Returns:
        float [n, k] and int32 [n, k].

    The k best items lie in the k groups of neighbouring ids with the best leaders: k leaders that come before an
    item's own leader come before the item. Where leaders are equal the lower group has the lower ids.
    """
    size = scores.shape[-1]
    if size < 4 * GROUP * k:
        return ops.top_k(scores, k)
    number = -(-size // GROUP)
    scores = ops.pad(scores, [[0, 0], [0, number * GROUP - size]], constant_values=float("-inf"))
    groups = ops.reshape(scores, (-1, GROUP))
    leaders = ops.reshape(ops.max(groups, axis=-1, initial=float("-inf")), (-1, number))
    chosen = ops.sort(ops.top_k(leaders, k)[1], axis=-1)  # (n, k), in the order of their ids
    row = ops.arange(ops.shape(chosen)[0])[:, None] * number
    values, place = ops.top_k(ops.reshape(ops.take(groups, row + chosen, axis=0), (-1, k * GROUP)), k)
    return values, ops.take_along_axis(chosen, place // GROUP, axis=-1) * GROUP + place % GROUP
