"""NARM compared with GRU4Rec and VSKNN on yoochoose1_64: original split, next event, whole catalogue.

    TFRECSESSION_DATA=... python benchmarks/narm.py --out DIR --seeds 0,1,2

Ties count against the model. The networks have their presets, VSKNN its tuned settings (its defaults, see tuned.py).
The interval of a mean over seeds is bootstrapped over sessions; `narm - gru4rec` is the difference, paired by session.
`steps` rows are training rates alone: the same batches, the models in turn, several rounds. They are medians, and
`ratio` is the median over rounds of GRU4Rec's rate divided by the model's. The same command resumes.
"""

import argparse
import json
import os
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
from reporting import intervals, write_rows

import tfrecsession as trs
from tfrecsession.evaluation.bootstrap import Group, averages
from tfrecsession.evaluation.cost import latency

PRESETS = {"narm": "narm_yoochoose1_64", "gru4rec": "gru4rec_yoochoose1_64"}
METRICS = ("recall@20", "mrr@20")
# Trained in turn with the same units, batches, negatives, loss and optimizer; `narm, dim 50` has the paper's width.
SPEED = {"gru4rec": ("gru4rec", {}), "narm": ("narm", {}), "narm, dim 50": ("narm", {"dim": 50})}
SHARED = ("rows", "steps", "negatives", "alpha", "score_dtype", "loss", "logq", "optimizer", "units", "reset_after")


def settings_of(model: str, *given: dict) -> dict:
    preset = trs.presets.read(PRESETS[model])["settings"] if model in PRESETS else {}
    return trs.training.settings_of(model, preset, *given)


def score(data, name: str, seed: int, ranks: Path) -> dict:
    settings = settings_of(name)
    keras.utils.set_random_seed(seed)
    model = trs.training.build(name, data.items, settings)
    start = time.perf_counter()
    trs.training.fit(model, data, settings, seed=seed)
    seconds = time.perf_counter() - start
    scored = trs.evaluation.evaluate(model, data.test, (20,), slices=False)
    answer_ms = latency(model, data.test)
    np.savez_compressed(ranks, ranks=scored.ranks, event=scored.event)
    row = {"model": name, "seed": seed, **{metric: scored.metrics[metric] for metric in METRICS}, **intervals(scored)}
    row |= {"events": scored.events, "train_s": seconds, "evaluate_s": scored.seconds}
    row |= {"answer_p50_ms": answer_ms["p50"], "answer_p99_ms": answer_ms["p99"]}
    return row | {"train_events_per_s": data.train.scored_events * settings.get("epochs", 1) / seconds}


def mean_of(data, runs: list[dict], files: list[Path], minus: list[Path] = ()) -> dict:
    """Returns the mean over seeds, minus that of other runs, with its interval over sessions."""
    event = np.load(files[0])["event"]
    session = np.searchsorted(data.test.offsets, event, side="right") - 1

    def values(files):
        ranks = np.array([np.load(file)["ranks"] for file in files], float)
        hits = ranks <= 20
        return np.stack([hits.mean(axis=0), (hits / ranks).mean(axis=0)], axis=1)

    scores = values(files) - (values(minus) if minus else 0.0)
    (found,) = averages(session, lambda chunk: scores[chunk], [Group(np.zeros(len(event), np.int8), 1, [0, 1])])
    row = {"seed": f"mean of {len(files)}", "events": len(event)}
    for number, metric in enumerate(METRICS):
        row |= {metric: found.mean[0, number], f"{metric}_low": found.low[0, number]}
        row[f"{metric}_high"] = found.high[0, number]
    costs = [name for name in runs[0] if name.endswith(("_s", "_ms"))] if runs else []
    return row | {name: float(np.mean([run[name] for run in runs])) for name in costs}


def speed(data, rounds: int, batches: int) -> list[dict]:
    """Measures training steps of each model in turn: median events/s, and the ratio of GRU4Rec's rate to it."""
    shared = {name: value for name, value in settings_of("gru4rec").items() if name in SHARED}
    cached = data.train.batches(rows=shared["rows"], steps=shared["steps"]).take(batches).cache()
    events = sum(int((targets.numpy() > 0).sum()) for _, targets in cached)
    models = {}
    for label, (name, given) in SPEED.items():
        models[label] = trs.training.build(name, data.items, settings_of(name, shared, given))
        models[label].fit(cached, verbose=0)  # traces the graph
    rates = {label: [] for label in models}
    for _ in range(rounds):
        for label, model in models.items():
            start = time.perf_counter()
            model.fit(cached, verbose=0)
            rates[label].append(events / (time.perf_counter() - start))
    return [
        {
            "model": label,
            "seed": "steps",
            "train_events_per_s": float(np.median(rate)),
            "ratio": float(np.median(np.divide(rates["gru4rec"], rate))),
        }
        for label, rate in rates.items()
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True, help="folder of prepared data, ranks and finished runs")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--batches", type=int, default=150, help="batches per round")
    options = parser.parse_args()
    folder = os.environ.get("TFRECSESSION_DATA")
    if not folder:
        raise SystemExit("TFRECSESSION_DATA is not set: this benchmark needs yoochoose1_64")
    out, given = Path(options.out), f"{folder}/yoochoose1_64"
    out.mkdir(parents=True, exist_ok=True)
    if not (out / "final").exists():
        trs.prepare(f"{given}/train_sessions.txt", out / "final", test_input=f"{given}/test_sessions.txt")
    data = trs.load(out / "final")
    kept = out / "narm.json"
    chosen = json.loads(json.dumps({name: settings_of(name) for name in ("narm", "gru4rec", "vsknn")}))
    state = json.loads(kept.read_text()) if kept.exists() else {"settings": chosen, "runs": {}, "speed": []}
    if state["settings"] != chosen:
        raise SystemExit(f"{kept} has runs with other settings: name another folder")

    def keep():
        kept.with_suffix(".new").write_text(json.dumps(state, indent=2) + "\n")
        kept.with_suffix(".new").replace(kept)

    seeds = list(map(int, options.seeds.split(",")))
    files = {name: [out / f"{name}_{seed}.npz" for seed in seeds] for name in PRESETS}
    files["vsknn"] = [out / "vsknn_0.npz"]  # deterministic: one seed is enough
    wanted = [("vsknn", 0), *((name, seed) for name in PRESETS for seed in seeds)]
    for name, seed in wanted:
        if f"{name} {seed}" not in state["runs"]:
            state["runs"][f"{name} {seed}"] = score(data, name, seed, out / f"{name}_{seed}.npz")
            keep()
        print(state["runs"][f"{name} {seed}"], flush=True)
    if not state["speed"]:
        state["speed"] = speed(data, options.rounds, options.batches)
        keep()
    rows = [state["runs"][f"{name} {seed}"] for name, seed in wanted]
    for name in PRESETS:
        runs = [state["runs"][f"{name} {seed}"] for seed in seeds]
        rows.append({"model": name, **mean_of(data, runs, files[name])})
    rows.append({"model": "narm - gru4rec", **mean_of(data, [], files["narm"], files["gru4rec"])})
    rows.append({"model": "narm - vsknn", **mean_of(data, [], files["narm"], files["vsknn"])})
    rows += state["speed"]
    print(*rows[len(wanted) :], sep="\n", flush=True)
    write_rows("narm", [{key: _rounded(key, value) for key, value in row.items()} for row in rows])


def _rounded(name: str, value):
    if not isinstance(value, float):
        return value
    if name.startswith(METRICS):
        return round(value, 4)
    return round(value) if name.endswith("per_s") else round(value, 2)


if __name__ == "__main__":
    main()
