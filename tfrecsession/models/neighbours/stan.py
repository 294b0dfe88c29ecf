"""STAN: items of similar past sessions, weighted by position in the session and age of the session."""

from __future__ import annotations

import keras
from keras import ops

from tfrecsession.models.neighbours.neighbour_defaults import by_order, fewer_neighbours, session_decay
from tfrecsession.models.neighbours.session_neighbours import NeighbourModel
from tfrecsession.recommender.arguments import check_number
from tfrecsession.recommender.search_space import Float, Int


@keras.saving.register_keras_serializable(package="tfrecsession")
class STAN(NeighbourModel):
    """Sequence and time aware neighbourhood: session-kNN with three decays (Garg et al., SIGIR 2019).

        w(p)     = exp((p - l) / position_decay),  of the history's item at p of l
        sim(n)   = cosine of w with the items of n, times exp(-(now - end of n) / session_decay)
        score(i) = sum over neighbours n with i of sim(n) exp(-|pos(i) - pos(i*)| / item_decay)

    i* is the last item of n that is in the history. `now` shifts all sessions alike and changes no order.

    Args:
        items: the vocabulary.
        neighbours, recent: see `NeighbourModel`.
        position_decay: events, lambda_1 of the paper; None: all items of the history count alike.
        session_decay: days, lambda_2; None: age does not matter.
        item_decay: events, lambda_3; None: all items of a neighbour count alike.
        window: see `NeighbourModel`.

    Raises:
        InputError: an argument out of range.

    Example:

        model = trs.models.STAN(data.items, session_decay=5.0)
        model.fit(data.train)
    """

    # Declarations
    search_space = {
        "neighbours": Int(50, 2000, log=True),
        "recent": Int(100, 10_000, log=True),
        "position_decay": Float(0.1, 20.0, log=True),
        "session_decay": Float(0.5, 100.0, log=True),
        "item_decay": Float(0.1, 20.0, log=True),
    }
    log_defaults = {
        "neighbours": fewer_neighbours,
        "position_decay": by_order(timed=0.2, untimed=10.0, history=4.0),
        "session_decay": session_decay,
        "item_decay": by_order(timed=5.0, untimed=10.0, history=20.0),
    }

    def __init__(
        self,
        items,
        neighbours=500,
        recent=5000,
        position_decay=1.02,
        session_decay=5.0,
        item_decay=2.05,
        window=None,
        **kwargs,
    ):
        # Arguments
        check_number("position_decay", position_decay, 0, above=True, optional=True)
        check_number("item_decay", item_decay, 0, above=True, optional=True)
        super().__init__(items, neighbours, recent, "cosine", window, session_decay, **kwargs)
        self.position_decay = position_decay
        self.item_decay = item_decay
        self.place_decay = 0.0 if item_decay is None else 1.0 / item_decay

    # Recommendations

    def position_weight(self, position, length):
        if self.position_decay is None:
            return ops.ones_like(position)
        return ops.exp((position - length) / self.position_decay)

    # Configuration

    def get_config(self):
        config = super().get_config()
        del config["similarity"]  # always the cosine
        return {**config, "position_decay": self.position_decay, "item_decay": self.item_decay}
