"""The best model for a log within a time: searched, blended, fitted again, tested once, reported and exported."""

from __future__ import annotations

import gc
import json
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import keras

from tfrecsession import training
from tfrecsession.batches import Data
from tfrecsession.errors import InputError
from tfrecsession.evaluation import cost
from tfrecsession.evaluation.ranking import evaluate
from tfrecsession.evaluation.search.arguments import Arguments, checked
from tfrecsession.evaluation.search.blending import LATE, tried_blend
from tfrecsession.evaluation.search.candidates import Candidates
from tfrecsession.evaluation.search.halving import Halving
from tfrecsession.evaluation.search.ledger import FILE, Ledger, locked
from tfrecsession.evaluation.search.report import why, write_search_report
from tfrecsession.evaluation.search.samples import shares_of
from tfrecsession.evaluation.search.trials import Trials
from tfrecsession.models import by_name
from tfrecsession.staging import one_line, replace_file
from tfrecsession.training.held_out import with_held_out
from tfrecsession.training.recipe import space_for
from tfrecsession.version import __version__

DENSE = ((3600, 16_000), (900, 8000), (0, 4000))  # from seconds of the budget on: items in the inverse of SLIST


def best(
    data: Data,
    budget: str | float = "30m",
    out: str | Path = "best",
    *,
    metric: str | None = None,
    models: Iterable[str] | None = None,
    latency: str | float | None = None,
    size: str | int | None = None,
    seed: int = 0,
    overwrite: bool = False,
    progress: Callable[[str], None] = lambda line: None,
) -> dict:
    """Finds the best model for a log, and writes it as a run and as a SavedModel.

    1. Baselines and networks are fitted on growing shares of train, by successive halving: the best third of each
       round goes on to a larger share, and later rounds sample settings of the best models. The leading network, with
       a repeat head where the log repeats items, is fitted on all of train early on. Only validation decides.
    2. The best models are blended. The blend is taken if it is better on sessions that its weights were not learned
       on (paired test by session, p < 0.05) and respects the limits.
    3. The chosen model is fitted again on train and validation together, tested once, and exported. A network for
       which no time is left continues from its weights on the newest sessions instead.

    An interrupted search continues when it is called again, without repeating a finished trial, and ends with the same
    choice. A larger budget continues a finished search.

        OUT/run          the chosen model, as `tfrecsession train` writes it
        OUT/saved_model  its export, version 1
        OUT/report.html  why this model, what was tried, cost against quality
        OUT/best.json    the same for programs
        OUT/trials       the runs of the candidates that were fitted on all of train
        OUT/search.json  every finished trial

    Args:
        data: a prepared data set. Without validation split, the newest tenth of train is held out.
        budget: "30m", or a number of seconds. Finished trials count; the end may exceed it by a little.
        out: the folder.
        metric: "recall@k", "mrr@k" or "ndcg@k"; None: "ndcg@20", which rewards both of the others.
        models: names of the models to try; None: counted models and networks that fit most logs.
        latency: the longest median time of one recommendation in Python, as "20ms" or a number of milliseconds.
        size: the largest file of the model, as "500MB" or a number of bytes.
        seed: of all fits and samples.
        overwrite: whether to start over in a folder that holds a search.
        progress: called with a line on what is being done and the best so far.

    Returns:
        The content of best.json: `model`, `metrics` and `intervals` on test, `seconds`, `leaderboard` (the trials on
        all of train, best first), `why`, `run`, `saved_model`, `report`, and more.

    Raises:
        InputError: an argument; a log of single events; a folder that holds another search.
    """
    out = Path(out).expanduser().absolute()
    given = checked(data, budget, out, metric, models, latency, size, overwrite)
    for model in given.models or ():
        by_name(model)
    part, held_out = with_held_out(data)
    if overwrite and (out / FILE).is_file():
        shutil.rmtree(out)
    bound = {
        "data": data.fingerprint,
        "metric": given.metric,
        "models": list(given.models) if given.models else None,
        "latency": given.latency,
        "size": given.size,
        "seed": seed,
        "version": __version__,
    }
    with locked(out), one_line(out):
        ledger = Ledger(out, bound, given.budget)
        finished = out / "best.json"
        if finished.is_file() and (held := json.loads(finished.read_text()))["budget"] >= given.budget:
            return held
        trials = Trials(part, out, given.metric, given.k, seed, given.latency is not None)
        halving = Halving(
            ledger,
            Candidates(
                data,
                given.models,
                lambda model, settings: training.settings_of(model, settings, data=data),
                lambda model: space_for(model, data),
                lambda model: by_name(model).learning is not None,
                dense=next(items for least, items in DENSE if given.budget >= least),
            ),
            trials.run,
            shares_of(part),
            part.train.scored_events,
            data.test.scored_events,
            len(data.items),
            given.within,
            seed,
            progress,
        )
        halving.search()
        chosen = halving.best()
        if chosen is None:  # even popularity exceeds the limits
            chosen = halving.results[0]
            if chosen["state"] != "complete":
                raise InputError(f"{out}: popularity could not be fitted: {chosen['error']}")
        blended = tried_blend(halving, ledger, trials, given, progress)
        result = _ended(data, part, held_out, out, given, halving, ledger, chosen, blended, seed, progress)
        write_search_report(result, out / "report.html")
        replace_file(finished, json.dumps(result, indent=2, default=float) + "\n")
        return result


def _ended(data, part, held_out, out, given: Arguments, halving, ledger, chosen, blended, seed, progress) -> dict:
    """Fits the choice again, tests it once and exports it; returns the result."""
    use_blend = blended is not None and blended["accepted"]
    members = blended["members"] if use_blend else [chosen["key"]]
    by_key = {result["key"]: result for result in halving.complete(1.0)}
    fitted, costs = [by_key[key] for key in members], halving.costs
    continues = costs.continues(fitted)
    fitting, spare = costs.of_fitting(fitted, continues), LATE * given.budget
    left = ledger.left - costs.of_the_test(fitted)
    refit = fitting <= max(left, spare)
    continued = [index for index, member in enumerate(fitted) if refit and continues and member["network"]]
    name = "+".join(sorted(members)) + f" {refit}" + (" continued" if continued else "")
    runs = [out / member["run"] for member in fitted]
    run = out / "run"

    def last_fit() -> dict:
        progress(f"fitting {'the blend' if use_blend else chosen['model']} again on train and validation")
        counted = costs.of_fitting([member for member in fitted if not member["network"]])
        seconds = max(left, fitting) - counted + spare
        if use_blend:
            options = {"weights": blended["weights"], "lengths": blended["lengths"], "scales": blended["scales"]}
            options |= {"refit": refit, "continues": continued, "seconds": seconds}
            training.blend(part, runs, run, seed=seed, k=[given.k], overwrite=True, **options)
        elif refit:
            training.refit_run(part, runs[0], run, continues=bool(continued), seconds=seconds, overwrite=True)
        else:
            shutil.rmtree(run, ignore_errors=True)
            shutil.copytree(runs[0], run)
        return {}

    def done(step: dict, doing: str) -> dict:
        if step["state"] == "failed":
            raise InputError(f"{out}: {doing} failed: {step['error']}")
        return step

    done(ledger.step(f"fit {name}", last_fit), "the last fit")

    def test() -> dict:
        progress("scoring test")
        model = training.open_run(run).model()
        known = data.coded_for(model.items)
        split, where = (known.test, "test") if data.test.scored_events else (part.validation, "validation")
        scored = evaluate(model, split, sorted({given.k, min(20, len(data.items))}), slices=False)
        timed = cost.latency(model, split, given.k, histories=100, seed=seed)
        return {
            "metrics": scored.metrics,
            "intervals": scored.intervals,
            "split": where,
            "events": scored.events,
            "latency_ms": timed["p50"],
        }

    tested = done(ledger.step(f"test {name}", test), "the test")
    saved = out / "saved_model"

    def export() -> dict:
        progress("exporting")
        model = training.open_run(run).model()
        model.items.content = data.coded_for(model.items).items.content_of(model.items)
        about = {"data": data.fingerprint, "settings": training.open_run(run).info["settings"]}
        model.export(saved / "1", k=min(20, len(data.items)), overwrite=True, about=about)
        return {}

    done(ledger.step(f"export {name}", export), "the export")
    gc.collect()
    keys = ("model", "settings", "value", "metrics", "epochs", "seconds", "latency_ms", "bytes", "run", "key")
    leaderboard = sorted(halving.complete(1.0), key=lambda result: (-result["value"], result["key"]))
    states = [result["state"] for result in halving.results]
    result = {
        "model": "blend" if use_blend else chosen["model"],
        "metrics": tested["metrics"],
        "intervals": tested["intervals"],
        "split": tested["split"],
        "events": tested["events"],
        "seconds": round(ledger.spent, 1),
        "budget": given.budget,
        "metric": given.metric,
        "latency_ms": tested["latency_ms"],
        "bytes": cost.size_on_disk(run / "model.keras"),
        "limits": {"latency_ms": given.latency, "bytes": given.size},
        "refit": refit,
        "continued": [fitted[index]["model"] for index in continued],
        "held_out": held_out,
        "chosen": members,
        "blend": blended,
        "trials": {state: states.count(state) for state in ("complete", "stopped", "failed")},
        "failed": [{name: trial[name] for name in ("model", "error")} for trial in _failed(halving.results)],
        "left_out": sorted(set(halving.left_out)),
        "leaderboard": [
            {**{name: trial.get(name) for name in keys}, "within_limits": given.within(trial)} for trial in leaderboard
        ],
        "data": data.fingerprint,
        "seed": seed,
        "run": str(run),
        "saved_model": str(saved),
        "report": str(out / "report.html"),
        "versions": {"tfrecsession": __version__, "keras": keras.__version__},
    }
    return {**result, "why": why(result)}


def _failed(results: list[dict]) -> list[dict]:
    return [result for result in results if result["state"] == "failed"]
