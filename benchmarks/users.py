"""Models that know their users beside those that do not, each tuned with equal trials on validation.

    python benchmarks/users.py --data shop --out DIR
    TFRECSESSION_DATA=... python benchmarks/users.py --data globo --out DIR

All networks have one width, loss, sampler and number of epochs; rates of learning and dropout are searched, those of
counted models too. The winners are fitted to train and validation, and ranked once on test. Rows: all events, events
by the number of the user's past sessions, and the same events where each session is that of a new user.

shop: users with a lasting taste, which the first item of a session does not reveal; its law's ceiling is a row.
globo: every sixth of the users with three sessions or more; test is the last day.
foursquare_nyc: a session is a user's week; the newest tenth of all weeks, each user's alike, is test.
hetrec_lastfm: the artists that a user tagged on one day, in times' order; the newest tenth is test.
ml-1m: every tenth user, 20 films are a session; the last session of each user is test, the one before validation.

The same command resumes. `--only "user GRU, linear"` measures some models. hrnn.py is the earlier, larger, untuned run.
"""

import argparse
import json
import os
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import pandas as pd
from defaults import foursquare
from hrnn import table
from reporting import write_rows

import tfrecsession as trs
from tfrecsession import evaluation, training
from tfrecsession.batches import Sessions
from tfrecsession.sessions.store import SessionArrays
from tfrecsession.training.refit import with_validation

SHOP = "synthetic:items=1000,sessions=15000,users=1500,days=20,seed=4,follow=0.2,taste=0.1,loyal=0.6"
NETWORK = {"units": [100], "user_units": [100], "dim": 100, "negatives": 512, "epochs": 6}
MODELS = {
    "item-kNN": ("item_knn", {}),
    "session aggregation": ("session_aggregation", {}),
    "GRU4Rec, session alone": ("gru4rec", NETWORK),
    "GRU4Rec, joined history": ("gru4rec", NETWORK | {"joined": True}),
    "HRNN-Init": ("hrnn", NETWORK | {"form": "init"}),
    "user GRU, linear": ("user_gru", NETWORK | {"cell": "linear"}),
    "user GRU, rectified": ("user_gru", NETWORK | {"cell": "rectified"}),
    "user GRU, attentional": ("user_gru", NETWORK | {"cell": "attentional"}),
    "SHAN": ("long_short_term", NETWORK | {"encoder": "shan"}),
    "SDM over GRU4Rec": ("long_short_term", NETWORK | {"encoder": "gru4rec"}),
}
COUNTED = {"item_knn": ("shrinkage", "alpha", "history"), "session_aggregation": ("dim", "discount", "hops")}
SEARCHED = ("learning_rate", "dropout", "user_dropout", "past_dropout")  # of networks


def globo(folder: Path) -> pd.DataFrame:
    """Returns the clicks of every sixth user with three sessions or more."""
    clicks = pd.read_parquet(folder / "globo" / "clicks.parquet")
    clicks = clicks.rename(
        columns={"click_article_id": "item", "click_timestamp": "time", "session_id": "session", "user_id": "user"}
    )[["session", "user", "item", "time"]]
    visits = clicks.groupby("user").session.nunique()
    users = visits.index[visits >= 3].to_numpy()
    return clicks[clicks.user.isin(users[::6])]


def lastfm(folder: Path) -> pd.DataFrame:
    """Returns the artists that users tagged, once a day."""
    log = pd.read_csv(folder / "hetrec_lastfm" / "user_taggedartists.dat", sep="\t")
    log = log.drop_duplicates(["userID", "artistID", "day", "month", "year"])
    log = log.assign(time=pd.to_datetime(log[["year", "month", "day"]], errors="coerce"))
    log = log[log.time > "2005-01-01"].rename(columns={"userID": "user", "artistID": "item"})
    days = (log.time - pd.Timestamp("2005-01-01")).dt.days
    log = log.assign(session=log.user * 10_000 + days)
    return log.sort_values("time", kind="stable")[["session", "user", "item", "time"]]


def movielens(folder: Path) -> pd.DataFrame:
    """Returns the films of every tenth user, in order; 20 of them are a session."""
    users = pd.read_csv(folder / "ml-1m" / "time_ordered_sequences.tsv", sep="\t").iloc[::10]
    log = pd.DataFrame({"user": users.user_id, "item": users.movie_ids_in_time_order.str.split()}).explode("item")
    part = log.groupby(level=0).cumcount() // 20
    return log.assign(session=log.user * 1000 + part)[["session", "user", "item"]]


TENTHS = {"test_span": "10%", "validation_span": "10%"}
LOGS = {
    "globo": (globo, {"time": "time", "test_span": "1d", "validation_span": "1d"}),
    "foursquare_nyc": (foursquare, TENTHS),
    "hetrec_lastfm": (lastfm, {"time": "time", **TENTHS}),
    "ml-1m": (movielens, {"hold_out": "last-session"}),
}


def prepared(name: str, out: Path):
    path = out / "data"
    if not path.exists() and name == "shop":
        trs.prepare(SHOP, path, test_span="2d", validation_span="2d")
    elif not path.exists():
        folder = os.environ.get("TFRECSESSION_DATA")
        if not folder:
            raise SystemExit("TFRECSESSION_DATA is not set: this benchmark needs its logs")
        read, options = LOGS[name]
        trs.prepare(read(Path(folder)), path, item="item", session="session", user="user", **options)
    return trs.load(path)


def of_new_users(sessions: Sessions) -> Sessions:
    """Returns the same sessions, each that of a new user."""
    arrays = sessions.arrays
    columns = {name: np.asarray(sessions.column(name)) for name in arrays.columns}
    columns["user"] = np.array([f"new-{number}" for number in range(len(sessions))], object)
    arrays = SessionArrays(arrays.items, arrays.values, arrays.offsets, columns)
    return Sessions(arrays, sessions.role, sessions.timed, sessions.earlier)


def tuned(data, label: str, trials: int, out: Path) -> dict:
    """Returns the best settings on validation."""
    model, own = MODELS[label]
    start = training.settings_of(model)
    given = {key: value for key, value in own.items() if key in start}
    searched = COUNTED.get(model, SEARCHED)
    fixed = {key: start[key] for key in training.space_of(model) if key not in searched} | given
    folder = out / "trials" / label.replace(" ", "_")
    return trs.evaluation.tune(data, model, folder, trials=trials, metric="recall@20", settings=fixed).best


def measured(data, label: str, best: dict) -> list[dict]:
    """Fits the winner to train and validation; returns a row for all events of test and one for each slice."""
    keras.utils.set_random_seed(0)
    settings, whole = best["settings"], with_validation(data)[0]
    built = training.build(best["model"], whole.items, settings)
    start = time.perf_counter()
    training.fit(built, whole, settings, seed=0)
    cost = {"train_s": round(time.perf_counter() - start, 1)}
    cost["validation_recall@20"] = round(best["measured"]["recall@20"], 4)
    searched = COUNTED.get(best["model"], SEARCHED)
    cost["settings"] = json.dumps({name: settings[name] for name in searched if name in settings})
    rows = table(label, 0, evaluation.evaluate(built, whole.test), **cost)
    new = table(label, 0, evaluation.evaluate(built, of_new_users(whole.test)))[0]
    return [*rows, new | {"past_sessions": "users hidden"}]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", choices=["shop", *LOGS], default="shop")
    parser.add_argument("--out", required=True, help="folder of prepared data, trials and scores")
    parser.add_argument("--trials", type=int, default=2, help="number of trials of every model")
    parser.add_argument("--only", action="append", choices=list(MODELS), help="a model, repeatable")
    options = parser.parse_args()
    out = Path(options.out) / options.data
    data = prepared(options.data, out)
    print(data, flush=True)
    kept = out / "scores.json"
    done = json.loads(kept.read_text()) if kept.exists() else {}
    law = []
    if "shop" in data.info:
        law = table("the law of the shop", "", evaluation.ceiling(data.info["shop"], data.test))
    for label in options.only or MODELS:
        best = tuned(data, label, options.trials, out)
        known = done.get(label)
        if known is None or known["settings"] != best["settings"]:
            done[label] = {"settings": best["settings"], "rows": measured(data, label, best)}
            kept.write_text(json.dumps(done, indent=1))
        print(done[label]["rows"][0], done[label]["rows"][-1], sep="\n", flush=True)
        write_rows(
            f"users_{options.data}", [row for name in MODELS if name in done for row in done[name]["rows"]] + law
        )


if __name__ == "__main__":
    main()
