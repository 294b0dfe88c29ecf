"""SKNN: items of the most similar past sessions, sessions compared as sets."""

from __future__ import annotations

import keras

from tfrecsession.models.neighbours.neighbour_defaults import newest_events
from tfrecsession.models.neighbours.session_neighbours import NeighbourModel
from tfrecsession.recommender.search_space import Choice, Int


@keras.saving.register_keras_serializable(package="tfrecsession")
class SKNN(NeighbourModel):
    """Session-kNN: items of the most similar past sessions, compared as sets (Jannach and Ludewig, RecSys 2017).

        sim(s, n) = |s and n| / sqrt(|s| |n|)  (or Jaccard),  score(i) = sum over neighbours n with i of sim(s, n)

    Args:
        items: the vocabulary.
        neighbours, recent, window: see `NeighbourModel`.
        similarity: "cosine" or "jaccard", see `NeighbourModel`.

    Raises:
        InputError: an argument out of range.

    Example:

        model = trs.models.SKNN(data.items, neighbours=100, recent=1000)
        model.fit(data.train)
    """

    # Declarations
    search_space = {
        "neighbours": Int(50, 2000, log=True),
        "recent": Int(100, 10_000, log=True),
        "similarity": Choice("cosine", "jaccard"),
    }
    log_defaults = {"window": newest_events}

    def __init__(self, items, neighbours=100, recent=1000, similarity="cosine", window=None, **kwargs):
        super().__init__(items, neighbours, recent, similarity, window, **kwargs)
