"""A training that dies goes on where it was, to the very bits it would have ended with."""

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
from tfrecsession.training.workers import part_dropout

SHARE = 0.02  # of the time, that checkpoints may take
QUIET = 30.0  # seconds of training that nobody minds to repeat
SECONDS = 300.0  # between checkpoints inside an epoch


class Checkpoint(keras.callbacks.Callback):
    """Keeps a training's state on disk, and takes it up again.

        batches = data.train.batches(rows=64, steps=20, seed=1)
        checkpoint = trs.training.Checkpoint("checkpoints/")
        model.fit(
            checkpoint.remaining(batches), epochs=10, initial_epoch=checkpoint.epoch, callbacks=[checkpoint, ...]
        )

    The same lines start a training and go on with one that was killed, at any moment. It holds the model's weights, the
    optimizer's state, the state of every random generator (samplers of negatives, dropout), what recurrences carry from
    batch to batch, running means of loss, the place in the data, and the history so far. It stands first among the
    callbacks: what others do before a batch comes on top of what it puts back. Other callbacks start anew (the patience
    of an `EarlyStopping` counts again).

    On one machine's CPU a step repeats bit for bit with the same number of threads, so the end is that of the
    undisturbed training, bit for bit.

    A disk that is full, or a folder that cannot be written, costs a warning: the last checkpoint stays as it was, and
    training goes on.

    Args:
        folder: of this training's checkpoints; the last one is kept.
        every: when. "auto": at the end of an epoch and every 5 minutes, not in the first 30 seconds, and so seldom that
            checkpoints take less than 2% of the time. A time, as "5m": so often, and at the end of every epoch. A
            number of batches: likewise.
        about: what else has to be the same when training goes on (seed, data): {name: what JSON can say}. Model,
            optimizer, loss and vocabulary are looked at anyway.
        together: a strategy of several workers. The chief alone writes, at the end of every epoch, and all read: from
            one file system, or each from a copy.

    Attributes:
        epoch, batch: where training begins: 0, 0, or after the last batch of the checkpoint.
        history: {name: a value per epoch}, those before the checkpoint included.
        seconds: of training, those before the checkpoint included.

    Raises:
        InputError: `every` says no time; the checkpoint is of another training (the message names what differs), or is
            not whole.
    """

    def __init__(self, folder: str | Path, every: str | int = "auto", about: dict | None = None, together=None):
        super().__init__()
        self.folder = Path(folder)
        self.alone = not across(together)
        self.worker = 0 if self.alone else worker_of(together)
        self.every = _interval(every) if self.alone else ("epochs", 1)
        self.about = _plain(about or {})
        found = snapshot.read(self.folder)
        self._state, self._place = found or ({}, None)
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

    def remaining(self, batches):
        """What is left to do of `batches`: what `fit` takes. `data.train.batches(...)`, `batches.triples`."""
        return starting_at(batches, self.epoch, self.batch) if self._place else batches

    # What Keras calls ------------------------------------------------------------------------------------------------

    def on_train_begin(self, logs=None):
        self._began = self._last = time.perf_counter()
        self._about_model = _plain(described(self.model))
        if self._place is None:
            return
        if self.model.optimizer is not None:
            self.model.optimizer.build(self.model.trainable_variables)  # Keras waits with it until the first step
        self._check(self._state["model"], self._about_model)
        found, kept = self._variables(), self._state["variables"]
        if len(found) != len(kept) or not all(map(_fits, found, kept)):
            raise InputError(f"{self._place}: is a checkpoint of another model: its variables have other shapes")
        if self.batch:
            self._pass_over()

    def on_epoch_begin(self, epoch, logs=None):
        self._now = epoch
        if self._place is not None and not self.batch:
            self._put_back()  # first of all: what others do when an epoch begins is done to the state there was
            self.model.reset_metrics()

    def on_train_batch_begin(self, batch, logs=None):
        if self._place is not None and batch == self.batch:
            self._put_back()  # in the middle of an epoch what others did at its beginning has been done already

    def on_train_batch_end(self, batch, logs=None):
        done = batch + 1
        if done != self.params["steps"] and self._is_due(done) and self._place is None:  # the end of an epoch is near
            self._keep(self._now, done)

    def on_epoch_end(self, epoch, logs=None):
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(float(value))
        if self._is_due(None) and self.worker == 0:
            self._keep(epoch + 1, 0)

    def on_train_end(self, logs=None):
        self._put_back()  # a training that had all but ended: no epoch has begun

    # How -------------------------------------------------------------------------------------------------------------

    def _is_due(self, batches_done: int | None) -> bool:
        """`batches_done`: of the epoch; None: all, and validation too."""
        kind, number = self.every
        if kind == "epochs":
            return batches_done is None
        since = time.perf_counter() - self._last
        if kind == "batches":
            return batches_done is None or batches_done % number == 0
        if kind == "seconds":
            return batches_done is None or since >= number
        rest = max(QUIET if not self._cost else 0.0, self._cost / SHARE)
        return since >= (rest if batches_done is None else max(rest, SECONDS))

    def _keep(self, epoch: int, batch: int) -> None:
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
                "training goes on",
                stacklevel=2,
            )
        self._last = time.perf_counter()
        self._cost = self._last - begin

    def _variables(self) -> list:
        found = variables_of(self.model)
        if self.alone:
            return found
        # running means begin anew with the epoch, and to read one asks all workers
        means = {id(variable) for variable in self.model.metrics_variables}
        return [variable for variable in found if id(variable) not in means]

    def _pass_over(self) -> None:
        """Until the batch where training goes on, Keras' loop calls a step that does nothing: so every callback counts
        batches as it would have, and the data set begins with that batch."""
        model, step = self.model, self.model.train_function

        def nothing(iterator):
            if self._place is None:
                model.train_function = step
                return step(iterator)
            return {}

        model.train_function = nothing

    def _put_back(self) -> None:
        if self._place is None:
            return
        arrays = snapshot.read_arrays(self._place, self._state["variables"])
        for variable, array in zip(self._variables(), arrays, strict=True):
            variable.assign(array)
        if not self.alone:
            part_dropout(self.model, self.worker)  # what is kept are the chief's
        self._place = None

    def _check(self, kept: dict, now: dict) -> None:
        names = [name for name in {**kept, **now} if kept.get(name) != now.get(name)]
        if names:
            said = "; ".join(f"{name}: {kept.get(name)!r} there, {now.get(name)!r} now" for name in names)
            raise InputError(
                f"{self._place or self.folder}: is a checkpoint of another training. {said}. Say what was said then, "
                "take another folder, or start afresh: with --overwrite, or by removing this one"
            )


def variables_of(model: keras.Model) -> list:
    """Everything that a training step may change, each once: weights, states of random generators, running means, the
    optimizer's; and the plain variables that model and optimizer name in `training_state`."""
    found = [*model.variables, *model.metrics_variables]
    if isinstance(model, Recommender):
        found += model.training_state
    if model.optimizer is not None:
        found += [*model.optimizer.variables, *getattr(model.optimizer, "training_state", ())]
    return list({id(variable): variable for variable in found}.values())


def described(model: keras.Model) -> dict:
    """What has to be the same in a model that goes on: {name: what JSON can say}."""
    optimizer, ours = model.optimizer, isinstance(model, Recommender)  # any Keras model may have a checkpoint
    loss = model.ranking_loss if ours else model.loss
    vocabulary = model.items.fingerprint if ours else None
    return {
        "model": type(model).__name__,
        **{f"model's {name}": value for name, value in _nameless(model.get_config()).items()},
        "optimizer": optimizer and {"class": type(optimizer).__name__, **_nameless(optimizer.get_config())},
        "loss": loss if isinstance(loss, str) else loss and [type(loss).__name__, _nameless(loss.get_config())],
        "vocabulary": vocabulary,
    }


def _nameless(config):
    """A config without the names that Keras numbers within a process, and without pure bookkeeping."""
    if isinstance(config, dict):
        return {key: _nameless(value) for key, value in config.items() if key not in ("name", "build_config")}
    return [_nameless(part) for part in config] if isinstance(config, list | tuple) else config


def _plain(content):
    """As it comes back from a file."""
    return json.loads(json.dumps(content, default=lambda other: type(other).__name__))


def _numbers(variable) -> np.ndarray:
    return (variable.value if isinstance(variable, keras.Variable) else variable).numpy()


def _fits(variable, entry: dict) -> bool:
    """Whether a variable, whose shape may change while it trains, is of the kind of one that was kept."""
    shape, same = tuple(variable.shape), np.dtype(_dtype(variable)).name == entry["dtype"]
    return same and len(shape) == len(entry["shape"]) and all(map(_alike, shape, entry["shape"]))


def _alike(size: int | None, kept: int) -> bool:
    return size is None or size == kept


def _dtype(variable):
    return variable.dtype if isinstance(variable.dtype, str) else variable.dtype.as_numpy_dtype


def _interval(every: str | int) -> tuple[str, float]:
    if every == "auto":
        return "auto", 0
    text = str(every).removesuffix(" batches")
    if text.isdecimal() and int(text):
        return "batches", int(text)
    if not text[-1:].isalpha() or text.isalpha():
        raise InputError(f"checkpoint {every!r}: say a time, as 5m, a number of batches, as 1000, or auto")
    return "seconds", parse_duration(text, "checkpoint") / 1e6
