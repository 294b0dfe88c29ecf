"""Context in an export: strings become codes, numbers and times, in plain TensorFlow ops."""

from __future__ import annotations

import tensorflow as tf

from tfrecsession.layers.ragged import newest
from tfrecsession.sessions.context import FARTHEST, LATEST, VALUES, Context
from tfrecsession.sessions.context_texts import input_name
from tfrecsession.sessions.derived_context import SECOND, SIZES, of_tensors

NUMBER = r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*"


class ContextInputs(tf.Module):
    """The inputs of a signature for the context that a model reads.

    Args:
        context: of the model.
    """

    def __init__(self, context: Context):
        super().__init__()
        self.context, self.names, self.tables = context, {}, {}
        for key in context.given_keys:
            name = input_name(*key.split("/", 1))
            while name in self.names.values():
                name += "_"
            self.names[key] = name
        for column in context.columns.values():
            if column.kind == "category":
                codes = tf.range(2, 2 + len(column.values), dtype=tf.int64)
                initial = tf.lookup.KeyValueTensorInitializer(tf.constant(list(column.values), tf.string), codes)
                self.tables[column.name] = tf.lookup.StaticHashTable(initial, 1)

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
            values = {"values": list(known.values[:100])} if known and known.kind == "category" else {}
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
        found = {}
        for (key, name), text in zip(self.names.items(), texts, strict=True):
            rows = tf.debugging.assert_equal(
                tf.shape(text)[0], tf.shape(items)[0], f"{name}: must have one row for each of items"
            )
            with tf.control_dependencies([rows]):
                text = tf.strings.strip(text)
            if text.shape.rank == 2:
                text = self._aligned(items, text, name)
            found[key] = self._encoded(key, text, name)
        return found

    def _aligned(self, items, text, name):
        """Returns a column of events in the shape of `items`."""
        steps = tf.shape(items)[1]
        text = tf.pad(text, [[0, 0], [0, tf.maximum(steps - tf.shape(text)[1], 0)]], constant_values="")
        beyond = tf.reduce_any(text[:, steps:] != "") | tf.reduce_any((text[:, :steps] != "") & (items == ""))
        message = f"{name}: has a value where items has none; it must be aligned with items"
        with tf.control_dependencies([tf.debugging.assert_equal(beyond, False, message)]):
            return text[:, :steps]

    def _encoded(self, key, text, name):
        column = self.context.columns.get(key.split("/", 1)[1]) if key in self.context.keys else None
        if column is not None and column.kind == "category":
            return tf.where(text == "", 0, tf.cast(self.tables[column.name].lookup(text), tf.int32))
        known = text != ""
        readable = tf.reduce_all(tf.strings.regex_full_match(text, NUMBER) | ~known)
        what = "times in seconds since 1970" if column is None else "numbers"
        with tf.control_dependencies(
            [tf.debugging.assert_equal(readable, True, f'{name}: must hold {what}, "" if missing')]
        ):
            number = tf.strings.to_number(tf.where(known, text, "0"), tf.float64)
        if column is None:
            most = tf.reduce_max(tf.abs(number))
            check = tf.debugging.assert_less_equal(
                tf.maximum(most, 0), tf.constant(LATEST, tf.float64), f"{name}: must be seconds since 1970"
            )
            with tf.control_dependencies([check]):
                return tf.where(known, tf.cast(tf.round(number * SECOND), tf.int64), 0)
        if column.kind == "number":
            scaled = tf.clip_by_value((number - column.mean) / column.deviation, -FARTHEST, FARTHEST)
            return tf.cast(tf.where(known, scaled, float("nan")), tf.float32)
        least, most = VALUES[column.kind]
        inside = tf.reduce_all(~known | ((number >= least) & (number <= most)))
        message = f"{name}: must be from {least} to {most}" if most < 100 else f"{name}: must be at least {least}"
        with tf.control_dependencies([tf.debugging.assert_equal(inside, True, message)]):
            if column.kind == "gap":
                ones = tf.ones_like(number, tf.int64)
                code = of_tensors("gap", ones + tf.cast(tf.round(number * SECOND), tf.int64), ones, None, None)
            else:
                code = tf.cast(tf.minimum(tf.floor(number) - least, SIZES[column.kind] - 1), tf.int32) + 2
        return tf.where(known, code, 0)

    def history(self, tables, items, texts) -> tuple:
        """Returns the ids of the newest known items, int32 [n, at most `longest`], and the context given with them."""
        ids, given = tables.ids(items), self.given(items, texts)
        along = [key for key in given if key.startswith("context/")]
        ids, *arrays = newest(tables.longest, ids > 1, ids, *(given[key] for key in along))
        return ids, given | dict(zip(along, arrays, strict=True))
