"""The newest part of a log, which fine-tuning sees again. Needs no TensorFlow."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tfrecsession.batches.data import Data, Sessions
from tfrecsession.errors import InputError
from tfrecsession.recommender.arguments import is_positive
from tfrecsession.sessions.spans import MICROSECONDS, iso

DAY = MICROSECONDS["d"]
EPOCHS = 4  # default of `finetune_epochs`


@dataclass(frozen=True)
class Newest:
    """The sessions that start in the last days of a log.

    Attributes:
        since: the time from which a session is new, in microseconds since 1970.
        sessions: bool [sessions], those that start then or later.
        targets: the number of their events with an event before them.
    """

    since: int
    sessions: np.ndarray
    targets: int

    @classmethod
    def of(cls, sessions: Sessions, days: float) -> Newest:
        """Selects the sessions that start in the last `days` before the start of the last session.

        The last event is no measure: one long session may go on for days. In a log whose times are dates 1 is the last
        date.

        Raises:
            InputError: the log has no times, or none of these sessions has two events.
        """
        if not sessions.timed or "times" not in sessions.arrays.columns:
            raise InputError(
                f"finetune_days={days}: needs the times of the events, and this log has none: leave it out, or "
                "prepare the log with its column of times"
            )
        times = np.asarray(sessions.column("times")).astype(np.int64)
        starts = times[sessions.offsets[:-1]]
        end = int(starts.max()) + (DAY if not (times % DAY).any() else 0)
        since = end - round(days * DAY)
        newest = starts >= since
        targets = int(np.maximum(np.diff(sessions.offsets)[newest] - 1, 0).sum())
        if not targets:
            raise InputError(
                f"finetune_days={days}: no session of two events starts since {iso(since)}, the last {days} days of "
                "the training sessions: must be larger"
            )
        return cls(since, newest, targets)

    def __str__(self) -> str:
        return f"{self.sessions.sum():,} sessions since {iso(self.since)}"


def check_finetuning(settings: dict, data: Data, data_memory=None) -> Newest | None:
    """Returns the newest part of the training sessions that the settings ask for, or None.

    Raises:
        InputError: a setting out of range, or as `Newest.of`.
    """
    days, epochs, rate = (settings.get(f"finetune_{name}") for name in ("days", "epochs", "rate"))
    if days is None:
        for name, value, default in (("epochs", epochs, EPOCHS), ("rate", rate, None)):
            if value not in (None, default):
                raise InputError(f"finetune_{name}={value!r}: must come with finetune_days, e.g. finetune_days=1")
        return None
    if not is_positive(days):
        raise InputError(f"finetune_days={days!r}: must be a number of days above 0, e.g. 1 or 0.5, or None")
    if not isinstance(epochs, int) or not is_positive(epochs):
        raise InputError(f"finetune_epochs={epochs!r}: must be a whole number from 1")
    if rate is not None and not is_positive(rate):
        raise InputError(f"finetune_rate={rate!r}: must be a learning rate above 0, or None for learning_rate")
    if data_memory is not None:
        raise InputError(f"finetune_days={days}: needs all training data at once; leave data_memory out")
    return Newest.of(data.train, days)
