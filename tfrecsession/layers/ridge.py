"""Many small ridge regressions at once, each over its own few rows."""

from __future__ import annotations

import tensorflow as tf

JITTER = 1e-6  # of the mean diagonal: float32 needs it to factorize a matrix with repeated rows


def ridge(features, confidence, target, background):
    """Solves (diag(background) + F' diag(confidence) F) x = F' target for x, for n problems.

    It solves for `dim` unknowns, or for as many unknowns as rows where these are fewer (Woodbury):
    n * min(rows, dim)^2 * max(rows, dim) multiplications either way. A row of confidence 0 and target 0 is padding.

    Args:
        features: float32 [n, rows, dim], F.
        confidence: float32 [n, rows], not negative.
        target: float32 [n, rows], 0 where the confidence is 0.
        background: float32 [n, dim], above 0.

    Returns:
        float32 [n, dim].

    Examples:
        >>> import numpy as np
        >>> ones, row = np.ones([1, 1], np.float32), np.ones([1, 1, 2], np.float32)
        >>> np.asarray(ridge(row, ones, ones, np.ones([1, 2], np.float32))).round(4)
        array([[0.3333, 0.3333]], dtype=float32)
    """

    def in_dim():
        matrix = tf.matmul(features * confidence[..., None], features, transpose_a=True)  # (n, dim, dim)
        diagonal = tf.linalg.diag_part(matrix) + background  # (n, dim)
        diagonal += JITTER * tf.reduce_mean(diagonal, axis=1, keepdims=True)
        factor = tf.linalg.cholesky(tf.linalg.set_diag(matrix, diagonal))
        moments = tf.matmul(features, target[..., None], transpose_a=True)  # (n, dim, 1)
        return tf.linalg.cholesky_solve(factor, moments)[..., 0]  # (n, dim)

    def in_rows():
        root = tf.sqrt(confidence)
        scale = tf.math.rsqrt(background)
        rows = features * root[..., None] * scale[:, None]  # (n, rows, dim)
        matrix = tf.matmul(rows, rows, transpose_b=True)  # (n, rows, rows)
        factor = tf.linalg.cholesky(matrix + tf.eye(tf.shape(matrix)[1]))
        solved = tf.linalg.cholesky_solve(factor, tf.math.divide_no_nan(target, root)[..., None])  # (n, rows, 1)
        return scale * tf.matmul(rows, solved, transpose_a=True)[..., 0]  # (n, dim)

    return tf.cond(tf.shape(features)[1] < tf.shape(features)[2], in_rows, in_dim)
