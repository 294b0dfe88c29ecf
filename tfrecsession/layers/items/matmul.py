"""A few vectors against all rows of a table."""

import tensorflow as tf

UPRIGHT = (5, 48)  # vectors: from, to


def products(vectors, table):
    """[n, dim] . [size, dim] -> [n, size].

    Of some vectors in float32 the product is taken the other way around and transposed: 8 to 32 of them take three
    fifths of the time so on a CPU, a million rows of width 100 against them.
    """
    if vectors.dtype != tf.float32:
        return tf.matmul(vectors, table, transpose_b=True)
    least, most = UPRIGHT
    number = tf.shape(vectors)[0]
    return tf.cond(
        (number >= least) & (number <= most),
        lambda: tf.transpose(tf.matmul(table, vectors, transpose_b=True)),
        lambda: tf.matmul(vectors, table, transpose_b=True),
    )
