"""The arithmetic of docs/scaling.md: a billion events, ten million items, on 1, 8 and 64 workers.

    python benchmarks/scaling.py            # prints the tables, from benchmarks/results/*.csv
    python benchmarks/scaling.py --write    # writes them into docs/scaling.md

Nothing is measured here; tests/test_scaling.py checks that the document is up to date.
"""

import argparse
import csv
from pathlib import Path

from workers import sent_by_each

HERE = Path(__file__).parent
DOCUMENT = HERE.parent / "docs" / "scaling.md"
BEGIN, END = "<!-- benchmarks/scaling.py: {} -->\n", "<!-- end -->\n"

EVENTS, ITEMS, UNITS = 1_000_000_000, 10_000_000, 100
SESSION = 4  # events per session: 3 targets for 4 items
STEPS, NEGATIVES = 16, 2048
NETWORK = 10e9 / 8  # bytes/s of one worker
WORKERS = (1, 8, 64)


def measured() -> dict[str, float]:
    """Returns the inputs, from the results of other benchmarks."""
    (ours,) = (row for row in rows_of("gru4rec_vs_authors") if row["side"] == "ours" and row["seed"] == "mean")
    (pipeline,) = rows_of("input_pipeline")
    (inputs,) = rows_of("scaling_inputs")
    return {
        "compute": float(ours["train_events_per_s"]),
        "layout": float(pipeline["pipeline_events_per_s"]),
        "parquet": float(inputs["parquet_events_per_s"]),
        "update": float(inputs["update_us_per_row"]) * 1e-6,
    }


def rows_of(name: str) -> list[dict]:
    lines = (HERE / "results" / f"{name}.csv").read_text().splitlines()
    return list(csv.DictReader(line for line in lines if not line.startswith("#")))


def step(workers: int, rows: int, sharded: bool = False) -> dict[str, float]:
    """Returns the costs of one step with `rows` batch rows per worker, in seconds and bytes, without overlap."""
    known = measured()
    events = rows * STEPS
    touched = events * SESSION / (SESSION - 1) + NEGATIVES  # table rows, in the worst case that no item repeats
    compute = events / known["compute"]  # includes the update of its own rows
    others = (workers - 1) * touched  # rows touched by the others, also merged and applied here
    sent = sent_by_each(workers, touched, UNITS)
    if sharded:  # a row and its gradient travel between worker and owner; only the owner applies it
        others, dense = 0.0, sent - (workers - 1) * touched * (4 * UNITS + 12)
        sent = 2 * touched * (4 * UNITS + 12) * (workers - 1) / workers + dense
    network, update = sent / NETWORK, others * known["update"]
    lay_out = 0.0 if workers == 1 else workers * events / known["layout"]  # the whole batch, in parallel to the step
    seconds = max(compute + network + update, lay_out)
    return {
        "events": workers * events,
        "touched": touched,
        "compute": compute,
        "network": network,
        "update": update,
        "layout": lay_out,
        "seconds": seconds,
        "sent": sent,
        "rate": workers * events / seconds,
    }


def inputs_table() -> str:
    known = measured()
    rows = [
        ("events/s of one worker with two cores", f"{known['compute']:,.0f}", "`gru4rec_vs_authors.csv`"),
        ("events/s packed into batches by one worker", f"{known['layout']:,.0f}", "`input_pipeline.csv`"),
        ("events/s read from prepared Parquet", f"{known['parquet']:,.0f}", "`scaling_inputs.csv`"),
        ("µs to merge and update a row of 100 numbers", f"{known['update'] * 1e6:.2f}", "`scaling_inputs.csv`"),
        ("MB/s of a worker's network", f"{NETWORK / 1e6:,.0f}", "assumed: 10 Gbit/s"),
        ("events per session", f"{SESSION}", "assumed; 3 targets"),
        ("rows x steps per worker, negatives", f"64 x {STEPS}, {NEGATIVES:,}", "defaults of `train`"),
    ]
    return table(("input", "value", "source"), rows)


def time_table(rows: int, sharded: bool = False) -> str:
    head = ("workers", "events per step", "MB sent per step", "compute ms", "network ms", "others' rows ms")
    head += ("laying out ms", "step ms", "events/s", "hours per epoch", "speedup")
    alone = step(1, rows)["rate"]
    lines = []
    for workers in WORKERS:
        cost = step(workers, rows, sharded)
        parts = [f"{1e3 * cost[name]:.1f}" for name in ("compute", "network", "update", "layout", "seconds")]
        size = [f"{workers}", f"{cost['events']:,}", f"{cost['sent'] / 1e6:.1f}"]
        hours = EVENTS / cost["rate"] / 3600
        lines.append((*size, *parts, f"{cost['rate']:,.0f}", f"{hours:.1f}", f"{cost['rate'] / alone:.1f}"))
    return table(head, lines)


def memory_table() -> str:
    rows = [
        ("item table and biases", 4 * ITEMS * (UNITS + 1), "items x (units + 1) x 4"),
        ("LazyAdagrad's accumulators", 4 * ITEMS * (UNITS + 1), "the same again (LazyAdam: twice)"),
        ("negatives: alias table and log Q", 12 * ITEMS, "items x 12"),
        ("events", 4 * EVENTS, "events x 4"),
        ("session offsets", 8 * EVENTS // SESSION, "sessions x 8"),
        ("order of an epoch, while it is computed", 5 * 8 * EVENTS // SESSION, "sessions x 8, five arrays"),
    ]
    total = sum(size for _, size, _ in rows)
    lines = [(what, f"{size / 1e9:.1f}", how) for what, size, how in rows]
    return table(("on every worker", "GB", "arithmetic"), [*lines, ("total", f"{total / 1e9:.1f}", "")])


def limits_table() -> str:
    """Returns the events/s that no number of workers exceeds."""
    known = measured()
    rows_per_event = SESSION / (SESSION - 1) + NEGATIVES / (64 * STEPS)
    large = SESSION / (SESSION - 1)
    lines = []
    for what, rows in (("64 rows per worker", rows_per_event), ("any number of rows", large)):
        cost = rows * (known["update"] + (4 * UNITS + 12) / NETWORK)
        lines.append((what, f"{rows:.2f}", f"{1e6 * cost:.2f}", f"{1 / cost:,.0f}"))
    lines.append(("laying out, any number of rows", "", f"{1e6 / known['layout']:.2f}", f"{known['layout']:,.0f}"))
    return table(("batch", "table rows per event", "µs per event on every worker", "maximum events/s"), lines)


def table(head, rows) -> str:
    lines = [" | ".join(head), " | ".join("---" for _ in head), *(" | ".join(row) for row in rows)]
    return "".join(f"| {line} |\n" for line in lines)


def reading_table() -> str:
    seconds = EVENTS / measured()["parquet"]
    return table(("events", "seconds", "arithmetic"), [(f"{EVENTS:,}", f"{seconds:.0f}", "events / events per second")])


TABLES = {
    "inputs": inputs_table,
    "time": lambda: time_table(64),
    "large batches": lambda: time_table(1024),
    "limits": limits_table,
    "sharded": lambda: time_table(64, sharded=True),
    "memory": memory_table,
    "reading": reading_table,
}


def filled(text: str) -> str:
    """Returns the document with up-to-date tables."""
    for name, make in TABLES.items():
        before, begin, rest = text.partition(BEGIN.format(name))
        _, end, after = rest.partition(END)
        assert begin and end, f"docs/scaling.md has no place for {name}"
        text = before + begin + make() + end + after
    return text


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="write the tables into docs/scaling.md")
    if parser.parse_args().write:
        DOCUMENT.write_text(filled(DOCUMENT.read_text()))
    for name, make in TABLES.items():
        print(f"{name}\n\n{make()}")


if __name__ == "__main__":
    main()
