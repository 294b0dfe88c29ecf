"""Context in the requests to an exported model: names of inputs, and values as texts, `""` where they are missing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime

import numpy as np

from tfrecsession.errors import InputError
from tfrecsession.events.id_texts import text_of

SIDES = ("context", "request")


def input_name(side: str, column: str) -> str:
    """Returns the name of a signature's input, such as "context_device"."""
    return f"{side}_{re.sub(r'[^A-Za-z0-9_.]', '_', column)}"


def context_texts(
    context: Mapping | None, request: Mapping | None, lengths: list[int], known: Iterable[str]
) -> dict[str, list]:
    """Returns the inputs of `recommend_in_context` beside `items`; columns that are not given are missing.

    Args:
        context: column -> for each history a list with a value for each event: texts, numbers, times, None.
        request: column -> a value for each history.
        lengths: of the histories.
        known: names of the inputs of the signature.

    Returns:
        Name of an input -> texts: of "context_..." lists of one length, of "request_..." one for each history.

    Raises:
        InputError: a column that the model does not read, or a list of another length.
    """
    known = sorted(name for name in known if name.partition("_")[0] in SIDES)
    longest = max(1, *lengths) if lengths else 1
    inputs = {
        name: [[""] * longest for _ in lengths] if name.startswith("context_") else [""] * len(lengths)
        for name in known
    }
    for side, columns in zip(SIDES, (context, request), strict=True):
        for column, values in (columns or {}).items():
            name, argument = input_name(side, column), f"{side}[{column!r}]"
            if name not in known:
                names = [other.partition("_")[2] for other in known if other.startswith(f"{side}_")]
                raise InputError(f"{side}: {column!r} must be one that the model reads: {', '.join(names) or 'none'}")
            values = _listed(values, argument)
            if len(values) != len(lengths):
                each = "a list of values" if side == "context" else "a value"
                raise InputError(f"{argument}: must have {each} for each of the {len(lengths)} histories")
            if side == "request":
                inputs[name] = [value_text(value, argument) for value in values]
                continue
            for row, (part, length) in enumerate(zip(values, lengths, strict=True)):
                part = _listed(part, f"{argument}[{row}]")
                if len(part) != length:
                    raise InputError(
                        f"{argument}[{row}]: has {len(part)} values, must have {length}, one for each event of the "
                        "history; None where it is missing"
                    )
                inputs[name][row][:length] = [value_text(value, argument) for value in part]
    return inputs


def value_text(value, argument: str) -> str:
    """Returns the text of a value of a request; a time is in seconds since 1970, missing is ""."""
    if value is None or value != value:  # NaN, NaT
        return ""
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    if isinstance(value, np.datetime64):
        return repr(float(value.astype("datetime64[us]").astype(np.int64)) / 1e6)
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day)
    if isinstance(value, datetime):
        return repr((value.replace(tzinfo=UTC) if value.tzinfo is None else value).timestamp())
    return text_of(value, argument)


def _listed(values, argument: str) -> list:
    values = values.tolist() if hasattr(values, "tolist") else values
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
        raise InputError(f"{argument}={values!r}: must be a list of values")
    return list(values)
