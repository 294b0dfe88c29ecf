"""The end of a training by the clock."""

from __future__ import annotations

import time
from collections.abc import Callable

import keras

from tfrecsession.training.decay import rate_of

SLACK = 1.25  # times the rate that falls by time, so that only a training that is late differs


class TimeLimit(keras.callbacks.Callback):
    """Stops a training at a limit of time, with a learning rate that has fallen by then.

    The rate is at most `rate * 1.25 * (1 - elapsed / seconds)`. A rate that falls by epochs, see `LinearDecay`, is not
    changed by this where the epochs end in time, and still reaches 0 where they do not.

        model.fit(batches, epochs=10, callbacks=[trs.training.LinearDecay(), trs.training.TimeLimit(300)])

    Args:
        seconds: from the first batch on.
        falls: whether the learning rate falls towards the limit.
        clock: returns seconds.

    Attributes:
        late: whether the training was stopped.
    """

    def __init__(self, seconds: float, falls: bool = True, clock: Callable[[], float] = time.monotonic):
        super().__init__()
        self.seconds, self.falls, self.clock = seconds, falls, clock
        self.late, self.begin = False, None

    def on_train_begin(self, logs=None):
        if self.begin is None:  # a training may have several calls of `fit`, for epochs on the newest sessions
            self.begin = self.clock()
        self.rate = rate_of(self.model.optimizer)

    @property
    def elapsed(self) -> float:
        """The seconds since the training began."""
        return self.clock() - self.begin

    def on_train_batch_begin(self, batch, logs=None):
        if self.falls:
            highest = SLACK * self.rate * max(1.0 - self.elapsed / max(self.seconds, 1e-9), 0.0)
            if rate_of(self.model.optimizer) > highest:
                self.model.optimizer.learning_rate = highest

    def on_train_batch_end(self, batch, logs=None):
        if self.elapsed > self.seconds:
            self.model.stop_training = self.late = True

    def on_train_end(self, logs=None):
        if self.falls:
            self.model.optimizer.learning_rate = self.rate
