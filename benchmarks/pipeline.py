"""Two stages against their first one, on the whole catalogue of a news log.

    TFRECSESSION_DATA=... python benchmarks/pipeline.py --out DIR [--every 4] [--seeds 3] [--steps 2]

Globo, one in four users: test is the last day, validation the day before. ItemKNN, tuned on validation
(results/tuned_globo.csv), finds 100 candidates, Wide & Deep ranks them. The ranker is fitted on the newest quarter of
the days before, with models that were fitted on the rest. Its features are chosen on validation (`VARIANTS`), by the
geometric mean of Recall@20 and MRR@20. The best variant and its first stage are then fitted to all days but the last,
and scored on the last. Intervals are 95% bootstraps. `answer_ms` is the median time of one recommendation, called from
Python, the models in turn. The same command resumes.
"""

import argparse
import json
import os
import time
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
from reporting import intervals, write_rows
from tuned import GLOBO

import tfrecsession as trs

FIRST = {"neighbours": 72, "shrinkage": 47.9, "alpha": 0.913, "history": "div", "window": 35}
RUNS = {
    "item_knn": ("item_knn", FIRST),
    "recent": ("popularity", {"half_life": 0.05}),
    "last_day": ("popularity", {"half_life": 0.5}),
    "slist": ("slist", {"dense_items": 2000}),
    "sequential_rules": ("sequential_rules", {"steps": 27, "neighbours": 316, "history": "mean", "window": 2}),
}
RECENT, OTHERS = ["recent", "last_day"], ["slist", "sequential_rules"]
VARIANTS = {
    "its score and place": ([], {}),
    "and recent clicks": (RECENT, {}),
    "and other models' scores": (RECENT + OTHERS, {}),
}
# without the ids of items (support), which go stale within a day
SETTINGS = {"events": 15_000, "negatives": 40, "epochs": 2, "rows": 128, "support": 10**6, "crosses": ["seen"]}
SETTINGS |= {"dim": 8, "hidden": [32, 16]}
N, SHARE = 100, 0.25


def prepared(out: Path, stage: str, every: int):
    """Returns the data of a stage: "tuning" has validation, "final" has it within train."""
    folder = os.environ.get("TFRECSESSION_DATA")
    if not folder:
        raise SystemExit("TFRECSESSION_DATA is not set: this benchmark needs its logs")
    if not (out / stage).exists():
        source = str(Path(folder) / "globo" / "clicks.parquet")
        span = {"tuning": "1d", "final": "0d"}[stage]
        where = f"user_id % {every} = 0"
        trs.prepare(source, out / stage, validation_span=span, where=where, **GLOBO)
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
        unscored = replace(data, validation=data.validation.only(np.zeros(len(data.validation), bool)))
        trs.training.pipeline(unscored, members, path, n=N, share=SHARE, settings=SETTINGS | more, seed=seed)
    run = trs.training.open_run(path)
    return run.model(), run.info["seconds"]


def row(stage, name, model, split, seconds, seed="") -> dict:
    scored = trs.evaluation.evaluate(model, split, slices=False)
    found = {"day": stage, "model": name, "seed": seed, "events": scored.events}
    found |= {metric: round(scored.metrics[metric], 4) for metric in ("recall@20", "mrr@20")}
    found |= {key: round(value, 4) for key, value in intervals(scored).items()}
    return found | {"fit_s": round(seconds, 1), "evaluate_s": round(scored.seconds, 1)}


class Rows:
    """The rows of a table in a file, so that the same command resumes; `most` are measured in one run."""

    def __init__(self, path: Path, most: int):
        self.path, self.most = path, most
        self.rows = json.loads(path.read_text()) if path.exists() else []

    def measured(self, stage: str, name: str, make, split, seed="") -> dict:
        """Returns a row, known or measured now; `make` returns a model and the seconds that its fit took."""
        for found in self.rows:
            if (found["day"], found["model"], found["seed"]) == (stage, name, seed):
                return found
        if not self.most:
            raise SystemExit("stopped after --steps; the same command resumes")
        self.most -= 1
        model, seconds = make()
        self.rows.append(row(stage, name, model, split, seconds, seed))
        print(self.rows[-1], flush=True)
        self.path.write_text(json.dumps(self.rows, indent=1))
        return self.rows[-1]


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
    parser.add_argument("--every", type=int, default=4, help="one in so many users")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=100, help="measurements until the run stops")
    options = parser.parse_args()
    data, folder = prepared(options.out, "tuning", options.every), options.out / "validation"
    rows = Rows(options.out / "rows.json", options.steps)

    def first(data, folder):
        run = trs.training.open_run(runs(data, folder, ["item_knn"])[0])
        return run.model(), run.info["seconds"]

    rows.measured("validation", "item_knn", lambda: first(data, folder), data.validation)
    quality = {}
    for variant in VARIANTS:
        made = rows.measured(
            "validation", variant, lambda variant=variant: ranked(data, folder, variant, 0), data.validation, 0
        )
        quality[variant] = made["recall@20"] * made["mrr@20"]

    best = max(quality, key=quality.get)
    final, folder = prepared(options.out, "final", options.every), options.out / "test"
    rows.measured("test", "item_knn", lambda: first(final, folder), final.test)
    for seed in range(options.seeds):
        name = f"pipeline: {best}"
        rows.measured("test", name, lambda seed=seed: ranked(final, folder, best, seed), final.test, seed)
    models = {"item_knn": first(final, folder)[0], "pipeline": ranked(final, folder, best, 0)[0]}
    for name, milliseconds in answer_ms(models, final).items():
        for found in rows.rows:
            if found["day"] == "test" and found["model"].startswith(name):
                found["answer_ms"] = milliseconds
    write_rows("pipeline", rows.rows)


if __name__ == "__main__":
    main()
