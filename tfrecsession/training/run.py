"""Training runs, each in a folder with everything needed to repeat it.

RUN/run.json        model, settings, seed, versions, the data's path and fingerprint
RUN/history.json    loss and validation metrics, epoch by epoch
RUN/log.csv         the same with learning rate and events per second, written during training
RUN/metrics.json    metrics on the validation split, where there is one
RUN/model.keras     the trained model
RUN/refit_log.csv   as log.csv, of the model that was fitted again on train and validation, where there is one

Until the training has ended, RUN.unfinished holds its last checkpoint, and log.csv.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shutil
import time
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from tfrecsession.batches import Data
from tfrecsession.batches.data import check_data
from tfrecsession.batches.epochs import starting_at
from tfrecsession.errors import InputError
from tfrecsession.models import MODELS, Recommender, by_name
from tfrecsession.recommender.settings import weights_of
from tfrecsession.sessions.options import bytes_of
from tfrecsession.sessions.spans import iso
from tfrecsession.staging import staged
from tfrecsession.training import cluster, growing, workers
from tfrecsession.training.checkpoint import Checkpoint
from tfrecsession.training.csv_log import CSVLog
from tfrecsession.training.decay import DECAYS, FineTuning, rate_of
from tfrecsession.training.earlier_run import check_earlier_run
from tfrecsession.training.memory import PeakMemory
from tfrecsession.training.newest import Newest, check_finetuning
from tfrecsession.training.progress import Progress
from tfrecsession.training.recipe import build
from tfrecsession.training.refit import check_refit, with_validation
from tfrecsession.training.run_folder import Run, check_other_run, open_run
from tfrecsession.training.teachers import check_teacher, teaching
from tfrecsession.training.tensorboard import TensorBoard
from tfrecsession.training.unfinished_run import REFIT, folder_of, name_of, remove_if_finished, unfinished
from tfrecsession.training.validation import validation_of
from tfrecsession.version import __version__

__all__ = ["Run", "fit", "open_run", "train"]


def train(
    data: Data,
    model: str,
    out: str | Path,
    settings: dict,
    *,
    seed: int = 0,
    k=(20,),
    overwrite: bool = False,
    resume: bool | None = None,
    checkpoint: str | int | None = "auto",
    tensorboard: str | Path | None = None,
    verbose: int | str = 0,
    callbacks=(),
    strategy: tf.distribute.Strategy | None = None,
    data_memory: str | int | None = None,
    grow_from: str | Path | None = None,
    start: str = "neighbours",
    gone: str = "keep",
    defaults: dict[str, dict] | None = None,
    validate: bool = True,
    refit: bool = False,
    whole_validation: bool = False,
) -> Recommender:
    """Trains a model and writes the run to `out`.

    The same call resumes an interrupted training, with the result of an uninterrupted one: models trained by gradient
    keep checkpoints in `OUT.unfinished`, see `Checkpoint`. Models in closed form and ALS start again.

    Args:
        data: a prepared data set.
        model: snake-case name.
        out: the run folder to create.
        settings: all settings, from `settings_of`.
        seed: makes initial weights, shuffling and negatives repeatable.
        k: the list lengths that validation reports.
        overwrite: whether to replace an earlier run.
        resume: whether to resume from the last checkpoint of an unfinished run in `out`. None: unless `overwrite`.
        checkpoint: when to save checkpoints, see `Checkpoint`; None: never.
        tensorboard: a folder for `TensorBoard`; None: nothing is written for it.
        verbose: 0: print nothing; otherwise see `Progress`.
        callbacks: further Keras callbacks, for models trained by gradient.
        strategy: `training.strategy()`, to train with other workers; the chief writes the run. None: one worker.
        data_memory: the most training data to hold in memory, as "1GB" or a number of bytes. The rest is read from its
            files, see `tfrecsession.batches.out_of_core`; each of several workers reads its part. For sequence models
            without lanes that do not read earlier sessions. None: all of it is loaded.
        grow_from: the folder of a run whose model continues training on `data`, a newer log that may have other items,
            with one worker. Settings of the architecture must be those of that run. None: a new model.
        start, gone: see `grow`.
        defaults: which of the settings follow the log and why, from `log_defaults`, for run.json.
        validate: whether to score a model that is not trained by gradient on the validation split, for metrics.json;
            others are scored there after each epoch.
        refit: whether to fit a new model, with the same settings and seed, on train and validation together once the
            metrics on validation are known; the run then holds this model. It is trained for as many epochs as the
            first, so that an event gets as many updates. Its vocabulary is that of both, see `with_validation`.
        whole_validation: whether to rank all of a large validation split, or a fixed sample that takes about a tenth
            of an epoch, see `training.validation`.

    Raises:
        InputError: among others, the workers have different settings, or only one worker can train this model.
        WorkerLost: another worker has gone.
    """
    check_data(data)
    earlier = None if grow_from is None else open_run(grow_from)
    if earlier:
        check_earlier_run(earlier, model, by_name(model), settings)
    together = workers.suited(strategy, model, settings, grows=earlier is not None)
    if data_memory is not None:
        data_memory = bytes_of(data_memory)
        learning = by_name(model).learning
        if not (learning and learning.streams_from_disk):
            raise InputError(f"data_memory={data_memory}: {model} needs all training data at once; leave it out")
    newest = check_finetuning(settings, data, data_memory)
    if refit:
        check_refit(data, data_memory)
    teacher = check_teacher(settings, data, MODELS, refit)
    if teacher and "new_items" in teacher:
        data = data.jointly_coded()  # a student has the items of its teacher
    agreed_settings = {"model": model, "data": data.fingerprint, "seed": seed, "k": list(k), "data_memory": data_memory}
    if whole_validation:
        agreed_settings["whole_validation"] = True
    if earlier:
        origin = agreed_settings["from"] = {"run": earlier.info.get("name"), "start": start, "gone": gone}
    if cluster.worker_of(together) == 0:
        described = {"model": model, "settings": settings, "seed": seed, "data": data.fingerprint}
        remove_if_finished(out)
        check_other_run(out, described, overwrite)
    cluster.check_alike(together, {**agreed_settings, **settings, "refit": refit, **versions()})
    chief = cluster.worker_of(together) == 0
    with contextlib.ExitStack() as stack:
        folder = folder_of(out)
        if chief:
            stack.enter_context(unfinished(out, overwrite if resume is None else not resume))
            run_folder = stack.enter_context(staged(out, marker="run.json", overwrite=overwrite))
        cluster.wait_for_all(together)  # before any of them looks for a checkpoint
        keras.utils.set_random_seed(seed)
        saved, about = None, {**agreed_settings, **{f"setting {name}": value for name, value in settings.items()}}
        if checkpoint is not None and "epochs" in settings:
            saved = Checkpoint(folder, checkpoint, about, together)
        if saved and (saved.epoch or saved.batch) and verbose and chief:
            print(f"{out}: going on after {saved.epoch} epochs and {saved.batch} batches")
        with PeakMemory() as memory:
            trained = earlier and earlier.model()

            def new_model(data: Data) -> tuple[Recommender, growing.Growth | None]:
                growth = trained and growing.Growth.of(trained, data, start, gone)
                with together.scope():
                    built = build(model, growth.items if growth else data.items, settings, k)
                if growth:
                    growth.carry(trained, built)
                return built, growth

            (built, growth), began = new_model(data), time.perf_counter()
            earlier_updates = _updates(built)
            logs = [CSVLog(folder / "log.csv"), *([TensorBoard(tensorboard)] if tensorboard else [])] if chief else []
            more = {"checkpoint": saved, "data_memory": data_memory, "whole_validation": whole_validation}
            history = fit(built, data, settings, seed, verbose if chief else 0, [*callbacks, *logs], **more)
            seconds = saved.seconds if saved else time.perf_counter() - began
            validated = {name[4:]: values[-1] for name, values in history.items() if name.startswith("val_") and values}
            validation = validation_of(type(built), data, settings, whole_validation)
            if chief and not validated and validate and validation:  # no model trained by gradient
                validated = built.evaluate(validation, verbose=0, return_dict=True)
                validated = {name: float(value) for name, value in validated.items() if "@" in name}
            refitted, events = {}, _events_seen(data, settings, newest)
            if refit:
                if saved and together.num_replicas_in_sync == 1:
                    saved.save(_epochs(settings))  # not to be repeated if the refit is interrupted
                updates = _updates(built) - earlier_updates
                if verbose and chief:
                    print("fitting again on train and validation")
                keras.utils.set_random_seed(seed)
                both, refitted = with_validation(data)
                built, growth = new_model(both)
                if saved:
                    saved = Checkpoint(folder / REFIT, checkpoint, {**about, "refit": True}, together)
                shown = [call for call in callbacks if isinstance(call, Progress)]
                shown += [CSVLog(folder / REFIT / "log.csv")] if chief else []
                refitted |= _refit(built, both, settings, seed, history, shown, saved, verbose if chief else 0)
                if "epochs" in settings:
                    per_event = [updates / events, (_updates(built) - earlier_updates) / refitted["seen"]]
                    refitted["updates_per_event"] = dict(zip(("before", "refit"), per_event, strict=True))
                    events += refitted.pop("seen")
                seconds += refitted["seconds"]
        if chief:
            built.save(run_folder / "model.keras")
            if (folder / "log.csv").exists():
                shutil.copyfile(folder / "log.csv", run_folder / "log.csv")
            if (folder / REFIT / "log.csv").exists():
                shutil.copyfile(folder / REFIT / "log.csv", run_folder / "refit_log.csv")
            _write(run_folder / "history.json", history)
            scored = {"model": model, "data": data.fingerprint, "split": "validation", "metrics": validated}
            if validation is not None and len(validation) < len(data.validation):
                scored["sample"] = {"events": validation.scored_events, "of": data.validation.scored_events}
            _write(run_folder / "metrics.json", scored)
            _write(
                run_folder / "run.json",
                {
                    "name": name_of(folder),
                    "model": model,
                    "settings": settings,
                    "defaults": defaults or {},
                    "seed": seed,
                    "data": {"path": data.path and os.path.abspath(data.path), "fingerprint": data.fingerprint},
                    "versions": versions(),
                    "workers": cluster.workers_of(together),
                    "data_memory": data_memory,
                    **({"from": {**origin, "path": str(grow_from), **growth.counts}} if growth else {}),
                    "seconds": seconds,
                    "memory": memory.growth,  # bytes, at the peak of building and fitting
                    "events": events,
                    **({"teacher": teacher} if teacher else {}),
                    **({"finetune": _described(newest, settings)} if newest else {}),
                    **({"refit": refitted} if refit else {}),
                },
            )
    cluster.wait_for_all(together)  # a worker that left while the chief writes would count as lost
    return built


def fit(
    model: Recommender,
    data: Data,
    settings: dict,
    seed: int = 0,
    verbose: int | str = 0,
    callbacks=(),
    checkpoint: Checkpoint | None = None,
    data_memory: int | None = None,
    whole_validation: bool = False,
) -> dict[str, list]:
    """Fits a compiled model by its settings, from its checkpoint on, and returns the history as plain numbers.

    With `finetune_days` further epochs over the newest sessions follow those over all sessions.
    """
    train = data.train.weighted(**weights_of(type(model), settings))
    if "epochs" not in settings:  # not trained by gradient
        model.fit(train)
        return {}
    newest = check_finetuning(settings, data, data_memory)
    validation = validation_of(type(model), data, settings, whole_validation)
    if verbose and validation is not None and len(validation) < len(data.validation):
        of = data.validation.scored_events
        print(f"validation: a fixed sample, {validation.scored_events:,} of {of:,} events, for a tenth of an epoch")
    several = model.distribute_strategy.num_replicas_in_sync > 1
    taught = teaching(settings, several)
    rate, epochs = rate_of(model.optimizer), settings["epochs"]
    callbacks = [*callbacks, *([Progress()] if verbose else [])]
    histories = []

    def fit_epochs(batches, begin: int, end: int, rates: list) -> None:
        calls, initial_epoch = [*rates, *callbacks], begin
        if checkpoint:
            batches, initial_epoch = checkpoint.remaining(batches, begin), max(checkpoint.epoch, begin)
            # logs write before the checkpoint is saved: resuming removes a row too many, but cannot add a missing one
            logs, others = ([call for call in calls if isinstance(call, CSVLog) is log] for log in (True, False))
            calls = [*logs, checkpoint, *others]
        elif begin:
            batches = starting_at(batches, begin)
        fitted = (workers.fit_in_step if several else type(model).fit)(
            model,
            batches,
            validation_data=validation,
            epochs=end,
            initial_epoch=initial_epoch,
            verbose=0,
            callbacks=calls,
            **taught,
        )
        histories.append(fitted.history)

    if newest is None or checkpoint is None or checkpoint.epoch < epochs:
        streamed = {} if data_memory is None else {"memory": data_memory}
        decay = [DECAYS[settings["decay"]]()] if settings["decay"] else []
        fit_epochs(model.training_batches(train, settings, seed, **streamed), 0, epochs, decay)
    if newest is not None:
        if verbose:
            print(f"fine-tuning on {newest}")
        batches = model.newest_batches(train, newest.sessions, settings, seed)
        tuning = [FineTuning(settings.get("finetune_rate"), rate, epochs)]
        fit_epochs(batches, epochs, epochs + settings["finetune_epochs"], tuning)
    history = checkpoint.history if checkpoint else _end_to_end(histories)
    return {name: [float(value) for value in values] for name, values in history.items()}


def _refit(built, both: Data, settings: dict, seed: int, history: dict, callbacks, saved, verbose) -> dict:
    """Fits a new model on `both`, train and validation together, and describes the fit for run.json.

    It trains for as many epochs as the first model did, which callbacks may have stopped early. An epoch of the larger
    data has more updates, and an event is in as many of them. The newest part is that of train and validation.
    """
    described, newest = {}, check_finetuning(settings, both)
    if "epochs" in settings:
        further = settings["finetune_epochs"] if newest else 0
        epochs = min(settings["epochs"], max(len(next(iter(history.values()), ())) - further, 1))
        settings = {**settings, "epochs": epochs}
        described |= {"epochs": epochs, "seen": _events_seen(both, settings, newest)}
    began = time.perf_counter()
    fit(built, both, settings, seed, verbose, callbacks, saved)
    described["seconds"] = saved.seconds if saved else time.perf_counter() - began
    return described | ({"finetune": _described(newest, settings)} if newest else {})


def _updates(model: Recommender) -> int:
    """Returns the number of updates that the optimizer has made."""
    if not model.learning:
        return 0
    return int(tf.convert_to_tensor(model.optimizer.iterations).numpy())  # as a tensor: several workers mirror it


def _epochs(settings: dict) -> int:
    """Returns the number of epochs over all sessions and the newest ones."""
    return settings["epochs"] + (settings["finetune_epochs"] if settings.get("finetune_days") is not None else 0)


def _end_to_end(histories: list[dict]) -> dict[str, list]:
    """Joins the histories of several calls of `fit`."""
    joined: dict[str, list] = {}
    for history in histories:
        for name, values in history.items():
            joined.setdefault(name, []).extend(values)
    return joined


def _events_seen(data: Data, settings: dict, newest: Newest | None) -> int:
    """Returns how many targets a training sees, each counted in every epoch."""
    finetuned = newest.targets * settings["finetune_epochs"] if newest else 0
    return int(data.train.scored_events * settings.get("epochs", 1) + finetuned)


def _described(newest: Newest, settings: dict) -> dict:
    """Describes the fine-tuning for run.json."""
    return {
        "since": iso(newest.since),
        "sessions": int(newest.sessions.sum()),
        "events": newest.targets,
        "epochs": settings["finetune_epochs"],
    }


def versions() -> dict[str, str]:
    """Returns the versions of everything that affects the result of a training."""
    return {
        "tfrecsession": __version__,
        "keras": keras.__version__,
        "tensorflow": tf.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


def _write(path: Path, content) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n")
