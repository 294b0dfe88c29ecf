"""ALS compared with `implicit` (benfred, from PyPI; not a dependency: pip install implicit): quality for held-out users
and time per sweep, in one run on two threads.

TFRECSESSION_DATA=... python benchmarks/als_vs_implicit.py
"""

import argparse
import os
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # implicit recommends it: it has its own threads

import keras
import numpy as np
import tensorflow as tf
from reporting import write_rows

import tfrecsession as trs
from tfrecsession.batches import Interactions, Sessions
from tfrecsession.evaluation.held_out_users import scores_of
from tfrecsession.sessions.store import SessionArrays
from tfrecsession.sessions.vocabulary import Items

# Found on users held out of train (--validate), on a coarse grid of the same size for both.
SETTINGS = {
    "hetrec_lastfm": {
        "als": {"unobserved_weight": 0.1, "regularization": 0.001},
        "als 512": {"unobserved_weight": 0.1, "regularization": 0.006},
        "implicit": {"alpha": 10.0, "regularization": 20.0},
    },
    "ml-1m": {
        "als": {"unobserved_weight": 0.3, "regularization": 0.003},
        "implicit": {"alpha": 3.0, "regularization": 20.0},
    },
}
GRID = {
    "als": [
        {"unobserved_weight": a0, "regularization": ridge}
        for a0 in (0.03, 0.1, 0.3)
        for ridge in (0.0003, 0.001, 0.003, 0.01)
    ],
    "implicit": [
        {"alpha": alpha, "regularization": ridge} for alpha in (3.0, 10.0, 30.0) for ridge in (1.0, 5.0, 20.0, 80.0)
    ],
}
SWEEPS = 10


def interactions(folder: str, name: str) -> Sessions:
    """Returns all interactions of a data set, a session per user."""
    if name == "hetrec_lastfm":
        users, items = np.loadtxt(f"{folder}/{name}/user_artists.dat", int, skiprows=1, usecols=(0, 1), unpack=True)
    else:
        with open(f"{folder}/{name}/time_ordered_sequences.tsv") as file:
            lines = [line.split() for line in file][1:]
        users = np.repeat([int(line[0]) for line in lines], [len(line) - 1 for line in lines])
        items = np.array([int(item) for line in lines for item in line[1:]])
    order = np.argsort(users, kind="stable")
    users, items = users[order], items[order]
    names, values, counts = np.unique(items, return_inverse=True, return_counts=True)
    by_count = np.argsort(-counts, kind="stable")
    ids = np.empty(len(names), np.int32)
    ids[by_count] = np.arange(len(names)) + 2
    user_ids, lengths = np.unique(users, return_counts=True)
    columns = {"user": np.array([str(user) for user in user_ids], object)}
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return Sessions(SessionArrays(Items(names[by_count], counts[by_count]), ids[values], offsets, columns), "train")


class Clock(keras.callbacks.Callback):
    def __init__(self):
        self.seconds = []

    def on_epoch_begin(self, epoch, logs=None):
        self.start = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        self.seconds.append(time.perf_counter() - self.start)


def ours(split, name, sweeps=SWEEPS, **settings):
    """Yields the seconds of one sweep at a time, and at last the scores."""
    known = {"sweeps": 1, **settings} if name == "als" else settings
    model, clock = trs.models.by_name(name)(split.train.items, **known), Clock()
    for _ in range(sweeps if name == "als" else 1):
        model.fit(split.train, callbacks=[clock])
        yield clock.seconds[-1] if clock.seconds else None
    found = trs.evaluation.evaluate_users(model, split, recall=(20,), ndcg=(100,))
    yield {**found.metrics, **_bounds(found.intervals)}


def theirs(split, factors=64, alpha=1.0, regularization=0.01, use_cg=True):
    """Yields what `ours` does, for `implicit`."""
    from implicit.als import AlternatingLeastSquares
    from scipy import sparse

    model = AlternatingLeastSquares(
        factors=factors,
        alpha=alpha,
        regularization=regularization,
        iterations=1,  # fit continues from the current factors
        use_cg=use_cg,
        num_threads=2,
        random_state=0,
    )
    seconds, matrix = [], _binary(Interactions.of(split.train).csr())
    for _ in range(SWEEPS):
        model.fit(matrix, False, lambda _, elapsed, *rest: seconds.append(elapsed))
        yield seconds[-1]
    lengths = np.array([len(history) for history in split.histories])
    columns = split.train.items.encode([item for history in split.histories for item in history])
    rows = np.repeat(np.arange(len(lengths)), lengths)
    given = sparse.csr_matrix((np.ones(len(rows), np.float32), (rows, columns)), (len(lengths), split.train.items.size))
    given = _binary(given)
    users, padding_and_unknown = np.arange(len(lengths)), [0, 1]
    ids, _ = model.recommend(
        users, given, N=100, recalculate_user=True, filter_items=padding_and_unknown, filter_already_liked_items=True
    )
    hits = np.array([np.isin(row, held) for row, held in zip(ids, split.held, strict=True)])
    of_each = scores_of(hits, np.array([len(held) for held in split.held]), (20,), (100,))
    yield {name: float(values.mean()) for name, values in of_each.items()}


def side_by_side(models: dict) -> dict:
    """Returns name -> scores and the least seconds per sweep.

    The models take turns, so that other work on the machine slows all of them.
    """
    seconds, found = {name: [] for name in models}, {}
    while models:
        for name, model in list(models.items()):
            result = next(model)
            if isinstance(result, dict):
                least = min((second for second in seconds[name] if second is not None), default=None)
                found[name] = {**result, "seconds_per_sweep": least}
                del models[name]
            else:
                seconds[name].append(result)
    return found


def _binary(matrix):
    matrix.data[:] = 1
    return matrix


def _bounds(intervals):
    return {
        f"{name}_{side}": bound
        for name, pair in intervals.items()
        for side, bound in zip(("low", "high"), pair, strict=True)
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="hetrec_lastfm,ml-1m")
    parser.add_argument("--factors", default="64,512")
    parser.add_argument("--name", default="als_vs_implicit", help="name of the CSV file")
    parser.add_argument("--validate", action="store_true", help="try the grid on users held out of train")
    options = parser.parse_args()
    folder = os.environ.get("TFRECSESSION_DATA")
    if not folder:
        raise SystemExit("TFRECSESSION_DATA is not set: this benchmark needs hetrec_lastfm and ml-1m")
    tf.config.threading.set_intra_op_parallelism_threads(2)
    rows = []

    def report(data, factors, models, settings):
        for model, found in side_by_side(models).items():
            rows.append({"data": data, "model": model, "factors": factors, "settings": settings[model], **found})
            print(rows[-1], flush=True)

    for name in options.data.split(","):
        split = trs.evaluation.hold_out_users(interactions(folder, name), 0.1, seed=0)
        if options.validate:
            split = trs.evaluation.hold_out_users(split.train, 0.1, seed=1)
            for solver, run in (("als", ours), ("implicit", theirs)):
                for settings in GRID[solver]:
                    model = run(split, "als", **settings) if run is ours else run(split, **settings)
                    report(name, 64, {solver: model}, {solver: settings})
            continue
        counted = {"popularity": {}, "item_knn": {"history": "mean", "window": 1000}}
        report(name, "", {model: ours(split, model, **options) for model, options in counted.items()}, counted)
        for factors in map(int, options.factors.split(",")):
            own = SETTINGS[name].get(f"als {factors}", SETTINGS[name]["als"])
            ways = {"als": {}, "als cg_steps=3": {"cg_steps": 3}}
            if factors > 128:
                ways["als block=128"] = {"block": 128}
                ways["als block=128 cg_steps=3"] = {"block": 128, "cg_steps": 3}
            if factors > 512:  # exact solves take minutes
                del ways["als"]
            models = {way: ours(split, "als", factors=factors, **own, **extra) for way, extra in ways.items()}
            settings = dict.fromkeys(models, own)
            for solver, use_cg in (("conjugate gradient", True), ("cholesky", False)):
                if factors > 128 and not use_cg:  # takes minutes
                    continue
                model = f"implicit, {solver}"
                settings[model] = SETTINGS[name]["implicit"]
                models[model] = theirs(split, factors, use_cg=use_cg, **settings[model])
            report(name, factors, models, settings)
    write_rows(options.name, rows)


if __name__ == "__main__":
    main()
