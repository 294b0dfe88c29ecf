"""Blends of finished runs, in a run folder of their own."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tfrecsession.batches import Data
from tfrecsession.errors import InputError
from tfrecsession.models import Blend
from tfrecsession.staging import staged
from tfrecsession.training.composed_run import scored, write_files
from tfrecsession.training.held_out import with_held_out
from tfrecsession.training.memory import PeakMemory
from tfrecsession.training.refit import check_refit, with_validation
from tfrecsession.training.refitting import continued, fitted_again, grows, kept
from tfrecsession.training.run_folder import Run, check_other_run, opened_runs


def blend(
    data: Data,
    runs,
    out: str | Path,
    *,
    weights=None,
    lengths=(1,),
    scales=None,
    metric: str = "ndcg@20",
    by_length: bool = True,
    refit: bool = False,
    continues=(),
    seed: int = 0,
    k=(20,),
    seconds: float | None = None,
    overwrite: bool = False,
    progress: Callable[[str], None] = lambda doing: None,
) -> Blend:
    """Blends the models of finished runs, and writes the blend as a run to `out`.

    The weights are learned on the validation split. Where the data has none, models with the settings of the runs are
    fitted on train without its newest tenth, and the weights are learned on this tenth; the blend has the models of
    the runs.

    Args:
        data: the data set of all runs.
        runs: run folders, two or more.
        out: the run folder to create.
        weights: a weight per run; None: learned, with `lengths` and `scales`.
        lengths, scales: beside `weights`, as in `Blend`.
        metric, by_length: see `Blend.fit`.
        refit: whether to fit the members with a weight again, on train and validation together, once the weights are
            known. The blend then knows the items of both, see `with_validation`; members without a weight grow to
            them untrained, or are fitted again where they cannot.
        continues: with `refit`, the numbers of the runs whose models continue from their weights on the newest
            sessions, as in `refit_run`.
        seed: of the sample that the weights are learned on.
        k: the list lengths of metrics.json.
        seconds: the most that `refit` takes for the members that are trained by gradient, see `TimeLimit`; None: any.
        overwrite: whether to replace an earlier run.
        progress: called with what is being done.

    Raises:
        InputError: fewer than two runs, a run of other data, one that cannot be blended, or one that was fitted on
            validation while the weights are to be learned there.
    """
    opened = checked_runs(data, runs, learned=weights is None, refit=refit)
    described = {"model": "blend", "settings": _settings(opened, weights, metric, by_length), "seed": seed}
    check_other_run(out, {**described, "data": data.fingerprint}, overwrite)
    began = time.perf_counter()
    with staged(out, marker="run.json", overwrite=overwrite) as folder, PeakMemory() as memory:
        progress("loading the members")
        members = [run.model() for run in opened]
        with _named(opened):
            blended = Blend(members, weights, lengths, scales)
        held_out = {}
        if weights is None:
            part, sessions = with_held_out(data)
            learning = blended
            if sessions:
                held_out = {"sessions": sessions, "of": "train", "newest": True}
                learning = Blend([fitted_again(run, part) for run in opened])
            progress("learning the weights")
            learning.fit(part.validation, metric=metric, by_length=by_length, seed=seed)
            learned = learning.learned
            blended = Blend(members, learned.weights, learned.lengths, learned.scales)
        measured = scored(blended, data, k, progress)
        refitted = {}
        if refit:
            progress("fitting again on train and validation")
            anew = not continues and len(blended.used) == len(opened)  # others keep the codes of context that they have
            both, refitted = with_validation(data, all(grows(opened[index]) for index in continues), learns=anew)
            again, limits = [], _limits(opened, blended.used, seconds)
            for index, run in enumerate(opened):
                if index not in blended.used:
                    again.append(kept(run, both, None if seconds is None else 0.0))  # all members have one vocabulary
                elif index in continues:
                    model, newest = continued(run, data, both, limits[index])
                    again.append(model)
                    refitted.setdefault("continued", {})[run.info["model"]] = newest
                else:
                    again.append(fitted_again(run, both, limits[index]))
            blended = blended.of(again)
        blended.save(folder / "model.keras")
        info = {
            **described,
            "seconds": time.perf_counter() - began,
            "memory": memory.growth,
            "blend": {
                "members": [run.info["model"] for run in opened],
                "weights": blended.weights_by_length.round(4).tolist(),
                "lengths": list(blended.lengths),
                "scales": [list(scale) for scale in blended.scales],
                **({"learned": learned.as_json()} if weights is None else {}),
                **({"held_out": held_out} if held_out else {}),
            },
            **({"refit": refitted} if refit else {}),
        }
        write_files(folder, data, info, measured)
    return blended


def _limits(opened: list[Run], used: list[int], seconds: float | None) -> dict[int, float | None]:
    """Returns the seconds of each member's refit: shares of `seconds` by those of the networks' first trainings."""
    if seconds is None:
        return dict.fromkeys(used)
    networks = [index for index in used if "epochs" in opened[index].info["settings"]]
    whole = sum(opened[index].info["seconds"] for index in networks) or 1.0
    return dict.fromkeys(used) | {index: seconds * opened[index].info["seconds"] / whole for index in networks}


def checked_runs(data: Data, runs, learned: bool = True, refit: bool = False) -> list[Run]:
    """Opens the runs of a blend; see `blend` for what is refused. Needs no TensorFlow."""
    paths = [Path(run) for run in runs]
    if len(paths) < 2:
        raise InputError(
            f"runs={[str(path) for path in paths]!r}: must be two or more run folders, a blend has several"
        )
    opened = opened_runs(data, paths, "blend")
    for run in opened:
        if run.info["model"] in ("blend", "pipeline"):
            raise InputError(f"{run.path}: is a {run.info['model']} itself: name the runs that it was made of")
        if learned and "refit" in run.info:
            raise InputError(
                f"{run.path}: was fitted again on validation, so that weights cannot be learned there: train it "
                "without refit=True and blend with refit=True, or give weights="
            )
        if refit and "from" in run.info:
            raise InputError(f"{run.path}: continues an earlier run, and cannot be fitted again: leave out refit=True")
    if len({path.resolve() for path in paths}) < len(paths):
        raise InputError(f"runs={[str(path) for path in paths]!r}: must be different runs")
    further = [run.info.get("refit", {}).get("new_items", 0) for run in opened]
    if any(further) and not all(further):
        longer, shorter = (opened[index].path for index in (further.index(max(further)), further.index(0)))
        raise InputError(
            f"{longer}: was fitted again and knows {max(further):,} items that {shorter} does not: fit all runs again "
            "with refit=True, or none"
        )
    if refit:
        check_refit(data)
    return opened


@contextlib.contextmanager
def _named(opened: list[Run]):
    """Names runs in errors in place of members by number."""
    try:
        yield
    except InputError as error:
        text = str(error)
        for index, run in enumerate(opened):
            text = text.replace(f"members[{index}]", str(run.path))
        raise InputError(text) from None


def _settings(opened: list[Run], weights, metric: str, by_length: bool) -> dict:
    members = [{name: run.info[name] for name in ("model", "settings", "seed")} for run in opened]
    given = None if weights is None else np.asarray(weights, float).tolist()
    return {"members": members, "weights": given, "metric": metric, "by_length": by_length}
