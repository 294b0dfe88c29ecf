"""Alternating least squares: all rows of one side of a factorization solved, the other side held.

The loss over people x and items y, with a confidence c and a target t for each pair that was seen:

    sum over seen pairs of (c (x.y)^2 - 2 t x.y + constant) + unobserved sum over all pairs of (x.y)^2
    + sum over x of penalty |x|^2 + sum over y of penalty |y|^2

The sum over all pairs never visits them: it is x'(Y'Y)x. Both sides may be turned by one orthogonal matrix without a
change to the loss, so the Gramian Y'Y is made diagonal first, block by block; that lets a row with few pairs be solved
in as many unknowns as it has pairs (`layers.ridge`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from scipy import sparse

from tfrecsession.layers import ridge
from tfrecsession.models.factorization.als_row_kernel import pair_scores, solve_rows

CELLS = 1 << 22  # numbers gathered at once, 16 MB: memory does not grow with the log
SPREAD = 1.2  # lengths of the rows that are padded to one another


class Pairs(NamedTuple):
    """The seen pairs, row by row: offsets int64 [rows + 1]; columns int32, confidence and target float32 [pairs]."""

    offsets: np.ndarray
    columns: np.ndarray
    confidence: np.ndarray
    target: np.ndarray

    def transposed(self, columns: int) -> Pairs:
        """The same pairs by column, of `columns` columns."""
        # positions for values: a pair of confidence 0 must not vanish
        places = np.arange(1, len(self.columns) + 1)
        turned = sparse.csr_matrix((places, self.columns, self.offsets), (len(self.offsets) - 1, columns)).tocsc()
        order = turned.data - 1
        rows = turned.indices.astype(np.int32)
        return Pairs(turned.indptr.astype(np.int64), rows, self.confidence[order], self.target[order])


def diagonalize(own: np.ndarray | None, other: np.ndarray, block: int) -> np.ndarray:
    """Turn both sides, in place, so that the Gramian of `other` is diagonal within blocks; returns it, [dim, dim]."""
    gram = gramian(other)
    for first in range(0, other.shape[1], block):
        here = slice(first, first + block)
        _, turn = np.linalg.eigh(gram[here, here])
        turn = np.ascontiguousarray(turn[:, ::-1])  # the largest first
        gram[here] = turn.T @ gram[here]
        gram[:, here] = gram[:, here] @ turn
        for table in (own, other):
            if table is not None:
                table[:, here] = tf.matmul(tf.constant(table[:, here]), tf.constant(turn.astype(np.float32))).numpy()
    return gram


def gramian(table: np.ndarray) -> np.ndarray:
    """table' table, float64 [dim, dim]."""
    found = np.zeros((table.shape[1], table.shape[1]))
    step = max(1, CELLS // table.shape[1])
    for first in range(0, len(table), step):
        some = tf.constant(table[first : first + step])
        found += tf.matmul(some, some, transpose_a=True).numpy()
    return (found + found.T) / 2


def half_sweep(
    own: np.ndarray, other: np.ndarray, pairs: Pairs, penalty: np.ndarray, unobserved: float, block: int, cg_steps=None
) -> tuple[float, np.ndarray]:
    """Solve every row of `own`, in place; `other` is turned, in place.

    Args:
        own: float32 [rows, dim].
        other: float32 [columns, dim].
        pairs: the seen pairs, by rows of `own`.
        penalty: float [rows], above 0 where the row has pairs. A row without pairs becomes 0.
        unobserved: weight of all pairs.
        block: unknowns solved at once: dim is exact least squares; less is one Newton step for each block in turn, at
            pairs * dim * block + rows * dim * block^2 multiplications (iALS++).
        cg_steps: conjugate-gradient steps in place of each exact solve, on the CPU; None: exact.

    Returns:
        The sum over the seen pairs of c (x.y)^2 - 2 t x.y, afterwards, and the Gramian of `other`.
    """
    dim, count = own.shape[1], np.diff(pairs.offsets)
    whole = block >= dim
    anew = whole and cg_steps is None  # of the old rows nothing is used
    found = diagonalize(None if anew else own, other, min(block, dim))
    gram, penalty = (unobserved * found).astype(np.float32), penalty.astype(np.float32)
    own[(count == 0) | anew] = 0
    scores = pair_scores(own, other, *pairs[:2])
    for first in range(0, dim, block):
        here = slice(first, first + block)
        x, table = np.ascontiguousarray(own[:, here]), np.ascontiguousarray(other[:, here])
        diagonal = np.maximum(np.diag(gram)[here], 0)
        # what the other blocks leave to the background
        pull = np.zeros_like(x) if whole else x * diagonal - tf.matmul(own, gram[:, here]).numpy()
        rows = np.flatnonzero(count)
        if cg_steps is None and _on_gpu():
            rows = _solve_in_batches(rows, x, table, pairs, scores, pull, diagonal, penalty)
        solve_rows(rows, x, table, pairs, scores, pull, diagonal, penalty, cg_steps)
        own[:, here] = x
    return float(np.einsum("p,p->", pairs.confidence * scores - 2 * pairs.target, scores, dtype=np.float64)), found


def _on_gpu() -> bool:
    return bool(tf.config.list_physical_devices("GPU"))


def _solve_in_batches(rows, x, table, pairs: Pairs, scores, pull, diagonal, penalty) -> np.ndarray:
    """`solve_rows` in TensorFlow's ops, for a GPU. Returns the rows with too many pairs to be gathered at once."""
    lengths, block = np.diff(pairs.offsets), x.shape[1]
    long = lengths * block > 4 * CELLS
    of_items, diagonal = tf.constant(table), tf.constant(diagonal)
    for some in _chunks(rows[~long[rows]], lengths, block):
        step = np.arange(lengths[some].max())
        there = step < lengths[some, None]
        place = np.where(there, pairs.offsets[some, None] + step, 0)
        of_pairs = (array[place] * there for array in (pairs.confidence, pairs.target, scores))
        held = x[some], pull[some], diagonal + penalty[some, None]
        x[some], found = (part.numpy() for part in _solved(of_items, pairs.columns[place], *of_pairs, *held))
        scores[place[there]] = found[there]
    return rows[long[rows]]


def _chunks(rows: np.ndarray, lengths: np.ndarray, dim: int) -> Iterator[np.ndarray]:
    """Rows of about the same length, as many as fit in memory."""
    order = rows[np.argsort(lengths[rows], kind="stable")]
    ordered, first = lengths[order], 0
    while first < len(order):
        alike = np.searchsorted(ordered, SPREAD * ordered[first], side="right")
        longest = int(ordered[alike - 1])
        fits = max(1, CELLS // max(longest * dim, min(longest, dim) ** 2))
        last = min(alike, first + fits)
        yield order[first:last]
        first = last


@tf.function(reduce_retracing=True, autograph=False)
def _solved(table, columns, confidence, target, scores, x, pull, background):
    """The rows x [n, dim] anew, and the scores of their pairs [n, longest]."""
    features = tf.gather(table, columns)
    rest = scores - tf.linalg.matvec(features, x)
    start = pull / background
    missing = target - confidence * (rest + tf.linalg.matvec(features, start))
    new = start + ridge(features, confidence, missing, background)
    return new, rest + tf.linalg.matvec(features, new)


def loss(seen: float, own: np.ndarray, other: np.ndarray, gram: np.ndarray, penalties, unobserved: float) -> float:
    """The whole loss: that of the seen pairs, of all pairs (`gram` is the Gramian of `other`), and both penalties."""
    everything = unobserved * float((gramian(own) * gram).sum()) if unobserved else 0.0
    sizes = (
        float(np.dot(penalty, np.einsum("nd,nd->n", table, table, dtype=np.float64)))
        for penalty, table in zip(penalties, (own, other), strict=True)
    )
    return seen + everything + sum(sizes)
