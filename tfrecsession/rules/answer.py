"""The answer under rules: the list, what each rule removed, and why the list is short."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np

from tfrecsession.rules.rules import SEPARATOR


class RuledRecommendations(NamedTuple):
    """The lists of histories under rules, in the order in which they are shown; `""` where fewer items are left.

    Attributes:
        items: object (str) [histories, k].
        scores: float32 [histories, k], with popularity and boosts; not always falling.
        removed: a dict for each history, rule -> how many items it removed, see the guide.
        notes: for each history why its list is shorter than k or lacks a pinned item, `""` where neither is so.
    """

    items: np.ndarray
    scores: np.ndarray
    removed: list[dict[str, int]]
    notes: list[str]


def ruled(items, scores, removed, notes, rules: list[list[str]]) -> RuledRecommendations:
    """Returns the answer under rules, and warns of lists that are shorter than k.

    Args:
        items, scores: [n, k].
        removed: int [n, at least the rules of the row].
        notes: str or bytes [n].
        rules: the texts of each row.
    """
    counts = [
        {text.replace(SEPARATOR, " "): int(count) for text, count in zip(texts, row, strict=False)}
        for texts, row in zip(rules, removed, strict=True)
    ]
    notes = [note.decode() if isinstance(note, bytes) else str(note) for note in notes]
    notes = ["; ".join(filter(None, [note, *_kept_out(*row)])) for note, *row in zip(notes, rules, items, strict=True)]
    short = [index for index, note in enumerate(notes) if note]
    if short:
        others = f", and {len(short) - 1:,} more" if len(short) > 1 else ""
        warnings.warn(f"history {short[0] + 1}: {notes[short[0]]}{others}", stacklevel=3)
    return RuledRecommendations(items, scores, counts, notes)


def _kept_out(texts: list[str], items):
    """Yields a note for each pinned item that is not in the list."""
    for name, *fields in (text.split(SEPARATOR) for text in texts):
        if name == "pin" and int(fields[0]) <= len(items) and fields[1] not in items:
            yield f"pinned {fields[1]} does not pass the filters"


def padded_texts(rules: list[list[str]]) -> list[list[str]]:
    """Pads the texts of several requests with `""` to one length, at least 1."""
    width = max([1, *map(len, rules)])
    return [[*texts, *[""] * (width - len(texts))] for texts in rules]
