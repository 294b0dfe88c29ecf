"""The text of ids that a Python caller gives: texts, bytes, numbers, arrays, tensors, pandas series, generators.

An id counts as its text, as in a log: bytes are UTF-8, and a whole float has no ".0" (17850.0 is "17850"). NumPy alone
is imported, so that the serving client needs neither TensorFlow nor pandas.
"""

from __future__ import annotations

import datetime
import decimal
import numbers
import uuid
from collections.abc import Iterable, Mapping, Set
from typing import Any

import numpy as np

from tfrecsession.errors import InputError

EXACT = 2**53  # larger whole floats have lost digits
WITH_TEXT = uuid.UUID, datetime.date  # types whose str() is also their text in a database


def text_of(value: Any, argument: str) -> str:
    """Returns the text of one id.

    Args:
        value: str, bytes (UTF-8), a whole or fractional number, a UUID, a date, or a NumPy or tensor scalar of these.
        argument: its name in the error message, such as "items[3]".

    Raises:
        InputError: `value` is not an id, such as None, NaN, a bool, a list or a dict.
    """
    if isinstance(value, str):
        return str(value)  # also of numpy.str_
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            raise InputError(f"{argument}={value!r}: must be UTF-8") from None
    if hasattr(value, "shape") or hasattr(value, "dtype"):
        plain = _plain(value, argument)
        if isinstance(plain, np.ndarray) and plain.shape == () and plain.dtype.kind in "OSUiuf":
            value = plain[()] if _is_short_float(plain) else plain.item()
            if isinstance(value, str | bytes):
                return text_of(value, argument)
    if isinstance(value, bool | np.bool_) or _is_missing(value):
        raise _no_id(value, argument)
    if isinstance(value, numbers.Integral):
        return str(int(value))
    if isinstance(value, float | np.floating | decimal.Decimal) and np.isfinite(float(value)):
        return str(int(value)) if value == int(value) and abs(value) <= EXACT else str(value)
    if isinstance(value, WITH_TEXT):
        return str(value)
    raise _no_id(value, argument)


def texts(values: Any, argument: str, missing: bool = False) -> list:
    """Returns the texts of a list of ids.

    Args:
        values: a list, tuple, set, generator, NumPy array, tensor, pandas or Arrow column of ids.
        argument: its name in the error message.
        missing: whether None, NaN and the like are None in the result; otherwise they are an error.

    Raises:
        InputError: `values` is one id, a dict or a table, or holds something that is not an id.
    """
    cells = _cells(values, argument, "a list of ids, such as ['item-17', 'item-4']")
    if missing:
        cells = [None if _is_missing(cell) else cell for cell in cells]
    is_text = (str, type(None)) if missing else (str,)
    return [cell if type(cell) in is_text else text_of(cell, f"{argument}[{i}]") for i, cell in enumerate(cells)]


def text_lists(values: Any, argument: str, depth: int = 2, ordered: bool = True, missing: bool = False) -> list[list]:
    """Returns the texts of lists of ids, such as histories.

    Args:
        values: an iterable of what `texts` takes, or a two-dimensional array, tensor or ragged tensor.
        argument: its name in the error message.
        depth: 2; 3 for lists of lists of ids, such as the sessions of users.
        ordered: refuse sets, which have no order.
        missing: as in `texts`.

    Raises:
        InputError: as `texts`, or `values` is a list of fewer levels.
    """
    expected = f"{'a list of lists of' if depth == 2 else 'a list of lists of lists of'} ids, such as "
    expected += "[['item-17', 'item-4']]" if depth == 2 else "[[['item-4', 'item-7'], ['item-17']]]"
    lists = []
    for i, ids in enumerate(_cells(values, argument, expected)):
        if isinstance(ids, str | bytes | numbers.Number):
            raise InputError(f"{argument}: must be {expected}, but {argument}[{i}] is {_short(ids)}")
        if ordered and isinstance(ids, Set):
            raise InputError(f"{argument}[{i}]: must be a list, because a set has no order")
        name = f"{argument}[{i}]"
        lists.append(texts(ids, name, missing) if depth == 2 else text_lists(ids, name, depth - 1, missing=missing))
    return lists


def _cells(values: Any, argument: str, expected: str) -> list:
    """Returns the elements of a one-dimensional container, or the rows of a two-dimensional one."""
    if type(values) is list:
        return values
    wrong = isinstance(values, str | bytes | Mapping) or values is None or hasattr(values, "columns")
    plain = values if wrong else _plain(values, argument)
    if wrong or not isinstance(plain, Iterable) or (isinstance(plain, np.ndarray) and plain.ndim == 0):
        raise InputError(f"{argument}: must be {expected}, not {_short(values)}")
    if isinstance(plain, np.ndarray) and (plain.ndim > 1 or plain.dtype.kind in "mMcV" or _is_short_float(plain)):
        return list(plain)  # rows, or scalars whose type matters
    return plain.tolist() if isinstance(plain, np.ndarray) else list(plain)


def _plain(values: Any, argument: str) -> Any:
    """Returns a tensor, or a column of pandas, Arrow or Polars, as an array or a list, and anything else as it is."""
    if isinstance(values, np.ndarray | np.generic):
        return np.asarray(values) if not isinstance(values, np.ma.MaskedArray) else values.tolist()
    for method in ("to_pylist", "to_list", "numpy"):  # Arrow; ragged tensors, pandas, Polars; tensors
        if callable(getattr(values, method, None)):
            try:
                found = getattr(values, method)()
            except (AttributeError, NotImplementedError, RuntimeError, TypeError, ValueError) as error:
                reason = str(error).splitlines()[0] if str(error) else type(error).__name__
                raise InputError(f"{argument}: a {type(values).__name__} has no values to read: {reason}") from None
            return found if isinstance(found, list) else np.asarray(found)
    if hasattr(values, "shape"):
        raise InputError(f"{argument}: a {type(values).__name__} has no values to read: must be an eager tensor")
    return values


def _is_short_float(array: np.ndarray) -> bool:
    """Returns whether Python's float would add digits: a float32 of 0.1 is "0.1", not "0.10000000149011612"."""
    return array.dtype.kind == "f" and array.dtype.itemsize < 8


def _is_missing(value: Any) -> bool:
    """Returns whether a value is None, NaN, NaT or pandas' NA."""
    if value is None:
        return True
    try:
        return bool(value != value)
    except (ArithmeticError, TypeError, ValueError):  # pandas' NA; an array
        return not isinstance(value, Iterable)


def _no_id(value: Any, argument: str) -> InputError:
    leave_out = "; leave missing values out" if _is_missing(value) else ""
    return InputError(f"{argument}={_short(value)}: must be an id, a text or a number{leave_out}")


def _short(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else text[:57] + "..."
