"""How fast a training goes."""

from __future__ import annotations

import time


class Pace:
    """Batches and events a second, of the batches that were trained on here.

    Events are what the running mean of the loss is over: the targets there are, the pairs, or what else a model weighs.
    The first batch is left out: TensorFlow traces the step in it, and a training that goes on counts from there.
    """

    def __init__(self, model):
        self._loss = next((metric for metric in model.metrics if metric.name == "loss"), None)
        self._replicas = model.distribute_strategy.num_replicas_in_sync
        self.batches, self.events, self.seconds = 0, 0.0, 0.0
        self._since = None

    def pause(self) -> None:
        """Before an epoch, and before validation: time and events that pass until the next batch do not count."""
        self._since = None

    def step(self) -> None:
        """After every batch."""
        now, events = time.perf_counter(), self._counted()
        if self._since is not None:
            self.batches += 1
            self.seconds += now - self._since[0]
            self.events += events - self._since[1]
        self._since = now, events

    def _counted(self) -> float:
        if self._loss is None:
            return 0.0
        # of several workers each counts its own, and to sum them up would ask all: the others have about as many
        here = getattr(self._loss.count.value, "values", None)
        return sum(map(float, here)) * self._replicas / len(here) if here else float(self._loss.count)

    @property
    def events_per_second(self) -> float:
        return self.events / self.seconds if self.seconds else 0.0

    def restart(self) -> None:
        """Measure from here on."""
        self.batches, self.events, self.seconds = 0, 0.0, 0.0
