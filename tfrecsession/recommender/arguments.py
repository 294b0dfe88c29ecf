"""Checks of constructor arguments, in one style: `name=value: must be ...`."""

from __future__ import annotations

import difflib
import inspect
import math
from collections.abc import Iterable

import numpy as np

from tfrecsession.errors import InputError
from tfrecsession.near_names import meant
from tfrecsession.recommender.settings import TRAINING, WEIGHTS

KERAS = ("name", "dtype", "trainable", "autocast", "activity_regularizer")  # arguments of every Keras layer


def refuse(name: str, value, expected: str) -> None:
    """Raises InputError: `name=value: must be <expected>`."""
    raise InputError(f"{name}={value!r}: must be {expected}")


def check_items(items) -> None:
    """Raises InputError unless a model can be built from `items`: a vocabulary, or the number of items."""
    if not isinstance(items, int) and not hasattr(items, "counts"):
        raise InputError(f"items: must be the vocabulary of a data set, data.items, not {type(items).__name__}")


def check_arguments(cls: type, given: dict) -> None:
    """Refuses arguments that neither the constructor of a model class nor that of a Keras layer has.

    Raises:
        InputError: the first of them, with the argument that is near or the place where a setting belongs.
    """
    for name, value in given.items():
        if name in KERAS:
            continue
        known = _arguments(cls)
        line = f"{name}={_shown(value)}: {cls.__name__} has no such argument"
        if cls.learning is not None and name in {**TRAINING, **cls.learning.defaults, **WEIGHTS}:
            raise InputError(f"{line}; it belongs to compile, fit, batches or negatives=trs.negatives")
        raise InputError(f"{line}; {meant(name, known)}")


def _arguments(cls: type) -> list[str]:
    """Returns the names of a model's arguments, without those that a class passes to its bases by itself."""
    classes = [each for each in cls.__mro__ if "__init__" in vars(each) and not each.__module__.startswith("keras.")]
    found = dict.fromkeys(
        name
        for each in classes
        if each is not object
        for name, argument in inspect.signature(each.__init__).parameters.items()
        if argument.kind not in (argument.VAR_KEYWORD, argument.VAR_POSITIONAL) and name != "self"
    )
    if "items" not in inspect.signature(cls.__init__).parameters:
        found.pop("items", None)
    return [*found, "name"]


def _shown(value) -> str:
    text = repr(value)
    return text if len(text) <= 40 and "\n" not in text else f"<{type(value).__name__}>"


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
