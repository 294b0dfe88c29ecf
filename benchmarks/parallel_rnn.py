"""Parallel RNNs in the form of the paper's table: architectures by schedules, and networks over ids alone beside them.

    python benchmarks/parallel_rnn.py                                                  # the described shop
    TFRECSESSION_DATA=... python benchmarks/parallel_rnn.py --data ml-1m --out DIR     # titles, genres, plots and years
    python benchmarks/parallel_rnn.py --data CLICKS --content title,category           # any prepared data set

`id` and `id, wide` have the capacity of one subnet and of both. All networks have the same loss, negatives and
optimizer, untuned. Schedules that train one subnet at a time (alternating, residual) get twice the epochs, so that each
subnet learns as long as in the others, as in the paper; `id, long` has as many.
"""

import argparse
import os
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pandas as pd
from reporting import intervals, write_rows

import tfrecsession as trs
from tfrecsession import evaluation, training
from tfrecsession.models.content.parallel_rnn import JOINED, SCHEDULES

IN_TURN = ("alternating", "residual")
SHOP = {"late": 0.3, "described": True, "unseen_items": "add", "follow": 0.7, "taste": 0.2, "seed": 1}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="a prepared data set, or ml-1m (default: the described shop)")
    parser.add_argument("--content", help="columns to read, A,B (default: all)")
    parser.add_argument("--out", default="parallel_rnn_data", help="folder for the prepared ml-1m")
    parser.add_argument("--units", type=int, default=100, help="of a subnet")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--items", type=int, default=1000, help="of the shop")
    parser.add_argument("--sessions", type=int, default=20_000, help="of the shop")
    parser.add_argument("--only", help="rows that contain this text")
    options = parser.parse_args()
    name, data = data_of(options)
    content = options.content.split(",") if options.content else None
    rows = []
    for label, settings, epochs in table(options.units, options.epochs):
        if options.only and options.only not in label:
            continue
        for seed in map(int, options.seeds.split(",")):
            rows.append({"network": label, "epochs": epochs, "seed": seed})
            rows[-1] |= measured(data, {**settings, "content": content, "epochs": epochs}, seed)
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


def data_of(options):
    if options.data is None:
        return "shop", trs.synthetic_sessions(items=options.items, sessions=options.sessions, **SHOP)
    if options.data != "ml-1m":
        return Path(options.data).resolve().name, trs.load(options.data)
    folder = Path(options.out) / "ml-1m"
    if not (folder / "dataset.json").is_file():
        if "TFRECSESSION_DATA" not in os.environ:
            raise SystemExit("TFRECSESSION_DATA is not set: this benchmark needs ml-1m")
        log, items = movielens(Path(os.environ["TFRECSESSION_DATA"]) / "ml-1m")
        kinds = ["title:words", "genres:list", "plot:words", "year:number"]
        trs.prepare(log, folder, item="item", session="session", items=items, content=kinds, test_span="20%")
    return "ml-1m", trs.load(folder)


def movielens(folder: Path):
    """Returns the log, a user as a session, and the films with title, genres, plot and year."""
    users = pd.read_csv(folder / "time_ordered_sequences.tsv", sep="\t")
    films = [text.split() for text in users["movie_ids_in_time_order"]]
    log = pd.DataFrame({"session": users["user_id"].repeat([len(row) for row in films]), "item": sum(films, [])})
    titled = [line.split("::") for line in (folder / "movies.dat").read_text("latin-1").splitlines()]
    told = [line.split("::") for line in (folder / "movies_extrainfos.dat").read_text("latin-1").splitlines()]
    plots = {row[0]: row[9] for row in told if len(row) > 9 and row[9] != "N/A"}
    items = {
        "item": [film for film, _, _ in titled],
        "title": [title.rpartition(" (")[0] for _, title, _ in titled],
        "genres": [genres.split("|") for _, _, genres in titled],
        "plot": [plots.get(film) for film, _, _ in titled],
        "year": [int(title.rpartition("(")[2][:4]) for _, title, _ in titled],
    }
    return log, items


def measured(data, given: dict, seed: int) -> dict:
    """Trains a network and scores it on the test split."""
    import keras

    keras.utils.set_random_seed(seed)
    given = {**given, "content": () if given["architecture"] == "id" else given["content"]}
    settings = training.settings_of("parallel_rnn", {"rows": 64, "steps": 16, **given})
    model = training.build("parallel_rnn", data.items, settings)
    start = time.perf_counter()
    training.fit(model, data, settings, seed)
    seconds = time.perf_counter() - start
    scored = evaluation.evaluate(model, data.test, (5, 20), slices=False)
    parameters = sum(int(np.prod(variable.shape)) for variable in model.trainable_variables)
    found = {name: round(scored.metrics[name], 4) for name in ("recall@5", "recall@20", "mrr@20")}
    bounds = {name: round(bound, 4) for name, bound in intervals(scored).items()}
    return {**found, **bounds, "parameters": parameters, "seconds": round(seconds, 1)}


if __name__ == "__main__":
    main()
