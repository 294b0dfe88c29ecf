"""Models that are counted, not learned by gradient: their `fit` reads the train split once."""

from __future__ import annotations

import keras

from tfrecsession.batches import Sessions
from tfrecsession.errors import InputError
from tfrecsession.recommender.recommender import Recommender


class CountingModel(Recommender):
    """A model says how it counts, in `count(sessions)`; fit, evaluate and the rest work as for any other."""

    def __init__(self, items, **kwargs):
        super().__init__(items, **kwargs)
        self.compile()

    def count(self, sessions: Sessions) -> None:
        raise NotImplementedError(f"{type(self).__name__} does not say how it counts")

    def fit(self, x=None, *args, **kwargs):
        """Count the train split; what Keras' `fit` takes beside it (epochs, callbacks, ...) has no effect.

        Args:
            x: `data.train`, or its batches.
        """
        sessions = x if isinstance(x, Sessions) else getattr(x, "sessions", None)
        if sessions is None:
            raise InputError(f"{type(self).__name__} counts whole sessions: say fit(data.train)")
        self.check_vocabulary(sessions.items)
        self.count(sessions)
        self.build()
        self.fitted = True
        history = keras.callbacks.History()
        history.set_model(self)
        history.on_train_begin()
        return history

    def compile(self, optimizer="rmsprop", loss=None, metrics=None, **kwargs):
        super().compile(optimizer, loss, metrics, **kwargs)
