"""Walker's alias method: a draw from any discrete distribution in constant time."""

import numpy as np


def alias_table(probabilities):
    """The table of a distribution over N outcomes.

    To draw, take a slot uniformly, then that slot's own outcome with probability `threshold[slot]`, else `alias[slot]`.
    Every outcome starts with N times its probability on its own slot. The light ones (below 1) are topped up by the
    heavy ones in order: each light slot takes all it lacks from the heavy outcome whose turn it is; a heavy one that is
    overdrawn in this way is topped up by the next. Who serves whom follows from two running sums, which needs no loop
    over the outcomes (10 million in about a second).

    Args:
        probabilities: float64 [N], not negative, summing to 1.

    Returns:
        threshold float32 [N], alias int32 [N].
    """
    weight = np.asarray(probabilities, np.float64) * len(probabilities)
    light = np.flatnonzero(weight < 1.0)
    heavy = np.flatnonzero(weight >= 1.0)
    threshold = weight.copy()
    threshold[heavy] = 1.0
    alias = np.arange(len(weight), dtype=np.int32)
    if not len(light) or not len(heavy):  # uniform, to the last bit or the one before it
        return np.ones(len(weight), np.float32), alias

    lacking = np.cumsum(1.0 - weight[light])
    spare = np.cumsum(weight[heavy] - 1.0)
    last = len(heavy) - 1

    before = np.concatenate([[0.0], lacking[:-1]])
    server = np.searchsorted(spare, before, side="right")
    alias[light] = heavy[np.minimum(server, last)]

    # a heavy outcome is overdrawn by what the light one that exhausts it still takes beyond its spare weight
    exhausting = np.minimum(np.searchsorted(lacking, spare[:-1], side="left"), len(light) - 1)
    overdrawn = np.maximum(lacking[exhausting] - spare[:-1], 0.0)
    threshold[heavy[:-1]] = 1.0 - overdrawn
    alias[heavy[:-1]] = heavy[1:]
    return np.clip(threshold, 0.0, 1.0).astype(np.float32), alias
