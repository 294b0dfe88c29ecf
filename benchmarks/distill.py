"""A small network that learns from a blend, beside the blend and the same network without a teacher.

    TFRECSESSION_DATA=... python benchmarks/distill.py --out DIR

The logs, their splits and the choice of repeats are those of `attention.py`. The teacher blends GRU4Rec with 200 units,
for each seed, and SLIST, by weights that are learned on validation. Students have 50 units, ten epochs, the settings of
`attention.py` and dropout 0.2; nothing is tuned. Everything is fitted to train alone and scored once on test.
Differences are paired by session, over the means of the seeds. `answer_ms` is the time of an answer to one history of
five events, inside Python, the models in turn. The same command resumes.
"""

import argparse
import json
import os
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
from attention import CUTS, SHARED
from narm import METRICS, mean_of
from reporting import rounded, write_rows

import tfrecsession as trs

ANSWERS = 50


def run_of(data, folder: Path, name: str, settings: dict, seed: int):
    """Returns a trained run, which is trained unless it is there."""
    if not (folder / "run.json").exists():
        given = {key: value for key, value in SHARED.items() if key in trs.training.settings_of(name)}
        settings = trs.training.settings_of(name, {**given, **settings})
        trs.training.train(data, name, folder, settings, seed=seed, verbose=0)
    return trs.training.open_run(folder)


def keep_ranks(model, data, file: Path) -> None:
    """Scores a model on test, unless its ranks are there."""
    if not file.exists():
        found = trs.evaluation.evaluate(model, data.test, (20,), slices=False)
        np.savez_compressed(file, ranks=found.ranks, event=found.event)


def latencies(models: dict, data) -> dict[str, float]:
    """Returns the median milliseconds of an answer, by model."""
    history = [data.items.ids[:5].tolist()]
    times = {name: [] for name in models}
    for _ in range(ANSWERS):
        for name, model in models.items():
            start = time.perf_counter()
            model.recommend(history)
            times[name].append(1000 * (time.perf_counter() - start))
    return {name: float(np.median(found[5:])) for name, found in times.items()}


def compared(log: str, folder: Path, out: Path, seeds: list[int]) -> list[dict]:
    """Returns a row for each model, and one for the student's difference to the network without a teacher."""
    read, options = CUTS[log]
    if not (out / "data").exists():
        trs.prepare(read(folder), out / "data", item="item", session="session", **options)
    data = trs.load(out / "data")
    repeats = trs.training.settings_of("gru4rec", data=data)["repeats"]  # by the log, the same for all
    common = {"repeats": repeats, "dropout": 0.2}
    run_of(data, out / "slist", "slist", {}, 0)
    files, models = {}, {}
    for seed in seeds:
        keras.utils.set_random_seed(seed)
        large = out / f"gru4rec-{seed}"
        run_of(data, large, "gru4rec", common | {"units": [200]}, seed)
        blend = out / f"blend-{seed}"
        if not (blend / "run.json").exists():
            trs.training.blend(data, [large, out / "slist"], blend)
        small = common | {"units": [50]}
        runs = {
            "blend of 200 units and SLIST": trs.training.open_run(blend),
            "50 units, alone": run_of(data, out / f"alone-{seed}", "gru4rec", small, seed),
            "50 units, taught": run_of(data, out / f"taught-{seed}", "gru4rec", small | {"teacher": str(blend)}, seed),
        }
        for name, run in runs.items():
            models[name] = run.model()
            file = out / f"{name.replace(' ', '_').replace(',', '')}-{seed}.npz"
            keep_ranks(models[name], data, file)
            files.setdefault(name, []).append(file)
    taught, alone = "50 units, taught", "50 units, alone"
    waits = latencies(models, data)
    rows = [{"log": log, "model": name, **mean_of(data, [], files[name]), "answer_ms": waits[name]} for name in files]
    difference = mean_of(data, [], files[taught], files[alone])
    return [*rows, {"log": log, "model": "taught - alone", **difference}]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True, help="folder of prepared data, runs and ranks")
    parser.add_argument("--logs", default="yoochoose1_64,kkbox")
    parser.add_argument("--seeds", default="0,1,2")
    options = parser.parse_args()
    folder = os.environ.get("TFRECSESSION_DATA")
    if not folder:
        raise SystemExit("TFRECSESSION_DATA is not set: this benchmark needs its logs")
    rows = []
    for log in options.logs.split(","):
        out = Path(options.out) / log
        out.mkdir(parents=True, exist_ok=True)
        rows += compared(log, Path(folder), out, list(map(int, options.seeds.split(","))))
        print(json.dumps(rows[-4:], default=float, indent=1), flush=True)
        write_rows("distill", [rounded(row, (*METRICS, "answer")) for row in rows])


if __name__ == "__main__":
    main()
