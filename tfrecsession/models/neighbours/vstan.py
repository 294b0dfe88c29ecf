"""VSTAN: items of similar past sessions, by STAN with the options of VSKNN."""

from __future__ import annotations

import keras
from keras import ops

from tfrecsession.models.neighbours.neighbour_defaults import by_order, fewer_neighbours, session_decay
from tfrecsession.models.neighbours.session_neighbours import NeighbourModel
from tfrecsession.recommender.arguments import check_number
from tfrecsession.recommender.search_space import Choice, Float, Int


@keras.saving.register_keras_serializable(package="tfrecsession")
class VSTAN(NeighbourModel):
    """STAN with the options of VSKNN (Ludewig, Mauro, Latifi, Jannach, arXiv 1910.12781).

        score(i) = sum over neighbours n with i of
                   sim(n) exp(-|pos(i) - pos(i*)| / item_decay) exp(-(step_n - 1) / match_decay)
                   (1 + idf log(sessions / events of i))

    with sim, pos and i* of STAN, and step_n of VSKNN: how many events ago the newest shared item was, 1 for the last.

    Args:
        items: the vocabulary.
        neighbours, recent, similarity: see `NeighbourModel`.
        position_decay: events, lambda_spw of the authors' code; None: all items of the history count alike.
        session_decay: days, lambda_snh; None: age does not matter.
        item_decay: events, lambda_inh; None: all items of a neighbour count alike.
        match_decay: events, lambda_ipw; None: it does not matter which item is shared.
        idf: lambda_idf.
        window: see `NeighbourModel`.

    Raises:
        InputError: an argument out of range.

    Example:

        model = trs.models.VSTAN(data.items, session_decay=5.0)
        model.fit(data.train)
    """

    # Declarations
    search_space = {
        "neighbours": Int(50, 2000, log=True),
        "recent": Int(100, 10_000, log=True),
        "similarity": Choice("cosine", "vec"),
        "position_decay": Float(0.1, 20.0, log=True),
        "session_decay": Float(0.5, 100.0, log=True),
        "item_decay": Float(0.1, 20.0, log=True),
        "match_decay": Float(0.1, 20.0, log=True),
        "idf": Float(0.0, 10.0),
    }
    log_defaults = {
        "neighbours": fewer_neighbours,
        "similarity": by_order(timed="vec"),
        "position_decay": by_order(timed=1.0, untimed=10.0, history=4.0),
        "session_decay": session_decay,
        "item_decay": by_order(timed=5.0, untimed=10.0, history=20.0),
        "match_decay": by_order(timed=0.5, untimed=2.0),
    }

    def __init__(
        self,
        items,
        neighbours=500,
        recent=5000,
        similarity="cosine",
        position_decay=1.02,
        session_decay=5.0,
        item_decay=2.05,
        match_decay=1.02,
        idf=5.0,
        window=None,
        **kwargs,
    ):
        # Arguments
        check_number("position_decay", position_decay, 0, above=True, optional=True)
        check_number("item_decay", item_decay, 0, above=True, optional=True)
        check_number("match_decay", match_decay, 0, above=True, optional=True)
        super().__init__(items, neighbours, recent, similarity, window, session_decay, idf, **kwargs)
        self.position_decay = position_decay
        self.item_decay = item_decay
        self.match_decay = match_decay
        self.place_decay = 0.0 if item_decay is None else 1.0 / item_decay

    # Recommendations

    def position_weight(self, position, length):
        if self.position_decay is None:
            return ops.ones_like(position)
        return ops.exp((position - length) / self.position_decay)

    def step_weight(self, step):
        if self.match_decay is None:
            return ops.ones_like(step)
        return ops.exp((1.0 - step) / self.match_decay)

    # Configuration

    def get_config(self):
        return {
            **super().get_config(),
            "position_decay": self.position_decay,
            "item_decay": self.item_decay,
            "match_decay": self.match_decay,
        }
