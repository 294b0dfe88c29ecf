"""A finished run whose model is fitted again on train and validation together, as a run of its own."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import keras

from tfrecsession.batches import Data
from tfrecsession.errors import InputError
from tfrecsession.models import Recommender
from tfrecsession.staging import staged
from tfrecsession.training.recipe import build
from tfrecsession.training.refit import check_refit, with_validation
from tfrecsession.training.run import fit
from tfrecsession.training.run_folder import Run, open_run


def fitted_again(run: Run, data: Data) -> Recommender:
    """Returns a model with the settings and the seed of a run, and as many epochs, fitted on other sessions."""
    settings = run.info["settings"]
    if "epochs" in settings:
        history = json.loads((run.path / "history.json").read_text())
        further = settings.get("finetune_epochs", 0) if settings.get("finetune_days") is not None else 0
        epochs = len(next(iter(history.values()), ())) - further
        settings = {**settings, "epochs": min(settings["epochs"], max(epochs, 1))}
    keras.utils.set_random_seed(run.info["seed"])
    built = build(run.info["model"], data.items, settings)
    fit(built, data, settings, run.info["seed"])
    return built


def refit_run(data: Data, run: str | Path, out: str | Path, *, overwrite: bool = False) -> Recommender:
    """Fits the model of a finished run again on train and validation together, and writes a run to `out`.

    The metrics of the run stay those on validation before.

    Args:
        data: its data set.
        run: the folder of a run that was trained without `refit`.
        out: the run folder to create.
        overwrite: whether to replace an earlier run.

    Raises:
        InputError: the data has no validation split, or the run was fitted on it before or continues another one.
    """
    opened = open_run(run)
    check_refit(data)
    if known := next((name for name in ("refit", "from") if name in opened.info), None):
        raise InputError(f"{run}: has {known!r} in run.json, so that it cannot be fitted again: train it anew")
    both, described = with_validation(data)
    began = time.perf_counter()
    with staged(out, marker="run.json", overwrite=overwrite) as folder:
        built = fitted_again(opened, both)
        built.save(folder / "model.keras")
        for name in ("history.json", "metrics.json", "log.csv"):
            if (opened.path / name).is_file():
                shutil.copyfile(opened.path / name, folder / name)
        seconds = time.perf_counter() - began
        info = {**opened.info, "seconds": opened.info["seconds"] + seconds}
        info["refit"] = {**described, "seconds": seconds}
        (folder / "run.json").write_text(json.dumps(info, indent=2) + "\n")
    return built
