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
    own: np.ndarray, other: np.ndarray, pairs: Pairs, penalty: np.ndarray, unobserved: float, block: int
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

    Returns:
        The sum over the seen pairs of c (x.y)^2 - 2 t x.y, afterwards, and the Gramian of `other`.
    """
    dim = own.shape[1]
    block = min(block, dim)
    found = diagonalize(own if block < dim else None, other, block)  # all of a row is replaced, or a block in turn
    gram = tf.constant((unobserved * found).astype(np.float32))
    table = tf.constant(other)
    loss, lengths = 0.0, np.diff(pairs.offsets)
    own[lengths == 0] = 0
    flat = [tf.constant(array) for array in pairs[1:]]
    for rows in _chunks(lengths, dim, block):
        start = pairs.offsets[rows]
        x, weight = tf.constant(own[rows]), tf.constant(penalty[rows].astype(np.float32))
        if lengths[rows[-1]] * dim > 4 * CELLS:  # one row, which alone is too long to gather
            features, confidence, target = _condensed(table, pairs, start[0], start[0] + lengths[rows[0]])
        else:
            features, confidence, target = _gathered(table, *flat, tf.constant(start), tf.constant(lengths[rows]))
        own[rows], part = (
            found.numpy() for found in _solved(features, confidence, target, x, weight, gram, dim, block)
        )
        loss += float(part)
    return loss, found


def _chunks(lengths: np.ndarray, dim: int, block: int) -> Iterator[np.ndarray]:
    """Rows of about the same length, as many as fit in memory; rows without pairs are left out."""
    order = np.argsort(lengths, kind="stable")
    order = order[np.searchsorted(lengths[order], 1) :]
    ordered, first = lengths[order], 0
    while first < len(order):
        alike = np.searchsorted(ordered, SPREAD * ordered[first], side="right")
        longest = int(ordered[alike - 1])
        fits = max(1, CELLS // max(longest * dim, min(longest, block) ** 2))
        last = min(alike, first + fits)
        yield order[first:last]
        first = last


@tf.function(reduce_retracing=True, autograph=False)
def _gathered(table, columns, confidence, target, start, length):
    step = tf.range(tf.reduce_max(length))[None]
    there = step < length[:, None]
    place = tf.where(there, start[:, None] + step, 0)
    mask = tf.cast(there, tf.float32)
    confidence, target = (tf.gather(part, place) * mask for part in (confidence, target))
    return tf.gather(table, tf.gather(columns, place)), confidence, target


@tf.function(reduce_retracing=True, autograph=False)
def _solved(features, confidence, target, x, penalty, gram, dim, block):
    """The rows x [n, dim] after a step in every block of unknowns, and what their seen pairs cost."""
    if block >= dim:  # as below with nothing left to others, without the passes over the features
        x = ridge(features, confidence, target, tf.maximum(tf.linalg.diag_part(gram), 0.0) + penalty[:, None])
        return x, _cost(confidence, target, tf.linalg.matvec(features, x))
    scores = tf.linalg.matvec(features, x)  # [n, rows]
    for first in range(0, dim, block):
        here = slice(first, min(first + block, dim))
        own, seen = x[:, here], features[:, :, here]
        diagonal = tf.linalg.diag_part(gram)[here]
        background = tf.maximum(diagonal, 0.0) + penalty[:, None]
        # what the other blocks leave to the background, and what that start and they leave to the seen pairs
        start = -(tf.matmul(x, gram[:, here]) - own * diagonal) / background
        rest = scores - tf.linalg.matvec(seen, own)
        start_scores = tf.linalg.matvec(seen, start)
        new = start + ridge(seen, confidence, target - confidence * (rest + start_scores), background)
        scores = rest + tf.linalg.matvec(seen, new)
        x = tf.concat([x[:, : here.start], new, x[:, here.stop :]], axis=1)
    return x, _cost(confidence, target, scores)


def _cost(confidence, target, scores):
    return tf.reduce_sum(tf.cast(confidence * scores**2 - 2 * target * scores, tf.float64))


def _condensed(table, pairs: Pairs, start: int, stop: int):
    """A row of many pairs as one of `dim` pairs that gives the same least squares, made piece by piece."""
    dim = table.shape[1]
    matrix, vector = np.zeros((dim, dim)), np.zeros(dim)
    step = max(1, CELLS // dim)
    for first in range(start, stop, step):
        some = slice(first, min(first + step, stop))
        features = tf.gather(table, pairs.columns[some])
        matrix += tf.matmul(features * pairs.confidence[some, None], features, transpose_a=True).numpy()
        vector += tf.linalg.matvec(features, pairs.target[some], transpose_a=True).numpy()
    values, turn = np.linalg.eigh((matrix + matrix.T) / 2)
    kept = values > 1e-7 * values[-1]
    root = np.sqrt(np.where(kept, values, 1.0))
    features = np.where(kept, turn * root, 0).T.astype(np.float32)
    target = np.where(kept, turn.T @ vector / root, 0).astype(np.float32)
    return tf.constant(features[None]), tf.constant(kept.astype(np.float32)[None]), tf.constant(target[None])


def loss(seen: float, own: np.ndarray, other: np.ndarray, gram: np.ndarray, penalties, unobserved: float) -> float:
    """The whole loss: that of the seen pairs, of all pairs (`gram` is the Gramian of `other`), and both penalties."""
    everything = unobserved * float((gramian(own) * gram).sum()) if unobserved else 0.0
    sizes = (
        float(np.dot(penalty, np.einsum("nd,nd->n", table, table, dtype=np.float64)))
        for penalty, table in zip(penalties, (own, other), strict=True)
    )
    return seen + everything + sum(sizes)
