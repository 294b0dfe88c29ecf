"""Phases of a training: which part of a model learns in which epoch."""

from __future__ import annotations

import keras

from tfrecsession.errors import InputError

SCHEDULES = ("simultaneous", "alternating", "residual", "interleaved")


class Phases(keras.callbacks.Callback):
    """Sets `model.phase`, the part of a model that learns, at the beginning of every epoch.

        simultaneous   all parts in every step
        alternating    one part per epoch, in turn
        residual       the first part for its epochs, then the second one on what is left, and so on
        interleaved    every part in every batch, one after the other, each on what the others have just learned

    Parts that do not learn stay in the forward pass. The phase follows from the number of the epoch alone, and is a
    variable of the model, so that an interrupted training resumes in it. `ParallelRNN.fit` adds this callback itself.

    Args:
        schedule: one of SCHEDULES; None: that of the model, `model.schedule`.
        parts: the number of parts.
        epochs: of "residual", the epochs of each part but the last; None: the epochs of `fit`, in equal parts.
    """

    def __init__(self, schedule: str | None = None, parts: int = 2, epochs: int | None = None):
        super().__init__()
        self.schedule, self.parts, self.epochs = schedule, parts, epochs

    def on_epoch_begin(self, epoch, logs=None):
        schedule = self.schedule or self.model.schedule
        self.model.phase.assign(phase_of(schedule, epoch, self.params["epochs"], self.parts, self.epochs))


def phase_of(schedule: str, epoch: int, epochs: int, parts: int = 2, each: int | None = None) -> int:
    """Returns the part that learns in an epoch, from 0; 0 for schedules in which all parts learn.

    Args:
        schedule: one of SCHEDULES.
        epoch: its number, from 0.
        epochs: of the whole training.
        parts: the number of parts.
        each: of "residual", the epochs of each part but the last; None: `epochs` in equal parts, rounded up.
    """
    if schedule not in SCHEDULES:
        raise InputError(f"schedule={schedule!r}: must be one of {', '.join(SCHEDULES)}")
    if schedule == "alternating":
        return epoch % parts
    if schedule == "residual":
        each = -(-epochs // parts) if each is None else each
        return min(epoch // max(each, 1), parts - 1)
    return 0
