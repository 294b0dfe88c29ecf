"""What `tfrecsession tune` may try for a setting. A model declares it beside its constructor, as plain data:

    search_space = {
        "neighbours": Int(20, 500, log=True),
        "alpha": Float(0.0, 1.0),
        "history": Choice("last", "mean"),
        "window": Int(2, 20, when={"history": "mean"}),
    }

A range holds the setting's default: the search starts from the defaults. `when` names other settings and the value, or
the tuple of values, that each of them must have for this one to be searched; otherwise it stays what it was. The space
is walked from its first line to its last, so a searched setting stands above those that depend on it. Where the range
itself depends on another setting, a tuple of ranges of one type gives the alternatives; the first that applies counts.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import ClassVar

from tfrecsession.errors import InputError


@dataclass(frozen=True)
class Float:
    """A number from `low` to `high`, both included; `log`: drawn by its logarithm, for what acts by factors."""

    low: float
    high: float
    _: KW_ONLY
    log: bool = False
    when: dict = field(default_factory=dict)

    kind: ClassVar = numbers.Real

    def __post_init__(self):
        if not self.low < self.high or (self.log and self.low <= 0):
            raise ValueError(f"{self}: low must be below high, and above 0 where it is drawn by its logarithm")

    def holds(self, value) -> bool:
        return self._is_number(value) and self.low <= value <= self.high

    def widened(self, value) -> Float:
        """The range up or down to `value`; InputError where there is no such range."""
        if not self._is_number(value) or (self.log and value <= 0):
            raise InputError(f"{value!r} is no place to start from in {self.low:g} to {self.high:g}")
        return replace(self, low=min(self.low, value), high=max(self.high, value))

    def _is_number(self, value) -> bool:
        return isinstance(value, self.kind) and not isinstance(value, bool) and math.isfinite(value)


class Int(Float):
    """A whole number from `low` to `high`, both included."""

    kind = numbers.Integral


@dataclass(frozen=True, init=False)
class Choice:
    """One of some values: strings, numbers, booleans, None, or lists of them, as in `Choice([100], [100, 100])`."""

    options: tuple
    when: dict

    def __init__(self, *options, when: dict | None = None):
        object.__setattr__(self, "options", tuple(map(_as_list, options)))
        object.__setattr__(self, "when", when or {})

    def holds(self, value) -> bool:
        value = _as_list(value)
        return any(value == option and isinstance(value, bool) == isinstance(option, bool) for option in self.options)

    def widened(self, value) -> Choice:
        return self if self.holds(value) else Choice(*self.options, value, when=self.when)


def walk(space: dict, settings: dict, draw: Callable) -> dict:
    """What the settings that are searched are set to, from the first to the last.

    Args:
        space: setting -> its range, or a tuple of alternatives.
        settings: all settings; `when` looks at them and at what was drawn before.
        draw: (name, range) -> value, called for the ranges that apply.

    Returns:
        setting -> drawn value.
    """
    drawn: dict = {}
    for name, ranges in space.items():
        for one in ranges if isinstance(ranges, tuple) else (ranges,):
            if applies(one, {**settings, **drawn}):
                drawn[name] = draw(name, one)
                break
    return drawn


def applies(one: Float | Choice, settings: dict) -> bool:
    """Whether the settings are such that this range is searched."""
    wanted = {name: values if isinstance(values, tuple) else (values,) for name, values in one.when.items()}
    return all(settings.get(name) in values for name, values in wanted.items())


def starting_at(space: dict, settings: dict) -> dict:
    """The space with every range that applies to `settings` widened, where need be, to what is set there.

    Raises:
        InputError: a setting has no value that a range could be widened to; it says to fix it.
    """
    widened = dict(space)

    def widen(name, one):
        try:
            wide = one.widened(settings[name])
        except InputError as error:
            raise InputError(f"{name}: {error}: fix it with --set {name}={settings[name]}") from None
        ranges = space[name]
        many = isinstance(ranges, tuple)
        widened[name] = tuple(wide if other is one else other for other in ranges) if many else wide
        return settings[name]

    walk(space, settings, widen)
    return widened


def _as_list(value):
    return list(value) if isinstance(value, tuple) else value
