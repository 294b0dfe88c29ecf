"""TableModel: the base of rules and item-kNN, which score by a table of item-to-item weights."""

from __future__ import annotations

from collections.abc import Iterable

import tensorflow as tf

from tfrecsession.layers import STEP_DECAYS, NeighbourTable, history_length, last_items, newest_items_at, shares
from tfrecsession.recommender.arguments import check_choice, check_whole
from tfrecsession.recommender.counting_model import CountingModel
from tfrecsession.recommender.search_space import Choice, Int

BLOCK = 1024  # items per block of rows: memory does not grow with the catalogue squared
DECAYED = ("mean", "div", "linear", "log", "quadratic")


class TableModel(CountingModel):
    """Base of the models that score by a table of item-to-item weights.

        score(j) = sum over the items i of the history of share(i) * weight(i, j)

    Subclasses yield the weights from `blocks(sessions)`; the largest per item are kept.

    Args:
        items: the vocabulary.
        neighbours: items kept per item, those with the largest weights; of equal weights the more popular item.
        history: "last", the last item alone; "mean", the newest `window` items alike; or how these share the score by
            their step back, see `trs.layers.NeighbourTable`.
        window: newest events of the history that count, unless it is the last alone.

    Raises:
        InputError: an argument out of range.
    """

    # Declarations
    weighs_events = True
    table_space = {
        "neighbours": Int(20, 1000, log=True),
        "history": Choice("last", *DECAYED),
        "window": Int(2, 50, log=True, when={"history": DECAYED}),
    }

    def __init__(self, items, neighbours=100, history="last", window=20, **kwargs):
        # Arguments (kept by the table: Keras sets `history` of a model)
        check_whole("neighbours", neighbours)
        check_choice("history", history, ("last", "mean", *STEP_DECAYS))
        check_whole("window", window)
        super().__init__(items, **kwargs)

        # Layers
        self.table = NeighbourTable(self.size, neighbours, history, window)
        self.build()

    # Training

    def blocks(self, sessions) -> Iterable:
        """Yields the weights as sparse blocks [rows, size], which together give all rows in order."""
        raise NotImplementedError(f"{type(self).__name__} must define blocks(sessions), its item-to-item weights")

    def count(self, sessions):
        self.table.fill(self.blocks(sessions))

    # Recommendations

    def encode(self, batch, training=False):
        """Returns the items that score at each step: int32 [rows, steps, 1 or window], 0 is padding."""
        return self.table(batch)

    def encoder(self, batch):
        return newest_items_at(batch, self._window)

    def cells_of_an_event(self, batch):
        return 8 * history_length(batch, self._window)

    def encode_last(self, batch, length):
        return last_items(batch, length, self._window)  # (rows, 1 or window)

    @property
    def _window(self) -> int:
        return len(self.table.by_step)

    def score_all(self, encoded):
        return self.table.score_all(encoded)  # (n, 1 or window) -> (n, size)

    def parts_of_events(self, newest, items):
        newest, rest = newest[:, : self._window], tf.shape(newest)[1]
        parts = self.table.between(newest, items) * shares(newest, self.table.by_step)[:, None]  # (n, m, window)
        return tf.pad(parts, [[0, 0], [0, 0], [0, rest - tf.shape(newest)[1]]])

    # Configuration

    def get_config(self):
        return {
            **super().get_config(),
            "neighbours": self.table.neighbours,
            "history": self.table.history,
            "window": self.table.window,
        }
