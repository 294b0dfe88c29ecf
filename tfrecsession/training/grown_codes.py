"""Codes of new items in a compressed item table, beside those of the known ones."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tfrecsession.sessions.item_codes import ItemCodes, codes_of_ids, dtype_of
from tfrecsession.sessions.vocabulary import FIRST, Items


def grown_codes(model, items: Items, before: np.ndarray, start: Callable | None = None) -> ItemCodes:
    """Returns the codes of a larger vocabulary: known items keep theirs.

    Codes of a new item follow from its id; those of "qr" are the next unused pairs. With "jpq", each code is the row of
    its small table that is nearest to the mean of similar items; without `start` it follows from the id.

    Args:
        model: a trained model with a `code_table`.
        items: the larger vocabulary.
        before: int64 [items.size], the row of an id in the trained model; -1: a new item.
        start: float32 [rows of the trained table, width] -> [new, width], means of similar items.
    """
    codes, kind, values = model.code_table.codes.numpy().astype(np.int64), model.items_as, model.code_values
    grown = codes[np.maximum(before, 0)]
    new = before < 0
    if kind == "jpq" and start is not None:
        grown[new] = _nearest(model.output_items, codes, start)
    elif kind == "qr":
        grown[new] = _unused(codes[FIRST:], values, int(new.sum()))
    else:
        grown[new] = codes_of_ids(kind, items.ids[new[FIRST:]], codes.shape[1], values)
    return ItemCodes(kind, grown[FIRST:].astype(dtype_of(values)), values, items.fingerprint)


def _nearest(layer, codes: np.ndarray, start: Callable) -> np.ndarray:
    """Returns for each new item and small table the row nearest to the mean of similar items, int64 [new, count]."""
    tables = layer.table.numpy().reshape(layer.count, layer.values, -1)  # (count, values, width)
    found = []
    for index, table in enumerate(tables):
        means = start(table[codes[:, index]])  # (new, width)
        found.append((np.sum(table**2, axis=1) - 2 * means @ table.T).argmin(axis=1))
    return np.stack(found, axis=1)


def _unused(codes: np.ndarray, values: int, count: int) -> np.ndarray:
    """Returns pairs of quotient and remainder that no item has, int64 [count, 2], then those of the first items."""
    free = np.setdiff1d(np.arange(values**2), codes[:, 0] * values + codes[:, 1])
    numbers = np.concatenate([free, np.arange(count)])[:count] % values**2
    return np.stack(np.divmod(numbers, values), axis=1)
