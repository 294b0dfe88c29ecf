"""Base of the models without gradients: their `fit` reads the train split once."""

from __future__ import annotations

import keras

from tfrecsession.batches import Sessions
from tfrecsession.errors import InputError
from tfrecsession.recommender.recommender import Recommender


class CountingModel(Recommender):
    """Base of models that are counted, not learned by gradient.

    A subclass defines `count(sessions)`; `fit`, `evaluate` and the rest work as for any other model.
    """

    def __init__(self, items, **kwargs):
        super().__init__(items, **kwargs)
        self.compile()

    def count(self, sessions: Sessions) -> None:
        """Counts the sessions of the train split; defined by the subclass."""
        raise NotImplementedError(f"{type(self).__name__} does not define count")

    def fit(self, x=None, *args, **kwargs):
        """Counts the train split; the other arguments of Keras' `fit` (epochs, callbacks, ...) have no effect.

        Args:
            x: `data.train`, or its batches.
            *args, **kwargs: as in Keras; weights are refused, see `Sessions.weighted`.

        Raises:
            InputError: x is not a split, or `sample_weight` or `class_weight`.
        """
        sessions = self.sessions_to_count(x, kwargs)
        self.check_vocabulary(sessions.items)
        self.count(sessions)
        self.build()
        self.fitted = True
        history = keras.callbacks.History()
        history.set_model(self)
        history.on_train_begin()
        return history

    def sessions_to_count(self, x, kwargs: dict) -> Sessions:
        """Returns the split that `fit` counts, after a check of its arguments."""
        self.refuse_weights(kwargs)
        sessions = x if isinstance(x, Sessions) else getattr(x, "sessions", None)
        if sessions is None:
            raise InputError(f"x: must be data.train or its batches, {type(self).__name__} counts whole sessions")
        if sessions.weighing is not None and not self.weighs_events:
            raise InputError(
                f"x: must be data.train without weighted(...), {type(self).__name__} counts every event once; "
                "the other models honour weights"
            )
        return sessions

    def refuse_weights(self, kwargs: dict) -> None:
        """Raises InputError if the arguments of `fit` have weights as Keras has them."""
        for name in ("sample_weight", "class_weight"):
            if kwargs.get(name) is not None:
                raise InputError(
                    f"{name}: must be None, {type(self).__name__} counts every event once; see its settings for "
                    "weights of its own, `data.train.weighted(...)`, and drop events from the log to leave them out"
                )

    def compile(self, optimizer="rmsprop", loss=None, metrics=None, **kwargs):
        super().compile(optimizer, loss, metrics, **kwargs)
