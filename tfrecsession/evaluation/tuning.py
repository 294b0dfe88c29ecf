"""Hyperparameter search: trials on the validation split, never on test, in a folder that the same call resumes.

OUT/study.db    every trial: its settings, its metric after each epoch, or why it failed (Optuna's SQLite storage)
OUT/best.json   the best trial so far as a preset: `tfrecsession train --preset OUT/best.json`
"""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from textwrap import wrap

import keras
import numpy as np

from tfrecsession import training
from tfrecsession.batches import Data
from tfrecsession.errors import InputError
from tfrecsession.evaluation.ranking import evaluate
from tfrecsession.evaluation.study import Study, check_search
from tfrecsession.recommender.search_space import starting_at, walk
from tfrecsession.staging import one_line, replace_file
from tfrecsession.training.recipe import space_for
from tfrecsession.version import __version__


@dataclass
class Tuning:
    """The result of a search.

    Attributes:
        best: the best trial as a preset, the content of OUT/best.json.
        trials: every trial, in order: `trial` (its number, from 1), `state` ("complete", "pruned" or "failed"), `value`
            of the metric (for a pruned trial: when it was stopped), the sampled `settings`, `seconds`, and the `error`
            of a failed trial.
    """

    best: dict
    trials: list[dict]

    def __repr__(self) -> str:
        measured = self.best["measured"]
        settings = ", ".join(f"{name}={value!r}" for name, value in self.best["settings"].items())
        best = f"{measured['metric']} {measured[measured['metric']]:.4f} in trial {measured['trial']}"
        lines = wrap(settings, 88, max_lines=7, initial_indent="  ", subsequent_indent="  ")
        return "\n".join([f"<Tuning of {self.best['model']}, {len(self.trials)} trials: {best}", *lines]) + ">"


def tune(
    data: Data,
    model: str,
    out: str | Path,
    *,
    trials: int = 20,
    metric: str = "mrr@20",
    settings: dict | None = None,
    preset: dict | None = None,
    seed: int = 0,
    timeout: float | None = None,
    progress: Callable[[str, list[dict]], None] | None = None,
) -> Tuning:
    """Searches a model's settings for the best `metric` on the validation split.

    The first trial has the model's defaults, which follow the log, or those of `preset`, so the best trial is never
    worse. The sampler is
    Optuna's TPE, seeded by `seed` and the number of earlier trials. A model trained by gradient descent reports the
    metric after each epoch; a trial that falls behind the median of the others is pruned. Each trial trains with
    `seed`, so `train` with the same seed repeats the best one. A call on a folder that holds trials adds to them.

    TensorFlow keeps some 30 MB of graphs for each network that a process has trained, whatever its size. A search of
    hundreds of trials uses less memory in several calls, each in its own process.

    Args:
        data: a prepared data set with a validation split.
        model: its snake-case name.
        out: the folder of the study, new or from the same search.
        trials: total number of trials, including pruned and failed ones.
        metric: "recall@k", "mrr@k" or "ndcg@k".
        settings: settings that are fixed for all trials, and so not searched.
        preset: settings to start from instead of the model's defaults.
        seed: seed of the search and of each training.
        timeout: seconds after which no further trial starts.
        progress: called as `progress(doing, trials)` before and after each trial and at its epochs, with a description
            and the trials so far.

    Raises:
        InputError: there is no validation split or nothing to search; the metric is unknown or the settings are
            invalid; the folder belongs to another search or is in use by another process; or no trial has completed.
    """
    end = time.monotonic() + (np.inf if timeout is None else timeout)
    out = Path(out).expanduser().absolute()
    fixed, report = settings or {}, progress or (lambda doing, trials: None)
    start = training.settings_of(model, preset or {}, fixed, data=None if preset else data)
    k = check_search(data, metric, trials, out)
    space = {name: values for name, values in space_for(model, data).items() if name not in fixed}
    first = walk(space := starting_at(space, start), start, lambda name, values: start[name])
    if not first:
        raise InputError(f"{model} has no setting to search that is not fixed: there is nothing to tune")
    training.build(model, data.items, start, [k])  # refuses invalid settings before the folder exists

    watched = f"val_{metric}"

    def score(sampled: dict, report_value: Callable[[float, int], None]) -> float:
        def at_epoch_end(epoch, logs):
            report(f"trial {len(done) + 1} of {trials}, epoch {epoch + 1} of {chosen['epochs']}", done)
            if watched in logs:
                report_value(logs[watched], epoch)

        chosen = {**start, **sampled}
        keras.utils.set_random_seed(seed)
        built = training.build(model, data.items, chosen, [k])
        watch = keras.callbacks.LambdaCallback(on_epoch_end=at_epoch_end)
        history = training.fit(built, data, chosen, seed, callbacks=[watch])
        if watched in history:  # already evaluated at the end of the last epoch
            return history[watched][-1]
        return evaluate(built, data.validation, [k], slices=False).metrics[metric]

    bound = {"data": data.fingerprint, "model": model, "metric": metric, "seed": seed, "start": start, "space": space}
    with one_line(out), Study.open(out, bound, patience=start.get("epochs", 1) // 3) as study:
        ran = False
        while len(done := study.trials()) < trials and not (ran and time.monotonic() > end):
            report(f"trial {len(done) + 1} of {trials}", done)
            study.run(lambda suggest: walk(space, start, suggest), score, first)
            ran = True
            gc.collect()  # a model's graphs form reference cycles, and the next trial needs their memory
            _write_best(out, preset_of(study.trials(), bound, data))
        report("done", done)
        best = preset_of(done, bound, data)
        if best is None:
            raise InputError(f"{out}: none of the {len(done)} trials has completed; the last: {done[-1]['error']}")
        _write_best(out, best)
        return Tuning(best, done)


def preset_of(trials: list[dict], bound: dict, data: Data) -> dict | None:
    """Returns the best trial (the first of equals) as a preset, see `tfrecsession.presets`; None if none completed."""
    complete = [trial for trial in trials if trial["state"] == "complete"]
    if not complete:
        return None
    best = max(complete, key=lambda trial: trial["value"])
    states = [trial["state"] for trial in trials]
    measured = {
        "data": data.fingerprint,
        "split": "validation",
        "events": data.validation.scored_events,
        "metric": bound["metric"],
        bound["metric"]: best["value"],
        "seed": bound["seed"],
        "trial": best["trial"],
        "trials": {state: states.count(state) for state in ("complete", "pruned", "failed")},
        "version": __version__,
    }
    settings = {**bound["start"], **best["settings"]}
    return {"model": bound["model"], "settings": settings, "measured": measured, "reported": {}}


def _write_best(out: Path, best: dict | None) -> None:
    """Writes best.json atomically."""
    if best is not None:
        replace_file(out / "best.json", json.dumps(best, indent=2) + "\n")
