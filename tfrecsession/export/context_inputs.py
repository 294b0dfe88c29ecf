"""Context in an export: strings become codes, numbers and times, in plain TensorFlow ops."""

from __future__ import annotations

import math

import tensorflow as tf

from tfrecsession.batches.batch import NO_ITEM
from tfrecsession.layers.ragged import newest
from tfrecsession.recommender.in_context import speaking
from tfrecsession.sessions.context import FARTHEST, LATEST, USER, VALUES, Context
from tfrecsession.sessions.context_texts import input_name
from tfrecsession.sessions.derived_context import SECOND, of_tensors

ALIGNED = "has a value where items has none; it must be aligned with items"
RANGES = "is out of range: times are seconds since 1970, gaps seconds, hours 0 to 23, weekdays 0 to 6, months 1 to 12"
NUMBER = r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*"


class ContextInputs(tf.Module):
    """The inputs of a signature for the context that a model reads.

    Args:
        context: of the model.
    """

    def __init__(self, context: Context):
        super().__init__()
        self.context, self.names = context, {}
        for key in context.given_keys:
            name = input_name(*key.split("/", 1))
            while name in self.names.values():
                name += "_"
            self.names[key] = name
        # one table for the values of all categories, each behind the number of its column
        self.order = {name: number for number, name in enumerate(context.columns)}
        values = [
            (f"{self.order[column.name]} {value}", code)
            for column in context.columns.values()
            for code, value in enumerate(column.values, 2)
        ]
        texts, codes = zip(*(values or [("", 1)]), strict=True)  # a table cannot be empty
        initial = tf.lookup.KeyValueTensorInitializer(tf.constant(texts, tf.string), tf.constant(codes, tf.int64))
        self.codes = tf.lookup.StaticHashTable(initial, 1)

    def specs(self, histories: bool = True) -> list[tf.TensorSpec]:
        """Returns the inputs; `histories`: whether columns of events have a value for each event of a history."""
        along = (None, None) if histories else (None,)
        return [
            tf.TensorSpec(along if key.startswith("context/") else (None,), tf.string, name=name)
            for key, name in self.names.items()
        ]

    def card(self) -> list[dict]:
        """Returns a description of each input, for `tfrecsession.json`."""
        found = []
        for key, name in self.names.items():
            side, column = key.split("/", 1)
            known = self.context.columns.get(column) if key in self.context.keys else None
            kind = known.kind if known else "time"
            named = kind == "category" and column != USER
            values = {"values": list(known.values[:100])} if named else {}
            found.append({"input": name, "side": side, "column": column, "kind": kind, **values})
        return found

    def given(self, items, texts) -> dict:
        """Encodes the inputs of a request.

        Args:
            items: string [n, events] or [n], the input that the columns belong to.
            texts: string tensors, in the order of `specs`. A column of events may be shorter than `items`: the rest is
                missing.

        Returns:
            Key -> int32, float32 or int64, as `Context.given` encodes them; of events in the shape of `items`.
        """
        of_key = dict(zip(self.names, texts, strict=True))
        rows = tf.stack([tf.shape(text)[0] for text in texts])
        check = self._check(rows == tf.shape(items)[0], list(self.names), "must have one row for each of items")
        with tf.control_dependencies([check]):
            items = tf.identity(items)
        found = {}
        for side in ("context", "request"):
            keys = [key for key in self.names if key.startswith(side)]
            if keys:
                columns = [of_key[key] for key in keys]
                stacked = self._stacked(items, columns, keys) if columns[0].shape.rank == 2 else tf.stack(columns)
                found |= self._encoded(dict(zip(keys, tf.unstack(stacked), strict=True)))
        return found

    def _check(self, good, keys, message: str):
        """Returns an assertion: all of bool [keys], or else the message about the first input that is not."""
        messages = tf.constant([f"{self.names[key]}: {message}" for key in keys])
        return tf.debugging.Assert(tf.reduce_all(good), [tf.gather(messages, tf.argmin(tf.cast(good, tf.int32)))])

    def _stacked(self, items, columns, keys):
        """Returns columns of events in the shape of `items`, stripped: string [columns, n, events]."""
        steps = tf.shape(items)[1]
        widths = tf.stack([tf.shape(column)[1] for column in columns])

        def aligned():
            longest = tf.maximum(tf.reduce_max(widths), steps)
            pads = [[[0, 0], [0, longest - tf.shape(column)[1]]] for column in columns]
            wide = tf.stack([tf.pad(column, pad) for column, pad in zip(columns, pads, strict=True)])
            beyond = tf.reduce_any(tf.strings.strip(wide[..., steps:]) != "", axis=[1, 2])
            with tf.control_dependencies([self._check(~beyond, keys, ALIGNED)]):
                return wide[..., :steps]

        stacked = tf.cond(tf.reduce_all(widths == steps), lambda: tf.stack(columns), aligned)
        stacked = tf.strings.strip(tf.ensure_shape(stacked, (len(columns), None, None)))
        if self.context.itemless:  # a value without an item is an event without an item
            return stacked
        beyond = tf.reduce_any((stacked != "") & (items == ""), axis=[1, 2])
        with tf.control_dependencies([self._check(~beyond, keys, ALIGNED)]):
            return tf.identity(stacked)

    def _encoded(self, texts: dict) -> dict:
        """Encodes the columns of one side: key -> string, all of one shape."""
        kinds = {key: self.context.keys[key].kind if key in self.context.keys else "time" for key in texts}
        coded = [key for key in texts if kinds[key] == "category"]
        found = {}
        if coded:
            names = [key.split("/", 1)[1] for key in coded]
            text = tf.stack([texts[key] for key in coded])
            prefixed = tf.stack(
                [tf.strings.join([f"{self.order[name]} ", texts[key]]) for name, key in zip(names, coded, strict=True)]
            )
            codes = tf.where(text == "", 0, tf.cast(self.codes.lookup(prefixed), tf.int32))
            found |= dict(zip(coded, tf.unstack(codes), strict=True))
        numeric = [key for key in texts if kinds[key] != "category"]
        if not numeric:
            return found
        text = tf.stack([texts[key] for key in numeric])  # (columns, n) or (columns, n, events)
        axes, known = list(range(1, text.shape.rank)), text != ""
        readable = tf.reduce_all(tf.strings.regex_full_match(text, NUMBER) | ~known, axis=axes)
        with tf.control_dependencies([self._check(readable, numeric, "must hold numbers, or empty texts")]):
            number = tf.strings.to_number(tf.where(known, text, "0"), tf.float64)
        ranges = [
            (-LATEST, LATEST) if kinds[key] == "time" else VALUES.get(kinds[key], (-math.inf, math.inf))
            for key in numeric
        ]
        shape = [len(numeric)] + [1] * len(axes)
        least, most = (tf.reshape(tf.constant([r[i] for r in ranges], tf.float64), shape) for i in (0, 1))
        good = tf.reduce_all(~known | ((number >= least) & (number <= most)), axis=axes)
        with tf.control_dependencies([self._check(good, numeric, RANGES)]):
            number = tf.identity(number)
        for key, value, is_known in zip(numeric, tf.unstack(number), tf.unstack(known), strict=True):
            found[key] = self._of_number(self.context.keys.get(key), value, is_known)
        return found

    def _of_number(self, column, number, known):
        if column is None:
            return tf.where(known, tf.cast(tf.round(number * SECOND), tf.int64), 0)
        if column.kind == "number":
            scaled = tf.clip_by_value((number - column.mean) / column.deviation, -FARTHEST, FARTHEST)
            return tf.cast(tf.where(known, scaled, float("nan")), tf.float32)
        if column.kind == "gap":
            ones = tf.ones_like(number, tf.int64)
            code = of_tensors("gap", ones + tf.cast(tf.round(number * SECOND), tf.int64), ones, None, None)
        else:
            code = tf.cast(number, tf.int32) - (VALUES[column.kind][0] - 2)
        return tf.where(known, code, 0)

    def ids(self, tables, items, texts) -> tuple:
        """Returns the ids of items, in their shape, NO_ITEM where `""` has context, and the context given."""
        ids, given = tables.ids(items), self.given(items, texts)
        return tf.where(speaking(self.context, given, ids == 0), NO_ITEM, ids), given

    def history(self, tables, items, texts) -> tuple:
        """Returns the ids of the newest known events, int32 [n, at most `longest`], and the context given with them."""
        ids, given = self.ids(tables, items, texts)
        along = [key for key in given if key.startswith("context/")]
        ids, *arrays = newest(tables.longest, (ids > 1) | (ids == NO_ITEM), ids, *(given[key] for key in along))
        return ids, given | dict(zip(along, arrays, strict=True))

    def history_of_sessions(self, tables, items, sessions, texts) -> tuple:
        """Returns ids and sessions of the newest events, see `VocabularyTables`, and the context given with them."""
        text = "sessions must have the shape of items: the session number of each event"
        with tf.control_dependencies([tf.debugging.assert_equal(tf.shape(items), tf.shape(sessions), text)]):
            ids, given = self.ids(tables, items, texts)
        along = [key for key in given if key.startswith("context/")]
        ids, sessions, *arrays = newest(tables.longest, ids != 0, ids, sessions, *(given[key] for key in along))
        return ids, sessions, given | dict(zip(along, arrays, strict=True))
