"""Each model's defaults on real logs, compared with a search of 20 trials (slow models: 8), all on validation.

    TFRECSESSION_DATA=... python benchmarks/defaults.py --out DIR
    TFRECSESSION_DATA=... python benchmarks/defaults.py --out DIR --logs globo --models als,vsknn

Every log is cut to its newest part or sampled, so that a trial takes seconds (`LOGS`); at most EVENTS events of
validation are ranked. The search is that of `tfrecsession tune` with the geometric mean of Recall@20 and MRR@20 as its
metric. It begins at the fixed defaults of the model's class, those of `UNSEARCHED` by the log. The table shows, for
each of both metrics:

    fixed       the first trial
    default     the defaults that follow the log
    tuned       the trial that the search chooses, by the geometric mean
    share       default / tuned
    best        the best of all trials in this metric alone, which no single trial needs to reach

The same command resumes; finished trials are kept in DIR, and only defaults that have changed since are measured again.
The table, `results/defaults.csv`, keeps its other rows.
"""

import argparse
import csv
import json
import os
import time
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import pandas as pd
from reporting import RESULTS, write_rows

import tfrecsession as trs
from tfrecsession.evaluation.study import Study
from tfrecsession.recommender.search_space import starting_at, walk
from tfrecsession.training.recipe import timed_settings

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
SLOW = dict.fromkeys(("gru4rec", "matrix_factorization", "narm"), 8)  # trials; of the newest NEWEST events
NEWEST = 20_000
UNSEARCHED = ("steps", "epochs")  # how much a network reads and for how long it learns, the same in all trials


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


def prepared(name: str, folder: Path, out: Path, train_events: int | None = None):
    """Returns the newest `train_events` of train, and a validation of at most about EVENTS scored events."""
    read, options = LOGS[name]
    if not (out / "data" / name).exists():
        trs.prepare(read(folder), out / "data" / name, item="item", session="session", **options)
    data = trs.load(out / "data" / name)
    lengths = np.diff(data.validation.offsets)
    order = np.random.default_rng(0).permutation(len(lengths))
    kept = np.zeros(len(lengths), bool)
    kept[order[np.cumsum(lengths[order] - 1) <= EVENTS]] = True
    train = data.train
    if train_events is not None:
        train = train.only(train.offsets[-1] - np.asarray(train.offsets[:-1]) <= train_events)
    return replace(data, train=train, validation=data.validation.only(kept))


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
    found = kept(file)
    if len(found) >= trials:
        return found
    fixed = FIXED.get(model, {})
    chosen = trs.training.log_defaults(model, data, fixed)
    unsearched = {key: choice["value"] for key, choice in chosen.items() if key in UNSEARCHED}
    start = trs.training.settings_of(model, {**fixed, **unsearched})
    left_out = {*fixed, *(() if data.train.timed else timed_settings(model))}
    space = {key: values for key, values in trs.training.space_of(model).items() if key not in left_out}
    first = walk(space := starting_at(space, start), start, lambda key, values: start[key])

    def score(sampled: dict, report) -> float:
        row = scores(data, model, {**start, **sampled})
        with file.open("a") as lines:
            lines.write(json.dumps({"settings": sampled, **row}) + "\n")
        print(name, model, {key: round(row[key], 4) for key in (*METRICS, "seconds")}, sampled, flush=True)
        return both(row)

    bound = {"data": data.fingerprint, "model": model, "seed": 0, "start": start, "space": space}
    with Study.open(out / "studies" / f"{name}.{model}", bound, patience=0) as study:
        while len(study.trials()) < trials:
            study.run(lambda suggest: walk(space, start, suggest), score, first)
    return kept(file)


def kept(file: Path) -> list[dict]:
    """Returns the finished trials of a file."""
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def both(row: dict) -> float:
    """Returns the geometric mean of the metrics, by which the search chooses."""
    return float(np.sqrt(row["recall@20"] * row["mrr@20"]))


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
    parser.add_argument("--trials", type=int, help="of every search; default: 20, of slow models 8")
    parser.add_argument("--whole", action="store_true", help="slow models on whole samples too")
    options = parser.parse_args()
    folder = os.environ.get("TFRECSESSION_DATA")
    if not folder:
        raise SystemExit("TFRECSESSION_DATA is not set: this benchmark needs its logs")
    out = Path(options.out)
    rows = {(row["log"], row["model"]): row for row in kept_rows()}
    for model in options.models.split(","):
        cut = NEWEST if model in SLOW and not options.whole else None
        count = options.trials or SLOW.get(model, 20)
        for name in options.logs.split(","):
            data = prepared(name, Path(folder), out, cut)
            label = name if cut is None else f"{name}.newest-{cut}"
            trials = tuned(data, label, model, count, out)
            now, best = following(data, label, model, out), max(trials, key=both)
            row = {"log": name, "model": model, "train_events": data.train.events, "trials": len(trials)}
            for metric in METRICS:
                row |= {f"{metric} fixed": trials[0][metric], f"{metric} default": now[metric]}
                row |= {f"{metric} tuned": best[metric], f"{metric} share": now[metric] / best[metric]}
                row |= {f"{metric} best": max(trial[metric] for trial in trials)}
            rows[name, model] = {
                key: round(value, 4) if isinstance(value, float) else value for key, value in row.items()
            }
            print(row, flush=True)
            write_rows("defaults", list(rows.values()))


def kept_rows() -> list[dict]:
    """Returns the rows of the table that stands."""
    file = RESULTS / "defaults.csv"
    return list(csv.DictReader(file.read_text().splitlines()[1:])) if file.exists() else []


if __name__ == "__main__":
    main()
