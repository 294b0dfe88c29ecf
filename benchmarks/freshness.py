"""The effect of a trend prior and of fine-tuning on the newest sessions, on a log whose items go stale.

    TFRECSESSION_DATA=... python benchmarks/freshness.py --out DIR

GRU4Rec on Globo. Every variant is trained without the last two days and scored on the last but one. The plain model and
the best variant, by the geometric mean of both metrics there, are then trained on all days but the last and scored on
the last, once per seed. `counts` says what a trend prior knows: "frozen", the training log alone, as every other model;
"live", also the test events of other sessions up to the last update before each session. The same command resumes.
"""

import argparse
import os
from itertools import product
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from reporting import write_rows
from tuned import prepared

import tfrecsession as trs

TRENDS = {
    "": {},
    "trend": {"trend": [0.04, 0.25, 1.0, 7.0], "trend_every": 1.0},
    "trend every 3 hours": {"trend": [0.04, 0.25, 1.0, 7.0], "trend_every": 0.125},
}
NEWEST = {
    "": {},
    "1 day, 4 epochs": {"finetune_days": 1.0, "finetune_epochs": 4},
    "2 days, 4 epochs": {"finetune_days": 2.0, "finetune_epochs": 4},
    "2 days, 8 epochs": {"finetune_days": 2.0, "finetune_epochs": 8},
}
VARIANTS = {
    ", ".join(filter(None, pair)) or "plain": {**TRENDS[pair[0]], **NEWEST[pair[1]]} for pair in product(TRENDS, NEWEST)
}
METRICS = ("recall@20", "mrr@20")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True, help="folder of prepared data and runs")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--seeds", default="0,1,2", help="of the models that are scored on the last day")
    options = parser.parse_args()
    folder = os.environ.get("TFRECSESSION_DATA")
    if not folder:
        raise SystemExit("TFRECSESSION_DATA is not set: this benchmark needs its logs")
    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    tuning, final = prepared("globo", Path(folder), out)
    rows, best = [], {}
    for name, settings in VARIANTS.items():
        model = trained(tuning, out / "validation" / name, settings, options.epochs, seed=0)
        rows.append({"day": "validation", "seed": 0, **scored(model, tuning.validation, name, settings)})
        best[name] = rows[-1]["recall@20"] * rows[-1]["mrr@20"]
        print(rows[-1], flush=True)
    for name in dict.fromkeys(["plain", max(best, key=best.get)]):
        settings = VARIANTS[name]
        for seed in map(int, options.seeds.split(",")):
            model = trained(final, out / "test" / f"{name}.{seed}", settings, options.epochs, seed)
            for live in (False, True) if settings.get("trend") else (False,):
                rows.append({"day": "test", "seed": seed, **scored(model, final.test, name, settings, live)})
                print(rows[-1], flush=True)
    write_rows("freshness", rows)


def trained(data, run, settings, epochs, seed):
    """Returns the model of a run, which is trained where it does not exist."""
    if not (run / "run.json").exists():
        common = {"units": [100], "rows": 128, "epochs": epochs}
        every = trs.training.settings_of("gru4rec", common, settings, data=data)
        trs.training.train(data, "gru4rec", run, every, seed=seed, validate=False)
    return trs.training.open_run(run).model()


def scored(model, split, name, settings, live=False) -> dict:
    """Returns the row of a model on a split."""
    found = trs.evaluation.evaluate(model, split, slices=False, live=live)
    row = {"model": name, "counts": "live" if live else "frozen", "events": found.events}
    for metric in METRICS:
        low, high = found.intervals[metric]
        row |= {metric: round(found.metrics[metric], 4)}
        row |= {f"{metric}_low": round(low, 4), f"{metric}_high": round(high, 4)}
    return row | {"settings": settings, "weights": weights_of(model)}


def weights_of(model) -> list:
    """Returns the learned weight of each half-life."""
    return [] if model.trend_head is None else [round(float(weight), 3) for weight in model.trend_head.kernel.numpy()]


if __name__ == "__main__":
    main()
