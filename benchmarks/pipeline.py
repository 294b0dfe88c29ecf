"""Two stages against their first one, on the whole catalogue of a news log.

    TFRECSESSION_DATA=... python benchmarks/pipeline.py --out DIR [--seeds 3]

Globo: test is the last day, validation the day before. ItemKNN, tuned on validation (results/tuned_globo.csv), finds
100 candidates, Wide & Deep ranks them. The ranker is fitted on the newest quarter of the days before, with models that
were fitted on the rest. What it reads is chosen on validation (`VARIANTS`), by the geometric mean of Recall@20 and
MRR@20. The best variant and its first stage are then fitted to all days but the last, and scored on the last. Intervals
are 95% bootstraps. `answer_ms` is the median time of one recommendation, called from Python, the models in turn. The
same command resumes.
"""

import argparse
import os
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
from reporting import intervals, write_rows
from tuned import GLOBO

import tfrecsession as trs

COLUMNS = ["click_deviceGroup", "click_os", "click_region", "click_referrer_type"]
FIRST = {"neighbours": 72, "shrinkage": 47.9, "alpha": 0.913, "history": "div", "window": 35}
RUNS = {
    "item_knn": ("item_knn", FIRST),
    "recent": ("popularity", {"half_life": 0.05}),
    "last_day": ("popularity", {"half_life": 0.5}),
    "slist": ("slist", {"dense_items": 2000}),
    "sequential_rules": ("sequential_rules", {"steps": 27, "neighbours": 316, "history": "mean", "window": 2}),
    "session_aggregation": ("session_aggregation", {"dim": 256, "discount": 0.36, "hops": 3}),
}
RECENT = ["recent", "last_day"]
OTHERS = ["slist", "sequential_rules", "session_aggregation"]
CONTEXT = {"context": COLUMNS, "request": ["hour", "gap"], "crosses": ["seen", "seen*context.click_deviceGroup"]}
IDS = {"support": 20, "crosses": ["seen", "item", "last*item"]}
VARIANTS = {
    "its score and place": ([], {}),
    "and recent clicks": (RECENT, {}),
    "and context": (RECENT, CONTEXT),
    "and other models' scores": (RECENT + OTHERS, {}),
    "and the ids of items": (RECENT + OTHERS, IDS),
}
# without the ids of items (support), which go stale within a day
SETTINGS = {"events": 60_000, "negatives": 40, "epochs": 2, "rows": 128, "support": 10**6, "crosses": ["seen"]}
SETTINGS |= {"dim": 8, "hidden": [64, 32]}
N, SHARE = 100, 0.25


def prepared(out: Path, stage: str):
    """Returns the data of a stage: "tuning" has validation, "final" has it within train."""
    folder = os.environ.get("TFRECSESSION_DATA")
    if not folder:
        raise SystemExit("TFRECSESSION_DATA is not set: this benchmark needs its logs")
    if not (out / stage).exists():
        source = str(Path(folder) / "globo" / "clicks.parquet")
        span = {"tuning": "1d", "final": "0d"}[stage]
        trs.prepare(source, out / stage, validation_span=span, context=COLUMNS, **GLOBO)
    return trs.load(out / stage)


def runs(data, folder: Path, names) -> list[Path]:
    """Returns the runs of the models, trained where they do not exist."""
    for name in names:
        if not (folder / name / "run.json").exists():
            model, settings = RUNS[name]
            every = trs.training.settings_of(model, settings, data=data)
            trs.training.train(data, model, folder / name, every, validate=False)
    return [folder / name for name in names]


def ranked(data, folder: Path, variant: str, seed: int):
    """Returns the pipeline of a variant and the seconds that it took."""
    others, more = VARIANTS[variant]
    path = folder / f"{variant}.{seed}"
    members = runs(data, folder, ["item_knn", *others])
    if not (path / "run.json").exists():
        trs.training.pipeline(data, members, path, n=N, share=SHARE, settings=SETTINGS | more, seed=seed)
    run = trs.training.open_run(path)
    return run.model(), run.info["seconds"]


def row(stage, name, model, split, seconds, seed="") -> dict:
    scored = trs.evaluation.evaluate(model, split, slices=False)
    found = {"day": stage, "model": name, "seed": seed, "events": scored.events}
    found |= {metric: round(scored.metrics[metric], 4) for metric in ("recall@20", "mrr@20")}
    found |= {key: round(value, 4) for key, value in intervals(scored).items()}
    print(found | {"seconds": round(seconds)}, flush=True)
    return found | {"fit_s": round(seconds, 1), "evaluate_s": round(scored.seconds, 1)}


def answer_ms(models: dict, data, repeats: int = 60) -> dict:
    """Returns the median milliseconds of one recommendation of each model, called in turn."""
    histories = [data.items.decode(data.test[session][:3]).tolist() for session in range(repeats)]
    taken = {name: [] for name in models}
    for model in models.values():
        model.recommend(histories[:1], k=20)
    for history in histories:
        for name, model in models.items():
            began = time.perf_counter()
            model.recommend([history], k=20)
            taken[name].append(time.perf_counter() - began)
    return {name: round(1e3 * float(np.median(seconds)), 2) for name, seconds in taken.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    data, folder = prepared(options.out, "tuning"), options.out / "validation"
    (first,) = runs(data, folder, ["item_knn"])
    opened = trs.training.open_run(first)
    rows, quality = [row("validation", "item_knn", opened.model(), data.validation, opened.info["seconds"])], {}
    for variant in VARIANTS:
        rows.append(row("validation", variant, *split_of(ranked(data, folder, variant, 0), data.validation), 0))
        quality[variant] = rows[-1]["recall@20"] * rows[-1]["mrr@20"]

    best = max(quality, key=quality.get)
    data, folder = prepared(options.out, "final"), options.out / "test"
    members = runs(data, folder, ["item_knn", *VARIANTS[best][0]])
    models = {"item_knn": trs.training.open_run(members[0]).model()}
    rows.append(
        row("test", "item_knn", models["item_knn"], data.test, trs.training.open_run(members[0]).info["seconds"])
    )
    for seed in range(options.seeds):
        models["pipeline"], seconds = ranked(data, folder, best, seed)
        rows.append(row("test", f"pipeline: {best}", models["pipeline"], data.test, seconds, seed))
    for name, milliseconds in answer_ms(models, data).items():
        for found in rows:
            if found["day"] == "test" and found["model"].startswith(name):
                found["answer_ms"] = milliseconds
    write_rows("pipeline", rows)


def split_of(made, split):
    model, seconds = made
    return model, split, seconds


if __name__ == "__main__":
    main()
