"""The rules of a request: their JSON form, its checks, and the texts that the graph of an export reads.

    {
      "filter": {"category": ["shoes", "boots"], "price": {"between": [10, 50]}, "in_stock": true},
      "popularity": 0.3,
      "boost": [{"where": {"brand": "acme"}, "by": 0.5}],
      "pin": {"item-9": 1},
      "at_most": {"brand": 2},
      "diversity": {"strength": 0.3, "method": "mean", "on": "model"}
    }

A text is one rule, its fields separated by tabs: `in COLUMN VALUE ...`, `not_in COLUMN VALUE ...`, `between COLUMN LOW
HIGH`, `is COLUMN true`, `popularity STRENGTH`, `boost BY in COLUMN VALUE ...`, `pin POSITION ITEM`, `at_most COLUMN N`,
`diversity STRENGTH METHOD ON`.
"""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from tfrecsession.errors import InputError
from tfrecsession.events.id_texts import texts

NAMES = ("filter", "popularity", "boost", "pin", "at_most", "diversity")  # in the order in which they act
METHODS = ("mean", "mmr", "dpp")
OVERLAP = "content"  # diversity on the values of the categories that items share
OWN = "model"  # diversity on the model's own vectors
SEPARATOR = "\t"


def read_rules(text: str) -> dict:
    """Reads rules from a JSON text, or from the file that `text` names.

    Raises:
        InputError: the text is neither a JSON object nor the path of a file with one.
    """
    source = text
    if not text.lstrip().startswith(("{", "[")):
        try:
            source = Path(text).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "not UTF-8"
            raise InputError(
                f"rules={text!r}: must be a JSON object, such as "
                f'{{"filter": {{"category": "shoes"}}}}, or a file with one ({reason})'
            ) from None
    try:
        return json.loads(source, object_pairs_hook=once)
    except ValueError as error:
        raise InputError(f"rules={_short(text)}: must be JSON: {error}") from None


def rule_texts(rules, rows: int, known: Mapping | None = None, k: int | None = None) -> list[list[str]]:
    """Checks rules and returns them as texts, a list for each history, in the order in which they act.

    Args:
        rules: rules in the JSON form, the same for every history, or a list with those of each history; None and {}
            are no rules.
        rows: the number of histories.
        known: what an export or a model has, the entry `rules` of `tfrecsession.json`; None: the graph checks it.
        k: items of the list, which bounds the positions of `pin`; None: the graph checks them.

    Raises:
        InputError: a rule is unknown, has a value of another type or out of range, or a column that is not there.
    """
    if rules is None or isinstance(rules, Mapping):
        return [_texts(rules or {}, known, k)] * rows
    if isinstance(rules, str) or not isinstance(rules, Iterable):
        raise InputError(f"rules={_short(rules)}: must be an object of rules, or a list with one for each history")
    found = list(rules)
    if len(found) != rows:
        raise InputError(f"rules: must be one for each of the {rows} histories, not {len(found)}")
    return [_texts(each or {}, known, k) for each in found]


def _texts(rules, known: Mapping | None, k: int | None) -> list[str]:
    if not isinstance(rules, Mapping):
        raise InputError(f"rules={_short(rules)}: must be an object, such as {{'at_most': {{'brand': 2}}}}")
    for name in rules:
        if name not in NAMES:
            raise InputError(f"rules: {name!r} is unknown: must be one of {', '.join(NAMES)}{_hint(name, NAMES)}")
    found = []
    for name in NAMES:
        if rules.get(name) is not None:
            found += _READ[name](rules[name], known, k)
    return [SEPARATOR.join(_field(field) for field in fields) for fields in found]


def _filter(value, known, k) -> list[list]:
    return _conditions("filter", value, known)


def _popularity(value, known, k) -> list[list]:
    return [["popularity", _number("popularity", value, 0, 10)]]


def _boost(value, known, k) -> list[list]:
    found = []
    for entry in [value] if isinstance(value, Mapping) else _list("boost", value):
        if not isinstance(entry, Mapping) or set(entry) != {"where", "by"}:
            example = "{'where': {'brand': 'acme'}, 'by': 0.5}"
            raise InputError(f"rules: boost: {_short(entry)}: must have 'where' and 'by', such as {example}")
        by = _number("boost: by", entry["by"], -100, 100)
        conditions = _conditions("boost: where", entry["where"], known)
        if len(conditions) != 1:
            raise InputError(f"rules: boost: where={_short(entry['where'])}: must be a condition on one column")
        found.append(["boost", by, *conditions[0]])
    return found


def _pin(value, known, k) -> list[list]:
    if not isinstance(value, Mapping):
        items = texts(_list("pin", value), "rules: pin")
        if twice := next((item for item in items if items.count(item) > 1), None):
            raise InputError(f"rules: pin: {twice!r} must stand there once")
        value = {item: index for index, item in enumerate(items, 1)}
    found: dict[int, str] = {}
    for item, position in value.items():
        (item,) = texts([item], "rules: pin")
        most = math.inf if k is None else k
        if not isinstance(position, int | np.integer) or isinstance(position, bool) or not 1 <= position <= most:
            last = "" if k is None else f" to {k}, the length of the list"
            raise InputError(f"rules: pin: {item!r}: position {_short(position)} must be a whole number from 1{last}")
        if position in found:
            raise InputError(f"rules: pin: {found[position]!r} and {item!r} are both at position {position}")
        found[int(position)] = item
    return [["pin", position, item] for position, item in sorted(found.items())]


def _at_most(value, known, k) -> list[list]:
    found = []
    for column, most in _object("at_most", value, "{'brand': 2}").items():
        kind = _kind("at_most", column, known)
        if kind == "number":
            raise InputError(f"rules: at_most: {column!r} is a number: must be a category or a list of categories")
        if not isinstance(most, int | np.integer) or isinstance(most, bool) or not 0 <= most < 2**31:
            raise InputError(f"rules: at_most: {column}={_short(most)}: must be a whole number of items, 0 or more")
        found.append(["at_most", column, int(most)])
    return found


def _diversity(value, known, k) -> list[list]:
    if not isinstance(value, Mapping):
        value = {"strength": value}
    for name in value:
        keys = ("strength", "method", "on")
        if name not in keys:
            raise InputError(
                f"rules: diversity: {name!r} is unknown: must be one of {', '.join(keys)}{_hint(name, keys)}"
            )
    strength = _number("diversity: strength", value.get("strength", 0.3), 0, 1)
    method, on = value.get("method", METHODS[0]), value.get("on")
    if method not in METHODS:
        hint = _hint(method, METHODS)
        raise InputError(f"rules: diversity: method={_short(method)}: must be one of {', '.join(METHODS)}{hint}")
    if known is not None and not known["similar"]:
        raise InputError("rules: diversity: must be left out: the items have neither vectors nor categories to compare")
    if known is not None and on is not None and on not in known["similar"]:
        there = ", ".join(known["similar"])
        hint = _hint(on, known["similar"])
        raise InputError(f"rules: diversity: on={_short(on)}: must be one of {there}{hint}")
    if on is not None and not isinstance(on, str):
        raise InputError(f"rules: diversity: on={_short(on)}: must be {OWN!r}, {OVERLAP!r} or a column of vectors")
    return [["diversity", strength, method, on or ""]]


_READ = {
    "filter": _filter,
    "popularity": _popularity,
    "boost": _boost,
    "pin": _pin,
    "at_most": _at_most,
    "diversity": _diversity,
}


def _conditions(where: str, value, known) -> list[list]:
    """Returns the fields of conditions on columns: {COLUMN: CONDITION}."""
    return [
        _condition(where, column, condition, _kind(where, column, known))
        for column, condition in _object(where, value, "{'category': ['shoes']}").items()
    ]


def _condition(where: str, column: str, condition, kind: str | None) -> list:
    place = f"rules: {where}: {column}={_short(condition)}"
    if isinstance(condition, bool | np.bool_):
        if kind == "list":
            raise InputError(f"{place}: the column is a list: must be one of its values, or several")
        return ["is", column, "true" if condition else "false"]
    if isinstance(condition, Mapping):
        if len(condition) != 1 or next(iter(condition)) not in ("between", "not", "in"):
            raise InputError(
                f"{place}: must be a value, a list of values, {{'not': [...]}} or {{'between': [low, high]}}"
            )
        ((name, condition),) = condition.items()
        if name == "between":
            return ["between", column, *_bounds(place, condition, kind)]
    else:
        name = "in"
    if kind == "number":
        raise InputError(f"{place}: the column is a number: must be {{'between': [low, high]}}")
    values = [condition] if isinstance(condition, str | bytes) or not isinstance(condition, Iterable) else condition
    values = ["true" if value is True else "false" if value is False else value for value in values]
    try:
        values = texts(values, "values")
    except InputError:
        values = []
    if not values or "" in values:
        raise InputError(f"{place}: must be a value of the column, or a list of at least one")
    return ["in" if name == "in" else "not_in", column, *values]


def _bounds(place: str, bounds, kind: str | None) -> list:
    if kind not in (None, "number"):
        raise InputError(f"{place}: the column is a {kind}: must be one of its values, or several")
    bounds = list(bounds) if isinstance(bounds, list | tuple | np.ndarray) else []
    numbers = [bound for bound in bounds if bound is not None]
    if len(bounds) != 2 or not numbers or not all(map(_is_number, numbers)):
        raise InputError(f"{place}: must be two numbers, low and high; None is open on one side")
    if len(numbers) == 2 and numbers[0] > numbers[1]:
        raise InputError(f"{place}: low must not be above high")
    return ["" if bound is None else bound for bound in bounds]


def _kind(where: str, column, known) -> str | None:
    """Returns the kind of a column that rules may read; None: unknown here."""
    if not isinstance(column, str) or not column:
        raise InputError(f"rules: {where}: column {_short(column)}: must be the name of a column")
    if known is None:
        return None
    columns = known["columns"]
    if column not in columns:
        there = (
            f"there are {', '.join(columns)}" if columns else "the items have none: prepare the log with items=TABLE"
        )
        raise InputError(f"rules: {where}: {column!r}: no such column that rules read; {there}{_hint(column, columns)}")
    return columns[column]


def _object(name: str, value, example: str) -> Mapping:
    if not isinstance(value, Mapping):
        raise InputError(f"rules: {name}={_short(value)}: must be an object, such as {example}")
    return value


def _list(name: str, value) -> list:
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        raise InputError(f"rules: {name}={_short(value)}: must be an object or a list")
    return list(value)


def _number(name: str, value, least: float, most: float) -> float:
    if not _is_number(value) or not least <= value <= most:
        raise InputError(f"rules: {name}={_short(value)}: must be a number from {least} to {most}")
    return float(value)


def _is_number(value) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool) and math.isfinite(value)


def _field(value) -> str:
    if isinstance(value, float | np.floating):
        value = repr(float(value))
    text = str(value)
    if SEPARATOR in text:
        raise InputError(f"rules: {_short(text)}: must not have a tab, which separates the fields of a rule")
    return text


def _hint(name, among) -> str:
    near = difflib.get_close_matches(str(name), list(among), 1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _short(value) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def once(pairs: list[tuple]) -> dict:
    """Returns an object of JSON; a name that is given twice is an error."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name is given twice in an object")
    return found
