"""One trial of a search: a model fitted on the newest share of train and scored on a sample of validation."""

from __future__ import annotations

import gc
import shutil
import time
from dataclasses import replace
from pathlib import Path

import keras

from tfrecsession import training
from tfrecsession.batches import Data
from tfrecsession.evaluation import cost
from tfrecsession.evaluation.ranking import evaluate
from tfrecsession.evaluation.search.candidates import Candidate
from tfrecsession.evaluation.search.samples import SCORED, SCREENED, newest, sampled

TIMED = 30  # histories that the latency is measured on
NEAR = 0.9  # share of the best value from which the latency is measured without a limit
HOPELESS = 0.9  # a network is stopped where even a straight line leads below this share of the best value


class Trials:
    """Runs trials on one data set.

    Args:
        data: the data set, with a validation split.
        out: the folder of the search; `out/trials` holds the runs of candidates that were fitted on all of train.
        metric: what decides.
        k: the list length that is measured.
        seed: of every fit and sample.
        timed: whether the latency of every candidate matters.
    """

    def __init__(self, data: Data, out: Path, metric: str, k: int, seed: int, timed: bool):
        self.out, self.metric, self.k, self.seed, self.timed = out, metric, k, seed, timed
        self.validation = sampled(data.validation, SCORED, seed)
        self.screening = sampled(data.validation, SCREENED, seed)
        self.data = replace(data, validation=self.validation)

    def run(self, candidate: Candidate, share: float, best: float, seconds: float, tell) -> dict:
        """Fits and scores a candidate.

        Args:
            candidate: the model and its settings.
            share: of train, its newest sessions.
            best: the best value so far on this share, for stopping what cannot win.
            seconds: after which the training of a network is stopped.
            tell: called with what is being done.
        """
        stop = _Stop(f"val_{self.metric}", best, seconds, candidate.settings, tell)
        keras.utils.set_random_seed(self.seed)
        began = time.perf_counter()
        if share < 1:
            sessions, run = self.screening, None
            part = replace(self.data, train=newest(self.data.train, share), validation=sessions)
            built = training.build(candidate.model, part.items, candidate.settings, [self.k])
            training.fit(built, part, candidate.settings, self.seed, callbacks=[stop])
        else:
            sessions, run = self.validation, self.out / "trials" / candidate.key
            if not (run / "run.json").is_file():  # it was written, but the process was killed before it was recorded
                settings, more = candidate.settings, {"k": [self.k], "seed": self.seed, "validate": False}
                built = training.train(self.data, candidate.model, run, settings, callbacks=[stop], **more)
            else:
                built = training.open_run(run).model()
        fitted = time.perf_counter() - began
        if stop.hopeless:
            if run is not None:
                shutil.rmtree(run)
            return {"state": "stopped", "value": stop.value, "epochs": stop.epochs, "fit_seconds": fitted}
        tell("scoring")
        scored = evaluate(built, sessions, [self.k], slices=False, draws=0)
        found = {
            "value": scored.metrics[self.metric],
            "metrics": scored.metrics,
            "epochs": stop.epochs,
            "late": stop.late,
            "fit_seconds": fitted,
            "scored_events": scored.events,
            "score_seconds": scored.seconds,
            **({"epoch_seconds": stop.epoch_seconds(scored.seconds)} if stop.batches else {}),
        }
        if run is not None:
            found |= {"bytes": cost.size_on_disk(run / "model.keras"), "run": f"trials/{candidate.key}"}
            found["latency_ms"] = None
            if self.timed or found["value"] >= NEAR * best:
                timed = cost.latency(built, sessions, self.k, histories=TIMED, seed=self.seed)
                found["latency_ms"] = timed["p50"]
        del built
        gc.collect()  # a model's graphs form reference cycles, and the next trial needs their memory
        return found


class _Stop(training.TimeLimit):
    """Stops a network that cannot win, or whose time is over, and measures its pace.

    The gain of an epoch is rarely above that of the epoch before, so a straight line through the last two values is
    an optimistic guess of the last value.
    """

    def __init__(self, watched: str, best: float, seconds: float, settings: dict, tell):
        super().__init__(seconds, falls=settings.get("decay") is not None)
        self.watched, self.best, self.planned, self.tell = watched, best, settings.get("epochs", 0), tell
        self.values, self.hopeless = [], False
        self.trained, self.batches, self.validating = 0.0, 0, []

    @property
    def value(self) -> float:
        return self.values[-1] if self.values else 0.0

    @property
    def epochs(self) -> int:
        return len(self.values)

    def epoch_seconds(self, scoring: float) -> float:
        """Returns the seconds of an epoch and its validation, without the time to trace graphs.

        Args:
            scoring: the seconds of scoring validation once more.
        """
        return self.trained / self.batches * self.steps + min(*self.validating, scoring)

    def on_train_batch_end(self, batch, logs=None):
        super().on_train_batch_end(batch, logs)
        now = self.clock()
        if batch == 0:
            self.first = now
        self.last, self.number = now, batch

    def on_epoch_end(self, epoch, logs=None):
        self.values.append(float((logs or {}).get(self.watched, 0.0)))
        self.trained, self.batches = self.trained + self.last - self.first, self.batches + self.number
        self.validating.append(self.clock() - self.last)
        self.steps = max(self.params.get("steps") or 0, self.number + 1)
        self.tell(f"epoch {epoch + 1} of {self.planned}")
        if len(self.values) > 1 and not self.late:
            reach = self.value + max(self.value - self.values[-2], 0) * (self.planned - epoch - 1)
            if reach < HOPELESS * self.best:
                self.model.stop_training = self.hopeless = True
