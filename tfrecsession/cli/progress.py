"""Progress of a command where the output is piped: a line every ten seconds, on standard error."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import IO

SECONDS = 10.0


@contextlib.contextmanager
def lines_where_piped(screen, step: str) -> Iterator[Callable[..., None]]:
    """Prints `ProgressLines` while a command works, unless `screen` is a terminal; yields their `update`."""
    if screen.is_terminal:
        yield lambda step, done=None: None
        return
    with ProgressLines(step) as lines:
        yield lines.update


@contextlib.contextmanager
def steps_shown(screen, step: str) -> Iterator[Callable[..., None]]:
    """Shows the step at hand of a command without a bar; yields the function that is called when a step begins.

    A terminal has a status line; elsewhere `ProgressLines` are printed.
    """
    if screen.is_terminal:
        with screen.status(step) as status:
            yield lambda step, done=None: status.update(step)
        return
    with ProgressLines(step) as lines:
        yield lines.update


class ProgressLines:
    """A context manager that prints the step at hand and the seconds so far, while a step of any length runs.

    Call `update(step, done)` when a step begins, or with the share of it that is done. file: where to print; default:
    standard error, so that results on standard output stay as they are. wait: returns whether to end, after `seconds`.
    """

    def __init__(
        self,
        step: str,
        *,
        seconds: float = SECONDS,
        file: IO[str] | None = None,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[float], bool] | None = None,
    ):
        self._step, self._done, self._seconds = step, None, seconds
        self._file, self._clock = file, clock
        self._ended = threading.Event()
        self._wait = wait or self._ended.wait
        self._thread = threading.Thread(target=self._run, daemon=True)

    def update(self, step: str, done: float | None = None) -> None:
        self._step, self._done = step, done

    def __enter__(self) -> ProgressLines:
        self._start = self._clock()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._wait(self._seconds):
            done = "" if self._done is None else f" {self._done:.0%}"
            print(f"{self._clock() - self._start:.0f} s: {self._step}{done}", file=self._file or sys.stderr, flush=True)
