"""VSKNN: items of similar past sessions, where recent items count more."""

from __future__ import annotations

import keras
from keras import ops

from tfrecsession.models.neighbours.neighbour_defaults import by_length
from tfrecsession.models.neighbours.session_neighbours import NeighbourModel
from tfrecsession.recommender.arguments import check_choice
from tfrecsession.recommender.search_space import Choice, Float, Int

# The weight of the event at `position` (1 is the oldest) of `length`.
WEIGHTINGS = {
    "same": lambda position, length: ops.ones_like(position),
    "div": lambda position, length: position / length,
    "linear": lambda position, length: ops.maximum(1.0 - 0.1 * (length - position), 0.0),
    "log": lambda position, length: 1.0 / ops.log10(length - position + 1.7),
    "quadratic": lambda position, length: (position / length) ** 2,
}
# The weight of a neighbour whose newest shared item was `step` events ago, 1 for the last event.
SCORE_WEIGHTINGS = {
    "same": lambda step: ops.ones_like(step),
    "div": lambda step: 1.0 / step,
    "linear": lambda step: ops.maximum(1.0 - 0.1 * step, 0.0),
    "log": lambda step: 1.0 / ops.log10(step + 1.7),
    "quadratic": lambda step: 1.0 / step**2,
}


@keras.saving.register_keras_serializable(package="tfrecsession")
class VSKNN(NeighbourModel):
    """Vector multiplication session-kNN: recent items count more (Ludewig and Jannach, arXiv 1803.09587).

        w(p)     = position weight of the history's items, p of l: same 1, div p/l, quadratic (p/l)^2,
                   linear max(0, 1 - 0.1 (l - p)), log 1 / log10(l - p + 1.7)
        d(step)  = weight of a neighbour by its newest shared item, `step` events ago (1: the last): same 1, div 1/step,
                   quadratic 1/step^2, linear max(0, 1 - 0.1 step), log 1 / log10(step + 1.7)
        score(i) = sum over neighbours n with i of sim(s, n) d(step_n) (1 + idf log(sessions / events of i))

    Args:
        items: the vocabulary.
        neighbours, recent, similarity: see `NeighbourModel`.
        weighting: the name of w.
        score_weighting: the name of d.
        idf, window, session_decay: see `NeighbourModel`. The papers' (7/8)^days is `session_decay=7.49`.

    Raises:
        InputError: an argument out of range.

    Example:

        model = trs.models.VSKNN(data.items, neighbours=100, recent=1000)
        model.fit(data.train)
    """

    # Declarations
    search_space = {
        "neighbours": Int(50, 2000, log=True),
        "recent": Int(100, 10_000, log=True),
        "similarity": Choice("cosine", "vec"),
        "weighting": Choice("same", "div", "linear", "log", "quadratic"),
        "score_weighting": Choice("same", "div", "linear", "log", "quadratic"),
        "idf": Float(0.0, 10.0),
    }
    log_defaults = {
        "neighbours": by_length(500, short=500),
        "recent": by_length(2500, short=2500),
        "weighting": by_length("linear", shuffled="same"),
        "score_weighting": by_length("div", shuffled="log"),
        "idf": by_length(5.0, short=5.0, shuffled=0.5),
    }

    def __init__(
        self,
        items,
        neighbours=100,
        recent=1000,
        similarity="cosine",
        weighting="quadratic",
        score_weighting="quadratic",
        idf=0.0,
        window=None,
        session_decay=None,
        **kwargs,
    ):
        # Arguments
        check_choice("weighting", weighting, WEIGHTINGS)
        check_choice("score_weighting", score_weighting, SCORE_WEIGHTINGS)
        super().__init__(items, neighbours, recent, similarity, window, session_decay, idf, **kwargs)
        self.weighting = weighting
        self.score_weighting = score_weighting

    # Recommendations

    def position_weight(self, position, length):
        return WEIGHTINGS[self.weighting](position, length)

    def step_weight(self, step):
        return SCORE_WEIGHTINGS[self.score_weighting](step)

    # Configuration

    def get_config(self):
        return {**super().get_config(), "weighting": self.weighting, "score_weighting": self.score_weighting}
