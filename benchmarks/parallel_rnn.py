"""Parallel RNNs in the form of the paper's table: architectures by schedules, and networks over ids alone beside them.

    python benchmarks/parallel_rnn.py                                                  # the described shop
    TFRECSESSION_DATA=... python benchmarks/parallel_rnn.py --data ml-1m --out DIR  # or a log of content_logs.py
    python benchmarks/parallel_rnn.py --data CLICKS --content title,category           # any prepared data set

`id` and `id, wide` have the capacity of one subnet and of both. All networks have the same loss, negatives and
optimizer, untuned. Schedules that train one subnet at a time (alternating, residual) get twice the epochs, so that each
subnet learns as long as in the others, as in the paper; `id, long` has as many.
"""

import argparse
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from content_logs import add_arguments, data_of, measured
from reporting import write_rows

from tfrecsession.models.content.parallel_rnn import JOINED, SCHEDULES

IN_TURN = ("alternating", "residual")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser, "parallel_rnn_data")
    parser.add_argument("--units", type=int, default=100, help="of a subnet")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--only", help="rows that contain one of these texts, separated by |")
    options = parser.parse_args()
    name, data = data_of(options)
    content = options.content.split(",") if options.content else None
    rows = []
    for label, settings, epochs in table(options.units, options.epochs):
        if options.only and not any(text in label for text in options.only.split("|")):
            continue
        for seed in map(int, options.seeds.split(",")):
            rows.append({"network": label, "epochs": epochs, "seed": seed})
            read = () if settings["architecture"] == "id" else content
            given = {"rows": 64, "steps": 16, **settings, "content": read, "epochs": epochs}
            rows[-1] |= measured(data, "parallel_rnn", given, seed)[0]
            print(rows[-1], flush=True)
            write_rows(f"parallel_rnn_{name}", rows)


def table(units: int, epochs: int):
    """Yields label, settings and epochs of every network."""
    single = {"schedule": "simultaneous", "units": [units]}
    yield "id", {**single, "architecture": "id"}, epochs
    yield "id, wide", {**single, "architecture": "id", "units": [2 * units]}, epochs
    yield "id, wide, long", {**single, "architecture": "id", "units": [2 * units]}, 2 * epochs
    yield "feature", {**single, "architecture": "feature"}, epochs
    yield "concatenated", {**single, "architecture": "concatenated", "units": [2 * units]}, epochs
    for architecture in JOINED:
        for schedule in SCHEDULES:
            settings = {"architecture": architecture, "schedule": schedule, "units": [units]}
            yield f"{architecture}, {schedule}", settings, epochs * (2 if schedule in IN_TURN else 1)


if __name__ == "__main__":
    main()
