"""What models by a table of items' neighbours have in common: rules, item-kNN."""

from __future__ import annotations

from collections.abc import Iterable

from tfrecsession.layers import NeighbourTable
from tfrecsession.recommender.counting_model import CountingModel
from tfrecsession.recommender.search_space import Choice, Int

BLOCK = 1024  # items whose neighbours are counted at once: memory does not grow with the catalogue squared
DECAYED = ("mean", "div", "linear", "log", "quadratic")


class TableModel(CountingModel):
    """A model says how much an item speaks for each other, in `blocks(sessions)`; of that the most is kept.

        score(j) = sum over the items i of the history of share(i) * weight(i, j)

    Args:
        items: the vocabulary.
        neighbours: items kept per item, those of the largest weights; of equal ones the more popular.
        history: "last", the last item alone; "mean", the newest `window` items alike; or how these share the score by
            their step back, see `trs.layers.NeighbourTable`.
        window: events of the history looked at, unless it is the last alone.

    Raises:
        InputError: an argument out of range.
    """

    table_space = {
        "neighbours": Int(20, 1000, log=True),
        "history": Choice("last", *DECAYED),
        "window": Int(2, 50, log=True, when={"history": DECAYED}),
    }

    def __init__(self, items, neighbours=100, history="last", window=20, **kwargs):
        super().__init__(items, **kwargs)
        self.table = NeighbourTable(self.size, neighbours, history, window)

    def blocks(self, sessions) -> Iterable:
        """The weights, sparse [rows, size] blocks that together give all rows in their order."""
        raise NotImplementedError(f"{type(self).__name__} does not say what it counts")

    def count(self, sessions):
        self.table.fill(self.blocks(sessions))

    def encode(self, batch, training=False):
        """The items of the session so far that are scored by: int32 [rows, steps, 1 or window], 0 for none."""
        return self.table(batch)

    def score_all(self, encoded):
        return self.table.score_all(encoded)

    def get_config(self):
        table = {name: getattr(self.table, name) for name in ("neighbours", "history", "window")}
        return {**super().get_config(), **table}
