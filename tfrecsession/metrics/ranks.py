"""Ranks of targets in the whole catalogue, and the items with the highest scores."""

from keras import ops

GROUP = 64  # neighbouring ids whose highest score is compared first


def conservative_ranks(scores, targets):
    """Ranks every target among all items; ties count against the model.

    The rank is the number of items whose score is not below the target's, including the target. A constant scorer thus
    puts every target last. A NaN, on either side of the comparison, counts as a score above the target's.

    Args:
        scores: float [n, size], a row per event; columns 0 (padding) and 1 (unknown) never compete.
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
    target_score = ops.take_along_axis(scores, targets[:, None], axis=-1)
    # subtracting two columns afterwards is cheaper than copying all the others
    below = _count(scores < target_score) - _count(scores[:, :2] < target_score)
    return ops.where(targets > 1, items - below, items + 1)


def _count(hits):
    return ops.sum(ops.cast(hits, "int32"), axis=-1)


def best_items(scores, k):
    """Returns the ids of the k highest scores of every row, best first: the list a model would show.

    Among equal scores the lower id, the item with more events in train, comes first. (A list must break ties, a rank
    need not: a constant scorer lists the most popular items, yet gets no recall.)

    Args:
        scores: float [n, size], size known; columns 0 (padding) and 1 (unknown) never compete.
        k: length of the lists, from 1.

    Returns:
        int32 [n, k]; 0 where no item is left: the catalogue is shorter than k, or all others score -inf or NaN.

    Examples:
        >>> import numpy as np
        >>> np.asarray(best_items(np.array([[9.0, 9.0, 3.0, 1.0, 1.0, 2.0]]), 3))
        array([[2, 5, 3]], dtype=int32)
    """
    size = scores.shape[-1]
    has_nan = ops.isnan(ops.sum(scores))  # or infinities of both signs; a sum is cheaper than a check of each score
    scores = ops.cond(has_nan, lambda: ops.where(ops.isnan(scores), float("-inf"), scores), lambda: scores)
    # Columns 0 and 1 may be among the best, so two more are selected: cheaper than copying the others.
    selected = min(k + 2, size)
    values, ids = top_k(scores, selected)  # (n, k + 2)
    is_item = ops.cast((ids > 1) & (values > float("-inf")), "int32")
    order = ops.argsort(ops.arange(selected) - is_item * selected, axis=-1)  # items first, in their order
    ids = ops.take_along_axis(ids * is_item, order, axis=-1)[:, :k]
    return ops.pad(ids, [[0, 0], [0, max(k - selected, 0)]])  # (n, k)


def top_k(scores, k):
    """Returns the values and columns of the k highest scores of every row, best first; ties: the lower column first.

    On long rows it takes a fraction of the time of `keras.ops.top_k`.

    Args:
        scores: float [n, size], size known; not NaN.
        k: from 1 to size.

    Returns:
        float [n, k] and int32 [n, k].

    The k best items lie in the k groups of neighbouring ids with the highest maxima: k maxima that come before the
    maximum of an item's group also come before the item. Among equal maxima, the lower group has the lower ids.
    """
    size = scores.shape[-1]
    if size < 4 * GROUP * k:
        return ops.top_k(scores, k)
    count = -(-size // GROUP)
    scores = ops.pad(scores, [[0, 0], [0, count * GROUP - size]], constant_values=float("-inf"))
    groups = ops.reshape(scores, (-1, GROUP))  # (n groups, GROUP)
    maxima = ops.reshape(ops.max(groups, axis=-1, initial=float("-inf")), (-1, count))  # (n, groups)
    chosen = ops.sort(ops.top_k(maxima, k)[1], axis=-1)  # (n, k), in the order of their ids
    row = ops.arange(ops.shape(chosen)[0])[:, None] * count  # (n, 1)
    values, column = ops.top_k(ops.reshape(ops.take(groups, row + chosen, axis=0), (-1, k * GROUP)), k)  # (n, k)
    return values, ops.take_along_axis(chosen, column // GROUP, axis=-1) * GROUP + column % GROUP
