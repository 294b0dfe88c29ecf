"""The speed of a training."""

from __future__ import annotations

import time


class Pace:
    """Batches and events per second, of the batches trained in this process.

    Events are what the running mean of the loss is over: targets, pairs, or what else a model weighs. The first batch
    is left out: TensorFlow traces the step in it, and a resumed training counts from there.
    """

    def __init__(self, model):
        self._loss = next((metric for metric in model.metrics if metric.name == "loss"), None)
        self._replicas = model.distribute_strategy.num_replicas_in_sync
        self.batches, self.events, self.seconds = 0, 0.0, 0.0
        self._since = None

    def pause(self) -> None:
        """Excludes time and events up to the next batch; call it before an epoch and before validation."""
        self._since = None

    def step(self) -> None:
        """Counts a batch; call it after every one."""
        now, events = time.perf_counter(), self._counted()
        if self._since is not None:
            self.batches += 1
            self.seconds += now - self._since[0]
            self.events += events - self._since[1]
        self._since = now, events

    def _counted(self) -> float:
        if self._loss is None:
            return 0.0
        # each worker counts its own events; a sum would need all workers, so the others are assumed to have as many
        counts = getattr(self._loss.count.value, "values", None)
        return sum(map(float, counts)) * self._replicas / len(counts) if counts else float(self._loss.count)

    @property
    def events_per_second(self) -> float:
        return self.events / self.seconds if self.seconds else 0.0

    def restart(self) -> None:
        """Starts a new measurement."""
        self.batches, self.events, self.seconds = 0, 0.0, 0.0
