"""Each model's defaults on real logs, compared with a search of 20 trials, all on validation.

    TFRECSESSION_DATA=... python benchmarks/defaults.py --out DIR
    TFRECSESSION_DATA=... python benchmarks/defaults.py --out DIR --logs globo --models als,vsknn

Every log is cut to its newest part or sampled, so that a trial takes seconds (`LOGS`); at most EVENTS events of
validation are ranked. The search is that of `tfrecsession tune` with the geometric mean of Recall@20 and MRR@20 as its
metric. The table shows, for each of both, the fixed defaults of the model's class, those that follow the log, and the
best of all trials. The same command resumes; finished trials are kept in DIR, and only defaults that have changed since
are measured again.
"""

import argparse
import json
import os
import time
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import pandas as pd
from reporting import write_rows

import tfrecsession as trs
from tfrecsession.evaluation.study import Study
from tfrecsession.recommender.search_space import starting_at, walk

MODELS = "als,vsknn,sknn,stan,vstan,slist,item_knn,gru4rec,matrix_factorization,narm"
EVENTS = 3000  # of validation
METRICS = ("recall@20", "mrr@20")
# Not searched: wider vectors are better nearly always, and take longer.
FIXED = {
    "als": {"factors": 64},
    "gru4rec": {"units": [100]},
    "narm": {"units": [100]},
    "matrix_factorization": {"dim": 64},
}


def lines(file: Path, last: int) -> pd.DataFrame:
    """Reads the last sessions of a file with a session per line."""
    sessions = file.read_text().splitlines()[-last:]
    return pd.DataFrame({"session": range(len(sessions)), "item": [s.split() for s in sessions]}).explode("item")


def globo(folder: Path) -> pd.DataFrame:
    """Returns an eighth of the users in the last four days."""
    clicks = pd.read_parquet(folder / "globo" / "clicks.parquet")
    clicks = clicks.rename(
        columns={"click_article_id": "item", "click_timestamp": "time", "session_id": "session", "user_id": "user"}
    )[["session", "user", "item", "time"]]
    newest = clicks.time.astype("int64").max()
    kept = (clicks.user.astype(int) % 8 == 0) & (clicks.time.astype("int64") > newest - 4 * 86_400_000)
    return clicks[kept]


def online_retail(folder: Path) -> pd.DataFrame:
    """Returns the newest 60,000 lines of invoices that are no cancellation."""
    log = pd.read_parquet(folder / "online_retail" / "online_retail.parquet")
    log = log[log.Quantity > 0].rename(columns={"StockCode": "item", "InvoiceDate": "time", "InvoiceNo": "session"})
    return log[["session", "item", "time"]].iloc[-60_000:]


def foursquare(folder: Path) -> pd.DataFrame:
    """Returns all trajectories, the last of each user last; the file has them user by user."""
    log = pd.read_csv(folder / "foursquare_nyc" / "foursquare_nyc.csv")
    firsts = log.drop_duplicates("tid")
    users = firsts.groupby("label").tid
    share = dict(zip(firsts.tid, (users.cumcount() + 0.5) / users.transform("size"), strict=True))
    log = log.assign(share=log.tid.map(share)).sort_values(["share", "tid"], kind="stable")
    return log.rename(columns={"tid": "session", "poi": "item", "label": "user"})[["session", "user", "item"]]


def movielens(folder: Path) -> pd.DataFrame:
    """Returns every fifteenth user, in a fixed random order."""
    users = pd.read_csv(folder / "ml-1m" / "time_ordered_sequences.tsv", sep="\t")
    users = users.sample(frac=1 / 15, random_state=0)
    items = users.movie_ids_in_time_order.str.split()
    return pd.DataFrame({"session": users.user_id, "item": items}).explode("item")


def lastfm(folder: Path) -> pd.DataFrame:
    """Returns the artists of each user in a random order, as the log has none."""
    log = pd.read_csv(folder / "hetrec_lastfm" / "user_artists.dat", sep="\t").sample(frac=1, random_state=0)
    order = log.userID.drop_duplicates().reset_index(drop=True)
    log = log.assign(rank=log.userID.map({user: rank for rank, user in enumerate(order)}))
    return log.sort_values("rank", kind="stable").rename(columns={"userID": "session", "artistID": "item"})[
        ["session", "item"]
    ]


def trivago(folder: Path) -> pd.DataFrame:
    """Returns the actions on a hotel."""
    log = pd.read_parquet(folder / "trivago" / "validation_100k.parquet")
    log = log[log.reference.str.fullmatch(r"\d+", na=False)]
    columns = {"session_id": "session", "user_id": "user", "reference": "item", "timestamp": "time"}
    return log.rename(columns=columns)[["session", "user", "item", "time", "step"]]


TIMED = {"time": "time", "test_span": "0d"}
UNTIMED = {"test_span": "0d", "validation_span": "10%"}
LOGS = {
    "yoochoose1_64": (lambda f: lines(f / "yoochoose1_64" / "train_sessions.txt", 14_000), UNTIMED),
    "globo": (globo, {**TIMED, "user": "user", "validation_span": "1d"}),
    "online_retail": (online_retail, {**TIMED, "validation_span": "10%"}),
    "foursquare_nyc": (foursquare, {**UNTIMED, "user": "user"}),
    "ml-1m": (movielens, UNTIMED),
    "hetrec_lastfm": (lastfm, UNTIMED),
    "kkbox": (lambda f: lines(f / "kkbox" / "train_sessions.txt", 6_000), UNTIMED),
    "trivago": (trivago, {**TIMED, "user": "user", "order": "step", "validation_span": "25%"}),
}


def prepared(name: str, folder: Path, out: Path):
    """Returns the data, with at most about EVENTS scored events in validation."""
    read, options = LOGS[name]
    if not (out / "data" / name).exists():
        trs.prepare(read(folder), out / "data" / name, item="item", session="session", **options)
    data = trs.load(out / "data" / name)
    lengths = np.diff(data.validation.offsets)
    order = np.random.default_rng(0).permutation(len(lengths))
    kept = np.zeros(len(lengths), bool)
    kept[order[np.cumsum(lengths[order] - 1) <= EVENTS]] = True
    return replace(data, validation=data.validation.only(kept))


def scores(data, model: str, settings: dict) -> dict:
    """Fits a model and returns its metrics on validation."""
    began = time.perf_counter()
    keras.utils.set_random_seed(0)
    built = trs.training.build(model, data.items, settings)
    none = data.validation.only(np.zeros(len(data.validation), bool))
    trs.training.fit(built, replace(data, validation=none), settings)
    found = trs.evaluation.evaluate(built, data.validation, [20], slices=False).metrics
    return {**{name: found[name] for name in METRICS}, "seconds": round(time.perf_counter() - began, 1)}


def tuned(data, name: str, model: str, trials: int, out: Path) -> list[dict]:
    """Runs the trials that are missing and returns all of them, the first with the fixed defaults."""
    file = out / "trials" / f"{name}.{model}.jsonl"
    file.parent.mkdir(parents=True, exist_ok=True)
    fixed = FIXED.get(model, {})
    start = trs.training.settings_of(model, fixed)
    space = {key: values for key, values in trs.training.space_of(model).items() if key not in fixed}
    first = walk(space := starting_at(space, start), start, lambda key, values: start[key])

    def score(sampled: dict, report) -> float:
        row = scores(data, model, {**start, **sampled})
        with file.open("a") as lines:
            lines.write(json.dumps({"settings": sampled, **row}) + "\n")
        print(name, model, {key: round(row[key], 4) for key in (*METRICS, "seconds")}, sampled, flush=True)
        return float(np.sqrt(row["recall@20"] * row["mrr@20"]))

    bound = {"data": data.fingerprint, "model": model, "seed": 0, "start": start, "space": space}
    with Study.open(out / "studies" / f"{name}.{model}", bound, patience=0) as study:
        while len(study.trials()) < trials:
            study.run(lambda suggest: walk(space, start, suggest), score, first)
    return [json.loads(line) for line in file.read_text().splitlines()]


def following(data, name: str, model: str, out: Path) -> dict:
    """Returns the metrics of the defaults that follow the log, measured again if they have changed."""
    file = out / "following" / f"{name}.{model}.json"
    settings = trs.training.settings_of(model, FIXED.get(model, {}), data=data)
    plain = json.loads(json.dumps(settings))
    if not file.exists() or json.loads(file.read_text())["settings"] != plain:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({"settings": plain, **scores(data, model, settings)}))
    return json.loads(file.read_text())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True, help="folder of the prepared logs and the trials")
    parser.add_argument("--logs", default=",".join(LOGS), help="a,b")
    parser.add_argument("--models", default=MODELS, help="a,b")
    parser.add_argument("--trials", type=int, default=20, help="of every search")
    options = parser.parse_args()
    folder = os.environ.get("TFRECSESSION_DATA")
    if not folder:
        raise SystemExit("TFRECSESSION_DATA is not set: this benchmark needs its logs")
    out, rows = Path(options.out), []
    for model in options.models.split(","):
        for name in options.logs.split(","):
            data = prepared(name, Path(folder), out)
            trials = tuned(data, name, model, options.trials, out)
            row = {"log": name, "model": model, "trials": len(trials)}
            now = following(data, name, model, out)
            for metric in METRICS:
                best = max(trial[metric] for trial in trials)
                row |= {f"{metric} fixed": round(trials[0][metric], 4), f"{metric} default": round(now[metric], 4)}
                row |= {f"{metric} tuned": round(best, 4), f"{metric} share": round(now[metric] / best, 3)}
            rows.append(row)
            print(row, flush=True)
            write_rows("defaults", rows)


if __name__ == "__main__":
    main()
