"""Progress of a training: position, loss, speed and time left."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable

import keras

from tfrecsession.sessions.spans import in_words
from tfrecsession.training.pace import Pace

EVERY = 0.5  # seconds between updates


class Progress(keras.callbacks.Callback):
    """A progress line that a terminal updates, and that stays at the end of every epoch; a file gets only the latter.

        epoch 2/10  37%  loss 5.1234  58,123 events/s  4m 10s left

        model.fit(batches, epochs=10, verbose=0, callbacks=[trs.training.Progress()])

    The time left covers all epochs, including validation after the first one.

    Args:
        stream: where to write; None: standard output.
    """

    def __init__(self, stream=None):
        super().__init__()
        self.stream = stream

    def on_train_begin(self, logs=None):
        self._out = self.stream or sys.stdout
        self._live = getattr(self._out, "isatty", lambda: False)()
        self._pace = Pace(self.model)
        self._shown, self._validations, self._seconds = 0.0, 0, 0.0

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch, self._began = epoch, time.perf_counter()
        self._tested = None
        self._pace.pause()

    def on_train_batch_end(self, batch, logs=None):
        if not logs:  # skipped by a resumed training
            return
        self._pace.step()
        now = time.perf_counter()
        if self._live and now - self._shown > EVERY:
            self._shown = now
            self._write(self._line(batch + 1, logs), stays=False)

    def on_test_begin(self, logs=None):
        self._tested = time.perf_counter()
        if self._live:
            self._write(f"{self._head()}  validating", stays=False)

    def on_test_end(self, logs=None):
        if self._tested is not None:
            self._validations += 1
            self._seconds += time.perf_counter() - self._tested

    def on_epoch_end(self, epoch, logs=None):
        took = in_words(int((time.perf_counter() - self._began) * 1e6))
        measured = "  ".join(f"{name} {value:.4f}" for name, value in (logs or {}).items())
        self._write(f"{self._head()}  {measured}  {self._pace.events_per_second:,.0f} events/s  {took}", stays=True)

    def on_train_end(self, logs=None):
        self._out.flush()

    def _head(self) -> str:
        return f"epoch {self._epoch + 1}/{self.params['epochs']}"

    def _line(self, done: int, logs: dict) -> str:
        words = [self._head(), f"loss {logs['loss']:.4f}" if "loss" in logs else ""]
        words.append(f"{self._pace.events_per_second:,.0f} events/s" if self._pace.events else "")
        if steps := self.params["steps"]:
            words.insert(1, f"{done / steps:.0%}")
            words.append(self._left((self.params["epochs"] - self._epoch) * steps - done))
        return "  ".join(word for word in words if word)

    def _left(self, batches: int) -> str:
        if not self._pace.batches:
            return ""
        seconds = batches * self._pace.seconds / self._pace.batches
        if self._validations:
            seconds += (self.params["epochs"] - self._epoch) * self._seconds / self._validations
        return f"{in_words(int(seconds) * 10**6)} left"

    def _write(self, text: str, stays: bool) -> None:
        if self._live:
            width = shutil.get_terminal_size().columns - 1
            text = "\r" + (text if stays else text[:width]).ljust(width)
        self._out.write(text + ("\n" if stays else ""))
        self._out.flush()


class ReportedProgress(Progress):
    """The progress lines of a training, passed to a function instead of a stream.

    Args:
        report: called with the line, e.g. "epoch 2/10  37%  loss 5.1234  58,123 events/s  4m 10s left".
    """

    def __init__(self, report: Callable[[str], None]):
        super().__init__()
        self.report = report

    def on_train_begin(self, logs=None):
        super().on_train_begin(logs)
        self._live = True

    def on_train_end(self, logs=None):
        pass

    def _write(self, text: str, stays: bool) -> None:
        self.report(text)
