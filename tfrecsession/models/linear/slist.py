"""SLIST: a linear model from the items of a session to its next items, solved in closed form."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf
from scipy import sparse

from tfrecsession.batches.co_occurrence import age_in_days
from tfrecsession.layers import (
    NeighbourTable,
    history_length,
    last_items,
    newest_items,
    newest_items_at,
    shares,
    window_of,
)
from tfrecsession.models.linear import session_regression
from tfrecsession.recommender.arguments import check_choice, check_number, check_whole
from tfrecsession.recommender.counting_model import CountingModel
from tfrecsession.recommender.search_space import Choice, Float

BLOCK = 128  # rows of B per block
# of `log_defaults`, chosen by benchmarks/defaults.py
LONG = 5.0  # mean events of a session from which sessions are long
HISTORY = 20.0  # from which a session without times is a user's history
SPARSE = 12.0  # mean events of an item up to which too few follow it to learn from the order alone


def _by_log(history=None, sparse=None):
    """Returns a rule: `history` where sessions are long and without times, `sparse` where items have few events."""

    def rule(log, given):
        if log.session_length >= HISTORY and log.days is None:
            return None if history is None else (history, f"{log.length_in_words}, and the log has no times")
        if log.session_length >= LONG and log.events_per_item <= SPARSE:
            return None if sparse is None else (sparse, f"an item has {log.events_per_item:.1f} events on average")
        return None

    return rule


@keras.saving.register_keras_serializable(package="tfrecsession")
class SLIST(CountingModel):
    """Session-aware linear item-item model in closed form (Choi, Kim, Lee, Shim, Lee, WWW 2021, arXiv 2103.16104).

    Two least squares share one solution B. X holds the items of each session as a set, one row per session; from it B
    predicts Y, the whole session again. S holds the events up to step t, one row per session and step; from it B
    predicts T, the later events.

        B = (alpha X'WX + (1 - alpha) S'WS + regularization I)^-1 (alpha X'WY + (1 - alpha) S'WT)

        S(t, i) = sum over the events s of i of exp(-|t - s| / position_decay),      s <= t, or those of `direction`
        T(t, i) = sum over the events s of i of exp(-|t + 1 - s| / position_decay),  s > t
        W       = exp(-days from the session's last event to the last of train / session_decay)

    Rows of X and S are divided by their sums; Y, the 0/1 rows of X, and T are not, as in the authors' code.

        score = v B,  v_i = sum over the events of i of exp(-(events since) / inference_decay), divided by its sum

    B has items x items numbers, 1.2 GB for 17 thousand items, in memory, in the `.keras` file and in the export.
    Therefore `neighbours` keeps the largest of each row, and the inverse needs the memory of one such matrix. Where
    even that does not fit, `dense_items` leaves the co-occurrence of rarer items, with each other and with the rest,
    out of the inverse. It matters little for items with few events compared to `regularization`. Every item still
    scores and is scored. On yoochoose1_64 neither costs a thousandth of Recall@20
    (`benchmarks/results/slist_memory.csv`).

    Args:
        items: the vocabulary.
        alpha: 0 to 1, from the order of the session alone to the set of its items alone. (With 1 the paper also bounds
            the diagonal of B; here it is the formula above.)
        direction: "sr", S holds the last event alone; "part", all up to it; "all", S and T hold the whole session.
        regularization: above 0.
        position_decay: in events; None: all weigh 1.
        inference_decay: in events; None: all weigh 1.
        session_decay: in days; None: all weigh 1. A log of weighted events also weighs rows: those of S and T by the
            next event, those of X and Y by the mean of the session; T and Y hold target events alone. So a session of
            weight 2 is the session twice. One event of weight 2 is not the event twice: X is a set, and steps differ.
        neighbours: numbers kept of each row of B, the largest; None: all of them, 4 * items^2 bytes.
        dense_items: how many of the most popular items take part in the inverse; None: all.
        window: newest events of a history that score; None: all.

    Raises:
        InputError: an argument out of range; too little memory; at `fit`, `session_decay` on a log without times.

    Example:

        model = trs.models.SLIST(data.items, alpha=0.4)
        model.fit(data.train)
    """

    # Declarations
    weighs_events = True
    search_space = {
        "alpha": Float(0.0, 1.0),
        "direction": Choice("sr", "part", "all"),
        "regularization": Float(1.0, 100.0, log=True),
        "position_decay": Float(0.1, 10.0, log=True),
        "inference_decay": Float(0.1, 10.0, log=True),
    }
    log_defaults = {
        "alpha": _by_log(history=0.4, sparse=0.9),
        "direction": _by_log(sparse="all"),
        "regularization": _by_log(history=3.0, sparse=2.0),
        "position_decay": _by_log(history=7.0, sparse=0.4),
        "inference_decay": _by_log(history=8.0),
    }

    def __init__(
        self,
        items,
        alpha=0.2,
        direction="sr",
        regularization=10.0,
        position_decay=1.0,
        inference_decay=1.0,
        session_decay=None,
        neighbours=200,
        dense_items=None,
        window=None,
        **kwargs,
    ):
        # Arguments
        check_number("alpha", alpha, 0, 1)
        check_choice("direction", direction, session_regression.DIRECTIONS)
        check_number("regularization", regularization, 0, above=True)
        check_number("position_decay", position_decay, 0, above=True, optional=True)
        check_number("inference_decay", inference_decay, 0, above=True, optional=True)
        check_number("session_decay", session_decay, 0, above=True, optional=True)
        check_whole("neighbours", neighbours, optional=True)
        check_whole("dense_items", dense_items, optional=True)
        check_whole("window", window, optional=True)
        super().__init__(items, **kwargs)
        self.alpha = alpha
        self.direction = direction
        self.regularization = regularization
        self.position_decay = position_decay
        self.inference_decay = inference_decay
        self.session_decay = session_decay
        self.neighbours = neighbours
        self.dense_items = dense_items
        self.window = window

        # Layers
        if neighbours is not None:
            self.best = NeighbourTable(self.size, neighbours)
        else:
            session_regression.check_memory(
                4 * self.size**2,
                f"B of {self.size - 2:,} items",
                "neighbours",
                None,
                f"a number such as 200, which keeps the 200 largest of every row, {8 * 200 * self.size:,} bytes",
            )
            self.b = self.add_weight(
                name="b",
                shape=(self.size, self.size),
                dtype="float32",
                initializer="zeros",
                trainable=False,
                autocast=False,
            )
        self.build()

    # Training

    def count(self, sessions):
        dense = self.size if self.dense_items is None else min(self.dense_items + 2, self.size)
        self._check_memory(dense)
        weights = np.ones(len(sessions))
        if self.session_decay is not None:
            last = np.maximum(sessions.offsets[1:] - 1, 0)
            weights = np.exp(-age_in_days(sessions, "session_decay")[last] / self.session_decay)  # (sessions,)
        gram, cross = session_regression.sums(
            sessions, weights, self.size, self.alpha, self.direction, self.position_decay
        )
        blocks = self._rows(gram, cross.astype(np.float32), dense)
        if self.neighbours is not None:
            self.best.fill(blocks)
            return
        first = 0
        for block in blocks:  # into the variable itself: there may be no memory for a second B
            self.b.value[first : first + block.shape[0]].assign(block.toarray() if sparse.issparse(block) else block)
            first += block.shape[0]

    def _check_memory(self, dense):
        """Checks that the inverse of the first `dense` ids fits into memory, and B where it is kept whole."""
        block = 8 * BLOCK  # bytes beside each row of the inverse
        needed, what = 4 * dense**2 + block * dense, f"the inverse of {dense - 2:,} items"
        if self.neighbours is None:
            expected = "a number such as 200, which keeps the 200 largest of every row"
            session_regression.check_memory(needed + 4 * self.size**2, what, "neighbours", None, expected)
        else:
            free = session_regression.free_memory() or 0
            fits = ((block**2 + 16 * free) ** 0.5 - block) / 8  # 4 fits^2 + block fits = free
            expected = f"at most {max(int(fits) - 3, 1)}, which leaves the rarer items out of the inverse"
            session_regression.check_memory(needed, what, "dense_items", self.dense_items, expected)

    def _rows(self, gram, cross, dense):
        """Yields B in blocks [rows, size], from the first row to the last; `dense` ids take part in the inverse."""
        ids = np.sort(np.concatenate([[0, 1], self.items.by_count()[: dense - 2] + 2]))  # (dense,)
        place = np.full(self.size, -1)
        place[ids] = np.arange(dense)
        inverse = session_regression.inverse(gram[ids][:, ids], self.regularization)  # (dense, dense)
        transposed = cross[ids].T.tocsr()  # (size, dense)
        diagonal = gram.diagonal() + self.regularization  # (size,)
        for first in [*range(0, dense, BLOCK), *range(dense, self.size, BLOCK)]:
            rows = slice(first, min(first + BLOCK, dense if first < dense else self.size))
            column = place[rows]
            is_dense = column >= 0  # (rows,)
            block = None
            if not is_dense.all():
                scale = sparse.diags((1 / diagonal[rows]).astype(np.float32))  # (rows, rows)
                block = scale @ cross[rows]  # (rows, size)
            if is_dense.any():
                # symmetric: its columns are its rows
                own = (transposed @ np.ascontiguousarray(inverse[:, column[is_dense]])).T  # (dense rows, size)
                if block is None:
                    block = np.ascontiguousarray(own)
                else:
                    block = block.toarray()
                    block[is_dense] = own
            yield block

    # Recommendations

    def encode(self, batch, training=False):
        return newest_items(batch, self._counted)  # (rows, steps, events)

    def encoder(self, batch):
        return newest_items_at(batch, self._counted)

    def cells_of_an_event(self, batch):
        return 16 * history_length(batch, self._counted)

    def encode_last(self, batch, length):
        return last_items(batch, length, self._counted)  # (rows, events)

    @property
    def _counted(self) -> int | None:
        """The newest events whose weight is not 0; None: all."""
        return window_of(0.0 if self.inference_decay is None else 1 / self.inference_decay, self.window)

    def score_all(self, encoded):
        return self.scorer()(encoded)  # (n, events) -> (n, size)

    def scorer(self):
        b = tf.convert_to_tensor(self.b.value) if self.neighbours is None else None  # (size, size)

        def score(items):
            share = self._shares(items)  # (n, events)
            if b is None:
                return self.best.score(items, share)  # (n, size)
            events = tf.where(items > 0)  # (m, 2): row and column of each event
            cells = tf.stack([events[:, 0], tf.cast(tf.gather_nd(items, events), tf.int64)], axis=1)  # (m, 2)
            shape = tf.cast([tf.shape(items)[0], self.size], tf.int64)
            v = tf.SparseTensor(cells, tf.gather_nd(share, events), shape)  # (n, size)
            return tf.sparse.sparse_dense_matmul(v, b)  # (n, size)

        return score

    def _shares(self, items):
        """Returns how much each event counts: int32 [n, events], newest first -> float32 [n, events]."""
        ago = tf.cast(tf.range(tf.shape(items)[1]), tf.float32)  # (events,)
        decay = 0.0 if self.inference_decay is None else 1 / self.inference_decay
        return shares(items, tf.exp(-ago * decay))

    def parts_of_events(self, newest, items):
        used, rest = newest[:, : self._counted], tf.shape(newest)[1]
        if self.neighbours is not None:
            weights = self.best.between(used, items)  # (n, m, events)
        else:
            pairs = tf.broadcast_dynamic_shape(tf.shape(used[:, None]), tf.shape(items[..., None]))
            cells = [tf.broadcast_to(ids, pairs) for ids in (used[:, None], items[..., None])]
            weights = tf.gather_nd(self.b.value, tf.stack(cells, axis=-1))  # (n, m, events)
        return tf.pad(weights * self._shares(used)[:, None], [[0, 0], [0, 0], [0, rest - tf.shape(used)[1]]])

    # Configuration

    def get_config(self):
        return {
            **super().get_config(),
            "alpha": self.alpha,
            "direction": self.direction,
            "regularization": self.regularization,
            "position_decay": self.position_decay,
            "inference_decay": self.inference_decay,
            "session_decay": self.session_decay,
            "neighbours": self.neighbours,
            "dense_items": self.dense_items,
            "window": self.window,
        }
