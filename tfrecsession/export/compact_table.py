"""A table of vectors in half or a quarter of its memory."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

BLOCK = 8192  # int8 rows that are cast to float32 at a time: a few megabytes, which fit into a processor's cache


class CompactTable:
    """Vectors in bfloat16, or in int8 with a scale per row (the row's largest absolute value / 127).

    The rounding error of a value is at most 1/256 of it in bfloat16, and 1/254 of its row's largest in int8. TensorFlow
    multiplies bfloat16 directly. It has no kernel for int8, which is cast to float32 block by block and therefore takes
    longer than a float32 table.

    Args:
        matrix: float [size, width].
        kind: "bfloat16" or "int8".
        exact: number of last columns that stay in float32, such as biases.
    """

    def __init__(self, matrix: np.ndarray, kind: str, exact: int = 0):
        matrix = np.asarray(matrix, np.float32)
        self.size, self.width = matrix.shape
        self.dim = self.width - exact
        vectors = matrix[:, : self.dim]
        self.exact = tf.Variable(matrix[:, self.dim :], trainable=False) if exact else None
        self.scale = None
        if kind == "bfloat16":
            self.table = tf.Variable(tf.cast(vectors, tf.bfloat16), trainable=False)
        else:
            scale = np.abs(vectors).max(axis=1) / 127
            self.scale = tf.Variable(scale, trainable=False)
            blocks = -(-self.size // BLOCK)
            block = -(-self.size // blocks)
            codes = np.zeros((blocks * block, self.dim), np.int8)
            codes[: self.size] = np.rint(vectors / np.where(scale > 0, scale, 1)[:, None])
            self.table = tf.Variable(codes.reshape(blocks, block, self.dim), trainable=False)

    def rows(self, ids):
        """Returns the rows of ids: int [...] -> float32 [..., width]."""
        ids = tf.convert_to_tensor(ids)
        # values, not variables: a gather from a variable makes later reads copy the table, see `gather.serving`
        table, scale, exact = (
            None if variable is None else tf.convert_to_tensor(variable)
            for variable in (self.table, self.scale, self.exact)
        )
        if scale is None:
            vectors = tf.cast(tf.gather(table, ids), tf.float32)
        else:
            block = table.shape[1]
            codes = tf.gather_nd(table, tf.stack([ids // block, ids % block], axis=-1))
            vectors = tf.cast(codes, tf.float32) * tf.gather(scale, ids)[..., None]
        return vectors if exact is None else tf.concat([vectors, tf.gather(exact, ids)], axis=-1)

    def scores(self, queries):
        """Returns approximate scores float32 [n, size]; in bfloat16 the products are rounded as well.

        Args:
            queries: float32 [n, width], or [n, dim] to score without the exact columns.
        """
        vectors = queries[:, : self.dim]
        if self.scale is None:
            scores = tf.matmul(tf.cast(vectors, tf.bfloat16), self.table, transpose_b=True)
            scores = tf.cast(scores, tf.float32)
        else:
            scores = tf.map_fn(
                lambda codes: tf.matmul(vectors, tf.cast(codes, tf.float32), transpose_b=True),
                tf.convert_to_tensor(self.table),
                fn_output_signature=tf.TensorSpec((None, self.table.shape[1]), tf.float32),
                parallel_iterations=2,
            )  # (blocks, n, block)
            scores = tf.reshape(tf.transpose(scores, (1, 0, 2)), (tf.shape(vectors)[0], -1))
            scores = scores[:, : self.size] * self.scale
        if self.exact is None or queries.shape[1] == self.dim:
            return scores
        return scores + tf.matmul(queries[:, self.dim :], self.exact, transpose_b=True)
