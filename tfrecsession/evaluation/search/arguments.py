"""The arguments of a search, checked before TensorFlow is needed."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tfrecsession.batches.data import Data, check_data
from tfrecsession.errors import InputError
from tfrecsession.evaluation.search.ledger import check_place
from tfrecsession.recommender.arguments import check_names
from tfrecsession.sessions.options import bytes_of
from tfrecsession.sessions.spans import parse_duration

METRICS = ("recall", "mrr", "ndcg")
MILLISECONDS = re.compile(r"(\d+(?:\.\d+)?)\s*ms")
LENGTH = 20  # of the lists that are measured


@dataclass(frozen=True)
class Arguments:
    """Checked arguments: `budget` in seconds, `latency` in milliseconds, `size` in bytes."""

    budget: float
    metric: str
    k: int
    models: tuple[str, ...] | None
    latency: float | None
    size: int | None

    def within(self, result: dict) -> bool:
        """Returns whether a trial respects the limits of latency and size."""
        too_slow = self.latency is not None and (result.get("latency_ms") or 0) > self.latency
        return not too_slow and not (self.size is not None and result.get("bytes", 0) > self.size)


def checked(
    data: Data,
    budget: str | float,
    out: Path,
    metric: str | None,
    models: Iterable[str] | None,
    latency: str | float | None,
    size: str | int | None,
    overwrite: bool,
) -> Arguments:
    """Checks the arguments of `best`.

    Raises:
        InputError: one of them is invalid.
    """
    check_data(data)
    check_names("models", models)
    check_place(out)
    seconds = _number(budget, lambda text: parse_duration(text, "budget") / 1e6)
    if seconds is None:
        raise InputError(f"budget={budget!r}: must be a time such as 30m or 2h, or a number of seconds, 0 or more")
    milliseconds = None
    if latency is not None:
        milliseconds = _number(latency, _milliseconds)
        if not milliseconds:
            raise InputError(f"latency={latency!r}: must be a time such as 20ms, or a number of milliseconds above 0")
    most = None
    if size is not None:
        try:
            most = bytes_of(size)
        except InputError:
            raise InputError(f"size={size!r}: must be a size such as 500MB, or a number of bytes") from None
    metric = metric or f"ndcg@{min(LENGTH, len(data.items))}"
    name, _, text = metric.partition("@")
    if name not in METRICS or not text.isdecimal() or not 1 <= int(text) <= len(data.items):
        known = ", ".join(f"{known}@k" for known in METRICS)
        raise InputError(
            f"metric={metric!r}: must be one of {known}, with k from 1 to the catalogue's {len(data.items):,}"
        )
    chosen = None if models is None else tuple(dict.fromkeys(models))
    if chosen == ():
        raise InputError("models=[]: must name at least one model, or be None for those that fit most logs")
    return Arguments(seconds, metric, int(text), chosen, milliseconds, most)


def _number(value, parse) -> float | None:
    """Returns a number of at least 0, or what `parse` makes of a text; None where it is neither."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return float(value) if value >= 0 and math.isfinite(value) else None
    try:
        return float(parse(str(value)))
    except (InputError, ValueError):
        return None


def _milliseconds(text: str) -> float:
    if match := MILLISECONDS.fullmatch(text.strip()):
        return float(match[1])
    return parse_duration(text, "latency") / 1e3
