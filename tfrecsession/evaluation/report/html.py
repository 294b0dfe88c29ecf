"""The HTML page of a comparison, made from results.json alone."""

from __future__ import annotations

import html
import json
import re
from importlib.resources import files
from pathlib import Path

from tfrecsession.errors import InputError
from tfrecsession.evaluation.report import reading, wording
from tfrecsession.evaluation.report.costs_table import COSTS, cost_cells
from tfrecsession.evaluation.report.drawing import DARK, LIGHT, OTHER, series
from tfrecsession.evaluation.report.figures import bias, cost, slice_figure, slice_table
from tfrecsession.staging import check_file, differences, replace_file

TEMPLATE = "page.html.jinja"
IDENTITY = re.compile(r'<meta name="comparison" content="([^"]*)">')
HEAD = 100_000  # characters in which it stands
PARTS = {  # slice -> title of its section, (axis label, its explanation), kind of chart
    "position": (
        "Recall@{k} by position in the session",
        ("position of the target in its session", "The first event of a session is never a target."),
        "lines",
    ),
    "popularity_decile": (
        "Recall@{k} by popularity of the target",
        (
            "decile of the targets, from popular to rare",
            "Deciles are by the training events of the target item; the data table shows the range of each.",
        ),
        "lines",
    ),
    "bias": ("Coverage and popularity bias", ("", ""), "bias"),
    "in_session": ("Recall@{k} of returning and of fresh items", ("", ""), "rows"),
}
FURTHER = {  # slices shown as tables
    "event_type": "By event type of the target",
    "history_length": "By number of earlier events of the user",
    "past_sessions": "By number of earlier sessions of the user",
    "days_since_last_visit": "By days since the user's session before",
    "user_in_training": "By whether training has sessions of the user",
    "in_training": "By whether the target was seen in training",
}


def read_results(path: str | Path) -> tuple[dict, Path]:
    """Returns the results of a comparison and their file; `path` is that file or its folder.

    Raises:
        InputError: the file is missing, or does not hold the results of a comparison.
    """
    path = Path(path)
    file = path / "results.json" if path.is_dir() else path
    if not file.is_file():
        raise InputError(
            f"{path}: no results.json there: make one with compare(data, models, {str(path)!r})",
            command_line=f"{path}: no results.json there: make one with `tfrecsession compare DATA --out {path}`",
        )
    try:
        results = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{file}: is not JSON ({error})") from None
    if not isinstance(results, dict) or "models" not in results or "protocol" not in results:
        raise InputError(f"{file}: must hold the results of a comparison by this version: run `compare` again")
    return results, file


def write_report(results: dict, path: str | Path, *, overwrite: bool = False) -> Path:
    """Writes the page atomically, as one file without references to others.

    Args:
        results: the return value of `compare`, or the content of `results.json`.
        path: the HTML file.
        overwrite: whether to replace the report of another comparison.

    Raises:
        InputError: Matplotlib or Jinja2 is missing, `path` is something else than a report or the report of another
            comparison (the message names what differs), or it cannot be written.
    """
    check_report(results, path, overwrite)
    page = render(results)
    replace_file(path, page)
    return Path(path)


def check_report(results: dict, path: str | Path, overwrite: bool = False) -> None:
    """Checks whether `write_report` may and can write to `path`; the arguments and errors are its own."""
    check_file(path)
    path = Path(path).expanduser()
    if not path.is_file() or not path.stat().st_size:
        return
    with open(path, encoding="utf-8", errors="replace") as file:
        head = file.read(HEAD)
    if "<!DOCTYPE html>" not in head:
        raise InputError(f"{path}: exists and is not a report: choose another name")
    if overwrite or _beside_its_results(path, results):
        return
    found = IDENTITY.search(head)
    if not found:
        raise InputError(f"{path}: exists and is not a report of this version: choose another name, or overwrite=True")
    try:
        held = json.loads(html.unescape(found[1]))
    except ValueError:
        held = {}
    if differ := differences(held, identity(results)):
        raise InputError(
            f"{path}: is the report of another comparison ({differ}): choose another name, or replace it with "
            "overwrite=True"
        )


def _beside_its_results(path: Path, results: dict) -> bool:
    """Returns whether `path` is in the folder of these results, where it is the report of what the folder holds."""
    try:
        held = json.loads(path.with_name("results.json").read_text(encoding="utf-8"))
        return identity(held) == identity(json.loads(json.dumps(results, default=str)))
    except (OSError, ValueError, KeyError, TypeError):
        return False


def identity(results: dict) -> dict:
    """Returns what tells one comparison from another."""
    models = {row["model"]: {"kind": row.get("kind"), **(row.get("settings") or {})} for row in results["models"]}
    protocol = results["protocol"]
    types = {"events": protocol["event_types"]} if protocol.get("event_types") else {}
    return {"data": results.get("data"), "seed": results.get("seed"), "k": protocol.get("k"), **types, **models}


def render(results: dict) -> str:
    """Returns the page as text."""
    try:
        from jinja2 import Environment, StrictUndefined
    except ImportError:
        raise InputError("report.html needs Jinja2: pip install jinja2, then `tfrecsession report`") from None
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    template = environment.from_string((files(__package__) / TEMPLATE).read_text(encoding="utf-8"))
    return template.render(content(results)) + "\n"


def content(results: dict) -> dict:
    """Returns the variables of the template, with formatted numbers."""
    protocol, k = results["protocol"], results["protocol"]["headline_k"]
    rows = sorted(results["models"], key=lambda row: -row["metrics"][f"mrr@{k}"])
    models = series(rows)
    headline = f"MRR@{k}"
    metrics = [f"{name}@{k}" for name in ("mrr", "recall", "ndcg")]
    return {
        "light": LIGHT,
        "dark": DARK,
        "other": OTHER,
        "identity": json.dumps(identity(results), default=str),
        "title": wording.title(results),
        "lead": wording.lead(results),
        "findings": wording.findings(results, rows, k),
        "facts": wording.facts(results),
        "protocol": wording.protocol_sentences(protocol),
        "data": wording.data_sentences(results),
        "splits": wording.splits_table(results.get("dataset") or {}),
        "steps": wording.steps_table(results.get("dataset") or {}),
        "headline": headline,
        "metric_heads": [reading.metric_name(metric) for metric in metrics],
        "cost_heads": COSTS,
        "table": _table(results, rows, metrics, models),
        "notes": wording.notes(results, rows, k),
        "tests": _tests(results),
        "every_k": _every_k(results, rows),
        "parts": _parts(results, models, k),
        "settings": [_settings(row) for row in rows],
        "footer": wording.footer(results, rows),
    }


def _table(results: dict, rows: list[dict], metrics: list[str], models) -> list[dict]:
    marks = {(test["metric"], test["model"]): test for test in results.get("pairs", [])}
    best = {metric: max(row["metrics"][metric] for row in rows) for metric in metrics}
    table = []
    for number, (row, costs) in enumerate(zip(rows, cost_cells(rows), strict=True)):
        quality = [
            {
                "value": reading.score(row["metrics"][metric]),
                "interval": reading.interval((row.get("intervals") or {}).get(metric)),
                "best": row["metrics"][metric] == best[metric],
                "mark": wording.mark(marks.get((metric, row["model"]))),
            }
            for metric in metrics
        ]
        colour = f"series-{number}" if models[number].color != OTHER else "other"
        table.append({"label": row["model"], "colour": colour, "metrics": quality, "costs": costs, "bound": False})
    for bound in results.get("bounds", []):
        quality = [
            {
                "value": reading.or_dash(bound["metrics"].get(metric), reading.score),
                "interval": reading.interval((bound.get("intervals") or {}).get(metric)),
                "best": False,
            }
            for metric in metrics
        ]
        costs = [{"value": "–", "below": "", "best": False}] * len(COSTS)
        table.append({"label": bound["model"], "metrics": quality, "costs": costs, "bound": True})
    return table


def _tests(results: dict) -> dict | None:
    heads = ["model", "against", "metric", "difference", "95% interval", "p", "p (Holm)"]
    rows = [
        [
            test["model"],
            test["best"],
            reading.metric_name(test["metric"]),
            reading.signed(test["difference"]),
            reading.interval(test["interval"], signed=True) or "–",
            reading.p_value(test["p"]),
            reading.p_value(test["p_holm"]),
        ]
        for test in results.get("pairs", [])
    ]
    return {"caption": "Difference from the best model in each metric", "heads": heads, "rows": rows} if rows else None


def _every_k(results: dict, rows: list[dict]) -> dict:
    names = list(rows[0]["metrics"])
    heads = ["metric", *(row["model"] for row in rows), *(bound["model"] for bound in results.get("bounds", []))]
    table = []
    for name in names:
        cells = []
        for row in (*rows, *results.get("bounds", [])):
            interval = reading.interval((row.get("intervals") or {}).get(name))
            value = reading.or_dash(row["metrics"].get(name), reading.number)
            cells.append(f"{value} ({interval})" if interval else value)
        table.append([reading.metric_name(name), *cells])
    return {"caption": "All metrics, with 95% intervals in brackets", "heads": heads, "rows": table}


def _parts(results: dict, models, k: int) -> list[dict]:
    ceiling = next((row["metrics"] for row in results.get("bounds", []) if row["model"] == "ceiling"), {})
    parts = [_part("quality-cost", f"MRR@{k} against time", [cost(models, k, ceiling.get(f"mrr@{k}"))])]
    for name, (title, axis, kind) in PARTS.items():
        title = title.format(k=k)
        figure = bias(models, k) if kind == "bias" else slice_figure(models, name, title, axis, kind, k)
        parts.append(_part(name, title, [figure] if figure else []))
    tables = [table for name, title in FURTHER.items() if (table := slice_table(models, name, title, k))]
    if tables:
        parts.append({**_part("further", "Further slices", []), "without": [], "tables": tables})
    return parts


def _part(id: str, title: str, figures: list[dict]) -> dict:
    without = [] if figures else ["These results have no data for this section."]
    return {"id": id, "title": title, "figures": figures, "without": without, "tables": []}


def _settings(row: dict) -> dict:
    pairs = sorted((row.get("settings") or {}).items())
    return {
        "label": row["model"],
        "kind": row.get("kind", row["model"]),
        "seed": row.get("seed", "–"),
        "settings": [(name, json.dumps(value, ensure_ascii=False)) for name, value in pairs],
        "run": row.get("run"),
    }
