"""The effect of a trend prior and of fine-tuning on the newest sessions, on a log whose items go stale.

    TFRECSESSION_DATA=... python benchmarks/freshness.py --out DIR

GRU4Rec on Globo, trained on all days but the last and scored on the last; every variant is reported, none is chosen.
`counts` says what a trend prior knows in the test: "frozen", the training log alone, as every other model; "live", also
the test events of other sessions up to the last update before each session. The same command resumes.
"""

import argparse
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from reporting import write_rows
from tuned import prepared

import tfrecsession as trs

NEWEST = {"finetune_days": 1.0, "finetune_epochs": 2}
DAILY = {"trend": [0.04, 0.25, 1.0, 7.0], "trend_every": 1.0}
OFTEN = {**DAILY, "trend_every": 0.125}
VARIANTS = {
    "plain": {},
    "trend": DAILY,
    "fine-tuned": NEWEST,
    "trend, fine-tuned": DAILY | NEWEST,
    "trend every 3 hours, fine-tuned": OFTEN | NEWEST,
}
METRICS = ("recall@20", "mrr@20")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True, help="folder of prepared data and runs")
    parser.add_argument("--variants", default=";".join(VARIANTS), help="a;b")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    folder = os.environ.get("TFRECSESSION_DATA")
    if not folder:
        raise SystemExit("TFRECSESSION_DATA is not set: this benchmark needs its logs")
    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    data, rows = prepared("globo", Path(folder), out)[1], []
    for name in options.variants.split(";"):
        settings = VARIANTS[name]
        model = trained(data, out / name, settings, options)
        for counts in ("frozen", "live") if settings.get("trend") else ("frozen",):
            found = trs.evaluation.evaluate(model, data.test, slices=False, live=counts == "live")
            row = {"model": name, "counts": counts, "events": found.events}
            for metric in METRICS:
                low, high = found.intervals[metric]
                row |= {metric: round(found.metrics[metric], 4)}
                row |= {f"{metric}_low": round(low, 4), f"{metric}_high": round(high, 4)}
            rows.append(row | {"settings": settings, "weights": weights_of(model)})
            print(rows[-1], flush=True)
        write_rows("freshness", rows)


def trained(data, run, settings, options):
    """Returns the model of a run, which is trained where it does not exist."""
    if not (run / "run.json").exists():
        common = {"units": [100], "rows": 128, "epochs": options.epochs}
        every = trs.training.settings_of("gru4rec", common, settings, data=data)
        trs.training.train(data, "gru4rec", run, every, seed=options.seed, validate=False)
    return trs.training.open_run(run).model()


def weights_of(model) -> list:
    """Returns the learned weight of each half-life."""
    return [] if model.trend_head is None else [round(float(weight), 3) for weight in model.trend_head.kernel.numpy()]


if __name__ == "__main__":
    main()
