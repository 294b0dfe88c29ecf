"""Every model on real logs, each tuned with the same number of trials on validation, then scored once on test.

    TFRECSESSION_DATA=... python benchmarks/tuned.py --data yoochoose1_64 --out DIR
    TFRECSESSION_DATA=... python benchmarks/tuned.py --data globo --out DIR

yoochoose1_64: validation is the last 10% of train; the winners are fitted to the whole train and scored on the original
test split (targets not seen in train are misses). Globo: test is the last day, validation the day before; the winners
are fitted to all days but the last. Models without a search space are fitted with their defaults. Winners that depend
on a seed are fitted with each of --seeds: their rows hold the means of the metrics and of the bounds, and `by_seed` the
metrics of each. The same command resumes. DIR/DATA/report/report.html is the comparison with intervals, slices and
significance, of the first seed.
"""

import argparse
import json
import os
import statistics
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from reporting import write_rows

import tfrecsession as trs

GLOBO = {
    "item": "click_article_id",
    "time": "click_timestamp",
    "session": "session_id",
    "user": "user_id",
    "test_span": "1d",
}
# Fixed for every trial and the winner, so that a search ends in a reasonable time.
FIXED = {
    "gru4rec": {"epochs": 5, "units": [100]},
    "sasrec": {"epochs": 5, "dim": 100},
    "slist": {"dense_items": 2000},
}
SEEDED = ("session_aggregation", "gru4rec", "sasrec")  # depend on a seed
MODELS = (
    "random,popularity,session_popularity,association_rules,markov,sequential_rules,item_knn,session_aggregation,"
    "sknn,vsknn,stan,vstan,slist,gru4rec,sasrec"
)


def prepared(name: str, folder: Path, out: Path) -> tuple:
    """Returns the data to tune on and the data to score on."""
    if name == "globo":
        source = folder / "globo" / "clicks.parquet"
        common, spans = GLOBO, ("1d", "0d")
    else:
        source = folder / name / "train_sessions.txt"
        common, spans = {"test_input": str(folder / name / "test_sessions.txt")}, ("10%", "0d")
    for stage, span in zip(("tuning", "final"), spans, strict=True):
        if not (out / stage).exists():
            trs.prepare(str(source), out / stage, validation_span=span, **common)
    return trs.load(out / "tuning"), trs.load(out / "final")


def mean(values) -> float:
    return round(statistics.mean(values), 4)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", choices=["yoochoose1_64", "globo"], default="yoochoose1_64")
    parser.add_argument("--out", required=True, help="folder of prepared data, searches and the comparison")
    parser.add_argument("--models", default=MODELS, help="a,b")
    parser.add_argument("--seeds", default="0,1,2", help="of the winners' fits")
    parser.add_argument("--trials", type=int, default=8, help="number of trials of every model with a search space")
    options = parser.parse_args()
    folder = os.environ.get("TFRECSESSION_DATA")
    if not folder:
        raise SystemExit("TFRECSESSION_DATA is not set: this benchmark needs its logs")
    out = Path(options.out) / options.data
    out.mkdir(parents=True, exist_ok=True)
    tuning, final = prepared(options.data, Path(folder), out)
    chosen, searched = {}, {}
    for name in options.models.split(","):
        fixed = FIXED.get(name, {})
        chosen[name] = fixed
        if set(trs.training.space_of(name)) - set(fixed):
            found = trs.evaluation.tune(tuning, name, out / "tuned" / name, trials=options.trials, settings=fixed)
            chosen[name] = found.best["settings"]
            searched[name] = round(found.best["measured"]["mrr@20"], 4)
        print(name, searched.get(name, "nothing to search"), chosen[name], flush=True)
    found = {name: [] for name in chosen}
    for number, seed in enumerate(map(int, options.seeds.split(","))):
        names = [name for name in chosen if number == 0 or name in SEEDED]
        if not names:
            break
        report = out / ("report" if number == 0 else f"report-{seed}")
        settings = {name: chosen[name] for name in names}
        for row in trs.evaluation.compare(final, names, report, settings=settings, k=(20,), seed=seed)["models"]:
            found[row["model"]].append(row)
    rows = []
    for fits in found.values():
        row, scores = fits[0], {}
        for metric in ("recall@20", "mrr@20"):
            scores[metric] = mean(fit["metrics"][metric] for fit in fits)
            for side, name in enumerate(("low", "high")):
                scores[f"{metric}_{name}"] = mean(fit["intervals"][metric][side] for fit in fits)
        defaults = trs.training.settings_of(row["model"])
        changed = {name: value for name, value in row["settings"].items() if value != defaults[name]}
        rows.append(
            {
                "model": row["model"],
                **scores,
                "events": row["events"],
                "coverage@20": round(row["metrics"].get("coverage@20", 0.0), 4),
                "train_s": round(row["train_seconds"], 1),
                "validation_mrr@20": searched.get(row["model"], ""),
                "trials": options.trials if row["model"] in searched else 0,
                "by_seed": " ".join(
                    f"{fit['metrics']['recall@20']:.4f}/{fit['metrics']['mrr@20']:.4f}" for fit in fits if len(fits) > 1
                ),
                "settings": json.dumps(changed),
            }
        )
        print(rows[-1], flush=True)
    write_rows(f"tuned_{options.data}", rows)


if __name__ == "__main__":
    main()
