"""Cross-entropy over the whole catalogue, with one block of scores in memory at a time."""

import tensorflow as tf

from tfrecsession.losses.ranking_loss import MASKED

BLOCK_BYTES = 256 << 20


def full_softmax(hidden, table, targets, biases=None, block_bytes=BLOCK_BYTES):
    """-log softmax of each target among all items:  L = log sum_j exp(r_j) - r_i,   r_j = hidden . table_j + biases_j

    What sampled cross-entropy stands in for, and the full-softmax variant of arXiv 2307.14956. Rows 0 and 1 (padding,
    unknown) are no items: they take no part and get no gradient.

    Cost: every event against every item, n * size * dim multiplications for the loss and three times as many for the
    gradient, which computes the scores again rather than keep them; and a dense gradient, so that the optimizer
    rewrites the whole table. Against m sampled negatives that is some size / m times the time. Memory: a few
    copies of one block of scores, and the gradient of the table.

    Args:
        hidden: [n, dim], in the dtype of the products.
        table: float32 [size, dim].
        targets: int [n]; below 2 where there is none: these contribute 0.
        biases: float32 [size], or None.
        block_bytes: how large one block of float32 scores may be.

    Returns:
        float32 [n].
    """
    size = table.shape[0]
    biases = tf.zeros([size]) if biases is None else biases
    events = tf.shape(hidden)[0]
    block = tf.maximum(tf.minimum(max(1, block_bytes // (4 * size)), events), 1)
    blocks = tf.maximum((events + block - 1) // block, 1)  # also for no event at all
    real = targets > 1

    def in_blocks(array):
        tail = [[0, blocks * block - events]] + [[0, 0]] * (len(array.shape) - 1)
        return tf.reshape(tf.pad(array, tail), tf.concat([[blocks, block], tf.shape(array)[1:]], axis=0))

    def scores_of(items, offsets, some):
        return tf.cast(tf.matmul(some, items, transpose_b=True), tf.float32) + offsets

    def gathered(blocks_of_losses):
        return tf.reshape(blocks_of_losses, [-1])[:events]

    @tf.custom_gradient
    def compute(hidden, table, biases):
        items = tf.cast(table, hidden.dtype)
        offsets = tf.concat([[MASKED, MASKED], biases[2:]], axis=0)

        def losses(some):
            scores = scores_of(items, offsets, some[0])  # (block, size)
            highest = tf.reduce_max(scores, axis=1)
            own = tf.gather(scores, some[1], batch_dims=1)
            # the two large numbers leave each other before anything small is added
            return highest - own + tf.math.log(tf.reduce_sum(tf.exp(scores - highest[:, None]), axis=1))

        each = tf.map_fn(
            losses,
            (in_blocks(hidden), in_blocks(targets)),
            fn_output_signature=tf.TensorSpec((None,), tf.float32),
            parallel_iterations=1,
        )

        def gradient(upstream):
            upstream = tf.where(real, upstream, 0.0)
            some_hidden, some_upstream = in_blocks(hidden), in_blocks(upstream)

            def add(number, d_hidden, d_table, d_biases):
                some = some_hidden[number]
                share = tf.nn.softmax(scores_of(items, offsets, some)) * some_upstream[number][:, None]
                low = tf.cast(share, hidden.dtype)
                return (
                    number + 1,
                    d_hidden.write(number, tf.matmul(low, items)),
                    d_table + tf.cast(tf.matmul(low, some, transpose_a=True), tf.float32),
                    d_biases + tf.reduce_sum(share, axis=0),
                )

            start = (0, tf.TensorArray(hidden.dtype, blocks), tf.zeros_like(table), tf.zeros_like(biases))
            _, d_hidden, d_table, d_biases = tf.while_loop(
                lambda number, *_: number < blocks, add, start, parallel_iterations=1
            )
            d_hidden = tf.reshape(d_hidden.stack(), [-1, tf.shape(hidden)[1]])[:events]
            # and the target's own share of -1
            pull = tf.cast(upstream, hidden.dtype)[:, None]
            return (
                d_hidden - pull * tf.gather(items, targets),
                tf.tensor_scatter_nd_sub(d_table, targets[:, None], tf.cast(pull * hidden, tf.float32)),
                tf.tensor_scatter_nd_sub(d_biases, targets[:, None], upstream),
            )

        return tf.where(real, gathered(each), 0.0), gradient

    return compute(hidden, table, biases)
