"""Pipelines of finished runs, candidates and a ranker, in a run folder of their own."""

from __future__ import annotations

import difflib
import inspect
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np

from tfrecsession.batches import Data
from tfrecsession.errors import InputError
from tfrecsession.models import MODELS, Pipeline, WideAndDeep
from tfrecsession.staging import staged
from tfrecsession.training.composed_run import scored, write_files
from tfrecsession.training.held_out import with_held_out
from tfrecsession.training.memory import PeakMemory
from tfrecsession.training.refitting import fitted_again
from tfrecsession.training.run_folder import Run, check_other_run, opened_runs

OF_FIT = ("negatives", "events", "epochs", "rows")
NOT_SETTINGS = ("self", "items", "scores_of", "listed", "kwargs")


def pipeline(
    data: Data,
    runs,
    out: str | Path,
    *,
    n: int = 500,
    share: float = 0.2,
    settings: dict | None = None,
    seed: int = 0,
    k=(20,),
    overwrite: bool = False,
    progress: Callable[[str], None] = lambda doing: None,
) -> Pipeline:
    """Makes a `Pipeline` of finished runs, and writes it as a run to `out`.

    The first run finds the candidates, `WideAndDeep` ranks them and reads the scores of all runs. The ranker is fitted
    on the newest sessions of train, with models of the same settings that were fitted on the older ones: a model knows
    by heart what it was fitted on. The pipeline then has the models of the runs, fitted on all of train; with
    `vectors=True`, whose meaning differs from fit to fit, those that the ranker was fitted with.

    Args:
        data: the data set of all runs.
        runs: run folders; the first one finds the candidates.
        out: the run folder to create.
        n: candidates of each history.
        share: of the sessions of train, the newest, that the ranker is fitted on.
        settings: arguments of `WideAndDeep` (crosses, context, request, content, hidden, ...), of its `fit` (negatives,
            events, epochs, rows) and of its optimizer (deep_rate, wide_rate, l1, l2).
        seed: of the ranker's weights and samples.
        k: the list lengths of metrics.json, at most n.
        overwrite: whether to replace an earlier run.
        progress: called with what is being done.

    Raises:
        InputError: a run of other data, one that cannot be fitted again, an unknown setting, or an n below a k.
    """
    opened = checked_runs(data, runs)
    of_ranker, of_fit, of_optimizer = checked_settings(settings or {})
    if longest := next((length for length in k if length > n), None):
        raise InputError(f"n={n}: must be at least the longest list of k, {longest}: only the candidates are ranked")
    if not isinstance(share, float) or not 0 < share < 1:
        raise InputError(f"share={share!r}: must be a number above 0 and below 1, e.g. 0.2")
    members = [{name: run.info[name] for name in ("model", "settings", "seed")} for run in opened]
    own = {"members": members, "n": n, "share": share, **(settings or {})}
    described = {"model": "pipeline", "settings": own, "seed": seed}
    check_other_run(out, {**described, "data": data.fingerprint}, overwrite)
    began = time.perf_counter()
    with staged(out, marker="run.json", overwrite=overwrite) as folder, PeakMemory() as memory:
        nothing = data.validation.only(np.zeros(len(data.validation), bool))
        part, sessions = with_held_out(replace(data, validation=nothing), share)
        progress("fitting the models on the older part of train")
        older = [fitted_again(run, part) for run in opened]
        progress("fitting the ranker on the newer part")
        keras.utils.set_random_seed(seed)
        ranker = WideAndDeep(data.items, dict(zip(names_of(opened), older, strict=True)), **of_ranker)
        ranker.compile(ranker.joint_optimizer(**of_optimizer))
        counts = ranker.item_counts.numpy()
        ranker.item_counts.assign(counts_of(part.train, ranker.size))  # those of train know what was clicked later
        history = ranker.fit(part.validation, candidates=older[0], n=n, seed=seed, **of_fit).history
        ranker.item_counts.assign(counts)
        learned = {"events": ranker.examples.events, "examples": len(ranker.examples)}
        models = older if ranker.vectors else [run.model() for run in opened]
        made = Pipeline(models[0], ranker.of(models), n)
        measured = scored(made, data, k, progress)
        made.save(folder / "model.keras")
        info = {
            **described,
            "seconds": time.perf_counter() - began,
            "memory": memory.growth,
            "pipeline": {
                "members": [run.info["model"] for run in opened],
                "held_out": {"sessions": sessions, "of": "train", "newest": True},
                **learned,
                "first_stage": json.loads((opened[0].path / "metrics.json").read_text())["metrics"],
                "crosses": made.ranker.wide_crosses.summary_of_crosses(),
            },
        }
        write_files(folder, data, info, measured, history)
    return made


def counts_of(sessions, size: int) -> np.ndarray:
    """Returns the events of each id in a split, int64 [size]."""
    return np.bincount(sessions.values, minlength=size) * (np.arange(size) > 1)


def checked_runs(data: Data, runs) -> list[Run]:
    """Opens the runs of a pipeline; see `pipeline` for what is refused."""
    opened = opened_runs(data, runs, "pipeline")
    for run in opened:
        if run.info["model"] not in MODELS:
            raise InputError(
                f"{run.path}: is a {run.info['model']}, whose models cannot be fitted apart in time: name the run of a "
                "single model"
            )
        for name, why in (("refit", "was fitted on validation"), ("from", "continues an earlier run")):
            if name in run.info:
                raise InputError(f"{run.path}: {why}, so that its model cannot be fitted apart in time: train it anew")
    return opened


def checked_settings(settings: dict) -> tuple[dict, dict, dict]:
    """Returns the settings of the ranker, of its `fit` and of its optimizer.

    Raises:
        InputError: a setting that none of them has.
    """
    of_ranker = [name for name in inspect.signature(WideAndDeep.__init__).parameters if name not in NOT_SETTINGS]
    of_optimizer = list(inspect.signature(WideAndDeep.joint_optimizer).parameters)
    known = [*of_ranker, *OF_FIT, *of_optimizer]
    for name in settings:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise InputError(f"settings: {name!r} must be one of {', '.join(known)}{hint}")
    groups = (of_ranker, OF_FIT, of_optimizer)
    return tuple({name: value for name, value in settings.items() if name in group} for group in groups)


def names_of(opened: list[Run]) -> list[str]:
    """Returns the names of the runs' models, each once: a second gru4rec is gru4rec_2."""
    names = []
    for run in opened:
        same = sum(name.partition(".")[0] == run.info["model"] for name in names) + 1
        names.append(run.info["model"] if same == 1 else f"{run.info['model']}.{same}")
    return [name.replace(".", "_") for name in names]
