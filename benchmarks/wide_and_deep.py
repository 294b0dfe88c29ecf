"""Wide & Deep on the lists that a hotel search has shown: which of them is clicked out to.

    TFRECSESSION_DATA=... python benchmarks/wide_and_deep.py --out DIR [--seeds 3]

Data: trivago, a slice of the RecSys Challenge 2019. Items are hotels, events the actions on them. The newest fifth of
the sessions is the test split, the tenth before it validation. Every hotel that a list has shown is in the catalogue.
Scored is the hotel of every click-out, after another event of its session, within its list: MRR as in the challenge,
ties against the model.

Baselines without gradients: the place in the list; popularity in train; the hotel of the list that was last interacted
with, else the place. A first stage (VSKNN) ranks the list by its scores. Wide & Deep reads places, prices, the last
hotels of the session, device and event types. It is fitted on the lists of train, its number of epochs is chosen on
validation.

Intervals are 95% bootstraps over sessions' events.
"""

import argparse
import os
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import duckdb
import keras
import numpy as np
from reporting import write_rows

import tfrecsession as trs
from tfrecsession.models.ranking.examples import make_examples

SHOWN = "impressions"
CROSSES = ["seen", "place", "item", "seen*place", "context.event*seen", "context.device*place"]
SETTINGS = {"crosses": CROSSES, "context": ["device", "event"], "listed": ["prices"], "support": 5}
SETTINGS |= {"dim": 8, "hidden": [32, 16]}


def prepared(out: Path):
    folder = os.environ.get("TFRECSESSION_DATA")
    if not folder:
        raise SystemExit("TFRECSESSION_DATA is not set: this benchmark needs its logs")
    path = out / "data"
    if not path.exists():
        source = Path(folder) / "trivago" / "validation_100k.parquet"
        out.mkdir(parents=True, exist_ok=True)
        hotels = out / "hotels.parquet"
        duckdb.sql(f"""
            COPY (SELECT DISTINCT unnest(string_split({SHOWN}, '|')) AS hotel, 'hotel' AS kind FROM '{source}')
            TO '{hotels}'
        """)
        trs.prepare(
            str(source),
            path,
            item="reference",
            time="timestamp",
            order="step",
            session="session_id",
            event="action_type",
            context=["device", SHOWN, "prices"],
            where="regexp_matches(reference, '^[0-9]+$')",
            test_span="20%",
            validation_span="10%",
            items=str(hotels),
            items_key="hotel",
            unseen_items="add",
            unknown_items="keep",
            min_item_support=1,
        )
    return trs.load(path)


def ranks_of(scores, lists):
    """Returns the rank of each list's item, ties against the scores."""
    own = np.take_along_axis(scores, lists.label[:, None], axis=1)
    return ((scores >= own) & (lists.ids > 0)).sum(axis=1)


def baselines(data, lists, first):
    """Yields names and ranks."""
    place = np.arange(lists.ids.shape[1])
    yield "place in the list", lists.label + 1
    counts = np.concatenate([[0, 0], data.items.counts])
    yield "popularity", ranks_of(counts[lists.ids].astype(float), lists)
    back = lists.query["window"][:, None, :] == lists.ids[:, :, None]
    seen = np.where(back.any(axis=-1), 1e6 - back.argmax(axis=-1) * 1e3, 0.0)
    yield "last hotel, else the place", ranks_of(seen - place, lists)
    scores = lists.lists[f"score.{first}"]
    yield "first stage", ranks_of(np.where(np.isnan(scores), -np.inf, scores), lists)


def row(name, ranks, seconds=0.0, seed=""):
    mrr, draws = 1 / ranks, np.random.default_rng(0)
    means = [mrr[draws.integers(0, len(mrr), len(mrr))].mean() for _ in range(1000)]
    low, high = np.quantile(means, [0.025, 0.975])
    found = {"model": name, "seed": seed, "mrr": mrr.mean(), "mrr_low": low, "mrr_high": high, "lists": len(mrr)}
    print(
        {key: round(float(value), 4) if isinstance(value, float) else value for key, value in found.items()}, flush=True
    )
    return found | {"seconds": round(seconds, 1)}


def fitted(data, seed: int, most: int):
    """Returns the ranker of the number of epochs that is best on validation."""
    best, of_best, epochs = -1.0, 1, 0
    while epochs < most:
        keras.utils.set_random_seed(seed)
        ranker = trs.models.WideAndDeep(data.items, **SETTINGS)
        epochs += 1
        ranker.fit(data.train, shown=SHOWN, epochs=epochs, seed=seed)
        mrr = (1 / ranker.shown_ranks(data.validation, SHOWN)).mean()
        if mrr > best:
            best, of_best, chosen = mrr, epochs, ranker
    print(f"{of_best} epochs, MRR on validation {best:.4f}")
    return chosen


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=4, help="at most so many")
    options = parser.parse_args()
    data = prepared(options.out)
    first = trs.models.VSKNN(data.items)
    first.fit(data.train)
    reading = trs.models.WideAndDeep(data.items, scores_of={"vsknn": first}, **SETTINGS)
    lists = make_examples(reading, data.test, SHOWN, None, 0, None, None, 0)
    print(f"{len(lists):,} of {lists.events:,} click-outs have their hotel in the list")
    rows = [row(name, ranks) for name, ranks in baselines(data, lists, "vsknn")]
    for seed in range(options.seeds):
        began = time.perf_counter()
        ranker = fitted(data, seed, options.epochs)
        seconds = time.perf_counter() - began
        rows.append(row("Wide & Deep", ranker.shown_ranks(data.test, SHOWN), seconds, seed))
    write_rows("wide_and_deep", rows)


if __name__ == "__main__":
    main()
