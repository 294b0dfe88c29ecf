"""The description of a preset with weights, and its model card: data, protocol, scores, limits."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from tfrecsession.errors import InputError
from tfrecsession.sessions.leaks import split_and_leaks

SHOWN = ("recall", "mrr", "ndcg")  # the scores of the card; preset.json has all
PAGE = """\
---
library_name: tfrecsession
license: {licence_tag}
tags:
- keras
- tensorflow
- recommender-system
- session-based-recommendation
---

# {model}

A {model} for session-based recommendation: from the items of a session to the next items, out of {items:,}. Made with
tfrecsession {version}.

```python
import tfrecsession as trs

model = trs.models.{model}.from_preset("DIR")  # this folder, or "hf://user/name"
model.recommend([{example}], k=10).items
```

## Data

{data}

Licence of the data: {licence}

## Training

{training}

## Scores

{scores}

## Limits

- The model knows the {items:,} items of its vocabulary, `assets/items.parquet`. It ignores all others.
- It was trained on one log. Scores on other logs, seasons or shops are not known: evaluate it on your own sessions.
- Offline scores reward what users did under the recommendations of that time. They do not measure what a list changes.
- Models of clicks favour popular items; `tfrecsession evaluate` shows scores by popularity.
{further}
## Files

`preset.json` has the numbers of this page for programs, and the SHA-256 of each file, which `from_preset` checks.
Weights are HDF5, tables are Parquet, everything else is JSON; no file is a pickle.
"""


def description(model, run=None, evaluation=None, data_licence: str | None = None) -> dict:
    """Returns what preset.json says besides the hashes, see `save` for the arguments.

    Raises:
        InputError: the run or the scores are those of another model or data set.
    """
    from tfrecsession.training.run import versions

    name = type(model).__name__
    run = _opened(run)
    data, trained, scores = {}, {}, scores_of(run, evaluation)
    if run is not None:
        trained, data = _trained(run), _data(run)
        if _class_of(run) not in (None, name):
            raise InputError(f"run={str(run.path)!r}: must be the run of this {name}, not of a {run.info['model']}")
    return {
        "model": name,
        "items": len(model.items),
        "vocabulary": model.items.fingerprint,
        "examples": model.items.ids[:2].tolist(),
        "versions": versions(),
        "data": {**data, "licence": data_licence},
        "trained": trained,
        "evaluation": scores,
        "reads": {
            "context": list(model.context.columns) if model.context is not None else [],
            "users": "users" in model.abilities,
        },
    }


def card(about: dict) -> str:
    """Returns the README.md of a preset with weights, Markdown, from its preset.json."""
    licence = about["data"]["licence"]
    further = ""
    if columns := about["reads"]["context"]:
        further += f"- It reads context: {', '.join(columns)}. Requests without it get less exact answers.\n"
    if about["reads"]["users"]:
        further += "- It has vectors of users: check whether their publication is allowed.\n"
    return PAGE.format(
        model=about["model"],
        items=about["items"],
        version=about["versions"]["tfrecsession"],
        example=json.dumps(about["examples"], ensure_ascii=False),
        licence_tag="other" if licence else "unknown",
        licence=licence or "not stated. Ask who published the folder before using it.",
        data=_data_text(about["data"]),
        training=_training_text(about["trained"]),
        scores=_scores_text(about["evaluation"]),
        further=further,
    )


def _opened(run):
    from tfrecsession.training.run_folder import Run, open_run

    return run if run is None or isinstance(run, Run) else open_run(run)


def _class_of(run) -> str | None:
    from tfrecsession.models import MODELS

    cls = MODELS.get(run.info["model"])
    return cls and cls.__name__


def _trained(run) -> dict:
    """Returns run.json without the paths of the machine that trained."""
    trained = {name: value for name, value in run.info.items() if name not in ("data", "name", "workers", "memory")}
    if isinstance(origin := trained.get("from"), dict):
        trained["from"] = {name: value for name, value in origin.items() if name != "path"}
    return trained


def _data(run) -> dict:
    """Returns the fingerprint of the run's data set, and its counts and split where the folder is still there."""
    found = {"fingerprint": run.info["data"]["fingerprint"]}
    try:
        info = run.data().info
    except InputError:  # moved, or replaced by other data
        return found
    source = str(info.get("source") or "")
    found["source"] = source if source.startswith("synthetic:") else Path(source).name
    found["splits"] = {
        split: {name: counts.get(name) for name in ("sessions", "events", "first", "last")}
        for split, counts in info.get("splits", {}).items()
        if counts.get("sessions")
    }
    return found | {"hold_out": split_and_leaks(info)}


def scores_of(run, evaluation) -> dict:
    """Returns the scores for the card: of an evaluation or its file, else of the run on validation.

    Raises:
        InputError: they are no scores, or those of another model or data set than the run.
    """
    if evaluation is None:
        return {} if run is None else _validation_scores(run)
    shown = f"evaluation={str(evaluation)!r}" if isinstance(evaluation, str | Path) else "evaluation"
    if dataclasses.is_dataclass(evaluation):
        evaluation = {field.name: getattr(evaluation, field.name) for field in dataclasses.fields(evaluation)}
    elif not isinstance(evaluation, dict):
        try:
            evaluation = json.loads(Path(evaluation).expanduser().read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"{shown}: cannot be read ({error})") from None
    if not isinstance(evaluation, dict) or not isinstance(evaluation.get("metrics"), dict):
        raise InputError(f"{shown}: must be the JSON of `tfrecsession evaluate`")
    expected = {} if run is None else {"data": run.info["data"]["fingerprint"], "model": run.info["model"]}
    for name, value in expected.items():
        if evaluation.get(name) not in (None, value):
            raise InputError(f"{shown}: has scores of {name} {evaluation[name]}, but the run is of {name} {value}")
    kept = ("data", "split", "events", "sessions", "metrics", "intervals", "event_types", "live")
    return {name: evaluation[name] for name in kept if evaluation.get(name)}


def _validation_scores(run) -> dict:
    file = run.path / "metrics.json"
    if not file.is_file():
        return {}
    found = json.loads(file.read_text(encoding="utf-8"))
    metrics = {name: value for name, value in found.get("metrics", {}).items() if "@" in name}
    return {"split": "validation", "metrics": metrics} if metrics else {}


def _data_text(data: dict) -> str:
    if "fingerprint" not in data:
        return "Not stated: the preset was written without the run of its model."
    lines = [
        f"Prepared data set `{data['fingerprint']}`" + (f", from `{data['source']}`." if data.get("source") else ".")
    ]
    if splits := data.get("splits"):
        lines += ["", "| split | sessions | events | first | last |", "|-|-:|-:|-|-|"]
        for split, counts in splits.items():
            first, last = (counts[name] or "" for name in ("first", "last"))
            lines.append(f"| {split} | {counts['sessions']:,} | {counts['events']:,} | {first} | {last} |")
    if hold_out := data.get("hold_out"):
        lines += ["", f"Split by {hold_out['by']}. {hold_out['leaks']}"]
    return "\n".join(lines)


def _training_text(trained: dict) -> str:
    if not trained:
        return "Not stated."
    refit = " It was fitted again on train and validation together." if trained.get("refit") else ""
    settings = {name: value for name, value in trained["settings"].items() if value not in (None, [])}
    return (
        f"`{trained['model']}`, seed {trained['seed']}, {trained.get('seconds', 0):,.0f} s, "
        f"{trained.get('events', 0):,} events.{refit}\n\n```json\n{json.dumps(settings, ensure_ascii=False)}\n```"
    )


def _scores_text(scores: dict) -> str:
    if not scores:
        return "None were given."
    where = f"On the {scores['split']} split" if "split" in scores else "On sessions chosen by the author"
    if "events" in scores:
        where += f", {scores['events']:,} events of {scores['sessions']:,} sessions"
    where += f", targets {', '.join(scores['event_types'])} only" if "event_types" in scores else ""
    where += ". Rank of the next item among all items, ties against the model."
    intervals = scores.get("intervals", {})
    where += " Intervals: 95%, bootstrap over sessions." if intervals else " Without intervals."
    lines = [where, "", "| metric | score | interval |", "|-|-:|-|"]
    for name, score in scores["metrics"].items():
        if name.startswith(SHOWN):
            low_high = "{:.4f} to {:.4f}".format(*intervals[name]) if name in intervals else ""
            lines.append(f"| {name} | {score:.4f} | {low_high} |")
    return "\n".join(lines)
