"""Codes of items: a few small numbers for each, in place of a vector of its own, see `layers.items.coded_items`."""

from __future__ import annotations

import hashlib
import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from tfrecsession.errors import InputError
from tfrecsession.sessions.vocabulary import FIRST, Items

KINDS = ("hashed", "qr", "bloom", "jpq", "chars")
LEAST, MOST = 4, 8  # codes of jpq; two of them collapse, more than eight gain nothing (arXiv 2312.06165)
SMALLER = 20  # a hashed table has this share of the full table's rows
SHARED = 256  # values of a jpq code that items share
ITEMS_PER_VALUE, MOST_VALUES = 4, 10_240  # of jpq: a million items x 128 take a twentieth of the full table
CHARACTERS = 32  # bytes of an id that are read at most
BLOCK = 1 << 18  # sessions that are read at once
COLUMNS, STEPS = 4, 4  # of the smoothed numbers that a jpq code follows from
AT_A_TIME = 1 << 27  # of these numbers that are in memory at once; a pass takes four times their half gigabyte


@dataclass(frozen=True)
class ItemCodes:
    """The codes of a catalogue's items.

    Attributes:
        kind: one of KINDS.
        codes: unsigned whole numbers [items, count], each below `values`.
        values: how many values a code may have: the rows of a sub-table.
        vocabulary: fingerprint of the catalogue.
    """

    kind: str
    codes: np.ndarray
    values: int
    vocabulary: str

    def __post_init__(self):
        codes = np.asarray(self.codes)
        if self.kind not in KINDS:
            raise InputError(f"kind={self.kind!r}: must be one of {', '.join(KINDS)}")
        if codes.ndim != 2 or codes.dtype.kind not in "iu":
            raise InputError(f"codes: must be whole numbers [items, count], not {codes.dtype} {list(codes.shape)}")
        if codes.size and not 0 <= codes.min() <= codes.max() < self.values:
            raise InputError(
                f"codes: must be from 0 to {self.values - 1:,}, below values={self.values}; they are from "
                f"{codes.min():,} to {codes.max():,}"
            )

    def check(self, items: Items) -> None:
        """Checks that these are the codes of a catalogue.

        Raises:
            InputError: they belong to another one, or are not a row for each item.
        """
        if len(self.codes) != len(items):
            raise InputError(
                f"codes: must have a row for each of the {len(items):,} items, not {len(self.codes):,} rows"
            )
        if self.vocabulary != items.fingerprint:
            raise InputError(
                f"codes: must be those of this vocabulary, {items.fingerprint}; they were made for {self.vocabulary}"
            )


def dtype_of(values: int) -> str:
    """Returns the smallest dtype of codes below `values`."""
    return "uint8" if values <= 1 << 8 else "uint16" if values <= 1 << 16 else "int32"


def shape_of(kind: str, items: Items, width: int, codes: int | None, values: int | None) -> tuple[int, int]:
    """Returns how many codes an item has, and how many values each.

    Args:
        kind: one of KINDS.
        items: the catalogue.
        width: of an item's vector.
        codes, values: as they are given; None: chosen here.

    Raises:
        InputError: numbers that do not fit the kind or the width.
    """
    fixed = {"hashed": 1, "qr": 2}.get(kind)
    if fixed is not None and codes not in (None, fixed):
        raise InputError(f"codes={codes!r}: must be {fixed} with items_as={kind!r}, or left out")
    if kind == "jpq" and codes is None:
        codes = next((count for count in range(MOST, LEAST - 1, -1) if width % count == 0), None)
        if codes is None:
            raise InputError(
                f"codes=None: none of {LEAST} to {MOST} divides the width of the item vectors, {width}; choose another "
                f"width, e.g. {-(-width // MOST) * MOST}"
            )
    if kind == "jpq" and (codes > width or width % codes):
        fits = [str(count) for count in range(LEAST, min(width, 32) + 1) if width % count == 0]
        raise InputError(
            f"codes={codes}: must divide the width of the item vectors, {width}, with items_as='jpq'; "
            f"e.g. {', '.join(fits[:3]) or width}"
        )
    if kind == "chars":
        longest = max((len(item.encode()) for item in items.ids.tolist()), default=1) if codes is None else codes
        return codes or max(1, min(longest, CHARACTERS)), 256
    hashed = max(-(-len(items) // SMALLER), min(len(items), 64), 2)
    learned = min(max(SHARED, len(items) // ITEMS_PER_VALUE), MOST_VALUES)
    usual = {"qr": math.isqrt(max(len(items) - 1, 0)) + 1, "jpq": learned}.get(kind, hashed)
    count, values = fixed or codes or 3, usual if values is None else values
    if kind == "qr" and values**2 < len(items):
        raise InputError(f"code_values={values}: must be at least {usual}, the square root of the {len(items):,} items")
    if kind == "bloom" and count > values:
        raise InputError(f"codes={count}: must be at most {values}, the rows of the table (code_values)")
    return count, values


def make_codes(kind: str, items: Items, count: int, values: int, sessions=None) -> ItemCodes:
    """Makes the codes of a catalogue.

    Args:
        kind: one of KINDS.
        items: the catalogue.
        count, values: of `shape_of`.
        sessions: the training split, `Sessions`, which "jpq" learns its codes from.

    Raises:
        InputError: "jpq" without sessions.
    """
    if kind == "jpq":
        if sessions is None:
            raise InputError(
                "items_as='jpq': must be learned from a log: use the items of trs.load(...), or data.item_codes('jpq')"
            )
        codes = learned_codes(sessions.arrays, items, count, values)
    elif kind == "qr":
        codes = np.stack(np.divmod(np.arange(len(items)), values), axis=1)  # one divisor for both, so no pair repeats
    else:
        codes = codes_of_ids(kind, items.ids, count, values)
    warn_of_ties(kind, codes, count)
    return ItemCodes(kind, codes.astype(dtype_of(values)), values, items.fingerprint)


def warn_of_ties(kind: str, codes: np.ndarray, count: int) -> None:
    """Warns of kinds whose items cannot all be told apart."""
    if kind == "qr" or (kind == "jpq" and count < LEAST):
        warnings.warn(
            f"items_as={kind!r} with {count} codes: half of an item's vector or more is that of many others, and its "
            "recommendations collapse in published tables (NDCG of SASRec on ML-1M .009 instead of .131, "
            "arXiv 2312.06165); items_as='jpq' with 4 to 8 codes keeps them",
            stacklevel=2,
        )
    if kind == "chars" and (same := len(codes) - len(np.unique(codes, axis=0))):
        warnings.warn(
            f"items_as='chars' reads {count} bytes of an id: {same:,} items have the same vector as another one",
            stacklevel=2,
        )


def codes_of_ids(kind: str, ids, count: int, values: int) -> np.ndarray:
    """Returns codes that follow from the text of ids alone, int64 [items, count]: characters, or hashes."""
    encoded = [item.encode() for item in np.asarray(ids, object).tolist()]
    if kind == "chars":
        padded = b"".join(item[-count:].ljust(count, b"\0") for item in encoded)
        return np.frombuffer(padded, np.uint8).reshape(-1, count).astype(np.int64)
    digests = b"".join(hashlib.blake2b(item, digest_size=16).digest() for item in encoded)
    first, step = np.frombuffer(digests, "<u8").reshape(-1, 2).T
    codes = np.zeros((len(encoded), count), np.int64)
    for index in range(count):  # double hashing
        code = (first + np.uint64(index) * step) % np.uint64(values)
        if kind == "bloom":  # rows are distinct, as the paper recommends
            for _ in range(index):
                again = (codes[:, :index] == code[:, None].astype(np.int64)).any(axis=1)
                code = np.where(again, (code + np.uint64(1)) % np.uint64(values), code)
        codes[:, index] = code
    return codes


# Codes from the sessions ---------------------------------------------------------------------------------------------


def learned_codes(arrays, items: Items, count: int, values: int, seed: int = 0) -> np.ndarray:
    """Returns codes of items that are equal where sessions share the items, int64 [items, count].

    RecJPQ (arXiv 2312.06165) cuts a factor of the matrix of sessions and items into quantiles for each code. Few
    factors tell few groups of items apart, and logs have many. Here a code follows from `COLUMNS` of `smoothed`
    instead: the order of their `tree_order` is cut into parts of as many items. Each code has random numbers of its
    own, so its borders between neighbours lie elsewhere. The most frequent items have values of their own in every
    code, which is a vector of their own; the others share the values that are left.
    """
    random = np.random.default_rng(seed)
    frequent, others = np.split(items.by_count(), [min(own_values(values), len(items))])
    own, others = len(frequent), np.sort(others)
    every = np.empty((len(items), count), np.int64)
    every[frequent] = np.arange(own)[:, None]
    together = max(AT_A_TIME // (COLUMNS * items.size), 1)
    for first in range(0, count, together):
        group = range(first, min(first + together, count))
        found = smoothed(lambda: _chunks(arrays), items.size, COLUMNS * len(group), random)
        for index, points in zip(group, np.split(found[others], len(group), axis=1), strict=True):
            order = tree_order(points + random.normal(0.0, 1e-5, points.shape), values - own)  # noise breaks ties
            every[others[order], index] = own + np.arange(len(order)) * (values - own) // max(len(order), 1)
    return every


def tree_order(points: np.ndarray, parts: int) -> np.ndarray:
    """Returns rows in the order of a balanced tree, int64 [n], so that rows of one of `parts` equal parts are near.

    All rows are halved by their first column, both halves by the second, and so on, in turn, until there are as many
    cells as parts. One column gives its order.

    Args:
        points: float [n, columns].
        parts: how many.
    """
    count, columns = points.shape
    ranks = np.argsort(np.argsort(points, axis=0, kind="stable"), axis=0)  # no two are equal: one key sorts cells too
    cell = np.zeros(count, np.int64)
    for level in range(max(parts - 1, 0).bit_length()):
        order = np.argsort(cell * count + ranks[:, level % columns])
        sizes = np.bincount(cell)
        of = cell[order]
        place = np.arange(count) - (np.cumsum(sizes) - sizes)[of]
        cell[order] = 2 * of + (2 * place >= sizes[of])
    return np.argsort(cell * count + ranks[:, 0])


def own_values(values: int) -> int:
    """Returns how many of the values of a jpq code belong to one item each, the most frequent ones."""
    return max(values - SHARED, 0)


def smoothed(chunks: Callable[[], Iterator[tuple]], size: int, count: int, random) -> np.ndarray:
    """Returns random numbers of items, near for items that sessions share, float32 [items, count].

    Random projections of the walk from items through sessions to items, as in FastRP (arXiv 1908.11512): each item has
    random numbers; a session has the mean of its items'; then an item has the mean of its sessions', and so on, `STEPS`
    times. Two items that many short walks connect end near each other, in small groups as in large ones, while groups
    stay apart. Each pass over the log takes the memory of the items. An item without others in its sessions keeps its
    numbers.

    Args:
        chunks: yields items int32 [events] and offsets int64 [sessions + 1]; 0 and 1, unknown items, do not count.
        size: item ids; the items are those from 2 on.
        count: how many for each item.
        random: a generator.
    """
    found = random.standard_normal((size, count), np.float32)[FIRST:]
    for _ in range(STEPS):
        sums, sessions = np.zeros_like(found), np.zeros(len(found), np.float32)
        for values, offsets in chunks():
            ones = np.ones(len(values), np.float32)
            # copied, as the next line sorts the items of a session in place
            matrix = sparse.csr_matrix((ones, np.array(values), np.array(offsets)), (len(offsets) - 1, size))
            matrix.sum_duplicates()
            matrix.data[:] = 1.0
            matrix = matrix[:, FIRST:]
            lengths = np.diff(matrix.indptr)
            matrix = matrix[lengths > 1]
            sums += matrix.T @ ((matrix @ found) / lengths[lengths > 1, None].astype(np.float32))
            sessions += np.bincount(matrix.indices, minlength=len(found))
        moved = sessions > 0
        if not moved.any():
            break
        means = sums[moved] / sessions[moved, None]
        means -= means.mean(axis=0)  # the part that all items share; without it the rest would lose its digits
        found[moved] = means / (means.std(axis=0) + np.finfo(np.float32).tiny)
    return found


def _chunks(arrays) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields items and offsets of at most `BLOCK` sessions, which bounds the memory of their matrix."""
    for values, offsets in arrays.pieces():
        for first in range(0, len(offsets) - 1, BLOCK):
            part = np.asarray(offsets[first : first + BLOCK + 1])
            yield values[part[0] : part[-1]], part - part[0]
