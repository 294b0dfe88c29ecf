"""The cost columns of the report's table."""

from __future__ import annotations

from tfrecsession.evaluation.report import reading

# head -> format of the value, its path, (name, path) of the value below it, whether less is better
COLUMNS = {
    "fit time": (reading.seconds, ("train_seconds",), None, True),
    "events/s": (reading.count, ("cost", "events_per_second"), None, False),
    "latency": (reading.milliseconds, ("cost", "latency_ms", "p50"), ("p99", ("cost", "latency_ms", "p99")), True),
    "fit memory": (
        reading.bytes_of,
        ("cost", "fit_memory_bytes"),
        ("eval.", ("cost", "evaluate_memory_bytes")),
        True,
    ),
    "disk size": (reading.bytes_of, ("cost", "disk_bytes"), None, True),
}
COSTS = list(COLUMNS)


def cost_cells(rows: list[dict]) -> list[list[dict]]:
    """Returns per row a cell per column: its `value`, the text `below` it, and whether it is `best` in its column."""
    columns = []
    for read, path, below, less in COLUMNS.values():
        values = [_at(row, path) for row in rows]
        known = [value for value in values if value is not None]
        best = (min if less else max)(known) if len(known) == len(rows) > 1 else None
        under = [""] * len(rows)
        if below:
            name, below_path = below
            under = [f"{name} {reading.or_dash(_at(row, below_path), read)}" for row in rows]
        columns.append(
            [
                {"value": reading.or_dash(value, read), "below": line, "best": value is not None and value == best}
                for value, line in zip(values, under, strict=True)
            ]
        )
    return [list(cells) for cells in zip(*columns, strict=True)]


def _at(row: dict, path: tuple[str, ...]):
    """Returns a nested value; None if a part of the path is missing."""
    for name in path:
        row = (row or {}).get(name)
    return row
