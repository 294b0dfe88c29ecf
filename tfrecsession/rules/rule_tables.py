"""The attributes of a catalogue in a graph, and the conditions of rules on them, in core ops."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tfrecsession.rules.attributes import ItemAttributes
from tfrecsession.rules.rule_fields import Columns, Rules, hash_of
from tfrecsession.rules.traced_once import traced_once

ALIGNED = 64  # columns of attributes: TensorFlow slices aligned rows without a copy


class RuleTables(tf.Module):
    """The attributes of a catalogue in a graph, which rules are read by.

    Args:
        attributes: those of the catalogue.
    """

    def __init__(self, attributes: ItemAttributes):
        super().__init__()
        self.size = attributes.size
        self.names = list(attributes.kinds)
        # one cell where there is no column: an empty table cannot be indexed
        codes = attributes.codes if len(attributes.codes) else np.zeros((1, 1), np.int32)
        numbers = attributes.numbers if len(attributes.numbers) else np.full((1, 1), np.nan, np.float32)
        self.codes = tf.Variable(_aligned(codes, 0), trainable=False)
        self.numbers = tf.Variable(_aligned(numbers, np.nan), trainable=False)
        self.kinds, self.slots = dict(attributes.kinds), dict(attributes.slots)
        counts = np.bincount(attributes.codes.ravel(), minlength=len(attributes.values) + 1)
        self.counts = tf.Variable(counts.astype(np.int32), trainable=False)  # items of each value
        order = np.sort(np.nan_to_num(numbers[:, 2:], nan=np.inf), axis=1)  # missing ones are in no range
        self.sorted_numbers = tf.Variable(order, trainable=False)
        # hashes, since the texts of a column with a value of its own for each item are as large as the catalogue
        values = [value.encode("utf-8", "surrogatepass") for value in attributes.values]
        hashes = hash_of(tf.constant(values, tf.string)).numpy() if values else np.array([-1])
        order = np.argsort(hashes)
        self.hashes = tf.Variable(hashes[order].astype(np.int64), trainable=False)
        self.of_hash = tf.Variable((1 + order).astype(np.int32), trainable=False)

    def columns(self) -> Columns:
        """Returns the attributes as tensors of the graph that is traced."""
        names = [name.encode("utf-8", "surrogatepass") for name in self.names]
        variables = (self.codes, self.numbers, self.counts, self.sorted_numbers, self.hashes, self.of_hash)
        codes, numbers, counts, sorted_numbers, hashes, of_hash = map(tf.convert_to_tensor, variables)
        return Columns(
            codes,
            numbers,
            tf.constant([self.kinds[name] == "number" for name in self.names] or [False]),
            tf.constant([self.slots[name][0] for name in self.names] or [0]),
            tf.constant([self.slots[name][1] for name in self.names] or [1]),
            counts,
            sorted_numbers,
            tf.constant(names or [""], tf.string),
            hashes,
            of_hash,
        )


# Conditions ----------------------------------------------------------------------------------------------------------


@traced_once
def filtered(rules: Rules, columns: Columns, size):
    """Returns the items that pass all filters, bool [n, size], and how many each removes, int32 [n, R]."""
    shape = tf.shape(rules.name)
    cells = tf.cast(tf.where(rules.is_filter), tf.int32)  # (filters, 2)

    def one(index, allowed, removed):
        row, cell = cells[index, 0], cells[index, 1]
        holds = _holds_everywhere(rules, columns, row, cell)[:size]
        fails = size - 2 - _count(rules, columns, row, cell, holds)
        removed = tf.tensor_scatter_nd_update(removed, [cells[index]], [fails])
        allowed = tf.cond(
            shape[0] == 1,
            lambda: allowed & holds,
            lambda: tf.tensor_scatter_nd_update(allowed, [[row]], [allowed[row] & holds]),
        )
        return index + 1, tf.ensure_shape(allowed, (None, None)), removed

    state = 0, tf.ones((shape[0], size), tf.bool), tf.zeros(shape, tf.int32)
    invariants = tf.TensorShape([]), tf.TensorShape([None, None]), tf.TensorShape([None, None])
    _, allowed, removed = tf.while_loop(lambda index, *_: index < tf.shape(cells)[0], one, state, invariants)
    return allowed, removed


def _holds_everywhere(rules: Rules, columns: Columns, row, cell):
    """Returns whether one condition holds, for every item: bool [at least size]."""
    column, codes = tf.maximum(rules.column[row, cell], 0), rules.codes[row, cell]
    first, width = columns.first[column], columns.width[column]

    def of_numbers():
        numbers = columns.numbers[first]
        return (numbers >= rules.low[row, cell]) & (numbers <= rules.high[row, cell])

    def of_codes():
        own = columns.codes[first : first + width]  # (width, size)
        known = tf.boolean_mask(codes, codes > 0)  # (V,)

        def of_several():
            count = tf.shape(columns.counts)
            is_listed = tf.scatter_nd(known[:, None], tf.ones_like(known, tf.bool), count)
            return tf.reduce_any(tf.gather(is_listed, own), axis=0)

        return tf.cond((tf.size(known) == 1) & (width == 1), lambda: own[0] == known[0], of_several)

    holds = tf.cond(columns.is_number[column], of_numbers, of_codes)
    return tf.cond(rules.inverted[row, cell], lambda: ~holds, lambda: holds)


def _count(rules: Rules, columns: Columns, row, cell, holds):
    """Returns how many items a condition holds for, `holds` bool [size], from counts where they say it: int32."""
    column, codes = tf.maximum(rules.column[row, cell], 0), rules.codes[row, cell]
    items = tf.size(holds) - 2

    def of_numbers():
        numbers = columns.sorted_numbers[columns.first[column]]
        below = tf.searchsorted(numbers, [rules.low[row, cell]], "left")[0]
        high = tf.minimum(rules.high[row, cell], numbers.dtype.max)  # infinity stands for missing
        return tf.maximum(tf.searchsorted(numbers, [high], "right")[0] - below, 0)

    def of_codes():
        known = tf.unique(tf.boolean_mask(codes, codes > 0)).y
        return tf.reduce_sum(tf.gather(columns.counts, known))

    def counted():
        found = tf.cond(columns.is_number[column], of_numbers, of_codes)
        return tf.where(rules.inverted[row, cell], items - found, found)

    may_overlap = (columns.width[column] > 1) & (tf.math.count_nonzero(codes > 0) > 1)
    return tf.cond(may_overlap, lambda: tf.math.count_nonzero(holds[2:], dtype=tf.int32), counted)


def values_of(table, ids):
    """Returns codes or numbers of items, [slots or columns, n, m]; those of the single cell where there is no column.

    Args:
        table: `Columns.codes` or `Columns.numbers`. ids: int32 [n, m].
    """
    return tf.gather(table, tf.minimum(ids, tf.shape(table)[1] - 1), axis=1)


def slots_of(rules: Rules, columns: Columns):
    """Returns which slots belong to the column of each rule, bool [n, R, slots]."""
    column = tf.maximum(rules.column, 0)
    first, width = tf.gather(columns.first, column)[..., None], tf.gather(columns.width, column)[..., None]
    slot = tf.range(tf.shape(columns.codes)[0])
    return (slot >= first) & (slot < first + width)


def holds(rules: Rules, columns: Columns, cell, codes, numbers):
    """Returns whether the condition `cell` of each request holds for its candidates.

    Args:
        rules: of n requests.
        columns: the attributes.
        cell: int, the index of the rule.
        codes, numbers: [slots, n, m], the attributes of the candidates.

    Returns:
        bool [n, m].
    """
    column = tf.maximum(rules.column[:, cell], 0)  # (n,)
    first, width = tf.gather(columns.first, column), tf.gather(columns.width, column)
    own = tf.gather(tf.transpose(numbers, [1, 0, 2]), tf.minimum(first, tf.shape(numbers)[0] - 1), batch_dims=1)
    by_number = (own >= rules.low[:, cell, None]) & (own <= rules.high[:, cell, None])
    slot = tf.range(tf.shape(codes)[0])[:, None]
    listed = (slot >= first) & (slot < first + width)  # (slots, n)
    by_code = codes[..., None] == rules.codes[:, cell][None, :, None]  # (slots, n, m, V)
    by_code = tf.reduce_any(tf.reduce_any(by_code, axis=3) & listed[..., None], axis=0)
    found = tf.where(tf.gather(columns.is_number, column)[:, None], by_number, by_code)
    return found ^ rules.inverted[:, cell, None]


def _aligned(values: np.ndarray, empty) -> np.ndarray:
    """Pads rows to a multiple of `ALIGNED` cells."""
    return np.pad(values, [(0, 0), (0, -values.shape[1] % ALIGNED)], constant_values=empty)
