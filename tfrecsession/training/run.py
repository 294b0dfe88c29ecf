"""A training and its folder: everything needed to repeat it.

RUN/run.json        model, settings, seed, versions, the data's path and fingerprint
RUN/history.json    loss and validation metrics, epoch by epoch
RUN/metrics.json    the model on the validation split, where there is one
RUN/model.keras     the trained model
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import time
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from tfrecsession.batches import Data, load
from tfrecsession.errors import InputError
from tfrecsession.models import Recommender
from tfrecsession.staging import staged
from tfrecsession.training import cluster, workers
from tfrecsession.training.decay import DECAYS
from tfrecsession.training.memory import PeakMemory
from tfrecsession.training.recipe import build
from tfrecsession.version import __version__


def train(
    data: Data,
    model: str,
    out: str | Path,
    settings: dict,
    *,
    seed: int = 0,
    k=(20,),
    overwrite: bool = False,
    verbose: int | str = 0,
    callbacks=(),
    strategy: tf.distribute.Strategy | None = None,
) -> Recommender:
    """Train a model and keep the run in `out`.

    Args:
        data: a prepared data set.
        model: snake-case name.
        out: the run folder to make.
        settings: all settings, from `settings_of`.
        seed: makes initial weights, shuffling and negatives repeat.
        k: the lengths of list that validation reports.
        overwrite: replace an earlier run.
        verbose: Keras' progress: 0, 1 or 2.
        callbacks: further Keras callbacks, for models that are learned by gradient.
        strategy: `training.strategy()`, to train with other workers; of these the chief keeps the run. None: alone.

    Raises:
        InputError: among others, the workers were told different things, or this model is trained by one alone.
        WorkerLost: another worker has gone.
    """
    together = workers.suited(strategy, model, settings)
    told = {"data": data.fingerprint, "model": model, "seed": seed, "k": list(k), **settings}
    cluster.check_alike(together, {**told, **_versions()})
    chief = cluster.worker_of(together) == 0
    with staged(out, marker="run.json", overwrite=overwrite) if chief else contextlib.nullcontext() as folder:
        keras.utils.set_random_seed(seed)
        with PeakMemory() as memory:
            with together.scope():
                built = build(model, data.items, settings, k)
            start = time.perf_counter()
            history = fit(built, data, settings, seed, verbose if chief else 0, callbacks)
            seconds = time.perf_counter() - start
        if chief:
            built.save(folder / "model.keras")
            _write(folder / "history.json", history)
            validated = {name[4:]: values[-1] for name, values in history.items() if name.startswith("val_") and values}
            _write(
                folder / "metrics.json",
                {"model": model, "data": data.fingerprint, "split": "validation", "metrics": validated},
            )
            _write(
                folder / "run.json",
                {
                    "model": model,
                    "settings": settings,
                    "seed": seed,
                    "data": {"path": data.path and os.path.abspath(data.path), "fingerprint": data.fingerprint},
                    "versions": _versions(),
                    "workers": cluster.workers_of(together),
                    "seconds": seconds,
                    "memory": memory.growth,  # bytes, at the peak of building and fitting
                    "events": int(data.train.scored_events * settings.get("epochs", 1)),
                },
            )
    cluster.wait_for_all(together)  # none leaves while the chief still writes: it would take it for lost
    return built


def fit(
    model: Recommender, data: Data, settings: dict, seed: int = 0, verbose: int | str = 0, callbacks=()
) -> dict[str, list]:
    """Fit a compiled model by its settings; returns the history as plain numbers."""
    if "epochs" not in settings:  # counted, not learned
        model.fit(data.train)
        return {}
    batches = model.training_batches(data.train, settings, seed)
    validation = data.validation if data.validation.scored_events else None
    decay = [DECAYS[settings["decay"]]()] if settings["decay"] else []
    callbacks = [*decay, *callbacks]
    options = {"epochs": settings["epochs"], "verbose": verbose, "callbacks": callbacks}
    several = model.distribute_strategy.num_replicas_in_sync > 1
    history = (workers.fit_in_step if several else type(model).fit)(
        model, batches, validation_data=validation, **options
    )
    return {name: [float(value) for value in values] for name, values in history.history.items()}


@dataclass
class Run:
    """A finished run, opened again."""

    path: Path
    info: dict  # what run.json says

    def model(self) -> Recommender:
        return keras.models.load_model(self.path / "model.keras")

    def data(self, path: str | Path | None = None) -> Data:
        """The data it was trained on, from where it was or from `path`.

        Raises:
            InputError: the data there is not the data of this run.
        """
        trained_on = self.info["data"]
        if path is None and trained_on["path"] is None:
            raise InputError(f"{self.path} was trained on data held in memory: say --data DIR")
        data = load(path or trained_on["path"])
        if data.fingerprint != trained_on["fingerprint"]:
            raise InputError(
                f"{self.path} was trained on data {trained_on['fingerprint']}, but {data.path} is {data.fingerprint}: "
                "say --data DIR with the right one, or train again"
            )
        return data


def open_run(path: str | Path) -> Run:
    """Open a run folder; InputError where there is none."""
    path = Path(path)
    if not (path / "run.json").is_file():
        raise InputError(
            f"{path} is not a run folder (no run.json): make one with `tfrecsession train DATA --out {path}`"
        )
    return Run(path, json.loads((path / "run.json").read_text()))


def _versions() -> dict[str, str]:
    """Of what decides how a training comes out."""
    return {
        "tfrecsession": __version__,
        "keras": keras.__version__,
        "tensorflow": tf.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


def _write(path: Path, content) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n")
