"""RecGAN's ablation on ml-100k's ratings over time: likelihood alone, the adversary alone after it, and both.

    TFRECSESSION_DATA=... python benchmarks/rec_gan.py --out DIR

A session is all that a user rated, in order; the newest tenth of the users is test, the tenth before it validation. All
have one width, optimizer and number of epochs; the adversarial ones play after half of them. Recall@20 on validation
after each epoch shows the instability: `lost` is the largest fall from the best epoch so far. Test is ranked after the
last epoch. The same command resumes.
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
from reporting import intervals, write_rows

import tfrecsession as trs
from tfrecsession import evaluation, training

SHARED = {"units": [100], "negatives": 512, "optimizer": "adam", "learning_rate": 0.002, "clipnorm": 10.0}
SHARED |= {"rows": 16, "steps": 50}
PARTS = {
    "likelihood alone": lambda epochs: {"pretraining": None},
    "adversary after likelihood": lambda epochs: {"pretraining": epochs // 2, "reconstruction": 0.0},
    "both after likelihood": lambda epochs: {"pretraining": epochs // 2, "reconstruction": 1.0},
}


def prepared(out: Path):
    if not (out / "data").exists():
        folder = os.environ.get("TFRECSESSION_DATA")
        if not folder:
            raise SystemExit("TFRECSESSION_DATA is not set: this benchmark needs its logs")
        names = ["user", "item", "rating", "time"]
        log = pd.read_csv(Path(folder) / "ml-100k" / "u.data", sep="\t", names=names)
        log = log.assign(session=log.user)[["session", "user", "item", "time"]]
        columns = {"item": "item", "session": "session", "user": "user", "time": "time"}
        trs.prepare(log, out / "data", **columns, test_span="10%", validation_span="10%")
    return trs.load(out / "data")


def measured(data, cell: str, part: str, epochs: int, seed: int) -> dict:
    keras.utils.set_random_seed(seed)
    settings = training.settings_of("rec_gan", SHARED, {"cell": cell, "epochs": epochs, **PARTS[part](epochs)})
    model = training.build("rec_gan", data.items, settings, [20])
    start = time.perf_counter()
    history = training.fit(model, data, settings, seed)["val_recall@20"]
    row = {"cell": cell, "part": part, "seed": seed, "train_s": round(time.perf_counter() - start, 1)}
    found = evaluation.evaluate(model, data.test, [20], slices=False)
    scores = {name: found.metrics[name] for name in ("recall@20", "mrr@20")} | intervals(found)
    lost = float(np.max(np.maximum.accumulate(history) - history))
    scores |= {"lost": lost, "validation_last": history[-1], "validation_best": max(history)}
    row |= {"events": found.events, **{name: round(float(value), 4) for name, value in scores.items()}}
    return row | {"validation_by_epoch": json.dumps([round(float(value), 4) for value in history])}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True, help="folder of prepared data and scores")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seeds", default="0,1", help="a,b")
    options = parser.parse_args()
    out = Path(options.out)
    data = prepared(out)
    print(data, flush=True)
    kept = out / "scores.json"
    done = json.loads(kept.read_text()) if kept.exists() else {}
    for seed in map(int, options.seeds.split(",")):
        for cell in ("plain", "rectified"):
            for part in PARTS:
                key = json.dumps([cell, part, seed, options.epochs, SHARED, data.fingerprint])
                if key not in done:
                    done[key] = measured(data, cell, part, options.epochs, seed)
                    kept.write_text(json.dumps(done, indent=1))
                print(done[key], flush=True)
    write_rows("rec_gan", list(done.values()))


if __name__ == "__main__":
    main()
