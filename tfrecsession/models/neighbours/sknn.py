"""SKNN: the sessions most like this one."""

from __future__ import annotations

import keras

from tfrecsession.models.neighbours.session_neighbours import NeighbourModel
from tfrecsession.recommender.search_space import Choice, Int


@keras.saving.register_keras_serializable(package="tfrecsession")
class SKNN(NeighbourModel):
    """Session-kNN (Jannach and Ludewig, RecSys 2017): sessions as sets of items.

        sim(s, n) = |s and n| / sqrt(|s| |n|)  (or Jaccard),  score(i) = sum over neighbours n with i of sim(s, n)

    See `NeighbourModel` for the arguments.

    Example:

        model = trs.models.SKNN(data.items, neighbours=100, recent=1000)
        model.fit(data.train)
    """

    search_space = {
        "neighbours": Int(50, 2000, log=True),
        "recent": Int(100, 10_000, log=True),
        "similarity": Choice("cosine", "jaccard"),
    }

    def __init__(self, items, neighbours=100, recent=1000, similarity="cosine", window=None, **kwargs):
        super().__init__(items, neighbours, recent, similarity, window, **kwargs)
