"""Checkpoints, from which an interrupted training resumes bit for bit."""

from __future__ import annotations

import json
import time
import warnings
from pathlib import Path

import keras
import numpy as np

from tfrecsession.batches.epochs import starting_at
from tfrecsession.errors import InputError
from tfrecsession.recommender import Recommender
from tfrecsession.sessions.spans import parse_duration
from tfrecsession.training import snapshot
from tfrecsession.training.cluster import across, worker_of
from tfrecsession.training.workers import separate_dropout_seeds

SHARE = 0.02  # the largest share of the time for checkpoints
QUIET = 30.0  # seconds before the first checkpoint: they are cheap to repeat
SECONDS = 300.0  # between checkpoints inside an epoch


class Checkpoint(keras.callbacks.Callback):
    """A callback that saves the state of a training to disk, and resumes from it.

        batches = data.train.batches(rows=64, steps=20, seed=1)
        checkpoint = trs.training.Checkpoint("checkpoints/")
        model.fit(
            checkpoint.remaining(batches), epochs=10, initial_epoch=checkpoint.epoch, callbacks=[checkpoint, ...]
        )

    The same lines start a training and resume one that was killed, at any moment. A checkpoint holds the model's
    weights, the optimizer's state, the state of every random generator (samplers of negatives, dropout), the states
    that recurrences carry from batch to batch, running means of the loss, the position in the data, and the history so
    far. It must be the first callback, so that others act on the restored state. Other callbacks start anew (the
    patience of an `EarlyStopping` counts again).

    On one machine's CPU a step repeats bit for bit with the same number of threads. So the result is that of the
    uninterrupted training, bit for bit.

    If the disk is full, or the folder cannot be written, there is a warning. The last checkpoint stays, and training
    continues.

    Args:
        folder: for the checkpoints of this training; the last one is kept.
        every: when to save. "auto": at the end of an epoch and every 5 minutes, not in the first 30 seconds, and in
            less than 2% of the time. A time, as "5m": at this interval, and at the end of every epoch. A number of
            batches: likewise.
        about: what else must be the same on resuming (seed, data), as {name: JSON value}. Model, optimizer, loss and
            vocabulary are always compared.
        together: a strategy of several workers. Only the chief writes, at the end of every epoch, and all read: from
            one file system, or each from a copy.

    Attributes:
        epoch, batch: where training begins: 0, 0, or after the last batch of the checkpoint.
        history: {name: a value per epoch}, including epochs before the checkpoint.
        seconds: of training, including those before the checkpoint.

    Raises:
        InputError: `every` is no interval; the checkpoint is of another training (the message names what differs), or
            is incomplete.
    """

    def __init__(self, folder: str | Path, every: str | int = "auto", about: dict | None = None, together=None):
        super().__init__()
        self.folder = Path(folder)
        self.alone = not across(together)
        self.worker = 0 if self.alone else worker_of(together)
        self.every = _interval(every) if self.alone else ("epochs", 1)
        self.about = _plain(about or {})
        found = snapshot.read(self.folder)
        self._state, self._saved = found or ({}, None)  # the folder to restore from; None: nothing, or restored already
        if found:
            self._check(self._state["about"], self.about)
        self.epoch, self.batch = self._state.get("epoch", 0), self._state.get("batch", 0)
        self.history = {name: list(values) for name, values in self._state.get("history", {}).items()}
        self._earlier = self._state.get("seconds", 0.0)
        self._began = self._last = time.perf_counter()
        self._cost = 0.0

    @property
    def seconds(self) -> float:
        return self._earlier + time.perf_counter() - self._began

    def remaining(self, batches, begin: int = 0):
        """Returns the rest of `batches`, for `fit`; they come from `data.train.batches(...)` or `batches.triples`.

        begin: the epoch that they begin with, where a training continues with other batches.
        """
        if self._saved and self.epoch >= begin:
            return starting_at(batches, self.epoch, self.batch)
        return starting_at(batches, begin) if begin else batches

    # Callback methods -------------------------------------------------------------------------------------------------

    def on_train_begin(self, logs=None):
        self._began = self._last = time.perf_counter()
        self._about_model = _plain(described(self.model))
        if self._saved is None:
            return
        if self.model.optimizer is not None:
            self.model.optimizer.build(self.model.trainable_variables)  # Keras would do it in the first step
        self._check(self._state["model"], self._about_model)
        variables, saved = self._variables(), self._state["variables"]
        if len(variables) != len(saved) or not all(map(_fits, variables, saved)):
            raise InputError(f"{self._saved}: is a checkpoint of another model: its variables have other shapes")
        if self.batch:
            self._skip_batches()

    def on_epoch_begin(self, epoch, logs=None):
        self._current_epoch = epoch
        if self._saved is not None and not self.batch:
            self._restore()  # first, so that other callbacks act on the restored state
            self.model.reset_metrics()

    def on_train_batch_begin(self, batch, logs=None):
        if self._saved is not None and batch == self.batch:
            self._restore()  # the checkpoint already includes what other callbacks did when this epoch began

    def on_train_batch_end(self, batch, logs=None):
        done = batch + 1
        if done != self.params["steps"] and self._is_due(done) and self._saved is None:  # no epoch's end yet
            self._save(self._current_epoch, done)

    def on_epoch_end(self, epoch, logs=None):
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(float(value))
        if self._is_due(None) and self.worker == 0:
            self._save(epoch + 1, 0)

    def on_train_end(self, logs=None):
        self._restore()  # no epoch was left to train
        self._earlier, self._began = self.seconds, time.perf_counter()  # a further fit adds to it

    def save(self, epoch: int) -> None:
        """Saves the state after a training of `epoch` epochs, for a later step that must not repeat it."""
        if self.epoch != epoch:
            self._save(epoch, 0)

    # Saving and restoring ---------------------------------------------------------------------------------------------

    def _is_due(self, batches_done: int | None) -> bool:
        """Checks whether to save after `batches_done` batches of the epoch; None: after all of them and validation."""
        kind, number = self.every
        if kind == "epochs":
            return batches_done is None
        passed = time.perf_counter() - self._last
        if kind == "batches":
            return batches_done is None or batches_done % number == 0
        if kind == "seconds":
            return batches_done is None or passed >= number
        least = max(QUIET if not self._cost else 0.0, self._cost / SHARE)
        return passed >= (least if batches_done is None else max(least, SECONDS))

    def _save(self, epoch: int, batch: int) -> None:
        begin = time.perf_counter()
        state = {
            "epoch": epoch,
            "batch": batch,
            "seconds": self.seconds,
            "history": self.history,
            "about": self.about,
            "model": self._about_model,
        }
        try:
            snapshot.write(self.folder, state, (_numbers(variable) for variable in self._variables()))
        except OSError as error:
            warnings.warn(
                f"{self.folder}: no checkpoint could be written ({error.strerror or error}); the last one stays, and "
                "training continues",
                stacklevel=2,
            )
        self._last = time.perf_counter()
        self._cost = self._last - begin

    def _variables(self) -> list:
        variables = variables_of(self.model)
        if self.alone:
            return variables
        # running means begin anew with the epoch, and reading one would need all workers
        means = {id(variable) for variable in self.model.metrics_variables}
        return [variable for variable in variables if id(variable) not in means]

    def _skip_batches(self) -> None:
        """Replaces the training step by an empty one up to the batch after the checkpoint, where the data set begins.
        Every callback so counts all batches of the epoch."""
        model, step = self.model, self.model.train_function

        def skip(iterator):
            if self._saved is None:
                model.train_function = step
                return step(iterator)
            return {}

        model.train_function = skip

    def _restore(self) -> None:
        if self._saved is None:
            return
        arrays = snapshot.read_arrays(self._saved, self._state["variables"])
        for variable, array in zip(self._variables(), arrays, strict=True):
            variable.assign(array)
        if not self.alone:
            separate_dropout_seeds(self.model, self.worker)  # the saved ones are the chief's
        self._saved = None

    def _check(self, saved: dict, now: dict) -> None:
        names = [name for name in {**saved, **now} if saved.get(name) != now.get(name)]
        if names:
            differences = "; ".join(f"{name}: {saved.get(name)!r} then, {now.get(name)!r} now" for name in names)
            raise InputError(
                f"{self._saved or self.folder}: is a checkpoint of another training. {differences}. Use the same "
                "values, choose another folder, or start afresh: with overwrite=True, or by removing this one"
            )


def variables_of(model: keras.Model) -> list:
    """Returns all variables that a training step may change, each once: weights, states of random generators, running
    means, those of the optimizer, and the plain variables that model and optimizer name in `training_state`."""
    found = [*model.variables, *model.metrics_variables]
    if isinstance(model, Recommender):
        found += model.training_state
    if model.optimizer is not None:
        found += [*model.optimizer.variables, *getattr(model.optimizer, "training_state", ())]
    return list({id(variable): variable for variable in found}.values())


def described(model: keras.Model) -> dict:
    """Describes what must be the same in a resumed training, as {name: JSON value}."""
    optimizer, recommends = model.optimizer, isinstance(model, Recommender)  # any Keras model may have a checkpoint
    loss = model.ranking_loss if recommends else model.loss
    vocabulary = model.items.fingerprint if recommends else None
    return {
        "model": type(model).__name__,
        **{f"model's {name}": value for name, value in _nameless(model.get_config()).items() if name != "vocabulary"},
        "optimizer": optimizer and {"class": type(optimizer).__name__, **_nameless(optimizer.get_config())},
        "loss": loss if isinstance(loss, str) else loss and [type(loss).__name__, _nameless(loss.get_config())],
        "vocabulary": vocabulary,
    }


def _nameless(config):
    """Removes from a config the names that Keras numbers within a process, and the build configs."""
    if isinstance(config, dict):
        return {key: _nameless(value) for key, value in config.items() if key not in ("name", "build_config")}
    return [_nameless(part) for part in config] if isinstance(config, list | tuple) else config


def _plain(content):
    """Returns `content` as it is read back from JSON."""
    return json.loads(json.dumps(content, default=lambda other: type(other).__name__))


def _numbers(variable) -> np.ndarray:
    return (variable.value if isinstance(variable, keras.Variable) else variable).numpy()


def _fits(variable, entry: dict) -> bool:
    """Checks a variable against a saved one: same dtype and shape; None in its shape allows any size."""
    shape, saved = tuple(variable.shape), entry["shape"]
    if np.dtype(_dtype(variable)).name != entry["dtype"] or len(shape) != len(saved):
        return False
    return all(size in (None, saved_size) for size, saved_size in zip(shape, saved, strict=True))


def _dtype(variable):
    return variable.dtype if isinstance(variable.dtype, str) else variable.dtype.as_numpy_dtype


def _interval(every: str | int) -> tuple[str, float]:
    if every == "auto":
        return "auto", 0
    text = str(every).removesuffix(" batches")
    if text.isdecimal() and int(text):
        return "batches", int(text)
    if not text[-1:].isalpha() or text.isalpha():
        raise InputError(f"checkpoint={every!r}: must be a time, e.g. 5m, a number of batches, e.g. 1000, or auto")
    return "seconds", parse_duration(text, "checkpoint") / 1e6
