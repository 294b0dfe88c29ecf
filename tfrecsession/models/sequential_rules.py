"""SequentialRules: who took this took that later on."""

from __future__ import annotations

import keras

from tfrecsession.layers import NeighbourTable, step_weights
from tfrecsession.models.counting_model import CountingModel
from tfrecsession.models.pairs import successions
from tfrecsession.models.search_space import Choice, Int


@keras.saving.register_keras_serializable(package="tfrecsession.models")
class SequentialRules(CountingModel):
    """Rules of size two from an item to a later one, SR of Ludewig & Jannach (arXiv 1803.09587, section 3.1).

        weight(i, j) = sum over the pairs of an event of i and a later one of j in the same session,
                       at most `steps` apart, of decay(events from one to the other)
        score(j)     = sum over the items i of the history of share(i) * weight(i, j)

    The decay of a distance of n events:

        same 1    div 1/n    linear max(0, 1 - n/10)    log 1/log10(n + 1.7)    quadratic 1/n^2

    Args:
        items: the vocabulary.
        steps: the longest distance, in events, that makes a rule.
        decay: one of those above.
        neighbours: rules kept per item, the heaviest; of equal ones those to the more popular items.
        history: "last", or how the newest `window` items share the score, see `trs.layers.NeighbourTable`.
        window: events of the history looked at, unless it is the last alone.

    Raises:
        InputError: an argument out of range.

    Example:

        model = trs.models.SequentialRules(data.items, steps=4, decay="quadratic")
        model.fit(data.train)
    """

    search_space = {
        "steps": Int(1, 30, log=True),
        "decay": Choice("same", "div", "linear", "log", "quadratic"),
        "neighbours": Int(20, 1000, log=True),
        "history": Choice("last", "mean", "div", "linear", "log", "quadratic"),
        "window": Int(2, 50, log=True, when={"history": ("mean", "div", "linear", "log", "quadratic")}),
    }

    def __init__(self, items, steps=10, decay="div", neighbours=100, history="last", window=20, **kwargs):
        super().__init__(items, **kwargs)
        self.steps, self.decay = steps, decay
        self.weights_by_distance = step_weights(decay, steps)
        self.rules = NeighbourTable(self.size, neighbours, history, window)

    def count(self, sessions):
        self.rules.fill([successions(sessions, self.size, self.weights_by_distance)])

    def encode(self, batch, training=False):
        return self.rules(batch)

    def score_all(self, encoded):
        return self.rules.score_all(encoded)

    def get_config(self):
        table = {name: getattr(self.rules, name) for name in ("neighbours", "history", "window")}
        return {**super().get_config(), "steps": self.steps, "decay": self.decay, **table}
