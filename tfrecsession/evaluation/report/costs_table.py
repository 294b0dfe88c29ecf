"""The cost columns of the report's table."""

from __future__ import annotations

from tfrecsession.evaluation.report import reading

# head -> how a value reads, the value, and the one below it; whether less is better
COLUMNS = {
    "to fit": (reading.seconds, ("train_seconds",), None, True),
    "events/s": (reading.count, ("cost", "events_per_second"), None, False),
    "one answer": (reading.milliseconds, ("cost", "latency_ms", "p50"), ("p99", ("cost", "latency_ms", "p99")), True),
    "memory to fit": (
        reading.bytes_of,
        ("cost", "fit_memory_bytes"),
        ("eval.", ("cost", "evaluate_memory_bytes")),
        True,
    ),
    "on disk": (reading.bytes_of, ("cost", "disk_bytes"), None, True),
}
COSTS = list(COLUMNS)


def cost_cells(rows: list[dict]) -> list[list[dict]]:
    """For each row a cell per column: `value`, what stands `below` it, and whether it is the `best` of the column."""
    columns = []
    for read, place, below, less in COLUMNS.values():
        values = [_at(row, place) for row in rows]
        known = [value for value in values if value is not None]
        best = (min if less else max)(known) if len(known) == len(rows) > 1 else None
        under = [""] * len(rows)
        if below:
            name, further = below
            under = [f"{name} {reading.or_dash(_at(row, further), read)}" for row in rows]
        columns.append(
            [
                {"value": reading.or_dash(value, read), "below": line, "best": value is not None and value == best}
                for value, line in zip(values, under, strict=True)
            ]
        )
    return [list(cells) for cells in zip(*columns, strict=True)]


def _at(row: dict, place: tuple[str, ...]):
    """A nested value; None where a part of the way is missing."""
    for name in place:
        row = (row or {}).get(name)
    return row
