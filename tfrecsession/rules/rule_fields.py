"""The rules of requests as tensors: texts are split into fields, checked, and compared with the catalogue's columns."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from tfrecsession.rules.rules import METHODS, SEPARATOR
from tfrecsession.rules.traced_once import traced_once

CONDITIONS = ("in", "not_in", "between", "is")
OTHERS = ("popularity", "boost", "pin", "at_most", "diversity")
FIELDS = 6  # of a rule at least, in front of further values


class Rules(NamedTuple):
    """The rules of n requests, R each; `""` is none. Fields of other rules than its own are without meaning."""

    texts: object  # string [n, R]
    name: object  # string [n, R]
    is_filter: object  # bool [n, R]
    column: object  # int32 [n, R], index of the column of a condition or quota
    inverted: object  # bool [n, R], whether the condition must not hold
    codes: object  # int32 [n, R, V], values of the condition, -1 for none
    low: object  # float [n, R]
    high: object  # float [n, R]
    number: object  # float32 [n, R]: strength, by, position or the most of a quota
    item: object  # string [n, R], the pinned item
    method: object  # string [n, R]
    on: object  # string [n, R]


class Columns(NamedTuple):
    """The attributes of a catalogue as tensors."""

    codes: object  # int32 [slots, at least size]
    numbers: object  # float [columns, at least size]
    is_number: object  # bool [names]
    first: object  # int32 [names], the first slot, or the row of `numbers`
    width: object  # int32 [names], slots
    counts: object  # int32 [codes], items of each value
    sorted_numbers: object  # float [columns, items]
    names: object  # string [names], [""] where there are none
    hashes: object  # int64 [values], of the values' texts, ascending
    of_hash: object  # int32 [values], the code of each


class Fields(NamedTuple):
    """The texts of rules, split into their fields: [n R] each, `values` [n R, V]."""

    name: object
    column: object
    of_condition: object
    values: object
    text: object  # the number of the rule, "0" where it has none
    third: object
    fourth: object


def split(texts) -> Fields:
    """Splits rules into their fields, string [n, R]."""
    fields = tf.strings.split(tf.reshape(texts, [-1]), SEPARATOR).to_tensor("")
    fields = tf.pad(fields, [[0, 0], [0, FIELDS]], constant_values="")
    name = fields[:, 0]
    condition = tf.where((name == "boost")[:, None], tf.roll(fields, -2, axis=1), fields)  # boost BY CONDITION
    columns = tf.where(name == "at_most", fields[:, 1], condition[:, 1])
    has_number = is_one_of(name, ("diversity", "popularity", "boost", "pin"))
    text = tf.where(name == "at_most", fields[:, 2], tf.where(has_number, fields[:, 1], "0"))
    return Fields(name, columns, condition[:, 0], condition[:, 2:], text, fields[:, 2], fields[:, 3])


@traced_once
def read(texts, columns: Columns, k: int) -> Rules:
    """Reads rules, string [n, R], of lists of k items; a rule that cannot be read is an error that names it."""
    name, column_name, of_condition, values, text, third, fourth = split(texts)
    column = _index_of(column_name, columns.names)  # (n R,), -1: no such column
    shape, flat = tf.shape(texts), tf.reshape(texts, [-1])
    is_boost, most, is_pin, is_diverse = (name == other for other in ("boost", "at_most", "pin", "diversity"))
    is_filter, has_condition = is_one_of(name, CONDITIONS), is_one_of(of_condition, CONDITIONS)
    is_between, is_truth = of_condition == "between", of_condition == "is"
    bounds = tf.where((is_between & (values[:, 0] != ""))[:, None], values[:, :1], "-inf")
    bounds = tf.concat([bounds, tf.where((is_between & (values[:, 1] != ""))[:, None], values[:, 1:2], "inf")], 1)
    truth = tf.cast(values[:, 0] == "true", columns.numbers.dtype)
    kinds = tf.gather(columns.is_number, tf.maximum(column, 0))
    fits = tf.where(is_between, kinds, tf.where(is_one_of(of_condition, ("in", "not_in")), ~kinds, True))
    checks = [
        _all((flat == "") | is_filter | is_one_of(name, OTHERS), flat, "unknown rule"),
        _all(~is_boost | has_condition, flat, "boost needs a condition"),
        _all(~(has_condition | most) | (column >= 0), flat, "no such column; there are ", _list_of(columns.names)),
        _all(~has_condition | fits, flat, "`between` is for columns of numbers, `in` for the others"),
        _all(~most | ~kinds, flat, "at_most is for categories and lists"),
        _all(_are_numbers(text) & tf.reduce_all(_are_numbers(bounds), axis=1), flat, "not a number"),
    ]
    with tf.control_dependencies(checks):
        number = tf.strings.to_number(text)
        bounds = tf.strings.to_number(bounds, columns.numbers.dtype)
    bounds = tf.where(is_truth[:, None], truth[:, None], bounds)
    in_range = tf.where(most | is_pin, (number >= tf.cast(is_pin, tf.float32)) & (number == tf.floor(number)), True)
    in_range &= tf.where(is_pin, number <= k, True) & tf.where(is_diverse, (number >= 0) & (number <= 1), True)
    in_range &= tf.where(name == "popularity", number >= 0, True)
    methods = tf.where(is_diverse, third, METHODS[0])
    ranges = f"out of range: at_most from 0, pin from 1 to {k}, diversity from 0 to 1, popularity from 0"
    checks = [
        _all(in_range, flat, ranges),
        _all(is_one_of(methods, METHODS), flat, f"the method must be one of {', '.join(METHODS)}"),
    ]
    with tf.control_dependencies(checks):
        codes = _codes_of(column_name[:, None] + SEPARATOR + values, columns)  # (n R, V)
    parts = (name, is_filter, column, of_condition == "not_in", codes, bounds[:, 0], bounds[:, 1], number)
    parts = (*parts, tf.where(is_pin, third, ""), methods, tf.where(is_diverse, fourth, ""))
    return Rules(texts, *(tf.reshape(part, tf.concat([shape, tf.shape(part)[1:]], 0)) for part in parts))


def is_one_of(texts, names):
    """Returns which texts are among names, bool [...]."""
    return tf.reduce_any(texts[..., None] == tf.constant(list(names)), axis=-1)


def _are_numbers(texts):
    pattern = r"[+-]?(inf|(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?)"
    return tf.strings.regex_full_match(texts, pattern)


def _all(fits, texts, text: str, more=""):
    """Returns the check of a graph that every rule fits; the error names the first that does not, `more` ends it."""
    first = tf.argmin(tf.pad(tf.cast(fits, tf.int32), [[0, 1]], constant_values=1))
    readable = tf.strings.regex_replace(tf.gather(tf.pad(texts, [[0, 1]], constant_values=""), first), SEPARATOR, " ")
    return tf.debugging.Assert(tf.reduce_all(fits), [tf.strings.join(["rules: ", readable, f": {text}", more])])


def _index_of(texts, names):
    """Returns the index of each text among names, -1 where it is none: string [m], string [names] -> int32 [m]."""
    same = (texts[:, None] == names) & (texts != "")[:, None]
    return tf.where(tf.reduce_any(same, axis=1), tf.argmax(tf.cast(same, tf.int32), axis=1, output_type=tf.int32), -1)


def _list_of(names):
    text = tf.strings.reduce_join(names, separator=", ")
    return tf.where(text == "", "none", text)


def _codes_of(texts, columns: Columns):
    """Returns the codes of values, -1 for others: string [m, V] -> int32 [m, V]."""
    hashes = hash_of(texts)
    index = tf.searchsorted(columns.hashes, tf.reshape(hashes, [-1]))
    index = tf.reshape(tf.minimum(index, tf.size(columns.hashes) - 1), tf.shape(hashes))
    return tf.where(tf.gather(columns.hashes, index) == hashes, tf.gather(columns.of_hash, index), -1)


def hash_of(texts):
    """Returns the hashes of texts, int64 from 0. Two of a million texts share one in 1 of 20 million catalogues."""
    return tf.strings.to_hash_bucket_fast(texts, 2**63 - 1)
