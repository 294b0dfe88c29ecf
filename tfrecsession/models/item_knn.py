"""Item-kNN: what is often taken in the same session as this item."""

from __future__ import annotations

import keras
import numpy as np
from scipy import sparse

from tfrecsession.layers import NeighbourTable
from tfrecsession.models.counting_model import CountingModel
from tfrecsession.models.pairs import session_items
from tfrecsession.models.search_space import Choice, Float, Int

BLOCK = 1024  # items whose neighbours are counted at once: memory does not grow with the catalogue squared


@keras.saving.register_keras_serializable(package="tfrecsession.models")
class ItemKNN(CountingModel):
    """Co-occurrence neighbours, the baseline of the GRU4Rec papers (arXiv 1511.06939, section 4).

        sim(i, j) = cooc_ij / ((support_i + shrinkage)^alpha (support_j + shrinkage)^(1 - alpha)),  sim(i, i) = 0
        score(j)  = sum over the items i of the history of share(i) * sim(i, j)

    `cooc_ij` counts pairs of events of one session, supports count events; alpha=0.5 and shrinkage=0 is the cosine.

    Args:
        items: the vocabulary.
        neighbours: most similar items kept per item.
        shrinkage: weakens similarities that rest on few events.
        alpha: how the penalty of popularity is shared between the two items.
        history: "last" looks at the session's last item, "mean" at its newest `window` items alike; for further ways to
            share the score among these see `trs.layers.NeighbourTable`.
        window: events of the history looked at, unless it is the last alone.

    Raises:
        InputError: an argument out of range.

    Example:

        model = trs.models.ItemKNN(data.items, neighbours=100)
        model.fit(data.train)
    """

    search_space = {
        "neighbours": Int(20, 500, log=True),
        "shrinkage": Float(0.0, 100.0),
        "alpha": Float(0.0, 1.0),
        "history": Choice("last", "mean", "div", "linear", "log", "quadratic"),
        "window": Int(2, 50, log=True, when={"history": ("mean", "div", "linear", "log", "quadratic")}),
    }

    def __init__(self, items, neighbours=100, shrinkage=20.0, alpha=0.5, history="last", window=20, **kwargs):
        super().__init__(items, **kwargs)
        self.shrinkage = shrinkage
        self.alpha = alpha
        self.similar = NeighbourTable(self.size, neighbours, history, window)

    def count(self, sessions):
        by_session = session_items(sessions, self.size)
        by_item = by_session.T.tocsr()
        support = np.asarray(by_session.sum(axis=0)).ravel() + self.shrinkage
        with np.errstate(divide="ignore"):
            row_norm, column_norm = support**-self.alpha, support ** (self.alpha - 1)

        def blocks():
            for first in range(0, self.size, BLOCK):
                block = (by_item[first : first + BLOCK] @ by_session).tocoo()
                row, column = block.row + first, block.col
                similar = np.where(row == column, 0, block.data * row_norm[row] * column_norm[column])
                yield sparse.csr_matrix((similar, (block.row, column)), block.shape)

        self.similar.fill(blocks())

    def encode(self, batch, training=False):
        """The newest items of the session so far: int32 [rows, steps, 1 or window], 0 where there is none."""
        return self.similar(batch)

    def score_all(self, encoded):
        return self.similar.score_all(encoded)

    def similar_items(self, items, k=20):
        """The k nearest neighbours of each item, as counted."""
        return self.recommend([[item] for item in items], k=k, exclude_seen=True)

    def get_config(self):
        table = {name: getattr(self.similar, name) for name in ("neighbours", "history", "window")}
        return {**super().get_config(), "shrinkage": self.shrinkage, "alpha": self.alpha, **table}
