"""Durations and shares in text form: 30m, 1d, 10%."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction

from tfrecsession.errors import InputError

MICROSECONDS = {"s": 10**6, "m": 60 * 10**6, "h": 3_600 * 10**6, "d": 86_400 * 10**6, "w": 604_800 * 10**6}
DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)([smhdw])")
SHARE = re.compile(r"([0-9]+(?:\.[0-9]+)?)%")
LONGEST = 2**62  # microseconds, so that differences of times stay in 64 bits


@dataclass(frozen=True)
class Span:
    """The latest stretch of a log: a length of time in `microseconds`, or a `share` of its sessions."""

    text: str
    microseconds: int | None = None
    share: Fraction | None = None

    @property
    def empty(self) -> bool:
        return not (self.microseconds or self.share)


def parse_duration(text: str, argument: str) -> int:
    """Parses 30s, 30m, 1.5h, 2d, 1w to microseconds; `argument` names the argument in the InputError.

    Examples:
        >>> parse_duration("1.5h", "gap")
        5400000000
    """
    match = DURATION.fullmatch(str(text))
    if not match:
        share = " (or a share such as 10%)" if argument.endswith("_span") else ""
        raise InputError(f"{argument}={text!r}: must be a number and a unit, such as 30s, 30m, 1h, 2d or 1w{share}")
    microseconds = round(Fraction(match[1]) * MICROSECONDS[match[2]])
    if microseconds > LONGEST:
        raise InputError(f"{argument}={text!r}: longer than any log")
    return microseconds


def parse_span(text: str, argument: str) -> Span:
    """Parses a duration, or a share of the sessions such as 10%; "0d" and "0%" are the empty span.

    Examples:
        >>> parse_span("1d", "test_span").microseconds
        86400000000
        >>> parse_span("10%", "test_span").share
        Fraction(1, 10)
    """
    match = SHARE.fullmatch(str(text))
    if not match:
        if str(text).endswith("%"):
            raise InputError(f"{argument}={text!r}: must be a share such as 10% or 2.5%")
        return Span(text, microseconds=parse_duration(text, argument))
    share = Fraction(match[1]) / 100
    if share >= 1:
        raise InputError(f"{argument}={text!r}: must be less than 100%, or nothing is left to train on")
    return Span(text, share=share)


def in_words(microseconds: int) -> str:
    """Formats microseconds in their two largest units, as "6d 23h".

    Examples:
        >>> in_words(7 * 86_400_000_000 - 1)
        '6d 23h'
    """
    words = []
    for unit in "dhms":
        count, microseconds = divmod(microseconds, MICROSECONDS[unit])
        if count:
            words.append(f"{count}{unit}")
    return " ".join(words[:2]) or "less than a second"


def iso(microseconds: int) -> str:
    """Formats microseconds since 1970 as "2017-10-01T03:00:00Z".

    Examples:
        >>> iso(1_506_826_800_000_000)
        '2017-10-01T03:00:00Z'
    """
    return datetime.fromtimestamp(microseconds // 10**6, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
