"""MarkovChain: who took this took that next."""

from __future__ import annotations

import keras
import numpy as np

from tfrecsession.layers import NeighbourTable
from tfrecsession.models.counting_model import CountingModel
from tfrecsession.models.pairs import successions
from tfrecsession.models.search_space import Choice, Int


@keras.saving.register_keras_serializable(package="tfrecsession.models")
class MarkovChain(CountingModel):
    """A first-order Markov chain, MC of Ludewig & Jannach (arXiv 1803.09587, section 3.1).

        weight(i, j) = times that j came directly after i
        score(j)     = sum over the items i of the history of share(i) * weight(i, j)

    Where the history is its last item alone, the default, this is the order of the probabilities
    weight(i, j) / sum_j weight(i, j).

    Args:
        items: the vocabulary.
        neighbours: successors kept per item, the most frequent; of equal ones the more popular items.
        history: "last", or how the newest `window` items share the score, see `trs.layers.NeighbourTable`.
        window: events of the history looked at, unless it is the last alone.

    Raises:
        InputError: an argument out of range.

    Example:

        model = trs.models.MarkovChain(data.items)
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
        self.rules.fill([successions(sessions, self.size, np.ones(1))])

    def encode(self, batch, training=False):
        return self.rules(batch)

    def score_all(self, encoded):
        return self.rules.score_all(encoded)

    def get_config(self):
        table = {name: getattr(self.rules, name) for name in ("neighbours", "history", "window")}
        return {**super().get_config(), **table}
