"""Selects the models whose promises `make test` checks: the representatives of the families, and what changed lately.

Lately is the working tree and the day before the newest commit. Without git, and of a shallow clone's oldest commit,
nothing counts as changed. `python -m tests.conformance.selection` lists the selected models. With
TFRECSESSION_CONFORMANCE=few (`make conformance`) only the models in `FEW` are selected.
"""

from __future__ import annotations

import ast
import os
import subprocess
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from tests.conformance.descriptors import ROOT, ROWS, Model

FAMILIES = "tfrecsession/models/"
TABLE_FILE = "tests/conformance/descriptors.py"
MOST = 1  # further models, newest changes first: `make test` has to end in time
WINDOW = timedelta(days=1)
FEW = {"popularity", "item_knn", "als", "gru4rec"}  # counted, item table, solved and trained: a few minutes on one core
KINDS = FEW | {"matrix_factorization", "two_tower", "hrnn", "sasrec"}  # all kinds of training and of batches


def selected() -> set[str]:
    """Returns the names of the rows that `make test` runs."""
    if os.environ.get("TFRECSESSION_CONFORMANCE") == "few":
        return FEW
    names = representatives(ROWS)
    if not (ROOT / ".git").exists():  # a tarball, perhaps within the repository of something else
        return names
    try:
        newest = datetime.fromisoformat(git("log", "-1", "--format=%cI").strip())
        since = (newest - WINDOW).isoformat()
        log = git("log", f"--since={since}", "--min-parents=1", "--first-parent", "-m", "--name-only", "--format=%x00")
        tree = git("diff", "--name-only", "HEAD") + git("ls-files", "--others", "--exclude-standard")
        base = git("rev-list", "-1", "--first-parent", f"--before={since}", "HEAD").strip()
        known = base and git("ls-tree", "--name-only", base, TABLE_FILE)
        table = git("show", f"{base}:{TABLE_FILE}") if known else ""
        rows = changed_rows(table, (ROOT / TABLE_FILE).read_text())
    except (OSError, subprocess.CalledProcessError, ValueError, SyntaxError):
        return names
    return names | changed(rows, [tree.splitlines(), *commits(log)], ROWS)


def git(*words: str) -> str:
    """Returns what a git command prints; CalledProcessError where it fails."""
    return subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=True).stdout


def representatives(rows: Iterable[Model]) -> set[str]:
    return {row.name for row in rows if row.represents}


def commits(log: str) -> list[list[str]]:
    """Reads `git log --name-only --format=%x00`: the paths of each commit, newest first."""
    return [[path for path in part.splitlines() if path] for part in log.split("\0")[1:]]


def changed(
    names: set[str], commits: Sequence[Sequence[str]], rows: Sequence[Model], most: int | None = None
) -> set[str]:
    """Returns the `most` newest changed models beside the representatives; None: MOST.

    Args:
        names: rows that changed themselves; they come first.
        commits: changed paths, newest commit first. A commit with paths in more than half of the families is a change
            of the whole house (a move, a new name) and counts for no model.
    """
    families = {row.family for row in rows}
    order = dict.fromkeys(row.name for row in rows if row.name in names)
    for paths in commits:
        if len({family_of(path) for path in paths} & families) <= len(families) / 2:
            order |= dict.fromkeys(row.name for row in rows if any(concerns(path, row, rows) for path in paths))
    further = [name for name in order if name not in representatives(rows)]
    return set(further[: MOST if most is None else most])


def family_of(path: str) -> str | None:
    """Returns the family that a path lies in, or None."""
    folder, _, file = path.removeprefix(FAMILIES).partition("/")
    return folder if path.startswith(FAMILIES) and file.endswith(".py") and file != "__init__.py" else None


def concerns(path: str, row: Model, rows: Sequence[Model]) -> bool:
    """Returns whether a change of a file may change what a row promises.

    A model's own file concerns the model, its variants and the models that derive from it; any other file of a family
    concerns the whole family. A row that is like another is concerned by its model's own file alone, a variant of this
    kind by none.
    """
    if family_of(path) is None:
        return False
    if row.like:
        return path == row.file and row.name == row.registered
    of_a_model = any(path == other.file for other in rows)
    return path in row.files if of_a_model else family_of(path) == row.family


def changed_rows(before: str, now: str) -> set[str]:
    """Returns the names of the rows that are new or other than they were in an older text of the table.

    Where the older text has no row, or most rows changed, the table was rewritten and no row counts.
    """
    old, new = rows_of(before), rows_of(now)
    found = {name for name, row in new.items() if old.get(name) != row}
    return found if old and len(found) <= len(new) / 2 else set()


def rows_of(source: str) -> dict[str, str]:
    """Reads the rows `Model("name", ...)` of a Python text: name -> its syntax tree as text."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    return {
        call.args[0].value: ast.dump(call)
        for call in calls
        if isinstance(call.func, ast.Name) and call.func.id == "Model" and call.args
    }


if __name__ == "__main__":
    print(*sorted(selected()), sep="\n")
