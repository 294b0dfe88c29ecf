"""User histories across sessions: HRNN compared with GRU4Rec on single sessions and on joined histories.

    TFRECSESSION_DATA=... python benchmarks/hrnn.py --data globo --out DIR
    python benchmarks/hrnn.py --data shop --out DIR

globo: the test split is the last day, train is everything before it; only users with at least three sessions are
scored. shop: a synthetic shop whose users have a lasting taste; the first item of a session does not depend on it, all
later ones do. All models have the same width, loss, negatives, optimizer and epochs, untuned. Models with user memory
train in lanes, the other one on packed rows. --set applies to all models. Reports Recall@20 and MRR@20 with 95%
intervals over sessions, overall and by the number of the user's past sessions.
"""

import argparse
import json
import os
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import pyarrow as pa
from reporting import intervals, write_rows

import tfrecsession as trs
from tfrecsession import evaluation, training

SHOP = "synthetic:items=5000,sessions=150000,users=10000,days=20,seed=4,follow=0.2,taste=0.1,loyal=0.6"
GLOBO = {
    "item": "click_article_id",
    "time": "click_timestamp",
    "session": "session_id",
    "user": "user_id",
}
LEAST = 3  # sessions that a user needs to be scored on Globo
SHARED = {"units": [100], "dropout": 0.1, "lanes": 64, "steps": 20, "epochs": 5}
MODELS = {
    "GRU4Rec, session alone": ("gru4rec", {"lanes": None, "rows": 64}),
    "GRU4Rec, joined history": ("gru4rec", {"joined": True}),
    "HRNN-Init": ("hrnn", {"form": "init", "user_units": [100]}),
    "HRNN-All": ("hrnn", {"form": "all", "user_units": [100]}),
}

# Settings found by `benchmarks/tuned.py` on Globo.
BASELINES = {
    "item-kNN, tuned": (
        "item_knn",
        {"neighbours": 72, "shrinkage": 47.9, "alpha": 0.913, "history": "div", "window": 35},
    ),
    "session aggregation, tuned": ("session_aggregation", {"dim": 743, "discount": 0.362, "hops": 3}),
    "SLIST": ("slist", {"dense_items": 2000}),
}


def prepared(name: str, out: Path):
    path = out / name / "data"
    if not path.exists():
        if name == "globo":
            folder = os.environ.get("TFRECSESSION_DATA")
            if not folder:
                raise SystemExit("TFRECSESSION_DATA is not set: this benchmark needs its logs")
            source = Path(folder) / "globo" / "clicks.parquet"
            trs.prepare(str(source), path, test_span="1d", validation_span="0d", **GLOBO)
        else:
            trs.prepare(SHOP, path, test_span="2d", validation_span="0d")
    data = trs.load(path)
    return data, data.test.only(sessions_of_users(data) >= LEAST) if name == "globo" else data.test


def sessions_of_users(data) -> np.ndarray:
    """Returns int64 [test sessions]: the total number of sessions of their user; 0 for anonymous sessions."""
    names = pa.array(np.concatenate([data.train.column("user"), data.test.column("user")]), pa.string())
    user = names.dictionary_encode().indices.fill_null(-1).to_numpy(zero_copy_only=False)
    count = np.where(user < 0, 0, np.bincount(user[user >= 0])[user])
    return count[len(data.train) :]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", choices=["globo", "shop"], default="shop")
    parser.add_argument("--out", required=True, help="folder of prepared data and scores; the same folder resumes")
    parser.add_argument("--seeds", default="0", help="a,b")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting for all models")
    options = parser.parse_args()
    out = Path(options.out)
    data, scored = prepared(options.data, out)
    given = {key: json.loads(value) for key, _, value in (text.partition("=") for text in options.set)}
    kept = out / options.data / "scores.json"
    done = json.loads(kept.read_text()) if kept.exists() else {}
    rows = []
    if "shop" in data.info:
        rows += table("the law of the shop", "", evaluation.ceiling(data.info["shop"], scored))
    for seed in map(int, options.seeds.split(",")):
        for label, (model, own) in (MODELS | (BASELINES if options.data == "globo" else {})).items():
            known = training.settings_of(model)
            shared = {name: value for name, value in (SHARED | given).items() if name in known}
            settings = training.settings_of(model, shared, own)
            key = json.dumps([label, seed, settings, data.fingerprint])
            if key not in done:
                done[key] = measured(data, scored, label, model, settings, seed)
                kept.write_text(json.dumps(done, indent=1))
            rows += done[key]
            print(*done[key][:1], flush=True)
    write_rows(f"hrnn_{options.data}", rows)


def measured(data, scored, label, model, settings, seed) -> list[dict]:
    """Returns a row for all events, and one for each number of past sessions."""
    keras.utils.set_random_seed(seed)
    built = training.build(model, data.items, settings)
    start = time.perf_counter()
    training.fit(built, data, settings, seed=seed, verbose=2)
    seconds = time.perf_counter() - start
    found = evaluation.evaluate(built, scored, progress=True)
    return table(label, seed, found, train_s=round(seconds, 1), evaluate_s=round(found.seconds, 1))


def table(label, seed, found, **cost) -> list[dict]:
    overall = {"model": label, "seed": seed, "past_sessions": "all", "events": found.events}
    overall |= {name: found.metrics[name] for name in ("recall@20", "mrr@20")} | intervals(found)
    rows = [overall | cost]
    for past, part in found.slices["past_sessions"].items():
        if part["events"]:
            row = {"model": label, "seed": seed, "past_sessions": past, "events": part["events"]}
            for name in ("recall@20", "mrr@20"):
                low, high = part["intervals"][name] or (None, None)
                row |= {name: part[name], f"{name}_low": low, f"{name}_high": high}
            rows.append(row)
    return [{key: round(value, 4) if isinstance(value, float) else value for key, value in row.items()} for row in rows]


if __name__ == "__main__":
    main()
