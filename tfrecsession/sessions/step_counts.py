"""Counts of events, sessions and items after each step of `prepare`."""

from __future__ import annotations

from collections.abc import Callable

from tfrecsession.errors import InputError

PrepareProgress = Callable[[str, float | None], None]
COUNTS = ("events", "sessions", "items")


class StepCounts:
    """The steps so far, each a dict of `step`, `events`, `sessions` (None before there are any), `items` and, once
    split, `split`.

    progress: called with the name of a step when it begins, and with the share done (0 to 1) if known.
    """

    def __init__(self, progress: PrepareProgress | None = None, split: str | None = None, source: str = ""):
        self.source, self.split = source, split
        self.steps: list[dict] = []
        self._progress = progress
        self._last: dict = dict.fromkeys(COUNTS)

    def begin(self, step: str, done: float | None = None) -> None:
        """Reports that a step begins, or the share of it that is done."""
        if self._progress:
            self._progress(step, done)

    def record(self, step: str, *, advice: str = "", **counts: int | None) -> None:
        """Records the counts after a step; those that it cannot change may be left out.

        Raises InputError if nothing is left, with the counts before the step and the `advice`.
        """
        before, after = self._last, {**self._last, **{name: count or 0 for name, count in counts.items()}}
        if before["events"] and not after["events"]:
            kept = ", ".join(f"{before[name]:,} {name}" for name in COUNTS if before[name])
            where = f"{self.source}, {self.split}" if self.split else self.source
            raise InputError(f"{where}: nothing is left after {step!r} (before: {kept}){advice and '; ' + advice}")
        self._last = after
        self.steps.append({"step": step, **after} | ({"split": self.split} if self.split else {}))

    def record_nulls(self, missing: dict[str, int]) -> None:
        """Records a step with the key `null_values`: the events that were read without an item, session or user."""
        self.record("null values")
        self.steps[-1]["null_values"] = missing

    def branch(self, split: str, may_be_empty: bool = False) -> StepCounts:
        """Returns step counts for one split, which continue these."""
        branch = StepCounts(self._progress, split, self.source)
        if not may_be_empty:
            branch._last = self._last
        return branch
