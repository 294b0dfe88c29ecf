"""Summary of a prepared data set: counts, dates, distributions, and what every step of `prepare` removed."""

from __future__ import annotations

import os

import numpy as np
from rich.console import Group
from rich.table import Table
from rich.text import Text

from tfrecsession.sessions.leaks import split_and_leaks
from tfrecsession.sessions.statistics import Statistics
from tfrecsession.sessions.store import SPLITS, read_prepared
from tfrecsession.sessions.vocabulary import Items


def describe(path: str | os.PathLike) -> dict:
    """Returns `dataset.json` with four more keys, `split`, `lengths`, `popularity` and `statistics`.

    - `split`: `by`, how the log was split ("time", "order", "users", "last-session" or "given"), and `leaks`, a
      sentence on what the test split leaks into training.

    - `lengths`: per split `mean`, `median`, `p90`, `p99`, `longest` (events per session) and `histogram`, the number
      of sessions by length ("3-4": 3 or 4 events); None for a split without sessions.
    - `popularity`: of the items in training: `top_1_percent` and `top_10_percent`, the share of the events on the most
      popular items; `gini`, 0 if all items are equally popular, near 1 if one has all events; `median_count`;
      `most_popular`, the first items with their counts.
    - `statistics`: of training, see `tfrecsession.sessions.statistics.Statistics`; defaults of models follow them.

    Raises:
        InputError: `read_prepared` cannot open the folder.
    """
    data = read_prepared(path)
    lengths = {name: _lengths(np.diff(getattr(data, name).offsets)) for name in SPLITS}
    statistics = Statistics(data.train, data.info["timed"]).as_dict()
    split = {"split": split_and_leaks(data.info)}
    return {**data.info, **split, "lengths": lengths, "popularity": _popularity(data.items), "statistics": statistics}


def _lengths(lengths: np.ndarray) -> dict | None:
    if not len(lengths):
        return None
    median, p90, p99 = (int(length) for length in np.quantile(lengths, [0.5, 0.9, 0.99], method="inverted_cdf"))
    edges = 2 ** np.arange(int(lengths.max() - 1).bit_length() + 1)  # lengths (edge / 2, edge]
    counts = np.bincount(np.searchsorted(edges, lengths), minlength=len(edges))
    names = [str(edge) if edge <= 2 else f"{edge // 2 + 1}-{edge}" for edge in edges]
    histogram = {name: int(count) for name, count in zip(names, counts, strict=True) if count}
    mean, longest = round(float(lengths.mean()), 3), int(lengths.max())
    return {"mean": mean, "median": median, "p90": p90, "p99": p99, "longest": longest, "histogram": histogram}


def _popularity(catalogue: Items) -> dict:
    counts, items, total = catalogue.counts, len(catalogue), int(catalogue.counts.sum())
    best = zip(catalogue.ids[:5].tolist(), counts[:5].tolist(), strict=True)
    ranks = np.arange(1, items + 1)
    return {
        "top_1_percent": round(float(counts[: max(items // 100, 1)].sum() / total), 4),
        "top_10_percent": round(float(counts[: max(items // 10, 1)].sum() / total), 4),
        # G = (n + 1 - 2 sum_i(i c_i) / sum_i(c_i)) / n, with c in falling order and i from 1.
        "gini": round(float((items + 1 - 2 * (ranks * counts).sum() / total) / items), 4),
        "median_count": int(np.quantile(counts, 0.5, method="inverted_cdf")),
        "most_popular": [{"item": item, "count": count} for item, count in best],
    }


def render(info: dict) -> Group:
    """Formats the result of `describe` or `prepare` for a terminal: `rich.print(render(info))`."""
    head = Text.assemble((info["source"], "bold"), f"  {info['items']:,} items, fingerprint {info['fingerprint']}")
    parts = [head, _splits(info), _steps(info)]
    if split := split_and_leaks(info):
        parts.insert(2, Text(f"Split by {split['by']}. {split['leaks']}"))
    if info.get("item_columns"):
        parts.append(_content_columns(info["item_columns"], "Content of the items", "items"))
    if info.get("user_columns"):
        parts.append(_content_columns(info["user_columns"], "Features of the users", "users of training"))
    if "lengths" in info:
        parts += [_length_table(info), _popularity_line(info["popularity"]), _statistics_line(info["statistics"])]
    return Group(*parts, *(Text(f"note: {note}") for note in info["notes"]))


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if index else "left", overflow="fold")
    return table


def _splits(info: dict) -> Table:
    columns = ("sessions", "events", "items", "scored_events", "unknown_events")
    table = _table("Splits", "split", *(column.replace("_", " ") for column in columns), "first", "last")
    for name, split in info["splits"].items():
        times = ((split[time] or "").replace("T", " ").removesuffix("Z") for time in ("first", "last"))
        table.add_row(name, *(f"{split[column]:,}" for column in columns), *times)
    return table


def _steps(info: dict) -> Table:
    table = _table("Steps", "step", "split", "events", "removed", "sessions", "items")
    before, split = None, None
    for step in info["steps"]:
        fresh = before is None or step.get("split") != split
        removed = "" if fresh else f"{before - step['events']:,}"
        counts = ["" if step[name] is None else f"{step[name]:,}" for name in ("events", "sessions", "items")]
        nulls = ", ".join(f"{part} {count:,}" for part, count in step.get("null_values", {}).items())
        table.add_row(
            step["step"] + (f" ({nulls})" if nulls else ""), step.get("split", ""), counts[0], removed, *counts[1:]
        )
        before, split = step["events"], step.get("split")
    return table


def _content_columns(columns: dict, title: str, rows: str) -> Table:
    table = _table(title, "column", "kind", f"{rows} with a value", "distinct", "examples")
    table.columns[-1].justify = "left"
    for name, column in columns.items():
        shape = "x".join(map(str, column.get("shape", ())))
        distinct = f"{column['distinct']:,}" if "distinct" in column else ""
        examples = " | ".join(column["examples"])
        kind = f"{column['kind']} {shape}".strip()
        table.add_row(name, kind, f"{column['coverage']:.1%}", distinct, Text(examples))
    return table


def _length_table(info: dict) -> Table:
    columns = ("mean", "median", "p90", "p99", "longest")
    found = {name: lengths for name, lengths in info["lengths"].items() if lengths}
    bins = {length for lengths in found.values() for length in lengths["histogram"]}
    bins = sorted(bins, key=lambda length: int(length.partition("-")[0]))
    table = _table("Session lengths (sessions by number of events)", "split", *columns, *bins)
    for name, lengths in found.items():
        histogram = (f"{lengths['histogram'].get(length, 0):,}" for length in bins)
        table.add_row(name, *(f"{lengths[column]:g}" for column in columns), *histogram)
    return table


def _popularity_line(popularity: dict) -> Text:
    best = ", ".join(f"{item['item']} ({item['count']:,})" for item in popularity["most_popular"])
    return Text(
        f"Popularity: 1% of the items have {popularity['top_1_percent']:.1%} of the events, 10% have "
        f"{popularity['top_10_percent']:.1%}; Gini {popularity['gini']:.3f}; "
        f"median {popularity['median_count']:,} events; most popular: {best}"
    )


def _statistics_line(statistics: dict) -> Text:
    return Text(
        f"Train: {statistics['session_length']:.1f} events a session; {statistics['repeats']:.1%} of the targets were "
        "in their session before (see repeats=true of the networks); "
        f"{statistics['events_per_item']:.1f} events an item; {statistics['density']:.3%} of all pairs of session and "
        f"item; {statistics['turnover']:.1%} of the newest events on items that the older half of the log lacks; "
        f"consecutive items recur {statistics['order']:.1f} times as often as other pairs of a session (1: no order)"
    )
