"""Checks of constructor arguments, in one style: `name=value: must be ...`."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable

import numpy as np

from tfrecsession.errors import InputError


def refuse(name: str, value, expected: str) -> None:
    """Raises InputError: `name=value: must be <expected>`."""
    raise InputError(f"{name}={value!r}: must be {expected}")


def check_items(items) -> None:
    """Raises InputError unless a model can be built from `items`: a vocabulary, or the number of items."""
    if not isinstance(items, int) and not hasattr(items, "counts"):
        raise InputError(f"items: must be the vocabulary of a data set, data.items, not {type(items).__name__}")


def check_names(name: str, values) -> None:
    """Raises InputError where a single name stands in place of a list of names."""
    if isinstance(values, str):
        refuse(name, values, f"a list of names, such as [{values!r}]")


def check_choice(name: str, value, choices: Iterable) -> None:
    """Checks that a value is one of `choices`; the error suggests the nearest."""
    choices = list(choices)
    if value not in choices:
        near = difflib.get_close_matches(str(value), map(str, choices), 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        refuse(name, value, f"one of {', '.join(map(str, choices))}{hint}")


def check_whole(name: str, value, least: int = 1, optional: bool = False) -> None:
    """Checks that a value is a whole number of at least `least`, or None where `optional`."""
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool) and value >= least
    if not (whole or (optional and value is None)):
        refuse(name, value, f"a whole number, at least {least}{', or None' if optional else ''}")


def check_number(
    name: str, value, least: float = -math.inf, most: float = math.inf, above: bool = False, optional: bool = False
) -> None:
    """Checks that a value is a finite number within [least, most], or (least, most] with `above`."""
    number = isinstance(value, int | float | np.number) and not isinstance(value, bool) and math.isfinite(value)
    if number and (least < value if above else least <= value) and value <= most:
        return
    if optional and value is None:
        return
    if most < math.inf:
        expected = f"a number from {least:g} to {most:g}"
    elif least > -math.inf:
        expected = f"a number above {least:g}" if above else f"a number, at least {least:g}"
    else:
        expected = "a number"
    refuse(name, value, expected + (", or None" if optional else ""))


def checked_widths(name: str, value, optional: bool = False) -> list[int]:
    """Returns the widths of a stack of layers as a list; one whole number stands for one layer.

    Args:
        name: the argument's name.
        value: a whole number, or whole numbers.
        optional: whether an empty list is allowed.
    """
    widths = [value] if isinstance(value, int) else list(value)
    whole = all(isinstance(width, int | np.integer) and width is not True and width > 0 for width in widths)
    if not whole or not (widths or optional):
        refuse(name, value, "a list of layer widths, e.g. [100]")
    return widths


def is_positive(number) -> bool:
    """Returns whether a value is a finite number above 0."""
    return isinstance(number, int | float) and not isinstance(number, bool) and 0 < number < float("inf")
