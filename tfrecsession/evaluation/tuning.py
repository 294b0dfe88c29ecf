"""The search for settings: trials on the validation split, never on test, in a folder that the same call goes on with.

OUT/study.db    every trial with its settings, its metric after each epoch, or why it failed (Optuna's SQLite storage)
OUT/best.json   the best trial so far as a preset: `tfrecsession train --preset OUT/best.json`
"""

from __future__ import annotations

import gc
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from tfrecsession import training
from tfrecsession.batches import Data
from tfrecsession.errors import InputError
from tfrecsession.evaluation.measures import metrics_of
from tfrecsession.evaluation.ranking import evaluate
from tfrecsession.evaluation.study import Study
from tfrecsession.recommender.search_space import starting_at, walk
from tfrecsession.version import __version__


@dataclass
class Tuning:
    """What a search has found.

    Attributes:
        best: the best trial as a preset, what OUT/best.json holds.
        trials: every trial in its order: its number (from 1), state ("complete", "pruned" or "failed"), value of the
            metric (of a pruned trial: when it was stopped), the settings that were drawn, seconds, and the error of a
            failed one.
    """

    best: dict
    trials: list[dict]


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
    """Search a model's settings for the best `metric` on the validation split.

    The first trial has the model's defaults, or those of `preset`, so that the best is never worse. The sampler is
    Optuna's TPE, seeded by `seed` and the number of trials before. A model learned by gradient reports the metric after
    each epoch, and a trial that falls behind the median of the others is pruned. Each trial trains under `seed`: to
    `train` with the same seed repeats the best one. A call on a folder that holds trials goes on after them.

    TensorFlow keeps some 30 MB of graphs for each network that a process has trained, whatever its size. A search of
    hundreds of trials is lighter in several calls, each from a process of its own.

    Args:
        data: a prepared data set with a validation split.
        model: its snake-case name.
        out: the study's folder, new or that of the same search.
        trials: how many there shall be in all, pruned and failed ones included.
        metric: "recall@k", "mrr@k" or "ndcg@k".
        settings: fixed for all trials, and so left out of the search.
        preset: settings to start from in place of the model's defaults.
        seed: of the search and of each training.
        timeout: seconds after which no further trial is begun.
        progress: called with what is being done and the trials so far, before each trial, after it and at its epochs.

    Raises:
        InputError: no validation split, a metric that nobody knows, nothing to search, settings that no model can be
            built with, a folder of another search or that another process works in, or not one trial that has ended.
    """
    end = time.monotonic() + (np.inf if timeout is None else timeout)
    out = Path(out).expanduser().absolute()
    fixed, report = settings or {}, progress or (lambda doing, trials: None)
    start = training.settings_of(model, preset or {}, fixed)
    if not data.validation.scored_events:
        raise InputError(
            f"{data.path or 'the data'} has no validation split to tune on: prepare it again with --validation-span "
            "1d, or a share such as 10% where the log has no times"
        )
    k = length_of(metric, len(data.items))
    if trials < 1:
        raise InputError(f"trials={trials}: say how many there shall be in all, from 1")
    space = {name: one for name, one in training.space_of(model).items() if name not in fixed}
    first = walk(space := starting_at(space, start), start, lambda name, one: start[name])
    if not first:
        raise InputError(f"{model} has no setting to search that is not fixed: there is nothing to tune")
    training.build(model, data.items, start, [k])  # what cannot be built is refused before there is a folder

    watched = f"val_{metric}"

    def score(drawn: dict, reached: Callable[[float, int], None]) -> float:
        def at_epoch_end(epoch, logs):
            report(f"trial {len(done) + 1} of {trials}, epoch {epoch + 1} of {every['epochs']}", done)
            if watched in logs:
                reached(logs[watched], epoch)

        every = {**start, **drawn}
        keras.utils.set_random_seed(seed)
        built = training.build(model, data.items, every, [k])
        watch = keras.callbacks.LambdaCallback(on_epoch_end=at_epoch_end)
        history = training.fit(built, data, every, seed, callbacks=[watch])
        if watched in history:  # the model as it was ranked at the end of its last epoch
            return history[watched][-1]
        return evaluate(built, data.validation, [k], slices=False).metrics[metric]

    bound = {"data": data.fingerprint, "model": model, "metric": metric, "seed": seed, "start": start, "space": space}
    with Study.open(out, bound, patience=start.get("epochs", 1) // 3) as study:
        ran = False
        while len(done := study.trials()) < trials and not (ran and time.monotonic() > end):
            report(f"trial {len(done) + 1} of {trials}", done)
            study.run(lambda suggest: walk(space, start, suggest), score, first)
            ran = True
            gc.collect()  # a model's graphs hold each other, and the next trial needs their memory
            _keep(out, preset_of(study.trials(), bound, data))
        report("done", done)
        best = preset_of(done, bound, data)
        if best is None:
            raise InputError(f"{out}: none of the {len(done)} trials has ended; the last: {done[-1]['error']}")
        _keep(out, best)
        return Tuning(best, done)


def length_of(metric: str, catalogue: int) -> int:
    """The k of "mrr@20"; InputError lists the metrics where there is no such one."""
    _, _, text = metric.partition("@")
    k = int(text) if text.isdecimal() else 0
    if not 1 <= k <= catalogue or metric not in metrics_of(np.ones(1, int), [k]):
        known = ", ".join(name.replace("@1", "@k") for name in metrics_of(np.ones(1, int), [1]))
        raise InputError(f"metric {metric!r}: say one of {known}, with k from 1 to the catalogue's {catalogue:,}")
    return k


def preset_of(trials: list[dict], bound: dict, data: Data) -> dict | None:
    """The first of the best trials as a preset, see `tfrecsession.presets`; None where none is complete."""
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


def _keep(out: Path, best: dict | None) -> None:
    """Write best.json, whole or not at all."""
    if best is None:
        return
    partial = out / "best.json.partial"
    partial.write_text(json.dumps(best, indent=2) + "\n")
    os.replace(partial, out / "best.json")
