"""Time of the exact index's top k against its product, for one history and several.

    python benchmarks/top_k.py --items 1000000 --width 100

In turn: the product of the queries with the table, TensorFlow's `top_k` of its scores, and that of
`tfrecsession.metrics`, which selects blocks of items by their maxima first. The answers are compared, with ties: scores
are rounded, so that many are equal.
"""

import argparse
import os
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf
from reporting import write_rows

from tfrecsession.layers.items.matmul import products
from tfrecsession.metrics import top_k


def main(options) -> None:
    table = tf.Variable(tf.random.stateless_normal((options.items, options.width), (0, 1)))
    spec = tf.TensorSpec((None, options.items), tf.float32)
    calls = {
        "product": tf.function(lambda queries: products(queries, table), reduce_retracing=True),
        "plain": tf.function(lambda scores: tf.math.top_k(scores, options.k), input_signature=[spec]),
        "blocks": tf.function(lambda scores: top_k(scores, options.k), input_signature=[spec]),
    }
    rows = []
    for count in (1, 8, 32):
        waits = {name: [] for name in calls}
        for number in range(-2, options.repeats):
            queries = tf.random.stateless_normal((count, options.width), (number + 9, 2))
            scores = tf.round(products(queries, table))  # ties
            found = {}
            for name, call in calls.items():
                start = time.perf_counter()
                results = call(queries if name == "product" else scores)
                found[name] = [result.numpy() for result in tf.nest.flatten(results)]
                if number >= 0:  # the first calls trace and warm up
                    waits[name].append(1000 * (time.perf_counter() - start))
            for plain, blocks in zip(found["plain"], found["blocks"], strict=True):
                np.testing.assert_array_equal(plain, blocks)
        product, plain, blocks = (float(np.median(waits[name])) for name in calls)
        row = {"items": options.items, "width": options.width, "k": options.k, "queries": count}
        row |= {"product_ms": round(product, 2), "plain_ms": round(plain, 2), "blocks_ms": round(blocks, 2)}
        row |= {"blocks_of_product": round(blocks / product, 3), "blocks_of_plain": round(blocks / plain, 3)}
        print(row, flush=True)
        rows.append(row)
    write_rows("top_k", rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--width", type=int, default=100)
    parser.add_argument("--k", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=15)
    main(parser.parse_args())
