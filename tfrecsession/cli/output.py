"""Output of the commands: tables for the terminal, JSON for programs."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tfrecsession.errors import InputError
from tfrecsession.staging import check_file, replace_file

OWNERS = {  # file that a folder needs -> the files that mark such folders
    "dataset.json": ("dataset.json",),
    "run.json": ("run.json",),
    "history.json": ("run.json",),
    "metrics.json": ("run.json",),
    "comparison.json": ("comparison.json",),
    "results.json": ("comparison.json",),
    "result.json": ("ranks.npz",),
    "best.json": ("study.db",),
    "demo.json": ("demo.json",),
    "tfrecsession.json": ("tf_serving_warmup_requests", "README.md"),
}
ORDER = ("recall", "mrr", "ndcg", "precision", "map", "coverage", "popularity", "popularity_lift", "gini", "novelty")
ORDER += ("diversity", "miscalibration")
NOTES = (
    "recall, mrr, ndcg: rank of the next item among all items, ties against the model. "
    "precision, map: the list against the rest of the session. 95% intervals: bootstrap over sessions. "
    "popularity decile: tenths of the targets by support in train."
)


def write_json(content, file: str | None) -> None:
    """Writes the result of a command as JSON, where `--json` was given."""
    if file is None:
        return
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    if file == "-":
        sys.stdout.write(text)
    else:
        replace_file(file, text)


def check_json(file: str | None) -> None:
    """Checks, before the work, that `write_json` will be able to write to `file` and replaces nothing but a result.

    Raises:
        InputError: the file cannot be written, is no JSON, or belongs to a data set, run, comparison, search or export.
    """
    if file in (None, "-"):
        return
    check_file(file)
    path = Path(file).expanduser().absolute()
    if any((path.parent / marker).exists() for marker in OWNERS.get(path.name, ())):
        raise InputError(f"--json {file}: must not replace a file of the folder {path.parent}: choose another name")
    if path.is_file() and path.stat().st_size:
        try:
            json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            raise InputError(f"--json {file}: exists and is not JSON: choose another name") from None


def console(file: str | None = None) -> Console:
    """Returns a console on standard output, or on standard error where the JSON goes to standard output."""
    screen = Console(stderr=file == "-", highlight=False)
    if not screen.is_terminal:
        screen.width = 160  # a file or a pipe has no width to fit tables into
    return screen


def print_choices(screen: Console, model: str, defaults: dict[str, dict]) -> None:
    """Prints a line per default that follows the log, with its reason."""
    for name, choice in defaults.items():
        line = f"{model}: {name}={choice['value']!r}, because {choice['because']}"
        screen.print(line, markup=False, soft_wrap=True)


def metrics_table(rows: list[dict], title: str) -> Table:
    """Returns a table with one row per model: metrics, scored events, training and evaluation time."""
    table = Table(title=title, title_justify="left")
    names = list(dict.fromkeys(name for row in rows for name in row["metrics"]))
    table.add_column("model")
    for name in names:
        table.add_column(name, justify="right")
    table.add_column("events", justify="right")
    table.add_column("train s", justify="right")
    table.add_column("eval s", justify="right")
    for row in rows:
        values = [f"{row['metrics'][name]:.4f}" if name in row["metrics"] else "-" for name in names]
        times = ["-" if row.get(key) is None else f"{row[key]:.1f}" for key in ("train_seconds", "seconds")]
        table.add_row(row["model"], *values, f"{row['events']:,}", *times)
    return table


def comparison_table(results: dict, title: str) -> Table:
    """Returns a table with one row per model of a comparison.

    It shows the metrics at the longest k with intervals and significance, and the costs.
    """
    k = results["protocol"]["headline_k"]
    names = [f"{name}@{k}" for name in ("recall", "mrr", "ndcg")]
    worse = {(test["metric"], test["model"]) for test in results["pairs"] if test["p_holm"] < 0.05}
    table = Table(title=title, title_justify="left")
    table.add_column("model")
    for name in (*names, "events", "fit s", "events/s", "answer ms", "disk MB"):
        table.add_column(name, justify="right")
    for row in (*results["models"], *results["bounds"]):
        values = []
        for name in names:
            mark = "*" if (name, row["model"]) in worse else ""
            values.append(f"{row['metrics'][name]:.4f}{mark} {interval_text(row['intervals'].get(name))}".strip())
        costs = ["-"] * 4
        if cost := row.get("cost"):
            costs = [f"{row['train_seconds']:.1f}", f"{cost['events_per_second']:,.0f}"]
            costs += [f"{cost['latency_ms']['p50']:.1f}", f"{cost['disk_bytes'] / 1e6:.1f}"]
        table.add_row(row["model"], *values, f"{row['events']:,}", *costs)
    return table


def evaluation_table(scored) -> Table:
    """Returns a table with one row per metric of an Evaluation, with its interval where it has one."""
    table = Table()
    table.add_column("metric")
    table.add_column("value", justify="right")
    table.add_column("95% interval")
    for label in ORDER:
        names = [name for name in scored.metrics if name.partition("@")[0] == label]
        for name in names:
            table.add_row(name, f"{scored.metrics[name]:.4f}", interval_text(scored.intervals.get(name)))
        if len(names) > 1:
            table.add_section()
    return table


def slices_table(slices: dict) -> Table:
    """Returns a table with one row per label of every slice; labels without events have no scores."""
    table = Table()
    table.add_column("slice")
    table.add_column("events", justify="right")
    names = [name for name in next(iter(next(iter(slices.values())).values())) if "@" in name]
    for name in names:
        table.add_column(f"{name} [95%]")
    for slice_name, rows in slices.items():
        table.add_section()
        table.add_row(f"[bold]{slice_name.replace('_', ' ')}[/bold]")
        for label, row in rows.items():
            cells = [
                "-" if row[name] is None else f"{row[name]:.4f} {interval_text(row['intervals'].get(name))}"
                for name in names
            ]
            table.add_row(Text(f"  {label}"), f"{row['events']:,}", *cells)
    return table


def interval_text(interval) -> str:
    """Formats an interval as [low, high]; None becomes ""."""
    return "" if interval is None else f"\\[{interval[0]:.3f}, {interval[1]:.3f}]"
