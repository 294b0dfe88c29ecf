"""Initial vectors of new items: the mean of similar known items."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from tfrecsession.batches import Data
from tfrecsession.errors import InputError
from tfrecsession.sessions.content import Content

BLOCK = 1 << 14  # groups whose sums are in memory at once
FIRST = 2  # row of the first item; padding and the unknown item come before it


@dataclass(frozen=True)
class SimilarItems:
    """The known items that each new item is similar to: those in its groups.

    Attributes:
        groups: float32 [new, groups], 1 where a new item is in a group.
        known: float32 [groups, rows of the trained table], the weight of a known item in a group.
    """

    groups: sparse.csc_matrix
    known: sparse.csr_matrix

    def start(self, table: np.ndarray) -> np.ndarray:
        """Returns the rows of new items in a trained table, float32 [rows, ...] -> [new, ...]: the mean of the known
        items in the groups of each.

        Items without similar ones get the mean of all items. The table may have any width, so that input and output
        tables, and biases, start from the same items. The cost is the number of entries of `groups` and `known`, times
        the width, and a pass for the mean.
        """
        rows = table.reshape(len(table), -1)
        total = np.zeros((self.groups.shape[0], rows.shape[1]), np.float32)
        weight = np.zeros(len(total), np.float32)
        for first in range(0, self.groups.shape[1], BLOCK):
            block = slice(first, first + BLOCK)
            groups, known = self.groups[:, block], self.known[block]
            total += groups @ (known @ rows)
            weight += groups @ np.asarray(known.sum(axis=1)).ravel()
        alone = weight == 0
        total[~alone] /= weight[~alone, None]
        total[alone] = rows[FIRST:].mean(axis=0)
        return total.reshape(-1, *table.shape[1:])


def neighbours(newer: Data, before: np.ndarray, size: int) -> SimilarItems:
    """Groups items by the sessions of the newer log: a new item is similar to the items in its sessions, each once per
    session.

    Args:
        newer: the newer data, of which the training sessions count.
        before: int64 [rows of the newer data], the row of an id in the trained table; -1: a new item.
        size: rows of the trained table.
    """
    new = np.cumsum(before < 0) - 1
    rows, columns, sessions = [], [], 0
    of_new, of_known = [], []
    for values, offsets in newer.train.arrays.pieces():
        session = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
        fresh, known = before[values] < 0, before[values] >= FIRST
        both = np.zeros((2, len(offsets) - 1), bool)
        both[0, session[fresh]], both[1, session[known]] = True, True
        kept = both.all(axis=0)
        group = np.cumsum(kept) - 1 + sessions
        sessions += int(kept.sum())
        fresh &= kept[session]
        known &= kept[session]
        rows.append(group[session[fresh]])
        of_new.append(new[values[fresh]])
        columns.append(group[session[known]])
        of_known.append(before[values[known]])
    groups = _ones(_end_to_end(of_new), _end_to_end(rows), ((before < 0).sum(), sessions))
    return SimilarItems(groups.tocsc(), _ones(_end_to_end(columns), _end_to_end(of_known), (sessions, size)))


def content(newer: Data, before: np.ndarray, size: int) -> SimilarItems:
    """Groups items by the values of content columns, categories or those of a list: a new item is similar to the items
    that share a value. Every value of an item has the same weight, however many items have it. Numbers, and texts that
    no known item shares, have no effect.

    Args: see `neighbours`.

    Raises:
        InputError: the items have no content that they could share.
    """
    table = newer.items.content
    read = Content.of(table) if table is not None else None
    if read is None or not read.widths:
        raise InputError(
            "start='content': this data set has no content that items could share (categories, titles); use "
            "start='neighbours'"
        )
    codes, _ = read.encode(table)
    item = np.repeat(np.arange(FIRST, FIRST + len(codes)), codes.shape[1])
    value = codes.ravel()
    item, value = item[value > 0], value[value > 0]
    known = before[item] >= FIRST
    has = _ones(value[known], before[item[known]], (read.rows, size))
    share = 1.0 / np.maximum(np.asarray(has.sum(axis=1)).ravel(), 1.0)
    means = (sparse.diags(share) @ has).tocsr().astype(np.float32)
    new = np.cumsum(before < 0) - 1
    return SimilarItems(_ones(new[item[~known]], value[~known], ((before < 0).sum(), read.rows)).tocsc(), means)


def no_groups(newer: Data, before: np.ndarray, size: int) -> SimilarItems:
    """Forms no groups: every new item starts from the mean of all. Args: see `neighbours`."""
    return SimilarItems(sparse.csc_matrix(((before < 0).sum(), 0), dtype=np.float32), sparse.csr_matrix((0, size)))


STARTS: dict[str, Callable[[Data, np.ndarray, int], SimilarItems]] = {
    "neighbours": neighbours,
    "content": content,
    "mean": no_groups,
}


def _ones(rows: np.ndarray, columns: np.ndarray, shape) -> sparse.csr_matrix:
    """Returns a sparse matrix with 1 at each entry, however often it is given."""
    matrix = sparse.csr_matrix((np.ones(len(rows), np.float32), (rows, columns)), shape=shape)
    matrix.sum_duplicates()
    matrix.data[:] = 1.0
    return matrix


def _end_to_end(parts: list[np.ndarray]) -> np.ndarray:
    return np.concatenate([np.zeros(0, np.int64), *parts])
