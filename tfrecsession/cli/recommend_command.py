"""The command `recommend`."""

from __future__ import annotations

import re
import warnings

import numpy as np
from rich.table import Table

from tfrecsession.cli.output import console, write_json
from tfrecsession.errors import InputError

# The begin of errors of `export.ask`: "context: 'hour' must be one that ..." and "context_hour: must hold ..."
COLUMN = re.compile(r"^(context|request)(?:: '|_)(.+?)(?:'(?= must)|:) ")


def recommend_command(commands, common):
    command = commands.add_parser(
        "recommend",
        parents=[common],
        help="recommend the next items with a SavedModel",
        description="Recommend the next items of a session with an exported SavedModel.",
    )
    command.add_argument("saved_model", metavar="DIR", help="a model's folder, or one version of it")
    command.add_argument("items", nargs="*", metavar="ITEM", help="item ids of the session so far, oldest first")
    command.add_argument("--k", type=int, metavar="N", help="number of items to show (default: the k of the export)")
    for side, what in (("context", "of the items of the session"), ("request", "known of the request")):
        command.add_argument(
            f"--{side}",
            action="append",
            default=[],
            metavar="COLUMN=VALUE",
            help=f"a value of the context {what}; repeatable"
            + ("; VALUE,VALUE,... gives one for each item" if side == "context" else ""),
        )
    command.add_argument(
        "--rules",
        metavar="JSON",
        help='filters, boosts, quotas, diversity and pinned items of the list, or a file with them: \'{"filter": '
        '{"category": ["shoes"], "price": {"between": [10, 50]}}, "at_most": {"brand": 2}, "diversity": 0.3}\'',
    )
    command.add_argument(
        "--reasons",
        action="store_true",
        help="also show which events, and which features, carried each item; for exports with --reasons N",
    )
    command.set_defaults(run=recommend)


def recommend(options) -> None:
    from tfrecsession.export.versions import newest_version, read_card

    version = newest_version(options.saved_model)
    card = read_card(version)
    most = card.get("k")
    if options.k is not None and (options.k < 1 or (most and options.k > most)):
        raise InputError(_too_many(options.k, most))
    if options.reasons and options.rules is not None:
        raise InputError("--reasons: must be left out with --rules, whose lists follow from more than scores")
    if options.reasons and not card.get("reasons"):
        raise InputError(f"--reasons: {version} was exported without reasons; export again with --reasons 3")
    given = in_context(options, card.get("context", []))
    check_columns(given, card.get("context", []), len(options.items))
    rules = None if options.rules is None else _rules(options.rules, card)

    from tfrecsession import export as exporting  # TensorFlow, after all checks

    with warnings.catch_warnings(action="ignore"):  # notes are printed
        try:
            found = exporting.explain(version, [options.items], **given) if options.reasons else None
            items, scores, *more = found[:2] if found else exporting.ask(version, [options.items], **given, rules=rules)
        except InputError as error:
            raise InputError(COLUMN.sub(r"--\1 \2: ", str(error))) from None
    answer = [(item, float(score)) for item, score in zip(items[0], scores[0], strict=True) if item]
    if options.k is not None and not 1 <= options.k <= items.shape[1]:
        raise InputError(_too_many(options.k, items.shape[1]))
    answer = answer[: options.k]
    table = Table(title=f"after {' '.join(options.items) or 'an empty session'}", title_justify="left")
    table.add_column("item")
    table.add_column("score", justify="right")
    reasons = _reasons(found, len(answer)) if found else []
    if found:
        table.add_column("because of")
    for place, (item, score) in enumerate(answer):
        because = [", ".join([*reasons[place]["events"], *list(reasons[place]["features"])[:1]])] if found else []
        table.add_row(item, f"{score:.4f}", *because)
    screen = console(options.json)
    screen.print(table)
    unknown = _unknown(version, options.items)
    if unknown:
        all_of_them = all(item in unknown for item in options.items if item)
        popular = ": the answer to a history without a known item is the popular ones" if all_of_them else ""
        screen.print(f"note: not in the model's catalogue, and skipped: {', '.join(unknown)}{popular}", markup=False)
    result = {"history": options.items, "items": [item for item, _ in answer], "scores": [score for _, score in answer]}
    result |= {"unknown": unknown} if unknown else {}
    if more:
        (removed,), (note,) = more
        for rule, count in removed.items():
            screen.print(f"{rule}: {count:,} removed", markup=False)
        if note:
            screen.print(note, markup=False)
        result |= {"removed": removed, "note": note}
    if found:
        result["reasons"] = reasons
    write_json(result, options.json)


def _reasons(found, items: int) -> list[dict]:
    """Returns for each item of the answer the events and the features that carried it, name -> part, strongest first.

    An item that two events have carries the sum of their parts.
    """
    reasons = []
    for place, names in enumerate(found.strongest()[0][:items]):
        events: dict[str, float] = {}
        for event, weight in zip(found.because[0, place], found.weights[0, place], strict=True):
            if event:
                events[event] = events.get(event, 0.0) + float(weight)
        features = {name: float(found.features[name][0, place]) for name in names if name}
        reasons.append({"events": events, "features": features})
    return reasons


def _unknown(version, items: list[str]) -> list[str]:
    """Returns the items of the session that an export of this package does not know, each once."""
    from tfrecsession.export.versions import VOCABULARY

    try:
        known = set((version / VOCABULARY).read_text(encoding="utf-8").split("\n"))
    except OSError:  # another SavedModel, or one with ids that no line can hold
        return []
    return [item for item in dict.fromkeys(items) if item and item not in known]


def _rules(text: str, card: dict) -> dict:
    """Reads and checks --rules before TensorFlow is imported."""
    from tfrecsession.rules import read_rules, rule_texts

    rules = read_rules(text)
    if "rules" in card:
        rule_texts(rules, 1, card["rules"], card["k"])
    return rules


def in_context(options, known: list[dict]) -> dict:
    """Parses --context and --request, `COLUMN=VALUE` texts, into the arguments of `export.ask`.

    One value of --context counts for all items of the session, and for the request where the model reads it there too.

    known: the inputs for context in the card of the export.
    """
    count, found = len(options.items), {"context": {}, "request": {}}
    reads = {side: [entry["column"] for entry in known if entry["side"] == side] for side in found}
    for side in found:
        for word in getattr(options, side):
            name, equals, text = word.partition("=")
            if not (name and equals):
                raise InputError(f"--{side} {word}: must be COLUMN=VALUE, e.g. --{side} device=phone")
            every = text.split(",") if count > 1 and text.count(",") == count - 1 else None
            if side == "context" and (name in reads["context"] or name not in reads["request"]):
                found["context"][name] = [every or [text] * count]
            if side == "request" or (name in reads["request"] and not every and name != "time"):
                found["request"][name] = [text]
    return {side: columns for side, columns in found.items() if columns}


def check_columns(given: dict, known: list[dict], length: int) -> None:
    """Raises InputError for columns of `in_context` that the model does not read, and for texts in place of numbers.

    The exported model checks the same, but it takes long to load.
    """
    from tfrecsession.sessions.context_texts import context_texts, input_name
    from tfrecsession.sessions.derived_context import TIMED

    if not known:
        return
    kinds = {entry["input"]: entry["kind"] for entry in known}
    try:
        context_texts(given.get("context"), given.get("request"), [length], kinds)
    except InputError as error:
        raise InputError(COLUMN.sub(r"--\1 \2: ", str(error))) from None
    for side, columns in given.items():
        for column, (values,) in columns.items():
            numbers = kinds[input_name(side, column)] in ("number", *TIMED)
            for text in values if side == "context" else [values]:
                if numbers and text and not _is_number(text):
                    raise InputError(f"--{side} {column}: must hold numbers, or empty texts")


def _is_number(text: str) -> bool:
    try:
        return np.isfinite(float(text))
    except ValueError:
        return False


def _too_many(k: int, most: int | None) -> str:
    return f"--k {k}: must be 1 to {most or 'the k'}, the k of this export; or export again with a larger --k"


COMMANDS = [recommend_command]
