"""What every step of `prepare` left, for the people who ask where their events went."""

from __future__ import annotations

from collections.abc import Callable

from tfrecsession.errors import InputError

Progress = Callable[[str, float | None], None]


class Ledger:
    """The steps so far, each a dict of `step`, `events`, `sessions`, `items` and, once split, `split`.

    progress: called with the name of a step when it begins, and with the share done (0 to 1) where that is known.
    """

    def __init__(self, source: str, progress: Progress | None = None, split: str | None = None):
        self.source = source
        self.split = split
        self.steps: list[dict] = []
        self._progress = progress

    def begin(self, step: str, done: float | None = None) -> None:
        if self._progress:
            self._progress(step, done)

    def record(self, step: str, *, advice: str = "", **counts: int | None) -> None:
        """Write down what a step left; a count that it could not change may be left out.

        Raises InputError where nothing is left, with the numbers before the step and the `advice`.
        """
        before = self.steps[-1] if self.steps else {"events": None, "sessions": None, "items": None}
        entry = {**before, "step": step, **counts}
        if self.split:
            entry["split"] = self.split
        if before["events"] and not entry["events"]:
            kept = ", ".join(f"{before[name]:,} {name}" for name in ("events", "sessions", "items") if before[name])
            where = f"the {self.split} sessions of {self.source}" if self.split else self.source
            raise InputError(f"{where}: nothing is left after '{step}' (before it: {kept}){advice and ': ' + advice}")
        self.steps.append(entry)

    def branch(self, split: str, source: str | None = None) -> Ledger:
        """A ledger for one split, which begins anew."""
        return Ledger(source or self.source, self._progress, split)
