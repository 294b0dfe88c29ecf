"""SLIST: a linear model from the items of a session to the items after them, in closed form."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf
from scipy import sparse

from tfrecsession.batches.co_occurrence import age_in_days
from tfrecsession.errors import InputError
from tfrecsession.layers import NeighbourTable, last_items, newest_items, shares
from tfrecsession.models.linear import session_regression
from tfrecsession.recommender.counting_model import CountingModel
from tfrecsession.recommender.search_space import Choice, Float

BLOCK = 128  # rows of B made at once


@keras.saving.register_keras_serializable(package="tfrecsession")
class SLIST(CountingModel):
    """Session-aware linear item-item models (Choi, Kim, Lee, Shim, Lee, WWW 2021, arXiv 2103.16104).

    Two least squares with one solution. X: a row per session, its items as a set; from it the whole session again, Y.
    S: a row per session and step t, what came up to t; from it what comes later, T.

        B = (alpha X'WX + (1 - alpha) S'WS + regularization I)^-1 (alpha X'WY + (1 - alpha) S'WT)

        S(t, i) = sum over the events s of i of exp(-|t - s| / position_decay),      s <= t, or those of `direction`
        T(t, i) = sum over the events s of i of exp(-|t + 1 - s| / position_decay),  s > t
        W       = exp(-days from the session's last event to the last of train / session_decay)

    Rows of X and S are divided by their sums; Y, the 0/1 rows of X, and T are not, as in the authors' code.

        score = v B,  v_i = sum over the events of i of exp(-(events since) / inference_decay), divided by its sum

    B has items x items numbers, 1.2 GB for 17 thousand items, in memory, in the `.keras` file and in the export. So the
    largest of each row are kept (`neighbours`), and the inverse is made in the memory of one such matrix. Where even
    that does not fit, `dense_items` leaves out of the inverse what the rarer items have to do with each other and with
    the rest: for items with few events beside `regularization` that is next to nothing. Every item still scores and is
    scored. On yoochoose1_64 neither costs a thousandth of Recall@20 (`benchmarks/results/slist_memory.csv`).

    Args:
        items: the vocabulary.
        alpha: 0 to 1, from the order of the session alone to the set of its items alone. (With 1 the paper also bounds
            the diagonal of B; here it is the formula above.)
        direction: "sr", S holds the last event alone; "part", all up to it; "all", S and T hold the whole session.
        regularization: above 0.
        position_decay: in events; None: all weigh 1.
        inference_decay: in events; None: all weigh 1.
        session_decay: in days; None: all weigh 1.
        neighbours: numbers kept of each row of B, the largest; None: all of them, 4 * items^2 bytes.
        dense_items: how many of the most popular items take part in the inverse; None: all.
        window: newest events of a history that score; None: all.

    Raises:
        InputError: an argument out of range; too little memory; at `fit`, `session_decay` on a log without times.

    Example:

        model = trs.models.SLIST(data.items, alpha=0.4)
        model.fit(data.train)
    """

    search_space = {
        "alpha": Float(0.0, 1.0),
        "direction": Choice("sr", "part", "all"),
        "regularization": Float(1.0, 100.0, log=True),
        "position_decay": Float(0.1, 10.0, log=True),
        "inference_decay": Float(0.1, 10.0, log=True),
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
        super().__init__(items, **kwargs)
        if not 0 <= alpha <= 1:
            raise InputError(f"alpha={alpha!r}: say a number from 0 to 1")
        if direction not in session_regression.DIRECTIONS:
            raise InputError(f"direction={direction!r}: say one of {', '.join(session_regression.DIRECTIONS)}")
        decays = {"position_decay": position_decay, "inference_decay": inference_decay, "session_decay": session_decay}
        for name, number in {"regularization": regularization, **decays}.items():
            if not (number is None and name in decays) and not number > 0:
                raise InputError(f"{name}={number!r}: say a number above 0{', or None' if name in decays else ''}")
        for name, number in (("dense_items", dense_items), ("window", window)):
            if number is not None and (not isinstance(number, int | np.integer) or number < 1):
                raise InputError(f"{name}={number!r}: say a whole number, at least 1, or None")
        self.alpha, self.direction, self.regularization = alpha, direction, regularization
        self.position_decay, self.inference_decay, self.session_decay = decays.values()
        self.neighbours, self.dense_items, self.window = neighbours, dense_items, window
        if neighbours is not None:
            self.best = NeighbourTable(self.size, neighbours)
            return
        session_regression.check_memory(
            4 * self.size**2,
            f"B of {self.size - 2:,} items",
            f"say neighbours=200, which keeps the 200 largest of every row, {8 * 200 * self.size:,} bytes",
        )
        self.b = self.add_weight(
            name="b",
            shape=(self.size, self.size),
            dtype="float32",
            initializer="zeros",
            trainable=False,
            autocast=False,
        )

    def count(self, sessions):
        dense = self.size if self.dense_items is None else min(self.dense_items + 2, self.size)
        block = 8 * BLOCK  # bytes beside each row of the inverse
        fits = ((block**2 + 16 * (session_regression.free_memory() or 0)) ** 0.5 - block) / 8  # 4 n^2 + block n = free
        session_regression.check_memory(
            4 * dense**2 + block * dense + (4 * self.size**2 if self.neighbours is None else 0),
            f"the inverse of {dense - 2:,} items",
            f"say dense_items={max(int(fits) - 3, 1)}, which leaves the rarer items out of it"
            if self.neighbours is not None
            else "say neighbours=200, which keeps the 200 largest of every row",
        )
        weights = np.ones(len(sessions))
        if self.session_decay is not None:
            last = np.maximum(sessions.offsets[1:] - 1, 0)
            weights = np.exp(-age_in_days(sessions, "session_decay")[last] / self.session_decay)
        gram, cross = session_regression.sums(
            sessions, weights, self.size, self.alpha, self.direction, self.position_decay
        )
        rows = self._rows(gram, cross.astype(np.float32), dense)
        if self.neighbours is not None:
            self.best.fill(rows)
            return
        first = 0
        for block in rows:  # into the variable itself: a second B would not fit where one does
            self.b.value[first : first + block.shape[0]].assign(block.toarray() if sparse.issparse(block) else block)
            first += block.shape[0]

    def _rows(self, gram, cross, dense):
        """B from its first row to its last, in blocks [rows, size]: of the `dense` first ids, and of the rest."""
        found = session_regression.inverse(gram[:dense, :dense], self.regularization)
        after = cross[:dense].T.tocsr()
        for first in range(0, dense, BLOCK):
            some = np.ascontiguousarray(found[:, first : first + BLOCK])  # symmetric: its columns are its rows
            yield np.ascontiguousarray((after @ some).T)
        alone = gram.diagonal()[dense:] + self.regularization
        for first in range(dense, self.size, BLOCK):
            here = slice(first, min(first + BLOCK, self.size))
            yield sparse.diags((1 / alone[first - dense :][:BLOCK]).astype(np.float32)) @ cross[here]

    def encode(self, batch, training=False):
        return newest_items(batch, self.window)

    def encode_last(self, batch, length):
        return last_items(batch, length, self.window)

    def score_all(self, encoded):
        return self.scorer()(encoded)

    def scorer(self):
        b = tf.convert_to_tensor(self.b.value) if self.neighbours is None else None

        def score(items):
            ago = tf.cast(tf.range(tf.shape(items)[1]), tf.float32)
            decay = 0.0 if self.inference_decay is None else 1 / self.inference_decay
            share = shares(items, tf.exp(-ago * decay))
            if b is None:
                return self.best.score(items, share)
            there = tf.where(items > 0)
            cells = tf.stack([there[:, 0], tf.cast(tf.gather_nd(items, there), tf.int64)], axis=1)
            shape = tf.cast([tf.shape(items)[0], self.size], tf.int64)
            v = tf.SparseTensor(cells, tf.gather_nd(share, there), shape)
            return tf.sparse.sparse_dense_matmul(v, b)

        return score

    def get_config(self):
        own = ("alpha", "direction", "regularization", "position_decay", "inference_decay", "session_decay")
        own += ("neighbours", "dense_items", "window")
        return {**super().get_config(), **{name: getattr(self, name) for name in own}}
