"""AssociationRules: who took this also took that."""

from __future__ import annotations

import keras
import numpy as np
from scipy import sparse

from tfrecsession.layers import NeighbourTable
from tfrecsession.models.counting_model import CountingModel
from tfrecsession.models.pairs import session_items
from tfrecsession.models.search_space import Choice, Int

BLOCK = 1024  # items whose rules are counted at once: memory does not grow with the catalogue squared


@keras.saving.register_keras_serializable(package="tfrecsession.models")
class AssociationRules(CountingModel):
    """Rules of size two, AR of Ludewig & Jannach (arXiv 1803.09587, section 3.1).

        weight(i, j) = ordered pairs of two different events of one session, one of i and one of j
        score(j)     = sum over the items i of the history of share(i) * weight(i, j)

    Order and distance do not count. An item taken twice in a session is a rule of the item to itself, as in the
    authors' framework, session-rec. By default the history is its last item alone.

    Args:
        items: the vocabulary.
        neighbours: rules kept per item, the heaviest; of equal ones those to the more popular items.
        history: "last", or how the newest `window` items share the score, see `trs.layers.NeighbourTable`.
        window: events of the history looked at, unless it is the last alone.

    Raises:
        InputError: an argument out of range.

    Example:

        model = trs.models.AssociationRules(data.items)
        model.fit(data.train)
    """

    search_space = {
        "neighbours": Int(20, 1000, log=True),
        "history": Choice("last", "mean", "div", "linear", "log", "quadratic"),
        "window": Int(2, 50, log=True, when={"history": ("mean", "div", "linear", "log", "quadratic")}),
    }

    def __init__(self, items, neighbours=100, history="last", window=20, **kwargs):
        super().__init__(items, **kwargs)
        self.rules = NeighbourTable(self.size, neighbours, history, window)

    def count(self, sessions):
        by_session = session_items(sessions, self.size)
        by_item = by_session.T.tocsr()
        support = np.asarray(by_session.sum(axis=0)).ravel()

        def blocks():
            for first in range(0, self.size, BLOCK):
                rows = np.arange(first, min(first + BLOCK, self.size))
                itself = sparse.csr_matrix((support[rows], (rows - first, rows)), (len(rows), self.size))
                yield by_item[rows] @ by_session - itself  # c * c pairs of an item's c events, less those with itself

        self.rules.fill(blocks())

    def encode(self, batch, training=False):
        return self.rules(batch)

    def score_all(self, encoded):
        return self.rules.score_all(encoded)

    def get_config(self):
        table = {name: getattr(self.rules, name) for name in ("neighbours", "history", "window")}
        return {**super().get_config(), **table}
