"""The lists of items that a request leaves out or chooses from."""

import tensorflow as tf

EXCLUDE, ONLY = (tf.TensorSpec((None, None), tf.string, name=name) for name in ("exclude", "only"))


def read_filters(items, exclude, only, to_ids) -> dict:
    """The arguments `exclude` and `only` of a model's answers, int32 [n, any].

    Args:
        items: [n, ...], what the request asks for; another number of rows than n is an error that names the list.
        exclude, only: string [n, any].
        to_ids: strings -> int32 ids.
    """
    rows = tf.shape(items)[0]
    checks = [
        tf.debugging.assert_equal(tf.shape(ids)[0], rows, f"{name}: say a row for each of items")
        for ids, name in ((exclude, "exclude"), (only, "only"))
    ]
    with tf.control_dependencies(checks):
        return {"exclude": to_ids(exclude), "only": to_ids(only)}
