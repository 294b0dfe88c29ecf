"""Implicit feedback for people that training has not seen: every factorization of ours beside `implicit`'s ALS and BPR
(benfred, from PyPI; not a dependency: pip install implicit), neighbours and popularity, on one split.

A tenth of the people is held out; 80% of their items are told, the rest is ranked (`evaluation.hold_out_users`). Every
model that has settings is tuned alike: --trials trainings on a fifth of the people of *train*, held out of it in the
same way, the defaults first, then settings drawn from SPACES; the best by NDCG@100 is trained on all of train and
measured once. What is learned by gradient has its fold-in chosen in each trial too, among FOLDS.

`implicit`'s ALS folds people in by its own least squares. Its BPR knows nobody but those it was trained on; so its item
vectors and biases are put into our `MatrixFactorization`, which folds people in as it does for our BPR; for both,
the mean of the item vectors (MEANS) may be chosen too.

TFRECSESSION_DATA=... python benchmarks/implicit_feedback.py
"""

import argparse
import os
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as implicit asks for: its threads are its own

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
MEANS = [
    ("mean", 0.3),
    ("mean", 1.0),
]  # for both BPRs: of the item vectors, so many times as long as the people that were learned
BY_GRADIENT = {
    "l2": [0.001, 0.003, 0.01, 0.02],
    "alpha": [0.0, 0.5, 0.75],
    "learning_rate": [0.1, 0.2, 0.4],
}
LENGTH = {  # of a training, as fast as the size of the data asks for
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
    """All interactions, a session per person; at one time, which SKNN needs to be told: everybody is its past."""
    sessions = interactions(folder, data)
    columns = {"user": sessions.column("user"), "times": np.zeros(sessions.events, np.int64)}
    return Sessions(SessionArrays(sessions.items, sessions.values, sessions.offsets, columns), "train")


def drawn(space: dict, trials: int, first: dict) -> list[dict]:
    """The settings of all trials: `first`, then others of the space at random, none twice."""
    random, found = np.random.default_rng(0), [first]
    for _ in range(50 * trials):
        some = {name: values[random.integers(len(values))] for name, values in space.items()}
        if len(found) < trials and some not in found:
            found.append(some)
    return found


def measured(model, split) -> dict[str, np.ndarray]:
    return trs.evaluation.evaluate_users(model, split, recall=(20,), ndcg=(100,), draws=0).of_each


def with_folds(model, split, people, folds) -> tuple[dict[str, np.ndarray], tuple]:
    """What people score under the best of `folds`, and which that is."""
    found = []
    for fold in folds:
        if fold[0] == "mean":
            found.append((by_mean(model, split, people, fold[1]), fold))
            continue
        model.fold_in_weight, model.ridge = fold
        model.settle(people)
        found.append((measured(model, split), fold))
    return max(found, key=lambda one: one[0]["ndcg@100"].mean())


def told_of(split) -> sparse.csr_matrix:
    lengths = [len(history) for history in split.histories]
    columns = split.train.items.encode([item for history in split.histories for item in history])
    rows = np.repeat(np.arange(len(lengths)), lengths)
    told = sparse.csr_matrix((np.ones(len(rows), np.float32), (rows, columns)), (len(lengths), split.train.items.size))
    told.data[:] = 1
    return told


def scored_lists(ids, split) -> dict[str, np.ndarray]:
    hits = np.array([np.isin(row, held) for row, held in zip(ids, split.held, strict=True)])
    return scores_of(hits, np.array([len(held) for held in split.held]), (20,), (100,))


def by_mean(model, split, people, length) -> dict[str, np.ndarray]:
    """Lists by the mean of the vectors of what is told, made `length` times as long as learned people are."""
    vectors, biases = np.asarray(model.item_vectors()), model.output_items.biases.numpy()

    def mean(matrix):
        return matrix @ vectors / np.maximum(np.asarray(matrix.sum(axis=1)), 1)

    told = told_of(split)
    share = (np.square(model.user_table.table).sum() / np.square(mean(binary(people))).sum()) ** 0.5
    scores = length * share * mean(told) @ vectors.T + biases
    scores[told.toarray() > 0] = -np.inf
    scores[:, :2] = -np.inf
    return scored_lists(np.argsort(-scores, axis=1, kind="stable")[:, :100], split)


def by_gradient(name, split, settings, folds):
    keras.utils.set_random_seed(0)
    said = settings_of("matrix_factorization", {"loss": name, "dim": DIM}, settings)
    model = build("matrix_factorization", split.train.items, said)
    people = Interactions.of(split.train)
    decay = [LinearDecay()] if said["decay"] else []
    model.fit(people, rows=said["rows"], epochs=said["epochs"], callbacks=decay, verbose=0)
    return with_folds(model, split, people, folds if name != "all_pairs" else [(0.1, 1.0)])


def binary(people):
    matrix = people.csr()
    matrix.data[:] = 1
    return matrix


def implicit_als(split, settings):
    from implicit.als import AlternatingLeastSquares

    model = AlternatingLeastSquares(
        factors=DIM, iterations=SWEEPS, use_cg=False, num_threads=2, random_state=0, **settings
    )
    model.fit(binary(Interactions.of(split.train)), False)
    told = told_of(split)
    ids, _ = model.recommend(
        np.arange(told.shape[0]),
        told,
        N=100,
        recalculate_user=True,
        filter_items=[0, 1],
        filter_already_liked_items=True,
    )
    return scored_lists(ids, split)


def implicit_bpr(split, settings, folds):
    """Its tables, folded in by ours."""
    from implicit.bpr import BayesianPersonalizedRanking

    people = Interactions.of(split.train)
    rival = BayesianPersonalizedRanking(factors=DIM, num_threads=2, random_state=0, **settings)
    rival.fit(binary(people), False)
    users, items = rival.user_factors, rival.item_factors  # the last column: 1, and the bias
    assert items.shape[1] == DIM + 1 and (users[np.diff(people.offsets) > 0, DIM] == 1).all()
    model = build(
        "matrix_factorization",
        split.train.items,
        settings_of("matrix_factorization", {"loss": "bpr", "dim": DIM}),
    )
    model.take(people)
    model.user_table.table.assign(users[:, :DIM])
    model.output_items.table.assign(items[:, :DIM])
    model.output_items.biases.assign(items[:, DIM])
    return with_folds(model, split, people, folds)


def run(name, split, settings, folds):
    """What each person scores, and the fold-in chosen, if there was a choice."""
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
    """The best settings, and their fold-in, on people held out of train."""
    if name not in SPACES:
        return {}, FOLDS[0]
    best = (-1.0, {}, FOLDS[0])
    for settings in drawn(SPACES[name], trials, FIRST.get(name, {})):
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
    parser.add_argument("--name", default="implicit_feedback", help="of the CSV")
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
        for row in rows:  # on the same people: how far from what `implicit` scores
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
