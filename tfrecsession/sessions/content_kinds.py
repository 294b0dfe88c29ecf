"""The kinds of item content: what a column holds, found from its values or given, and its values in one form."""

from __future__ import annotations

import contextlib
import datetime
import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from tfrecsession.errors import InputError
from tfrecsession.sessions.images import looks_like_a_path
from tfrecsession.sessions.sounds import LARGEST, looks_like_a_sound
from tfrecsession.sessions.table_words import ITEMS, TableWords, shown

KINDS = ("category", "list", "words", "number", "vector", "characters", "image", "audio")
NUMBER = re.compile(r"[+-]?(0|[1-9]\d*)?(\.\d*)?([eE][+-]?\d+)?")
MARK = "|"  # separates the values of a list in a text file
LONGEST = 10_000  # characters of a text that are kept
FILES = 100  # paths of which one must exist, so that a column holds files
LARGEST_NUMBER = float(np.finfo(np.float32).max)  # networks read float32
NEARLY = 0.9  # the share of numbers from which a column of texts is one of numbers with errors


def checked_content(content: Any, argument: str = "content") -> dict[str, str | None] | None:
    """Returns the columns of `content=` with their kinds: name -> one of KINDS, or None to find it.

    Args:
        content: names, each "NAME" or "NAME:KIND"; or a dict name -> kind; None stays None.
        argument: its name in messages.

    Raises:
        InputError: an unknown kind, or a column given twice.
    """
    if content is None:
        return None
    if isinstance(content, Mapping):
        pairs = [(str(name), kind) for name, kind in content.items()]
    else:
        entries = [content] if isinstance(content, str) else content
        pairs = []
        for entry in entries:
            name, colon, kind = str(entry).rpartition(":")
            pairs.append((name, kind) if colon and name else (str(entry), None))
    found = {}
    for name, kind in pairs:
        if kind is not None and kind not in KINDS:
            raise InputError(f"{argument}='{name}:{kind}': the kind must be one of {', '.join(KINDS)}")
        if name in found:
            raise InputError(f"{argument}: column {name!r} is given twice")
        found[name] = kind
    return found


def interpreted(
    source: str,
    name: str,
    values: list,
    items: list[str],
    kind: str | None,
    text: bool,
    folder,
    words: TableWords = ITEMS,
    trained: bool = False,
):
    """Returns the kind of a column and its values in the form of that kind; missing values are None.

    The forms: category, words, characters str; list list of str; number float; vector list of float; image and
    audio as given, but frames of audio float32 [frames, bands].

    Args:
        source, name, items: for messages, and `items[i]` names the item of `values[i]`.
        values: as read, None where missing.
        kind: one of KINDS; None: found.
        text: whether the values are texts of a file without types, which may be numbers or lists.
        folder: that of relative paths of images and sounds.
        words: what the rows are, in messages.
        trained: whether a model has learned the column in this kind.

    Raises:
        InputError: a value does not fit the kind, or values of several kinds are in one column.
    """
    kind = kind or _found(source, name, values, items, text, folder, words)
    convert = _CONVERT.get(kind)
    if convert is None:
        return kind, values
    cells: list = []
    for item, value in zip(items, values, strict=True):
        try:
            cells.append(None if value is None else convert(value))
        except (ValueError, TypeError) as error:
            why = f" ({error})" if str(error) else ""
            other = f"or give another kind, as in {words.content}='{name}:category'"
            raise InputError(
                f"{source}: {words.noun} {item!r}: {name}={shown(value)} is no {kind}{why}; correct it, "
                + (f"as the model was trained on a column of kind {kind}" if trained else other)
            ) from None
    if kind == "vector":
        _check_vectors(source, name, cells, items, words.noun)
    if kind == "audio":
        _check_bands(source, name, cells, items, words.noun)
    return kind, cells


def _check_vectors(source: str, name: str, cells: list, items: list[str], noun: str) -> None:
    width, first = None, None
    for item, cell in zip(items, cells, strict=True):
        if cell is None:
            continue
        if width is None:
            width, first = len(cell), item
        if len(cell) != width:
            raise InputError(
                f"{source}: {name} holds vectors of different lengths: {noun} {first!r} has {width} numbers, {noun} "
                f"{item!r} has {len(cell)}"
            )
        if not all(abs(number) <= LARGEST_NUMBER for number in cell):  # NaN neither
            raise InputError(
                f"{source}: {noun} {item!r}: {name} holds NaN or infinity, as float32; leave the cell empty instead"
            )
    if width == 0:
        raise InputError(f"{source}: {noun} {first!r}: {name} is an empty vector; leave the cell empty instead")


def _check_bands(source: str, name: str, cells: list, items: list[str], noun: str) -> None:
    forms = [(item, _form(cell)) for item, cell in zip(items, cells, strict=True) if cell is not None]
    for item, form in forms:
        if form != forms[0][1]:
            raise InputError(
                f"{source}: {name} holds sounds of several forms: {noun} {forms[0][0]!r} has {forms[0][1]}, {noun} "
                f"{item!r} has {form}; give all as files, or all as frames of one number of bands"
            )


def _form(cell) -> str:
    return f"frames of {cell.shape[1]} bands" if isinstance(cell, np.ndarray) else "a file"


def _found(source: str, name: str, values: list, items: list[str], text: bool, folder, words: TableWords) -> str:
    known = [(item, value) for item, value in zip(items, values, strict=True) if value is not None]
    if not known:
        return "category"
    types = {_type(value) for _, value in known}
    if len(types) > 1:
        (item, value), (other, odd) = known[0], next(pair for pair in known if _type(pair[1]) != _type(known[0][1]))
        raise InputError(
            f"{source}: column {name} holds values of several kinds: {shown(value)} of {words.noun} {item!r} is "
            f"a {_type(value)}, {shown(odd)} of {words.noun} {other!r} a {_type(odd)}; give one kind, as in "
            f"{words.content}='{name}:category'"
        )
    (found,) = types
    if found == "list":
        return _kind_of_lists(known)
    if found == "object":
        item, value = known[0]
        raise InputError(
            f"{source}: column {name} holds objects, such as {shown(value)} of {words.noun} {item!r}; make columns of "
            "their parts"
        )
    if found in ("number", "image", "audio"):
        return found
    if found == "truth value":
        return "category"
    texts = [value for _, value in known]
    if text:
        numbers = sum(_is_number(value) for value in texts)
        if numbers == len(texts):
            return "number"
        if numbers >= NEARLY * len(texts):
            item, odd = next((item, value) for item, value in known if not _is_number(value))
            raise InputError(
                f"{source}: column {name} holds numbers, but {shown(odd)} for {words.noun} {item!r}; correct it, or "
                f"give a kind, as in {words.content}='{name}:category'"
            )
        if all(value.startswith("[") and value.endswith("]") for value in texts):
            try:
                return _kind_of_lists([(item, json.loads(value)) for item, value in known])
            except ValueError:
                pass
    for kind, looks in (("image", looks_like_a_path), ("audio", looks_like_a_sound)):
        if all(map(looks, texts)):
            if not any((folder / path).exists() for path in texts[:FILES]):
                raise InputError(
                    f"{source}: {name} holds paths, such as {shown(texts[0])}, but there are no such files in "
                    f"{folder}; correct the paths, or give a kind, as in {words.content}='{name}:category'"
                )
            return kind
    return kind_of_texts(texts)


def kind_of_texts(texts: list[str]) -> str:
    """Returns "list" for values joined by |, "words" for texts that differ, "characters" for names that all differ."""
    if sum(MARK in value for value in texts) >= 0.3 * len(texts):
        return LIST
    distinct = len(set(texts)) / len(texts)
    if distinct > 0.5 and sum(len(value.split()) > 1 for value in texts) >= 0.5 * len(texts):
        return "words"
    return "characters" if distinct > NEARLY and len(texts) >= 20 else "category"


LIST = "list"


def _kind_of_lists(known: list) -> str:
    cells = [value for _, value in known]
    parts = [part for cell in cells for part in cell if part is not None]  # a NaN in a column of Parquet
    if parts and all(isinstance(part, list | tuple) and part and _is_vector(part) for part in parts):
        return "audio"
    if not parts or not all(isinstance(part, int | float) and not isinstance(part, bool) for part in parts):
        return LIST
    if any(isinstance(part, float) for part in parts):
        return "vector"
    return "vector" if len({len(cell) for cell in cells}) == 1 and len(cells[0]) > 8 else LIST  # or codes of values


def _is_vector(part) -> bool:
    return all(isinstance(number, int | float) for number in part)


def _type(value: Any) -> str:
    if isinstance(value, bool):
        return "truth value"
    if isinstance(value, int | float | datetime.date) or type(value).__name__ == "Decimal":
        return "number"
    if isinstance(value, list | tuple):
        return "list"
    if isinstance(value, dict) and not {"bytes", "path", "array"} & set(value):
        return "object"
    if isinstance(value, bytes | dict):
        return "audio" if looks_like_a_sound(value) else "image"
    return "text"


def are_numbers(texts: Iterable[str]) -> bool:
    """Returns whether all texts are numbers."""
    return all(map(_is_number, texts))


def _is_number(text: str) -> bool:
    return bool(text) and text not in ("+", "-", ".") and NUMBER.fullmatch(text) is not None and _float(text)


def _float(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _number(value: Any) -> float:
    if isinstance(value, bool):
        raise TypeError("a truth value")
    if isinstance(value, datetime.datetime):
        return value.timestamp()
    if isinstance(value, datetime.date):
        return float((value - datetime.date(1970, 1, 1)).days)
    number = float(value)
    if not abs(number) <= LARGEST_NUMBER:
        raise ValueError(f"must be finite, and at most {LARGEST_NUMBER:.2g}")
    return number


def _text(value: Any) -> str | None:
    if isinstance(value, bytes):
        raise TypeError("bytes; decode them to texts first")
    if isinstance(value, list | tuple | dict):
        raise TypeError("a list" if isinstance(value, list | tuple) else "an object")
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = str(value)[:LONGEST]
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ValueError("holds half of a surrogate pair, which is no character") from None
    return text or None


def _listed(value: Any) -> list[str] | None:
    if isinstance(value, str):
        if value.startswith("[") and value.endswith("]"):
            with contextlib.suppress(ValueError):
                value = json.loads(value)
        if isinstance(value, str):
            value = [part.strip() for part in value.split(MARK)]
    elif not isinstance(value, list | tuple):
        value = [value]
    parts = [_text(part) for part in value if part is not None and part != ""]
    return list(dict.fromkeys(parts)) or None


def _vector(value: Any) -> list[float]:
    if isinstance(value, str):
        value = json.loads(value)
    if not isinstance(value, Iterable) or isinstance(value, dict | bytes):
        raise TypeError("must be a list of numbers")
    return [float("nan") if part is None else float(part) for part in value]


def _sound(value: Any) -> Any:
    if isinstance(value, bytes | dict) or (isinstance(value, str) and not value.startswith("[")):
        return value or None
    try:
        frames = np.asarray(json.loads(value) if isinstance(value, str) else value, np.float32)
    except (ValueError, TypeError):
        frames = np.zeros(0)
    if frames.ndim != 2 or not frames.size:
        raise ValueError("must be a file, or frames, a list of lists of numbers of one length")
    if not (np.abs(frames) <= LARGEST).all():
        raise ValueError(f"its frames must be numbers up to {LARGEST:,.0f}, without NaN; take their logarithms")
    return frames


_CONVERT = {
    "category": _text,
    "words": _text,
    "characters": _text,
    "list": _listed,
    "number": _number,
    "vector": _vector,
    "audio": _sound,
}
