"""Search spaces: the ranges of settings that `tfrecsession tune` tries. A model class declares its own as plain data:

    search_space = {
        "neighbours": Int(20, 500, log=True),
        "alpha": Float(0.0, 1.0),
        "history": Choice("last", "mean"),
        "window": Int(2, 20, when={"history": "mean"}),
    }

A range contains the setting's default: the search starts from the defaults. `when` maps other settings to the value,
or the tuple of values, that they must have for this one to be searched; otherwise it keeps its value. The space is
walked from its first line to its last, so a searched setting stands above those that depend on it; one that stands
below is compared by its starting value. Where the range itself depends on another setting, a tuple gives alternatives
of one type; the first that applies counts.
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
    """A number from `low` to `high`, both included; `log`: sampled uniformly in its logarithm."""

    low: float
    high: float
    _: KW_ONLY
    log: bool = False
    when: dict = field(default_factory=dict)

    kind: ClassVar = numbers.Real

    def __post_init__(self):
        if not self.low < self.high or (self.log and self.low <= 0):
            raise ValueError(f"{self}: low must be below high, and above 0 with log=True")

    def holds(self, value) -> bool:
        return self._is_number(value) and self.low <= value <= self.high

    def widened(self, value) -> Float:
        """Returns the range extended to `value`; raises InputError where that is impossible."""
        if not self._is_number(value) or (self.log and value <= 0):
            positive = " above 0" if self.log else ""
            raise InputError(f"must be a number{positive} to start from in {self.low:g} to {self.high:g}")
        return replace(self, low=min(self.low, value), high=max(self.high, value))

    def _is_number(self, value) -> bool:
        return isinstance(value, self.kind) and not isinstance(value, bool) and math.isfinite(value)


class Int(Float):
    """A whole number from `low` to `high`, both included."""

    kind = numbers.Integral


@dataclass(frozen=True, init=False)
class Choice:
    """One of several values: strings, numbers, booleans, None, or lists of them, as in `Choice([100], [100, 100])`."""

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
    """Returns the searched settings and their values, drawn from the first to the last.

    Args:
        space: setting -> its range, or a tuple of alternatives.
        settings: all settings; `when` is compared with them and with the values drawn before.
        draw: (name, range) -> value, called for the ranges that apply.

    Returns:
        setting -> drawn value.
    """
    drawn: dict = {}
    for name, ranges in space.items():
        for alternative in ranges if isinstance(ranges, tuple) else (ranges,):
            if applies(alternative, {**settings, **drawn}):
                drawn[name] = draw(name, alternative)
                break
    return drawn


def applies(alternative: Float | Choice, settings: dict) -> bool:
    """Returns whether the settings fulfil the `when` of this range."""
    required = {name: values if isinstance(values, tuple) else (values,) for name, values in alternative.when.items()}
    return all(settings.get(name) in values for name, values in required.items())


def starting_at(space: dict, settings: dict) -> dict:
    """Returns the space with every range that applies widened, where needed, to contain its value in `settings`.

    Raises:
        InputError: a range cannot be widened to a setting's value; the message suggests fixing the setting.
    """
    widened = dict(space)

    def widen(name, alternative):
        value = settings[name]
        try:
            wide = alternative.widened(value)
        except InputError as error:
            raise InputError(f"{name}={value!r}: {error}; or fix it with settings={{{name!r}: {value!r}}}") from None
        ranges = space[name]
        many = isinstance(ranges, tuple)
        widened[name] = tuple(wide if other is alternative else other for other in ranges) if many else wide
        return value

    walk(space, settings, widen)
    return widened


def _as_list(value):
    return list(value) if isinstance(value, tuple) else value
