"""The rules of requests as tensors: texts are read, and conditions compared with the items' attributes, in core ops."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfrecsession.rules.attributes import ItemAttributes
from tfrecsession.rules.rules import METHODS, SEPARATOR

CONDITIONS = ("in", "not_in", "between", "is")
OTHERS = ("popularity", "boost", "pin", "at_most", "diversity")
ALIGNED = 64  # columns of attributes: TensorFlow slices aligned rows without a copy
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


class RuleTables(tf.Module):
    """The attributes of a catalogue in a graph, and the conditions of rules on them.

    Args:
        attributes: those of the catalogue.
    """

    def __init__(self, attributes: ItemAttributes):
        super().__init__()
        self.size = attributes.size
        self.has_codes, self.has_numbers = len(attributes.codes) > 0, len(attributes.numbers) > 0
        self.names = list(attributes.kinds)
        self.value_count = len(attributes.values) + 1
        # one cell where there is no column: an empty table cannot be indexed
        codes = attributes.codes if self.has_codes else np.zeros((1, 1), np.int32)
        numbers = attributes.numbers if self.has_numbers else np.full((1, 1), np.nan, np.float32)
        behind = [(0, 0), (0, -self.size % ALIGNED)]
        self.codes = tf.Variable(np.pad(codes, behind), trainable=False)
        self.numbers = tf.Variable(np.pad(numbers, behind, constant_values=np.nan), trainable=False)
        kinds, slots = attributes.kinds, attributes.slots
        self.is_number = tf.constant([kinds[name] == "number" for name in self.names] or [False])
        self.first = tf.constant([slots[name][0] for name in self.names] or [0])
        self.width = tf.constant([slots[name][1] for name in self.names] or [1])
        counts = np.bincount(attributes.codes.ravel(), minlength=self.value_count)
        self.counts = tf.Variable(counts.astype(np.int32), trainable=False)  # items of each value
        order = np.sort(np.nan_to_num(numbers[:, 2:], nan=np.inf), axis=1)  # missing ones are in no range
        self.sorted_numbers = tf.Variable(order, trainable=False)
        self.to_column = _table(self.names, 0)
        self.to_code = _table(attributes.values, 1)

    # Reading ---------------------------------------------------------------------------------------------------------

    def read(self, texts, k: int) -> Rules:
        """Reads rules, string [n, R]; a rule that cannot be read is an error that names it."""
        shape = tf.shape(texts)
        flat = tf.reshape(texts, [-1])
        fields = tf.strings.split(flat, SEPARATOR).to_tensor("")
        fields = tf.pad(fields, [[0, 0], [0, FIELDS]], constant_values="")
        name = fields[:, 0]
        is_boost = (name == "boost")[:, None]
        condition = tf.where(is_boost, tf.roll(fields, -2, axis=1), fields)  # boost BY CONDITION
        of_condition = condition[:, 0]
        is_filter, has_condition = _is_one_of(name, CONDITIONS), _is_one_of(of_condition, CONDITIONS)
        columns = tf.where(name == "at_most", fields[:, 1], condition[:, 1])
        column = self.to_column.lookup(columns)
        values = condition[:, 2:]
        is_between, is_truth = of_condition == "between", of_condition == "is"
        needs_number = (name == "at_most") | (name == "diversity") | (name == "popularity") | is_boost[:, 0]
        text = tf.where(name == "at_most", fields[:, 2], fields[:, 1])
        text = tf.where(needs_number | (name == "pin"), text, "0")
        bounds = tf.where((is_between & (values[:, 0] != ""))[:, None], values[:, :1], "-inf")
        bounds = tf.concat([bounds, tf.where((is_between & (values[:, 1] != ""))[:, None], values[:, 1:2], "inf")], 1)
        truth = tf.cast(values[:, 0] == "true", self.numbers.dtype)
        kinds = tf.gather(self.is_number, tf.maximum(column, 0))
        fits = tf.where(is_between, kinds, tf.where(_is_one_of(of_condition, ("in", "not_in")), ~kinds, True))
        names = ", ".join(self.names) or "none"
        checks = [
            _all((flat == "") | is_filter | _is_one_of(name, OTHERS), flat, "unknown rule"),
            _all(~is_boost[:, 0] | has_condition, flat, "boost needs a condition"),
            _all(~(has_condition | (name == "at_most")) | (column >= 0), flat, f"no such column; there are {names}"),
            _all(~has_condition | fits, flat, "`between` is for columns of numbers, `in` for the others"),
            _all(~(name == "at_most") | ~kinds, flat, "at_most is for categories and lists"),
            _all(_are_numbers(text) & tf.reduce_all(_are_numbers(bounds), axis=1), flat, "not a number"),
        ]
        with tf.control_dependencies(checks):
            number = tf.strings.to_number(text)
            bounds = tf.strings.to_number(bounds, self.numbers.dtype)
        bounds = tf.where(is_truth[:, None], truth[:, None], bounds)
        most, is_pin = name == "at_most", name == "pin"
        in_range = tf.where(most | is_pin, (number >= tf.cast(is_pin, tf.float32)) & (number == tf.floor(number)), True)
        in_range &= tf.where(is_pin, number <= k, True) & tf.where(
            name == "diversity", (number >= 0) & (number <= 1), True
        )
        in_range &= tf.where(name == "popularity", number >= 0, True)
        methods = tf.where(name == "diversity", fields[:, 2], METHODS[0])
        ranges = f"out of range: at_most from 0, pin from 1 to {k}, diversity from 0 to 1, popularity from 0"
        checks = [
            _all(in_range, flat, ranges),
            _all(_is_one_of(methods, METHODS), flat, f"the method must be one of {', '.join(METHODS)}"),
        ]
        with tf.control_dependencies(checks):
            codes = self.to_code.lookup(columns[:, None] + SEPARATOR + values)  # (n R, V)
        parts = (name, is_filter, column, of_condition == "not_in", codes, bounds[:, 0], bounds[:, 1], number)
        parts = (*parts, tf.where(is_pin, fields[:, 2], ""), methods, tf.where(name == "diversity", fields[:, 3], ""))
        return Rules(
            texts,
            *(
                tf.reshape(part, tf.concat([shape, part.shape[1:] if part.shape.rank == 1 else tf.shape(part)[1:]], 0))
                for part in parts
            ),
        )

    # Conditions ------------------------------------------------------------------------------------------------------

    def holds_everywhere(self, rules: Rules, row, cell):
        """Returns whether one condition holds, for every item: bool [size]."""
        if not self.names:
            return tf.zeros([self.size], tf.bool)
        column, codes = tf.maximum(rules.column[row, cell], 0), rules.codes[row, cell]
        first = self.first[column]

        def of_numbers():
            numbers = tf.convert_to_tensor(self.numbers)[first]
            return (numbers >= rules.low[row, cell]) & (numbers <= rules.high[row, cell])

        def of_codes():
            own = tf.convert_to_tensor(self.codes)[first : first + self.width[column]]  # (width, size)
            known = tf.boolean_mask(codes, codes > 0)  # (V,)

            def of_several():
                is_listed = tf.scatter_nd(known[:, None], tf.ones_like(known, tf.bool), [self.value_count])
                return tf.reduce_any(tf.gather(is_listed, own), axis=0)

            alone = (tf.size(known) == 1) & (self.width[column] == 1)
            return tf.cond(alone, lambda: own[0] == known[0], of_several)

        holds = tf.cond(self.is_number[column], of_numbers, of_codes)
        return tf.cond(rules.inverted[row, cell], lambda: ~holds, lambda: holds)[: self.size]

    def count(self, rules: Rules, row, cell, holds):
        """Returns how many items a condition holds for, `holds` bool [size], from counts where they say it: int32."""
        column, codes = tf.maximum(rules.column[row, cell], 0), rules.codes[row, cell]
        items = self.size - 2

        def of_numbers():
            numbers = tf.convert_to_tensor(self.sorted_numbers)[self.first[column]]
            below = tf.searchsorted(numbers, [rules.low[row, cell]], "left")[0]
            high = tf.minimum(rules.high[row, cell], numbers.dtype.max)  # infinity stands for missing
            return tf.maximum(tf.searchsorted(numbers, [high], "right")[0] - below, 0)

        def of_codes():
            known = tf.unique(tf.boolean_mask(codes, codes > 0)).y
            return tf.reduce_sum(tf.gather(tf.convert_to_tensor(self.counts), known))

        def counted():
            found = tf.cond(self.is_number[column], of_numbers, of_codes)
            return tf.where(rules.inverted[row, cell], items - found, found)

        may_overlap = (self.width[column] > 1) & (tf.math.count_nonzero(codes > 0) > 1)
        return tf.cond(may_overlap, lambda: tf.math.count_nonzero(holds[2:], dtype=tf.int32), counted)

    def codes_of(self, ids):
        """Returns the codes of items, int32 [slots, n, m]; 0 where there is no column."""
        return tf.gather(tf.convert_to_tensor(self.codes), ids if self.has_codes else tf.zeros_like(ids), axis=1)

    def numbers_of(self, ids):
        """Returns the numbers of items, float [columns, n, m]; NaN where there is no column."""
        return tf.gather(tf.convert_to_tensor(self.numbers), ids if self.has_numbers else tf.zeros_like(ids), axis=1)

    def holds(self, rules: Rules, cell, codes, numbers):
        """Returns whether the condition `cell` of each request holds for its candidates.

        Args:
            rules: of n requests.
            cell: int, the index of the rule.
            codes, numbers: [slots, n, m], the attributes of the candidates.

        Returns:
            bool [n, m].
        """
        column = tf.maximum(rules.column[:, cell], 0)  # (n,)
        first, width = tf.gather(self.first, column), tf.gather(self.width, column)
        own = tf.gather(tf.transpose(numbers, [1, 0, 2]), tf.minimum(first, tf.shape(numbers)[0] - 1), batch_dims=1)
        by_number = (own >= rules.low[:, cell, None]) & (own <= rules.high[:, cell, None])
        slot = tf.range(tf.shape(codes)[0])[:, None]
        listed = (slot >= first) & (slot < first + width)  # (slots, n)
        by_code = codes[..., None] == rules.codes[:, cell][None, :, None]  # (slots, n, m, V)
        by_code = tf.reduce_any(tf.reduce_any(by_code, axis=3) & listed[..., None], axis=0)
        holds = tf.where(tf.gather(self.is_number, column)[:, None], by_number, by_code)
        return holds ^ rules.inverted[:, cell, None]


def _table(names: list[str], first: int):
    """Returns the table from names to `first`...; -1 for others."""
    keys = tf.constant([name.encode("utf-8", "surrogatepass") for name in names] or [b"\n"], tf.string)
    values = tf.range(first, first + len(names)) if names else tf.constant([-1])
    return tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(keys, tf.cast(values, tf.int32)), -1)


def _is_one_of(texts, names):
    return tf.reduce_any(texts[..., None] == tf.constant(list(names)), axis=-1)


def _are_numbers(texts):
    pattern = r"[+-]?(inf|(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?)"
    return tf.strings.regex_full_match(texts, pattern)


def _all(fits, texts, text: str):
    """Returns the check of a graph that every rule fits; the error names the first that does not."""
    first = tf.argmin(tf.pad(tf.cast(fits, tf.int32), [[0, 1]], constant_values=1))
    readable = tf.strings.regex_replace(tf.gather(tf.pad(texts, [[0, 1]], constant_values=""), first), SEPARATOR, " ")
    return tf.debugging.Assert(tf.reduce_all(fits), [tf.strings.join(["rules: ", readable, f": {text}"])])
