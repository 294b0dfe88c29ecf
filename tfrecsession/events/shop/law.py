"""The law of the synthetic shop: the probability of each next item. `shop.py` states it in words."""

from __future__ import annotations

import numpy as np

from tfrecsession.events.shop.catalogue import Catalogue, stream


class Law(Catalogue):
    """The catalogue and the next-item probabilities that `Walks` samples from and `Oracle` ranks by.

    `Shop` holds the arguments below as fields.
    """

    sessions: int
    users: int
    home: float
    follow: float
    taste: float
    loyal: float
    cart: float
    context: bool

    @property
    def wide(self) -> float:
        """Probability that the next item is from the whole shop."""
        return max(1 - self.follow - self.taste - self.loyal, 0.0)

    def own_cluster(self, user) -> np.ndarray:
        """int64 [n]: the cluster each user (number in the log) is loyal to; hashed, so that no table is held."""
        clusters = len(self.cluster_start) - 1
        key = stream(self.seed, 8).integers(0, 2**64, dtype=np.uint64)
        return (hashed_uniform(np.asarray(user).astype(np.uint64) + key) * clusters).astype(np.int64)


def hashed_uniform(key: np.ndarray) -> np.ndarray:
    """uint64 [n] -> float64 [n] in [0, 1) by the finaliser of SplitMix64 (Steele, Lea and Flood, 2014)."""
    key = (key ^ (key >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    key = (key ^ (key >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((key ^ (key >> np.uint64(31))) >> np.uint64(11)) * 2.0**-53
