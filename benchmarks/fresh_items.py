"""Continued training on a newer log compared with training from scratch: Recall@20 by number of epochs.

The synthetic shop releases items day by day. The older log ends where the newer one, of the last days, begins; both are
prepared separately. The test split is the last sessions of the newer log; `new` counts events with a new target item.

python benchmarks/fresh_items.py
"""

import argparse
import os
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import pyarrow.compute as pc

import tfrecsession as trs
from tfrecsession.events.shop.shop import DAY, Shop
from tfrecsession.sessions.content import aligned


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=3000)
    parser.add_argument("--sessions", type=int, default=40_000)
    parser.add_argument("--late", type=float, default=0.3, help="share of items released after the first day")
    parser.add_argument("--seeds", default="0,1")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = measured(options, folder)
    from reporting import write_rows

    write_rows("fresh_items", rows)


def measured(options, folder):
    shop = Shop(items=options.items, sessions=options.sessions, late=options.late, seed=1)
    log = shop.reader().read_all()
    elapsed = pc.subtract(log["time"], pc.min(log["time"]))
    older = prepared(log.filter(pc.less(elapsed, 5 * DAY)), f"{folder}/older", "0d")
    newer = prepared(log.filter(pc.greater_equal(elapsed, 5 * DAY)), f"{folder}/newer", "20%")
    newer.items.content = aligned(shop.item_table(), newer.items.ids)
    known = np.isin(newer.items.ids, older.items.ids)
    print(f"items: {len(older.items)} before, {len(newer.items)} now, {int((~known).sum())} of them new", flush=True)
    rows = []
    for seed in map(int, options.seeds.split(",")):
        trained, _ = fitted(older, None, 4, seed)
        for start, epochs in [(s, e) for e in (0, 1) for s in ("neighbours", "content", "mean")]:
            grown = trs.training.grow(trained, newer, start=start)
            rows.append(scored(f"grown from {start}", epochs, seed, newer, known, *fitted(newer, grown, epochs, seed)))
        for epochs in (1, 4):
            rows.append(scored("anew", epochs, seed, newer, known, *fitted(newer, None, epochs, seed)))
    return rows


def prepared(log, folder, test_span):
    trs.prepare(log, folder, test_span=test_span, validation_span="0d")
    return trs.load(folder)


def fitted(data, model, epochs, seed):
    keras.utils.set_random_seed(seed)
    settings = trs.training.settings_of("gru4rec", {"units": [100], "epochs": epochs})
    model = model or trs.training.build("gru4rec", data.items, settings)
    start = time.perf_counter()
    if epochs:
        trs.training.fit(model, data, settings, seed)
    return model, time.perf_counter() - start


def scored(training, epochs, seed, newer, known, model, seconds):
    found = trs.evaluation.evaluate(model, newer.test, (20,), slices=False, draws=0)
    target = newer.test.values[found.event]
    new = (target > 1) & ~np.concatenate([[True, True], known])[target]
    scores = {"recall@20": found.ranks <= 20, "of_new@20": found.ranks[new] <= 20}
    scores = {name: round(float(np.mean(hit)), 4) for name, hit in scores.items()}
    row = {"training": training, "epochs": epochs, "seed": seed, **scores, "new_events": int(new.sum())}
    row["seconds"] = round(seconds, 1)
    print(row, flush=True)
    return row


if __name__ == "__main__":
    main()
