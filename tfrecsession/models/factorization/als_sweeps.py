"""Half sweeps of alternating least squares: all rows of one side are solved, the other side is fixed.

The loss over users x and items y, with a confidence c and a target t for each seen pair:

    sum over seen pairs of (c (x.y)^2 - 2 t x.y + constant) + unobserved sum over all pairs of (x.y)^2
    + sum over x of penalty |x|^2 + sum over y of penalty |y|^2

The sum over all pairs never visits them: it is x'(Y'Y)x. Turning both sides by one orthogonal matrix does not change
the loss, so the Gramian Y'Y is made diagonal first, block by block. Then a row with few pairs can be solved in as many
unknowns as it has pairs (`layers.ridge`).
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
SPREAD = 1.2  # longest over shortest of the rows that are padded to one length


class Pairs(NamedTuple):
    """The seen pairs, row by row: offsets int64 [rows + 1]; columns int32, confidence and target float32 [pairs]."""

    offsets: np.ndarray
    columns: np.ndarray
    confidence: np.ndarray
    target: np.ndarray

    def transposed(self, columns: int) -> Pairs:
        """Returns the same pairs by column, of `columns` columns."""
        positions = np.arange(1, len(self.columns) + 1)  # as values: a pair of confidence 0 must not vanish
        turned = sparse.csr_matrix((positions, self.columns, self.offsets), (len(self.offsets) - 1, columns)).tocsc()
        order = turned.data - 1
        rows = turned.indices.astype(np.int32)
        return Pairs(turned.indptr.astype(np.int64), rows, self.confidence[order], self.target[order])


def diagonalize(own: np.ndarray | None, other: np.ndarray, block: int) -> np.ndarray:
    """Turns both sides, in place, so that the Gramian of `other` is diagonal within blocks; returns it, [dim, dim]."""
    gram = gramian(other)
    for first in range(0, other.shape[1], block):
        part = slice(first, first + block)
        _, turn = np.linalg.eigh(gram[part, part])
        turn = np.ascontiguousarray(turn[:, ::-1])  # [block, block], the largest eigenvalue first
        gram[part] = turn.T @ gram[part]
        gram[:, part] = gram[:, part] @ turn
        for table in (own, other):
            if table is not None:
                table[:, part] = tf.matmul(tf.constant(table[:, part]), tf.constant(turn.astype(np.float32))).numpy()
    return gram


def gramian(table: np.ndarray) -> np.ndarray:
    """Returns table' table, float64 [dim, dim]."""
    gram = np.zeros((table.shape[1], table.shape[1]))
    step = max(1, CELLS // table.shape[1])
    for first in range(0, len(table), step):
        rows = tf.constant(table[first : first + step])
        gram += tf.matmul(rows, rows, transpose_a=True).numpy()
    return (gram + gram.T) / 2


def half_sweep(
    own: np.ndarray, other: np.ndarray, pairs: Pairs, penalty: np.ndarray, unobserved: float, block: int, cg_steps=None
) -> tuple[float, np.ndarray]:
    """Solves every row of `own`, in place; `other` is turned, in place.

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
    from_zero = whole and cg_steps is None  # an exact solve does not use the old rows
    other_gram = diagonalize(None if from_zero else own, other, min(block, dim))
    gram, penalty = (unobserved * other_gram).astype(np.float32), penalty.astype(np.float32)
    own[(count == 0) | from_zero] = 0
    scores = pair_scores(own, other, *pairs[:2])  # [pairs]
    for first in range(0, dim, block):
        part = slice(first, first + block)
        x, table = np.ascontiguousarray(own[:, part]), np.ascontiguousarray(other[:, part])  # [..., block]
        diagonal = np.maximum(np.diag(gram)[part], 0)  # [block]
        # [rows, block]: the other blocks' share of the sum over all pairs
        pull = np.zeros_like(x) if whole else x * diagonal - tf.matmul(own, gram[:, part]).numpy()
        rows = np.flatnonzero(count)
        if cg_steps is None and _on_gpu():
            rows = _solve_in_batches(rows, x, table, pairs, scores, pull, diagonal, penalty)
        solve_rows(rows, x, table, pairs, scores, pull, diagonal, penalty, cg_steps)
        own[:, part] = x
    seen_loss = np.einsum("p,p->", pairs.confidence * scores - 2 * pairs.target, scores, dtype=np.float64)
    return float(seen_loss), other_gram


def _on_gpu() -> bool:
    return bool(tf.config.list_physical_devices("GPU"))


def _solve_in_batches(rows, x, table, pairs: Pairs, scores, pull, diagonal, penalty) -> np.ndarray:
    """Runs `solve_rows` in TensorFlow's ops, for a GPU. Returns the rows with too many pairs to be gathered at once."""
    lengths, block = np.diff(pairs.offsets), x.shape[1]
    too_long = lengths * block > 4 * CELLS
    table, diagonal = tf.constant(table), tf.constant(diagonal)
    for chunk in _chunks(rows[~too_long[rows]], lengths, block):
        step = np.arange(lengths[chunk].max())
        mask = step < lengths[chunk, None]  # [chunk, longest], as the following
        index = np.where(mask, pairs.offsets[chunk, None] + step, 0)
        of_pairs = (array[index] * mask for array in (pairs.confidence, pairs.target, scores))
        of_rows = x[chunk], pull[chunk], diagonal + penalty[chunk, None]  # [chunk, block] each
        solved = _solved(table, pairs.columns[index], *of_pairs, *of_rows)
        x[chunk], new_scores = (tensor.numpy() for tensor in solved)
        scores[index[mask]] = new_scores[mask]
    return rows[too_long[rows]]


def _chunks(rows: np.ndarray, lengths: np.ndarray, dim: int) -> Iterator[np.ndarray]:
    """Yields rows of about the same length, as many as fit in memory."""
    order = rows[np.argsort(lengths[rows], kind="stable")]
    ordered, first = lengths[order], 0
    while first < len(order):
        similar = np.searchsorted(ordered, SPREAD * ordered[first], side="right")
        longest = int(ordered[similar - 1])
        fits = max(1, CELLS // max(longest * dim, min(longest, dim) ** 2))
        last = min(similar, first + fits)
        yield order[first:last]
        first = last


@tf.function(reduce_retracing=True, autograph=False)
def _solved(table, columns, confidence, target, scores, x, pull, background):
    """Returns the new rows x [n, dim] and the new scores of their pairs [n, longest]."""
    features = tf.gather(table, columns)  # [n, longest, dim]
    rest = scores - tf.linalg.matvec(features, x)  # [n, longest]
    start = pull / background  # [n, dim]
    missing = target - confidence * (rest + tf.linalg.matvec(features, start))  # [n, longest]
    new = start + ridge(features, confidence, missing, background)  # [n, dim]
    return new, rest + tf.linalg.matvec(features, new)


def loss(seen: float, own: np.ndarray, other: np.ndarray, gram: np.ndarray, penalties, unobserved: float) -> float:
    """Sums the loss of the seen pairs, of all pairs (`gram` is the Gramian of `other`), and both penalties."""
    all_pairs = unobserved * float((gramian(own) * gram).sum()) if unobserved else 0.0
    penalized = (
        float(np.dot(penalty, np.einsum("nd,nd->n", table, table, dtype=np.float64)))
        for penalty, table in zip(penalties, (own, other), strict=True)
    )
    return seen + all_pairs + sum(penalized)
