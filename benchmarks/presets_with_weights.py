"""Ten presets with weights, made from the synthetic shop, loaded in a new process and scored again.

    python benchmarks/presets_with_weights.py --out FOLDER      # two minutes; the presets stay in FOLDER/presets

Each model is trained with its defaults, scored on test and saved with that score on its card. A second process
knows the presets and the data alone: it loads each by `from_preset` and scores it. `apart` is the largest
difference between a score of the card and the new one; above 1e-4 the program fails.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from reporting import write_rows

import tfrecsession as trs

MODELS = ("item_knn", "vsknn", "slist", "als", "gru4rec", "narm", "sasrec", "core", "min_gru", "hrnn")
LIMIT = 1e-4


def make(name: str, data, folder: Path, epochs: int) -> None:
    """Trains a model, scores it on test, and saves it as a preset."""
    given = {"epochs": epochs} if "epochs" in trs.training.settings_of(name) else {}
    run = folder / "runs" / name
    if not (run / "run.json").exists():
        trs.training.train(data, name, run, trs.training.settings_of(name, given, data=data), seed=1)
    model = trs.training.open_run(run).model()
    scored = trs.evaluation.evaluate(model, data.test, slices=False)
    path = folder / "presets" / name
    model.save_to_preset(path, run=run, evaluation=scored, data_licence="CC0 (synthetic)", overwrite=True)


def check(name: str, data, folder: Path) -> dict:
    """Loads a preset and compares its scores with those of its card."""
    path = folder / "presets" / name
    card = json.loads((path / "preset.json").read_text())["evaluation"]["metrics"]
    scored = trs.evaluation.evaluate(trs.models.from_preset(path), data.test, slices=False).metrics
    apart = max(abs(scored[metric] - value) for metric, value in card.items() if metric in scored)
    size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    row = {"preset": name, "recall@20": round(card["recall@20"], 4), "mrr@20": round(card["mrr@20"], 4)}
    return row | {"apart": f"{apart:.1e}", "MB": round(size / 1e6, 2)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True, type=Path, help="folder of the data, runs and presets")
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--items", type=int, default=200)
    parser.add_argument("--sessions", type=int, default=3000)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--check", action="store_true", help="only load and score what is there")
    options = parser.parse_args()
    spec = f"synthetic:items={options.items},sessions={options.sessions},users={options.sessions // 5},seed=1"
    if not (options.out / "data").exists():
        trs.prepare(spec, options.out / "data")
    data = trs.load(options.out / "data")
    names = options.models.split(",")
    if not options.check:
        for name in names:
            make(name, data, options.out, options.epochs)
        raise SystemExit(subprocess.run([sys.executable, *sys.argv, "--check"]).returncode)
    rows = []
    for name in names:
        rows.append(check(name, data, options.out))
        print(rows[-1], flush=True)
    write_rows("presets_with_weights", rows)
    if worst := [row["preset"] for row in rows if float(row["apart"]) > LIMIT]:
        raise SystemExit(f"not the scores of their cards: {', '.join(worst)}")


if __name__ == "__main__":
    main()
