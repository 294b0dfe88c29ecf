"""Implicit feedback of held-out users: our factorizations, neighbours and popularity compared with `implicit`'s ALS and
BPR (benfred, from PyPI; not a dependency: pip install implicit), on one split.

A tenth of the users is held out; 80% of their items are given, the rest is ranked (`evaluation.hold_out_users`). All
models with settings are tuned in the same way. --trials settings (the defaults, then samples from SPACES) are evaluated
on a fifth of the *training* users, held out in the same way. The best by NDCG@100 is trained on all of train and
evaluated once. For models trained by gradient descent, each trial also chooses the fold-in among FOLDS.

`implicit`'s ALS folds users in by its own least squares. Its BPR supports training users only, so its item vectors and
biases are put into our `MatrixFactorization`, which folds users in as for our BPR. For both BPRs, the mean of the item
vectors (MEANS) is another choice.

TFRECSESSION_DATA=... python benchmarks/implicit_feedback.py
"""

import argparse
import os
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # implicit recommends it: it has its own threads

import keras
import numpy as np
import tensorflow as tf
from als_vs_implicit import interactions
from reporting import write_rows
from scipy import sparse

import tfrecsession as trs
from tfrecsession.batches import Interactions, Sessions
from tfrecsession.evaluation.held_out_users import means_of, scores_of
from tfrecsession.sessions.store import SessionArrays
from tfrecsession.training import LinearDecay, build, settings_of

NAMES = ("recall@20", "ndcg@100")
DIM, SWEEPS = 64, 10
FOLDS = [(0.1, 1.0), (0.1, 0.1), (0.03, 3.0), (0.3, 1.0)]  # fold_in_weight, ridge; the default first
# For both BPRs: the mean of the item vectors, scaled to this multiple of the length of trained user vectors.
MEANS = [("mean", 0.3), ("mean", 1.0)]
BY_GRADIENT = {
    "l2": [0.001, 0.003, 0.01, 0.02],
    "alpha": [0.0, 0.5, 0.75],
    "learning_rate": [0.1, 0.2, 0.4],
}
LENGTH = {  # training settings by data set, for a reasonable run time
    "hetrec_lastfm": {"rows": 1024, "epochs": 20, "negatives": 512},
    "ml-1m": {"rows": 4096, "epochs": 12, "negatives": 256},
}
WHOLE_HISTORY = {"window": [1000], "history": ["mean"]}
FIRST = {"item_knn": {"window": 1000, "history": "mean"}}
FOLDED = ("cross_entropy", "bpr_max", "bpr", "implicit bpr")
SPACES = {
    "item_knn": {**WHOLE_HISTORY, "neighbours": [50, 100, 200, 500], "shrinkage": [0.0, 20.0, 100.0]},
    "sknn": {"neighbours": [50, 100, 200, 400], "similarity": ["cosine", "jaccard"], "recent": [1000, 100_000]},
    "als": {
        "unobserved_weight": [0.03, 0.1, 0.3, 1.0],
        "regularization": [0.0003, 0.001, 0.003, 0.01],
    },
    "all_pairs": {
        "unobserved_weight": [0.03, 0.1, 0.3, 1.0],
        "l2": [0.0003, 0.001, 0.003, 0.01],
        "learning_rate": [0.1, 0.2],
    },
    "cross_entropy": {**BY_GRADIENT, "logq": [0.0, 0.5, 1.0]},
    "bpr": BY_GRADIENT,
    "bpr_max": {**BY_GRADIENT, "regularization": [0.0, 0.3, 1.0]},
    "implicit als": {"alpha": [1.0, 3.0, 10.0, 30.0], "regularization": [1.0, 5.0, 20.0, 80.0]},
    "implicit bpr": {
        "learning_rate": [0.01, 0.03, 0.05, 0.1],
        "regularization": [0.003, 0.01, 0.03],
        "iterations": [100, 200, 400],
    },
}
LOSSES = ("cross_entropy", "bpr", "bpr_max", "all_pairs")
ORDER = ("popularity", "item_knn", "sknn", "als", "all_pairs", "cross_entropy", "bpr_max", "bpr")
RIVALS = ("implicit als", "implicit bpr")


def log_of(folder: str, data: str) -> Sessions:
    """Returns all interactions, a session per user, all at one time, so that SKNN can use every user as a neighbour."""
    sessions = interactions(folder, data)
    columns = {"user": sessions.column("user"), "times": np.zeros(sessions.events, np.int64)}
    return Sessions(SessionArrays(sessions.items, sessions.values, sessions.offsets, columns), "train")


def sampled(space: dict, trials: int, first: dict) -> list[dict]:
    """Returns the settings of all trials: `first`, then distinct random settings of the space."""
    random, found = np.random.default_rng(0), [first]
    for _ in range(50 * trials):
        settings = {name: values[random.integers(len(values))] for name, values in space.items()}
        if len(found) < trials and settings not in found:
            found.append(settings)
    return found


def measured(model, split) -> dict[str, np.ndarray]:
    return trs.evaluation.evaluate_users(model, split, recall=(20,), ndcg=(100,), draws=0).of_each


def with_folds(model, split, users, folds) -> tuple[dict[str, np.ndarray], tuple]:
    """Returns the scores per user with the best of `folds`, and that fold-in."""
    found = []
    for fold in folds:
        if fold[0] == "mean":
            found.append((by_mean(model, split, users, fold[1]), fold))
            continue
        model.fold_in_weight, model.ridge = fold
        model.settle(users)
        found.append((measured(model, split), fold))
    return max(found, key=lambda scores_and_fold: scores_and_fold[0]["ndcg@100"].mean())


def given_items(split) -> sparse.csr_matrix:
    lengths = [len(history) for history in split.histories]
    columns = split.train.items.encode([item for history in split.histories for item in history])
    rows = np.repeat(np.arange(len(lengths)), lengths)
    given = sparse.csr_matrix((np.ones(len(rows), np.float32), (rows, columns)), (len(lengths), split.train.items.size))
    given.data[:] = 1
    return given


def scored_lists(ids, split) -> dict[str, np.ndarray]:
    hits = np.array([np.isin(row, held) for row, held in zip(ids, split.held, strict=True)])
    return scores_of(hits, np.array([len(held) for held in split.held]), (20,), (100,))


def by_mean(model, split, users, length) -> dict[str, np.ndarray]:
    """Scores lists by the mean vector of the given items, `length` times as long as trained user vectors."""
    vectors, biases = np.asarray(model.item_vectors()), model.output_items.biases.numpy()

    def mean(matrix):
        return matrix @ vectors / np.maximum(np.asarray(matrix.sum(axis=1)), 1)

    given = given_items(split)
    share = (np.square(model.user_table.table).sum() / np.square(mean(binary(users))).sum()) ** 0.5
    scores = length * share * mean(given) @ vectors.T + biases
    scores[given.toarray() > 0] = -np.inf
    scores[:, :2] = -np.inf
    return scored_lists(np.argsort(-scores, axis=1, kind="stable")[:, :100], split)


def by_gradient(name, split, settings, folds):
    keras.utils.set_random_seed(0)
    settings = settings_of("matrix_factorization", {"loss": name, "dim": DIM}, settings)
    model = build("matrix_factorization", split.train.items, settings)
    users = Interactions.of(split.train)
    decay = [LinearDecay()] if settings["decay"] else []
    model.fit(users, rows=settings["rows"], epochs=settings["epochs"], callbacks=decay, verbose=0)
    return with_folds(model, split, users, folds if name != "all_pairs" else [(0.1, 1.0)])


def binary(users):
    matrix = users.csr()
    matrix.data[:] = 1
    return matrix


def implicit_als(split, settings):
    from implicit.als import AlternatingLeastSquares

    model = AlternatingLeastSquares(
        factors=DIM, iterations=SWEEPS, use_cg=False, num_threads=2, random_state=0, **settings
    )
    model.fit(binary(Interactions.of(split.train)), False)
    given = given_items(split)
    ids, _ = model.recommend(
        np.arange(given.shape[0]),
        given,
        N=100,
        recalculate_user=True,
        filter_items=[0, 1],
        filter_already_liked_items=True,
    )
    return scored_lists(ids, split)


def implicit_bpr(split, settings, folds):
    """Trains implicit's BPR; its tables are put into our model, which folds users in."""
    from implicit.bpr import BayesianPersonalizedRanking

    interactions = Interactions.of(split.train)
    rival = BayesianPersonalizedRanking(factors=DIM, num_threads=2, random_state=0, **settings)
    rival.fit(binary(interactions), False)
    users, items = rival.user_factors, rival.item_factors  # last column: 1 for users, the bias for items
    assert items.shape[1] == DIM + 1 and (users[np.diff(interactions.offsets) > 0, DIM] == 1).all()
    model = build(
        "matrix_factorization",
        split.train.items,
        settings_of("matrix_factorization", {"loss": "bpr", "dim": DIM}),
    )
    model.take(interactions)
    model.user_table.table.assign(users[:, :DIM])
    model.output_items.table.assign(items[:, :DIM])
    model.output_items.biases.assign(items[:, DIM])
    return with_folds(model, split, interactions, folds)


def run(name, split, settings, folds):
    """Returns the scores per user, and the chosen fold-in, if there was a choice."""
    if name in LOSSES:
        return by_gradient(name, split, settings, folds)
    if name == "implicit bpr":
        return implicit_bpr(split, settings, folds)
    if name == "implicit als":
        return implicit_als(split, settings), None
    own = {"factors": DIM, "sweeps": SWEEPS} if name == "als" else {}
    model = trs.models.by_name(name)(split.train.items, **own, **settings)
    model.fit(split.train)
    return measured(model, split), None


def tuned(name, split, trials, length):
    """Returns the best settings and fold-in on users held out of train."""
    if name not in SPACES:
        return {}, FOLDS[0]
    best = (-1.0, {}, FOLDS[0])
    for settings in sampled(SPACES[name], trials, FIRST.get(name, {})):
        settings = {**(length if name in LOSSES else {}), **settings}
        of_each, fold = run(name, split, settings, FOLDS + (MEANS if name.endswith("bpr") else []))
        score = float(of_each["ndcg@100"].mean())
        print(f"    {name} {settings} fold={fold} ndcg@100={score:.4f}", flush=True)
        if score > best[0]:
            best = (score, settings, fold)
    return best[1:]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="hetrec_lastfm,ml-1m")
    parser.add_argument("--models", default=",".join((*ORDER, *RIVALS)))
    parser.add_argument("--trials", type=int, default=4)
    parser.add_argument("--name", default="implicit_feedback", help="name of the CSV file")
    options = parser.parse_args()
    folder = os.environ.get("TFRECSESSION_DATA")
    if not folder:
        raise SystemExit("TFRECSESSION_DATA is not set: this benchmark needs hetrec_lastfm and ml-1m")
    tf.config.threading.set_intra_op_parallelism_threads(2)
    rows = []
    for data in options.data.split(","):
        split = trs.evaluation.hold_out_users(log_of(folder, data), 0.1, seed=0)
        part = trs.evaluation.hold_out_users(split.train, 0.2, seed=1)
        scored = {}
        for name in options.models.split(","):
            start = time.perf_counter()
            settings, fold = tuned(name, part, options.trials, LENGTH[data])
            scored[name], _ = run(name, split, settings, [fold])
            means, bounds = means_of(scored[name])
            row = {"data": data, "model": name, "people": len(split.held), "settings": settings}
            row |= {"fold_in": fold if name in FOLDED else ""}
            for measure in NAMES:
                row |= {measure: means[measure], f"{measure}_low": bounds[measure][0]}
                row |= {f"{measure}_high": bounds[measure][1]}
            rows.append(row | {"seconds": time.perf_counter() - start})
            print(rows[-1], flush=True)
        for row in rows:  # difference from `implicit` on the same users
            rival = "implicit bpr" if row["model"] == "bpr" else "implicit als"
            if row["data"] == data and row["model"] in LOSSES + ("als",) and rival in scored:
                gap = {name: scored[row["model"]][name] - scored[rival][name] for name in NAMES}
                means, bounds = means_of(gap)
                row["against"] = rival
                for measure in NAMES:
                    row[f"{measure}_more"] = means[measure]
                    row[f"{measure}_more_low"], row[f"{measure}_more_high"] = bounds[measure]
        write_rows(options.name, rows)


if __name__ == "__main__":
    main()
