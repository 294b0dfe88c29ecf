"""Values of options, and results as JSON, that several commands share."""

from __future__ import annotations

import ast

from tfrecsession.errors import InputError


def opened(folder: str):
    """Returns the run of a folder, or the preset with weights that was written from one."""
    from tfrecsession import presets
    from tfrecsession.training.run_folder import open_run

    return presets.open_preset(folder) if presets.is_preset(folder) else open_run(folder)


def settings(given: list[str], of: str | None = None, among=()) -> dict:
    """Parses `KEY=VALUE` texts into settings; with `of`, only the `MODEL.KEY=VALUE` texts of that model."""
    found = {}
    for word in given:
        name, equals, text = word.partition("=")
        if not equals:
            raise InputError(f"--set {word}: must be KEY=VALUE, e.g. --set units=[100]")
        if of is not None:
            model, dot, name = name.partition(".")
            if not dot or model not in among:
                raise InputError(f"--set {word}: must be MODEL.KEY=VALUE, with MODEL one of {', '.join(among)}")
            if model != of:
                continue
        found[name] = value_of(text)
    return found


def value_of(text: str):
    """Parses the value of a setting: a Python literal, true or false, bare words, or a list of them: [a,b]."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        pass
    text = text.strip()
    for first, last in ("[]", "()"):
        if text.startswith(first) and text.endswith(last):
            return [value_of(part) for part in _parts(text[1:-1])]
    if text.startswith(("[", "(")) or text.endswith(("]", ")")):
        raise InputError(f"{text}: must be a list in brackets, e.g. [a,b]")
    return {"true": True, "false": False}.get(text.lower(), text)


def _parts(text: str) -> list[str]:
    """Splits "a, [b, c], 'd, e'" at the commas outside of brackets and quotes."""
    parts, depth, quote = [""], 0, ""
    for mark in text:
        if quote:
            quote = "" if mark == quote else quote
        elif mark in "'\"" and not parts[-1].strip():
            quote = mark
        elif mark in "[(":
            depth += 1
        elif mark in "])":
            depth -= 1
        if mark == "," and not depth and not quote:
            parts.append("")
        else:
            parts[-1] += mark
    return [part.strip() for part in parts if part.strip()]


def lengths(text: str) -> list[int]:
    """Parses "5,10,20" into [5, 10, 20]."""
    try:
        found = [int(part) for part in text.split(",")]
    except ValueError:
        found = []
    if not found or min(found) < 1:
        raise InputError(f"--k {text}: must be whole numbers from 1, e.g. --k 5,10,20")
    return found


def result_of(model: str, data, scored) -> dict:
    return {"model": model, "data": data.fingerprint, **vars_of(scored)}


def vars_of(scored) -> dict:
    return {
        "metrics": scored.metrics,
        "events": scored.events,
        "seconds": round(scored.seconds, 3),
        "sessions": scored.sessions,
        "intervals": scored.intervals,
        "slices": scored.slices,
    }


def add_weight_options(command) -> None:
    """Adds the options of a command that weigh the events of training by their type."""
    command.add_argument(
        "--event-weights", metavar="TYPE=X,TYPE=X", help="how often events count in training, e.g. purchase=5,cart=2"
    )
    command.add_argument(
        "--target-events", metavar="A,B", help="train on targets of these event types alone; all events stay inputs"
    )


def weight_settings(options, given: dict) -> dict:
    """Returns the settings of these options.

    Raises:
        InputError: one of them is among the `given` settings, too.
    """
    found = {}
    for name in ("event_weights", "target_events"):
        value = getattr(options, name)
        if value is not None and name in given:
            raise InputError(f"--{name.replace('_', '-')}: must be left out beside --set {name}")
        if value is not None:
            found[name] = value if name == "event_weights" else value.split(",")
    return found
