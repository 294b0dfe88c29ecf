"""The ledger of a search: every finished step with its result and its seconds, in a file that is replaced atomically.

A search is a function of the results of its steps. A resumed search runs from its beginning and reads the steps that
have finished from the ledger, so it makes the same decisions, whenever it was interrupted. The budget counts the
seconds in the ledger: what an interruption lost is not counted.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tfrecsession.errors import InputError
from tfrecsession.file_lock import locked_folder
from tfrecsession.staging import check_parents, differences, replace_file

FILE = "search.json"


class Ledger:
    """The finished steps of a search, and the budget.

    Args:
        out: the folder of the search.
        bound: what the search depends on; a folder that belongs to another search is refused.
        budget: seconds.
        clock: returns seconds.

    Attributes:
        spent: the seconds of the steps that this process has gone through.
    """

    def __init__(self, out: Path, bound: dict, budget: float, clock: Callable[[], float] = time.monotonic):
        self.path, self.bound, self.budget, self.clock = out / FILE, json.loads(json.dumps(bound)), budget, clock
        self.steps, self.spent = {}, 0.0
        if self.path.is_file():
            held = _read(self.path)
            if differ := differences(held["bound"], self.bound):
                raise InputError(
                    f"{out}: holds a search that differs ({differ}): choose another out=, or start again with "
                    "overwrite=True"
                )
            self.steps = held["steps"]
        self.mark = clock()

    @property
    def left(self) -> float:
        """The seconds of the budget that are left."""
        return self.budget - self.spent

    def step(self, key: str, work: Callable[[], dict]) -> dict:
        """Returns the result of a step: from the ledger, or of `work`, whose result is recorded with its seconds.

        An error of `work` is recorded as {"state": "failed", "error"}, unless nothing can be written.
        """
        if key not in self.steps:
            try:
                found = {"state": "complete", **work()}
            except (OSError, MemoryError) as error:
                if not isinstance(error, MemoryError):
                    raise
                found = {"state": "failed", "error": "too little memory"}
            except Exception as error:
                if "cannot write there" in str(error):
                    raise
                found = {"state": "failed", "error": _line(error)}
            now = self.clock()
            self.steps[key] = {**found, "seconds": round(found.get("seconds", 0.0) or now - self.mark, 3)}
            content = {"bound": self.bound, "steps": self.steps}
            replace_file(self.path, json.dumps(content, indent=1, default=float) + "\n")
        self.mark = self.clock()
        self.spent += self.steps[key]["seconds"]
        return self.steps[key]


@contextlib.contextmanager
def locked(out: Path) -> Iterator[None]:
    """Creates the folder of a search and locks it; the lock ends with the process."""
    check_place(out)
    with locked_folder(out, "searching"):
        yield


def check_place(out: Path) -> None:
    """Checks that `out` is a folder of a search, or can become one. Needs no TensorFlow."""
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / FILE).is_file())):
        raise InputError(f"{out}: exists and holds no search (no {FILE}): choose another out=")
    check_parents(out / FILE)


def _read(path: Path) -> dict:
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
        return {"bound": held["bound"], "steps": held["steps"]}
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(f"{path}: cannot be read: start again with overwrite=True") from None


def _line(error: BaseException) -> str:
    text = (str(error).strip().splitlines() or [""])[0]
    return text if isinstance(error, InputError) else f"{type(error).__name__}: {text}"
