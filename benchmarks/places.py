"""Location sequences (CLoSe): next places and trips on check-ins in New York.

    TFRECSESSION_DATA=... python benchmarks/places.py --out DIR

Data: foursquare_nyc, a trajectory is a user's week, a session here. The log has weekdays and hours, no dates: the
weeks of each user are spread evenly over 28, in their order, so that the last five are the last 18% of every user's
weeks: the test split. Places need five check-ins. All networks have the same width, full softmax, optimizer and epochs,
untuned.

Next places: rank of the next place among all, ties against the model, of all test events but the first of a week.
Joined: a user's weeks are read as one sequence.

Trips: a test week is cut at gaps of more than eight hours; parts with four to ten different places in a row are
trips. Given are the start, the end and the hours. `generate` returns its best trip. The other models are rolled out:
always the best place that is new, while the typical stays leave time; then the end follows. So all know the end.
"""

import argparse
import os
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import duckdb
import keras
import numpy as np
from reporting import intervals, write_rows

import tfrecsession as trs
from tfrecsession import evaluation, training
from tfrecsession.metrics import displacement, diversity, pair_f1

WEEKS, TEST, GAP = 28, 35, 8 * 3600
DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
NETWORK = {"units": [100], "dropout": 0.3, "sampler": "full", "epochs": 10, "rows": 32, "steps": 24}
NETWORK |= {"optimizer": "adagrad", "learning_rate": 0.1}
CONTEXT = {"context": ["hour", "gap", "weekday"], "request": ["hour", "weekday"]}
JOINED = {"joined": True, "steps": 100}
MODELS = {
    "popularity": ("popularity", {}),
    "Markov chain": ("markov", {}),
    "item-kNN": ("item_knn", {}),
    "session popularity": ("session_popularity", {}),
    "GRU4Rec": ("gru4rec", NETWORK),
    "plain RNN": ("gru4rec", NETWORK | {"cell": "rnn"}),
    "plain LSTM": ("gru4rec", NETWORK | {"cell": "lstm"}),
    "CLoSe-RNN": ("location_sequences", NETWORK | {"cell": "rnn"}),
    "CLoSe-LSTM": ("location_sequences", NETWORK | {"cell": "lstm"}),
    "CLoSe-LSTM with trips": ("location_sequences", NETWORK | {"cell": "lstm", "trips": 0.5}),
    "plain LSTM in context": ("gru4rec", NETWORK | CONTEXT | {"cell": "lstm"}),
    "CLoSe-LSTM in context": ("location_sequences", NETWORK | CONTEXT | {"cell": "lstm"}),
    "plain LSTM joined": ("gru4rec", NETWORK | JOINED | {"cell": "lstm"}),
    "CLoSe-LSTM joined": ("location_sequences", NETWORK | JOINED | {"cell": "lstm"}),
}
ROLLED_OUT = ("popularity", "Markov chain", "plain RNN", "plain LSTM", "CLoSe-LSTM")
GENERATED = ("CLoSe-LSTM with trips",)


def prepared(out: Path):
    folder = os.environ.get("TFRECSESSION_DATA")
    if not folder:
        raise SystemExit("TFRECSESSION_DATA is not set: this benchmark needs its logs")
    path = out / "data"
    if not path.exists():
        source = Path(folder) / "foursquare_nyc" / "foursquare_nyc.csv"
        days = ", ".join(f"'{day}'" for day in DAYS)
        table = duckdb.sql(f"""
            WITH rows AS (SELECT row_number() OVER () AS number, * FROM read_csv('{source}')),
            weeks AS (
                SELECT label, tid, row_number() OVER (PARTITION BY label ORDER BY tid) - 1 AS week,
                    count(*) OVER (PARTITION BY label) AS all_weeks
                FROM (SELECT DISTINCT label, tid FROM rows)
            ),
            hours AS (
                SELECT rows.*, 24 * (list_position([{days}], day) - 1) + hour AS of_week,
                    floor(week * {WEEKS} / all_weeks) AS slot
                FROM rows JOIN weeks USING (label, tid)
            )
            SELECT tid, label, poi, lat, lon, category,
                make_timestamp(CAST(1000000 * (1577664000 + 604800 * slot + 3600 * of_week
                    + 60 * row_number() OVER (PARTITION BY tid, of_week ORDER BY number)) AS BIGINT)) AS time
            FROM hours
        """).to_arrow_table()  # 1577664000 is a Monday
        columns = {"item": "poi", "time": "time", "session": "tid", "user": "label"}
        context = ["lat", "lon", "category"]
        trs.prepare(table, path, **columns, context=context, test_span=f"{TEST}d", validation_span="0d")
    return trs.load(path)


def trips_of(data) -> list[dict]:
    """Returns the trips of the test split: their places, coordinates, categories, and hours."""
    test, found = data.test, []
    columns = {name: np.asarray(test.column(name)) for name in ("times", "lat", "lon", "category")}
    for begin, end in zip(test.offsets[:-1], test.offsets[1:], strict=True):
        cuts = np.flatnonzero(np.diff(columns["times"][begin:end]) > GAP * 1_000_000) + 1
        for part in np.split(np.arange(begin, end), cuts):
            part = part[np.r_[True, np.diff(test.values[part]) != 0]]
            ids = test.values[part]
            if 4 <= len(part) <= 10 and len(set(ids.tolist())) == len(ids):
                times = columns["times"][part]
                found.append({"ids": ids, "hours": float(times[-1] - times[0]) / 3.6e9})
    return found


def rolled_out(model, stays, trip, names) -> list[str]:
    """Returns the trip of a model for next places."""
    places, end, used = [names[trip["ids"][0]]], names[trip["ids"][-1]], stays[trip["ids"][0]]
    while len(places) < 11:
        best = model.recommend([places], k=1, exclude_seen=True, exclude=[[end]]).items[0, 0]
        if used + stays[model.items.encode([best])[0]] > trip["hours"]:
            break
        places.append(best)
        used += stays[model.items.encode([best])[0]]
    return [*places, end]


def scores_of_trips(trips, answers, data, places) -> dict:
    """Returns the mean metrics of trips, with half of the 95% interval of the pair-F1."""
    names = np.array(["", "", *data.items.ids])
    where = {}
    for item, lat, lon in zip(data.train.values, data.train.column("lat"), data.train.column("lon"), strict=True):
        where.setdefault(int(item), (float(lat), float(lon)))
    category = places.categories.numpy()
    rows = []
    for trip, answer in zip(trips, answers, strict=True):
        ids, truth = data.items.encode(answer), trip["ids"]
        rows.append(
            (
                pair_f1(answer, names[truth].tolist()),
                diversity(category[ids].tolist()),
                displacement([where[i] for i in ids.tolist()], [where[i] for i in truth.tolist()]),
                len(ids),
            )
        )
    values = np.array(rows)
    half = 1.96 * values[:, 0].std() / len(values) ** 0.5
    return dict(zip(("pair_f1", "diversity", "displacement_km", "places"), values.mean(axis=0), strict=True)) | {
        "pair_f1_half_interval": half,
        "trips": len(values),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True, help="folder of prepared data")
    parser.add_argument("--seeds", default="0", help="a,b")
    parser.add_argument("--models", default=",".join(MODELS), help="their names, a,b")
    options = parser.parse_args()
    data = prepared(Path(options.out))
    trips = [trip for trip in trips_of(data) if (trip["ids"] > 1).all()]
    names = np.array(["", "", *data.items.ids], object)
    print(data, f"{len(trips):,} trips of {np.mean([len(trip['ids']) for trip in trips]):.1f} places")
    places = trs.models.LocationSequences(data.items, units=[2], negatives=None).places
    stays = places.hours.numpy()
    trips = [trip for trip in trips if stays[trip["ids"][0]] <= trip["hours"]][:300]
    rows = []
    for seed in map(int, options.seeds.split(",")):
        for label in options.models.split(","):
            model, given = MODELS[label]
            settings = training.settings_of(model, given)
            if seed and not given:
                continue  # counted
            keras.utils.set_random_seed(seed)
            built = training.build(model, data.items, settings)
            start = time.perf_counter()
            training.fit(built, data, settings, seed=seed, verbose=0)
            row = {"model": label, "seed": seed, "train_s": time.perf_counter() - start}
            found = evaluation.evaluate(built, data.test, k=(10, 20), slices=False)
            row |= {"events": found.events}
            row |= {name: found.metrics[name] for name in ("recall@10", "recall@20", "mrr@20", "ndcg@10")}
            row |= intervals(found)
            answers = None
            if label in GENERATED:
                answers = []
                for trip in trips:
                    first, last = names[trip["ids"][[0, -1]]]
                    best = built.generate(first, end=last, hours=trip["hours"], trips=1, seed=seed)
                    answers.append(best[0].places)
            elif label in ROLLED_OUT:
                answers = [rolled_out(built, stays, trip, names) for trip in trips]
            if answers:
                row |= scores_of_trips(trips, answers, data, places)
            rows.append(
                {key: round(float(value), 4) if isinstance(value, float) else value for key, value in row.items()}
            )
            print(rows[-1], flush=True)
            write_rows("places", rows)


if __name__ == "__main__":
    main()
