"""ItemKNN: items that are often in the same sessions as this item, relative to their popularity."""

from __future__ import annotations

import keras
import numpy as np
from scipy import sparse

from tfrecsession.batches.co_occurrence import session_items, supports
from tfrecsession.events.id_texts import texts
from tfrecsession.models.rules.item_table_model import BLOCK, TableModel
from tfrecsession.recommender.arguments import check_number
from tfrecsession.recommender.search_space import Float

# mean events of a session from which `log_defaults` differ, chosen by benchmarks/defaults.py
LONG = 20.0
VERY_LONG = 50.0
REPEATS = 0.1  # share of later events that repeat an item, from which an item is similar to itself by default


def _history(log, given):
    if log.session_length >= VERY_LONG:
        return "linear", log.length_in_words
    if log.session_length >= LONG:
        return "log" if log.is_shuffled else "last", f"{log.length_in_words}, and {log.order_in_words}"
    return "quadratic", log.length_in_words


def _itself(log, given):
    if log.repeats >= REPEATS:
        return 1.0, f"sessions repeat an item in {log.repeats:.0%} of their later events"


def _window(log, given):
    kind, because = _history(log, given)
    return (10, because) if kind in ("linear", "quadratic") else None


@keras.saving.register_keras_serializable(package="tfrecsession")
class ItemKNN(TableModel):
    """Item-to-item nearest neighbours by co-occurrence in sessions (arXiv 1511.06939, section 4).

        sim(i, j) = cooc_ij / ((support_i + shrinkage)^alpha (support_j + shrinkage)^(1 - alpha))
        sim(i, i) = itself * support_i / (support_i + shrinkage)
        score(j)  = sum over the items i of the history of share(i) * sim(i, j)

    `cooc_ij` counts pairs of events of one session, supports count events. With alpha=0.5 and shrinkage=0, sim is the
    cosine. Item-kNN is the baseline of the GRU4Rec papers, where `itself` is 0.

    Args:
        items: the vocabulary.
        neighbours: see `TableModel`.
        shrinkage: weakens similarities that rest on few events; at least 0.
        alpha: how the penalty of popularity is shared between the two items.
        itself: how much an item is similar to itself, at least 0: above 0, items of the session are recommended again.
        history, window: see `TableModel`.

    Raises:
        InputError: an argument out of range.

    Example:

        model = trs.models.ItemKNN(data.items, neighbours=100)
        model.fit(data.train)
    """

    # Declarations
    finds_similar_items = True
    search_space = {
        "shrinkage": Float(0.0, 100.0),
        "alpha": Float(0.0, 1.0),
        "itself": Float(0.0, 1.0),
        **TableModel.table_space,
    }
    log_defaults = {
        "history": _history,
        "alpha": lambda log, given: (0.2, log.length_in_words) if log.session_length >= VERY_LONG else None,
        "itself": _itself,
        "window": _window,
    }

    def __init__(
        self, items, neighbours=100, shrinkage=20.0, alpha=0.5, itself=0.0, history="last", window=20, **kwargs
    ):
        # Arguments
        check_number("shrinkage", shrinkage, 0)
        check_number("alpha", alpha)
        check_number("itself", itself, 0)
        super().__init__(items, neighbours, history, window, **kwargs)
        self.shrinkage = shrinkage
        self.alpha = alpha
        self.itself = itself

    # Training

    def blocks(self, sessions):
        by_session = session_items(sessions, self.size)  # (sessions, size)
        by_item = by_session.T.tocsr()  # (size, sessions)
        if sessions.weights is not None:
            by_session = session_items(sessions, self.size, targets=True)  # (sessions, size)
        support = supports(sessions, self.size)  # (size,)
        of_targets = supports(sessions, self.size, targets=True)  # (size,)
        with np.errstate(divide="ignore"):
            row_norm = (support + self.shrinkage) ** -self.alpha
            column_norm = (of_targets + self.shrinkage) ** (self.alpha - 1)
        for first in range(0, self.size, BLOCK):
            block = (by_item[first : first + BLOCK] @ by_session).tocoo()  # (rows, size)
            row, column = block.row + first, block.col  # (pairs,)
            events = np.where(row == column, self.itself * support[row], block.data)  # (pairs,)
            similar = events * row_norm[row] * column_norm[column]  # (pairs,)
            yield sparse.csr_matrix((similar, (block.row, column)), block.shape)  # (rows, size)

    # Recommendations

    def similar_items(self, items, k=20):
        """Returns the k nearest neighbours of each item, from the table."""
        return self.recommend([[item] for item in texts(items, "items")], k=k, exclude_seen=True)

    def nearest(self):
        return lambda ids, k: self.answer(ids[:, None], k, exclude_seen=True, allowed=(ids > 1)[:, None])

    # Configuration

    def get_config(self):
        return {**super().get_config(), "shrinkage": self.shrinkage, "alpha": self.alpha, "itself": self.itself}
