"""GRU4Rec and ContextualGRU on a shop whose context changes what comes next, beside the best scores that exist.

    python benchmarks/context_law.py --out DIR

The ceilings are those of the shop's own law: with context, and with what the items alone tell of it. `way` is how far a
model with context gets from the ceiling without context to the one with it; a model without context must not get above
the lower one. Every model is trained on train alone. The same command resumes.
"""

import argparse
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from reporting import write_rows

import tfrecsession as trs

READ = {"context": ["device", "event", "hour"], "request": ["device", "hour"]}
# Chosen on validation, with a third of the sessions: many small steps and exact probabilities.
COMMON = {"units": [100], "dropout": 0.0, "rows": 8, "decay": "linear", "sampler": "full"}
MODELS = {
    "gru4rec": ("gru4rec", {}),
    "gru4rec in context": ("gru4rec", {**READ, "context_as": "both", "context_dropout": 0.0}),
    "contextual_gru": ("contextual_gru", {**READ, "context_dropout": 0.0}),
}
K = (1, 5, 20)
METRICS = ("recall@1", "recall@5", "mrr@20")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True, help="folder of the prepared data and runs")
    parser.add_argument("--items", type=int, default=24)
    parser.add_argument("--sessions", type=int, default=240_000)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seeds", default="0,1")
    parser.add_argument("--models", default=",".join(MODELS))
    options = parser.parse_args()
    out, spec = (
        Path(options.out),
        f"synthetic:items={options.items},sessions={options.sessions},seed=1,late=0,cart=0.3,context=true",
    )
    if not (out / "data").exists():
        trs.prepare(spec, out / "data", event="event", context=["device"])
    data, rows = trs.load(out / "data"), []
    bounds = {known: trs.evaluation.ceiling(spec, data.test, k=K, context=known) for known in (False, True)}
    for known, bound in bounds.items():
        rows.append(row(f"ceiling {'with' if known else 'without'} context", "", bound, bounds))
    for seed in map(int, options.seeds.split(",")):
        for name in options.models.split(","):
            model, settings = MODELS[name]
            run = out / f"{name}.{seed}"
            if not (run / "run.json").exists():
                every = trs.training.settings_of(model, COMMON, settings, {"epochs": options.epochs}, data=data)
                trs.training.train(data, model, run, every, seed=seed, validate=False)
            found = trs.evaluation.evaluate(trs.training.open_run(run).model(), data.test, k=K, slices=False)
            rows.append(row(name, seed, found, bounds))
    write_rows("context_law", rows)


def row(name, seed, found, bounds) -> dict:
    result = {"model": name, "seed": seed, "events": found.events}
    for metric in METRICS:
        low, high = (bounds[known].metrics[metric] for known in (False, True))
        result |= {metric: round(found.metrics[metric], 4)}
        result |= {f"{metric}_interval": [round(value, 4) for value in found.intervals[metric]]}
        result |= {f"{metric}_way": round((found.metrics[metric] - low) / (high - low), 3)}
    print(result, flush=True)
    return result


if __name__ == "__main__":
    main()
