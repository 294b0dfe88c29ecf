"""The lists of items that a request leaves out or chooses from."""

import tensorflow as tf

EXCLUDE, ONLY = (tf.TensorSpec((None, None), tf.string, name=name) for name in ("exclude", "only"))


def read_filters(asked, exclude, only, to_ids, name="items") -> dict:
    """The arguments `exclude` and `only` of a model's answers, int32 [n, any].

    Args:
        asked: [n, ...], what the request asks for; another number of rows than n is an error that names the list.
        exclude, only: string [n, any].
        to_ids: strings -> int32 ids.
        name: what the request calls `asked`.
    """
    rows = tf.shape(asked)[0]
    checks = [
        tf.debugging.assert_equal(tf.shape(ids)[0], rows, f"{list_of}: say a row for each of {name}")
        for ids, list_of in ((exclude, "exclude"), (only, "only"))
    ]
    with tf.control_dependencies(checks):
        return {"exclude": to_ids(exclude), "only": to_ids(only)}
