"""A finished run whose model is fitted again on train and validation together, as a run of its own."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import keras
import numpy as np

from tfrecsession.batches import Data
from tfrecsession.errors import InputError
from tfrecsession.models import Recommender, by_name
from tfrecsession.recommender.settings import weights_of
from tfrecsession.staging import staged
from tfrecsession.training.decay import LinearDecay, rate_of
from tfrecsession.training.growing import grow
from tfrecsession.training.recipe import build
from tfrecsession.training.refit import check_refit, with_validation
from tfrecsession.training.run import fit
from tfrecsession.training.run_folder import Run, open_run
from tfrecsession.training.time_limit import TimeLimit

# A training that continues on the newest sessions: a part of the gain of a new fit, in a tenth of the time.
AGAIN = 3  # the newest sessions are so many times those of validation, which are among them
EPOCHS = 2
RATE = 0.5  # share of the learning rate that the first batch has; it falls to 0


def fitted_again(run: Run, data: Data, seconds: float | None = None) -> Recommender:
    """Returns a model with the settings and the seed of a run, and as many epochs, fitted on other sessions.

    Training by gradient ends after `seconds`, if they are given.
    """
    settings = run.info["settings"]
    if "epochs" in settings:
        history = json.loads((run.path / "history.json").read_text())
        further = settings.get("finetune_epochs", 0) if settings.get("finetune_days") is not None else 0
        epochs = len(next(iter(history.values()), ())) - further
        settings = {**settings, "epochs": min(settings["epochs"], max(epochs, 1))}
    keras.utils.set_random_seed(run.info["seed"])
    built = build(run.info["model"], data.items, settings)
    fit(built, data, settings, run.info["seed"], callbacks=_limits(settings, seconds))
    return built


def continued(run: Run, data: Data, both: Data, seconds: float | None = None) -> tuple[Recommender, dict]:
    """Returns the model of a run after further epochs on the newest sessions, and describes them.

    It starts from the weights and the optimizer state that the run ended with. Where `both` has further items, it
    grows to them first, see `grow`. The newest sessions are those of validation and twice as many before them.

    Args:
        run: a run that was trained by gradient on `data.train`.
        data: its data set.
        both: the same with the validation split in its train split, from `with_validation`.
        seconds: after which training ends; None: any.

    Raises:
        InputError: a model that is not trained by gradient in epochs.
    """
    keras.utils.set_random_seed(run.info["seed"])
    built, settings = run.model(), run.info["settings"]
    if built.learning is None or "epochs" not in settings:
        raise InputError(f"{run.path}: {run.info['model']} is fitted as a whole: it cannot continue, fit it again")
    if not built.items.holds(both.items):
        built = grow(built, both)
    train = both.train.weighted(**weights_of(type(built), settings))
    sessions = min(AGAIN * (len(train) - len(data.train)), len(train))
    is_newest = np.arange(len(train)) >= len(train) - sessions
    rate = rate_of(built.optimizer)
    built.optimizer.learning_rate = RATE * rate
    try:
        batches = built.newest_batches(train, is_newest, settings, run.info["seed"] + 1)
        built.fit(batches, epochs=EPOCHS, verbose=0, callbacks=[LinearDecay(), *_limits(settings, seconds)])
    finally:
        built.optimizer.learning_rate = rate
    return built, {"sessions": sessions, "epochs": EPOCHS, "rate": RATE * rate}


def grows(run: Run) -> bool:
    """Returns whether the model of a run could take further items and continue."""
    learning = by_name(run.info["model"]).learning
    return learning is None or learning.grows  # a counted one is refused by `continued`


def kept(run: Run, both: Data, seconds: float | None = None) -> Recommender:
    """Returns the model of a run with the vocabulary of `both`, without further training where it can grow."""
    model = run.model()
    if model.items.holds(both.items):
        return model
    return grow(model, both) if model.learning and model.learning.grows else fitted_again(run, both, seconds)


def _limits(settings: dict, seconds: float | None) -> list[TimeLimit]:
    if seconds is None or "epochs" not in settings:
        return []
    return [TimeLimit(seconds, falls=settings["decay"] is not None)]


def refit_run(
    data: Data,
    run: str | Path,
    out: str | Path,
    *,
    continues: bool = False,
    seconds: float | None = None,
    overwrite: bool = False,
) -> Recommender:
    """Fits the model of a finished run again on train and validation together, and writes a run to `out`.

    The model knows the items of both, see `with_validation`. The metrics of the run stay those on validation before.

    Args:
        data: its data set.
        run: the folder of a run that was trained without `refit`.
        out: the run folder to create.
        continues: whether the model continues from its weights on the newest sessions, in a fraction of the time, where
            it would start anew on all of them. For models that are trained by gradient in epochs.
        seconds: the most that training by gradient takes, see `TimeLimit`; None: any.
        overwrite: whether to replace an earlier run.

    Raises:
        InputError: the data has no validation split, the run was fitted on it before or continues another one, or its
            model cannot continue.
    """
    opened = open_run(run)
    check_refit(data)
    if known := next((name for name in ("refit", "from") if name in opened.info), None):
        raise InputError(f"{run}: has {known!r} in run.json, so that it cannot be fitted again: train it anew")
    both, described = with_validation(data, grows=not continues or grows(opened))
    began = time.perf_counter()
    with staged(out, marker="run.json", overwrite=overwrite) as folder:
        if continues:
            built, described["continued"] = continued(opened, data, both, seconds)
        else:
            built = fitted_again(opened, both, seconds)
        built.save(folder / "model.keras")
        for name in ("history.json", "metrics.json", "log.csv"):
            if (opened.path / name).is_file():
                shutil.copyfile(opened.path / name, folder / name)
        seconds = time.perf_counter() - began
        info = {**opened.info, "seconds": opened.info["seconds"] + seconds}
        info["refit"] = {**described, "seconds": seconds}
        (folder / "run.json").write_text(json.dumps(info, indent=2) + "\n")
    return built
