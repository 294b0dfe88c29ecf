"""The filter lists of a request: items to exclude, and the only items allowed."""

import tensorflow as tf

EXCLUDE, ONLY = (tf.TensorSpec((None, None), tf.string, name=name) for name in ("exclude", "only"))


def read_filters(rows_of, exclude, only, to_ids, name="items") -> dict:
    """Returns the arguments `exclude` and `only` of a model's answers, int32 [n, any].

    Args:
        rows_of: [n, ...], the input that the lists belong to; a list without exactly n rows is an error that names it.
        exclude, only: string [n, any].
        to_ids: strings -> int32 ids.
        name: the name of the input `rows_of` in the request.
    """
    rows = tf.shape(rows_of)[0]
    checks = [
        tf.debugging.assert_equal(tf.shape(ids)[0], rows, f"{list_name}: must have one row for each of {name}")
        for ids, list_name in ((exclude, "exclude"), (only, "only"))
    ]
    with tf.control_dependencies(checks):
        return {"exclude": to_ids(exclude), "only": to_ids(only)}
