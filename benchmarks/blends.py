"""The best single network and its blend with counted models, on yoochoose1_64.

    TFRECSESSION_DATA=... python benchmarks/blends.py --out DIR [--networks gru4rec,sasrec] [--seeds 0,1,2]
        [--refit whole] [--name FILE]

All models are fitted to train without its last tenth, on which they are compared and the weights of the blends are
learned. Then each member is fitted again on both parts and the original test split is scored once. With `--refit whole`
all are new models of the original train split. Otherwise they are those of `blend(..., refit=True)`, which know the
same items: networks continue on the newest sessions, or with `--refit anew` start again on all of them. The same
command resumes. `--networks gru4rec,sasrec@0` takes one seed of SASRec beside those of `--seeds` of GRU4Rec.
"""

import argparse
import json
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from reporting import intervals, write_rows
from tuned import prepared

import tfrecsession as trs

COMMON = {"repeats": True, "negatives": 2048, "alpha": 0.5, "score_dtype": "bfloat16", "decay": "linear", "epochs": 10}
SETTINGS = {
    "gru4rec": trs.presets.read("gru4rec_repeats_yoochoose1_64")["settings"],
    "sasrec": {**COMMON, "style": "modern", "dropout": 0.3, "learning_rate": 0.001},
    "slist": {"dense_items": 2000},
    "vstan": {},
}
COUNTED = ("slist", "vstan")
METRICS = ("recall@20", "mrr@20")


def run_of(data, out: Path, name: str, seed: int) -> Path:
    """Returns the folder of a run, which is trained unless it is there."""
    folder = out / f"{name}-{seed}"
    if not (folder / "run.json").exists():
        trs.training.train(data, name, folder, trs.training.settings_of(name, SETTINGS[name]), seed=seed, verbose=2)
    return folder


def scored(model, sessions) -> dict:
    found = trs.evaluation.evaluate(model, sessions, (20,), slices=False)
    bounds = {name: round(value, 4) for name, value in intervals(found).items()}
    return {**{name: round(found.metrics[name], 4) for name in METRICS}, "events": found.events, **bounds}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True, help="folder of prepared data and runs")
    parser.add_argument("--networks", default="gru4rec", help="a,b")
    parser.add_argument("--seeds", default="0", help="of each network")
    parser.add_argument("--name", help="of the file in results/")
    parser.add_argument("--refit", choices=["newest", "anew", "whole"], default="newest", help="of the networks")
    options = parser.parse_args()
    folder = os.environ.get("TFRECSESSION_DATA")
    if not folder:
        raise SystemExit("TFRECSESSION_DATA is not set: this benchmark needs yoochoose1_64")
    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    data, final = prepared("yoochoose1_64", Path(folder), out)
    named = [part.partition("@") for part in options.networks.split(",")]
    networks = [(name, int(seed)) for name, _, own in named for seed in (own or options.seeds).split(",")]
    members = [*networks, *((name, 0) for name in COUNTED)]
    runs = [run_of(data, out / "runs", *member) for member in members]
    continues = range(len(networks)) if options.refit == "newest" else ()
    folder, again = out / f"blend-{options.refit}", options.refit != "whole"
    blend = trs.training.blend(data, runs, folder, refit=again, continues=continues, overwrite=True, progress=print)
    if not again:
        fitted = [trs.training.open_run(run_of(final, out / "whole", *member)).model() for member in members]
        blend = trs.models.Blend(fitted, blend.weights_by_length, blend.lengths, blend.scales)
    test = data.coded_for(blend.items).test if again else final.test
    rows = []
    for index, (name, seed) in enumerate(members):
        validation = json.loads((runs[index] / "metrics.json").read_text())["metrics"]
        chosen = {f"validation_{metric}": round(validation[metric], 4) for metric in METRICS}
        model = blend.members[index]  # one without a weight is not fitted again
        how = options.refit if index < len(networks) or not again else "anew"
        refit = {"refit": how if index in blend.used or not again else "none"}
        rows.append({"model": name, "seed": seed, **scored(model, test), **chosen, **refit})
        print(rows[-1], flush=True)
    about = json.loads((folder / "metrics.json").read_text())["metrics"]
    chosen = {f"validation_{metric}": round(about[metric], 4) for metric in METRICS}
    row = {
        "model": " + ".join(name for name, _ in members),
        "seed": ",".join(str(seed) for _, seed in networks),
        **scored(blend, test),
        **chosen,
    }
    rows.append({**row, "weights": json.dumps(blend.weights_by_length.round(2).tolist())})
    print(rows[-1], flush=True)
    usual = "blends_yoochoose1_64" + ("" if options.refit == "newest" else f"_{options.refit}")
    write_rows(options.name or usual, rows)


if __name__ == "__main__":
    main()
