"""Biased matrix factorization on ml-100k's ratings: RMSE and MAE over five random folds, and under a split by time.

Rating prediction has no sessions: the log is prepared with every user as one session, without filters, and split here.
Every fold chooses its regularization on a tenth of its own training ratings: random, or the latest if the split is by
time. It is then trained on all of them; held-out ratings are used once, at the end. FIXED and the range of GRID come
from trials on such a tenth of the first random fold of seed 0. Other folds hold out these ratings, so only the first
fold is strictly untouched.

TFRECSESSION_DATA=... python benchmarks/ratings.py
"""

import argparse
import itertools
import os
import tempfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
from reporting import write_rows
from scipy import stats

import tfrecsession as trs
from tfrecsession.batches import Interactions, Sessions
from tfrecsession.evaluation import Ratings, evaluate_ratings, random_folds
from tfrecsession.evaluation.ratings import scores_of
from tfrecsession.sessions.store import SessionArrays

SCALE = (1, 5)
FIXED = {"dim": 100, "learning_rate": 0.001, "rows": 250, "epochs": 30}
GRID = [{"l2": l2, "bias_l2": bias_l2} for l2, bias_l2 in itertools.product((0.09, 0.11), (0.02, 0.04))]
BIASES = {"dim": 1, "l2": 10.0, "bias_l2": 0.03, "deviation": 1e-9}  # the vectors stay at 0: mu + b_u + b_i


def fitted(train, settings, seed=0):
    keras.utils.set_random_seed(seed)
    own = {name: settings[name] for name in ("dim", "l2", "bias_l2", "deviation") if name in settings}
    model = trs.models.MatrixFactorization(train.items, rating="rating", negatives=None, **own)
    model.compile(trs.optimizers.LazyAdam(settings["learning_rate"]), "mean_squared_error")
    decay = trs.training.LinearDecay()
    model.fit(train, rows=settings["rows"], epochs=settings["epochs"], seed=seed, callbacks=[decay], verbose=0)
    return model


def tuned(train, held_out):
    """Returns the settings of GRID with the best validation score, and that score."""
    scores = [
        (evaluate_ratings(fitted(train, FIXED | settings), held_out, SCALE, draws=0).rmse, index)
        for index, settings in enumerate(GRID)
    ]
    best = min(scores)
    return FIXED | GRID[best[1]], best[0]


def by_time(sessions, share):
    """Returns the earliest ratings as sessions to train on, and the latest `share` of all ratings."""
    times = sessions.column("times")
    early = times < np.quantile(times, 1 - share)
    session = np.repeat(np.arange(len(sessions)), np.diff(sessions.offsets))

    def part(mask):
        offsets = np.concatenate([[0], np.cumsum(np.bincount(session[mask], minlength=len(sessions)))])
        columns = {name: sessions.column(name)[mask] for name in ("times", "rating")} | {
            "user": sessions.column("user")
        }
        return Sessions(SessionArrays(sessions.items, sessions.values[mask], offsets, columns), "train")

    return part(early), Ratings.of(part(~early))


def splits(protocol, sessions, seed):
    """Yields (training ratings, held-out ratings, and the same two for tuning) per fold."""
    if protocol == "time":
        early, held_out = by_time(sessions, 0.2)
        earlier, validation = by_time(early, 0.1)
        yield interactions(early), held_out, interactions(earlier), validation
        return
    for fold, (train, held_out) in enumerate(random_folds(interactions(sessions), 5, seed)):
        yield train, held_out, *next(random_folds(train, 10, seed + 1 + fold))


def interactions(sessions):
    return Interactions.of(sessions, value="rating", duplicates="last")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="seed of the folds")
    parser.add_argument("--protocols", default="random,time")
    options = parser.parse_args()
    folder = os.environ.get("TFRECSESSION_DATA")
    if not folder:
        raise SystemExit("TFRECSESSION_DATA is not set: this benchmark needs ml-100k")
    rows = []
    with tempfile.TemporaryDirectory() as out:
        everything = {"min_item_support": 1, "min_session_length": 1, "test_span": "0d", "validation_span": "0d"}
        log = f"{folder}/ml-100k/u.data"
        trs.prepare(log, f"{out}/data", session="user", user="user", context=("rating",), **everything)
        sessions = trs.load(f"{out}/data").train
        for protocol in options.protocols.split(","):
            errors = {}
            for fold, (train, held_out, part, validation) in enumerate(splits(protocol, sessions, options.seed), 1):
                settings, validated = tuned(part, validation)
                chosen = {
                    "mean": None,
                    "biases": FIXED | BIASES,
                    "matrix_factorization": settings,
                }
                new = ~np.isin(held_out.users.astype(str), train.users[np.diff(train.offsets) > 0].astype(str))
                for name, given in chosen.items():
                    if given is None:
                        predicted = np.full(len(held_out), train.weights.mean())
                    else:
                        predicted = fitted(train, given).predict_ratings(held_out.users, held_out.items, SCALE)
                    error = held_out.values - predicted
                    errors.setdefault(name, []).append((held_out.users, error))
                    text = " ".join(f"{key}={value}" for key, value in (given or {}).items())
                    rows.append(
                        {
                            "protocol": protocol,
                            "fold": fold,
                            "model": name,
                            **scored(held_out.users, error),
                            "rmse_known_users": round(float(np.sqrt(np.mean(error[~new] ** 2))), 4),
                            "ratings_of_new_users": round(float(new.mean()), 3),
                            "validation_rmse": round(validated, 4) if name == "matrix_factorization" else "",
                            "settings": text,
                        }
                    )
                    print(rows[-1], flush=True)
            for name, folds in errors.items() if protocol == "random" else ():
                pooled = scored(*(np.concatenate(column) for column in zip(*folds, strict=True)))
                own = [row for row in rows if row["protocol"] == protocol and row["model"] == name]
                pooled |= over_folds([row["rmse"] for row in own])
                rows.append({"protocol": protocol, "fold": "all", "model": name, **pooled})
                print(rows[-1], flush=True)
    write_rows("ratings", rows)


def over_folds(rmse):
    """Returns the mean over folds, and its 95% interval by Student's t.

    The interval over users is wider, as it includes how much users differ.
    """
    half = stats.t.ppf(0.975, len(rmse) - 1) * np.std(rmse, ddof=1) / len(rmse) ** 0.5
    mean = np.mean(rmse)
    return {
        "rmse": round(float(mean), 4),
        "folds_low": round(float(mean - half), 4),
        "folds_high": round(float(mean + half), 4),
    }


def scored(users, error):
    scores = scores_of(users, error)
    low, high = scores.rmse_interval
    return {
        "rmse": round(scores.rmse, 4),
        "rmse_low": round(low, 4),
        "rmse_high": round(high, 4),
        "mae": round(scores.mae, 4),
        "ratings": scores.ratings,
        "users": scores.users,
    }


if __name__ == "__main__":
    main()
