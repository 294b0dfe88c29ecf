"""Context in an export: strings become codes, numbers and times, in plain TensorFlow ops."""

from __future__ import annotations

import math

import tensorflow as tf

from tfrecsession.batches.batch import NO_ITEM
from tfrecsession.layers.ragged import newest
from tfrecsession.sessions.context import FARTHEST, LATEST, USER, VALUES, Context
from tfrecsession.sessions.context_texts import SIDES, input_name
from tfrecsession.sessions.derived_context import SECOND, of_tensors

ALIGNED = "has a value where items has none; it must be aligned with items"
RANGES = "is out of range: times are seconds since 1970, gaps seconds, hours 0 to 23, weekdays 0 to 6, months 1 to 12"
NUMBER = r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*"

PARTS = ("hour", "weekday", "month")  # of a time
RANGE_OF = {**VALUES, "time": (-LATEST, LATEST)}
ORDER = ("category", *PARTS, "gap", "number", "time")  # of kinds: those that are encoded alike lie together


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
            for code, value in [(0, ""), *enumerate(column.values, 2)]
        ]
        texts, codes = zip(*values, strict=True)
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

    def _columns(self, items, texts) -> tuple:
        """Checks the inputs and joins those of a side: some ops for all columns cost less than some for each.

        Args:
            items: string [n, events] or [n], the input that the columns belong to.
            texts: string tensors, in the order of `specs`. A column of events may be shorter than `items`: the rest is
                missing.

        Returns:
            Stripped strings [n, events or 1, columns] of the events and [n, columns] of the request; None for a side
            without columns.
        """
        context, request = {}, {}
        for key, text in zip(self.names, texts, strict=True):
            (context if key.startswith("context/") else request)[key] = text
        shapes = [tf.stack([tf.shape(text) for text in side.values()], axis=1) for side in (context, request) if side]
        rows = tf.concat([shape[0] for shape in shapes], axis=0)
        check = self._check(rows == tf.shape(items)[0], [*context, *request], "must have one row for each of items")
        with tf.control_dependencies([check]):
            items = tf.identity(items)
            events = None
            if context and items.shape.rank == 1:
                events = tf.strings.strip(tf.stack(list(context.values()), axis=-1))[:, None]
            elif context:
                events = self._stacked(items, context, shapes[0][1])
            return events, tf.strings.strip(tf.stack(list(request.values()), axis=-1)) if request else None

    def _check(self, good, keys, *messages: str):
        """Returns an assertion: all of bool [messages * keys], or else the message about the first input that is not.

        Flags are in the order of the messages, of all keys each.
        """
        texts = tf.constant([f"{self.names.get(key, key)}: {message}" for message in messages for key in keys])
        return tf.debugging.Assert(tf.reduce_all(good), [tf.gather(texts, tf.argmin(tf.cast(good, tf.int32)))])

    def _stacked(self, items, columns: dict, widths):
        """Returns columns of events, key -> string [n, any], as string [n, events, columns], stripped.

        `widths`: int32 [columns].
        """
        steps = tf.shape(items)[1]

        def aligned():
            longest = tf.maximum(tf.reduce_max(widths), steps)
            pads = [[[0, 0], [0, longest - width]] for width in tf.unstack(widths)]
            wide = [tf.pad(column, pad) for column, pad in zip(columns.values(), pads, strict=True)]
            wide = tf.stack(wide, axis=-1)
            beyond = tf.reduce_any(tf.strings.strip(wide[:, steps:]) != "", axis=[0, 1])
            with tf.control_dependencies([self._check(~beyond, columns, ALIGNED)]):
                return wide[:, :steps]

        equal = tf.reduce_all(widths == steps)
        stacked = tf.cond(equal, lambda: tf.stack(list(columns.values()), axis=-1), aligned)
        stacked = tf.strings.strip(tf.ensure_shape(stacked, (None, None, len(columns))))
        if self.context.itemless:  # a value without an item is an event without an item
            return stacked
        beyond = tf.reduce_any((stacked != "") & (items == "")[..., None], axis=[0, 1])
        with tf.control_dependencies([self._check(~beyond, columns, ALIGNED)]):
            return tf.identity(stacked)

    def _encoded(self, events, request, histories: bool) -> dict:
        """Encodes the columns of `_columns`.

        The request is encoded as one event more, so that each op runs once.

        Returns:
            Key -> int32, float32 or int64, as `Context.given` encodes them: [n, events] of the events, or [n] unless
            `histories`, and [n] of the request.
        """
        sides = {side: [key.partition("/")[2] for key in self.names if key.startswith(f"{side}/")] for side in SIDES}
        names = sorted({*sides["context"], *sides["request"]}, key=lambda name: ORDER.index(self._kind(name)))
        texts = [] if events is None else [_in_order(events, sides["context"], names)]
        texts += [] if request is None else [_in_order(request[:, None], sides["request"], names)]
        groups = self._groups(tf.concat(texts, axis=1), names, events is not None, request is not None)
        rest = slice(None) if request is None else slice(-1)
        found = {}
        for side, part in (("context", rest if histories else 0), ("request", -1)):
            for of_group, cells in groups:
                columns = tf.unstack(cells[:, part], len(of_group), axis=-1) if sides[side] else []
                found |= {f"{side}/{name}": column for name, column in zip(of_group, columns, strict=False)}
        return {key: found[key] for key in self.names}

    def _kind(self, name: str) -> str:
        column = self.context.columns.get(name)
        return column.kind if column else "time"

    def _groups(self, text, names: list[str], has_events: bool, has_request: bool) -> list:
        """Encodes columns, those of one type together.

        Args:
            text: string [n, events + 1, columns].
            names: of the columns, by the ORDER of their kinds.
            has_events, has_request: whether there are events, and whether the last one is the request.

        Returns:
            Pairs of the names of a group and its values, [n, events + 1, columns].
        """
        kinds = [self._kind(name) for name in names]
        counts = [sum(kind in of_group for kind in kinds) for of_group in (("category",), PARTS, ("gap",), ("number",))]
        first_number, end = counts[0], [sum(counts[: place + 1]) for place in range(4)]
        codes, groups = [], []
        if counts[0]:
            of_categories = text[..., :first_number]
            prefixed = tf.constant([f"{self.order[name]} " for name in names[:first_number]]) + of_categories
            codes.append(tf.cast(self.codes.lookup(prefixed), tf.int32))
        if first_number < len(names):
            text = text[..., first_number:]
            sizes = [*counts[1:], len(names) - end[3]]
            number = tf.split(self._numbers(text, names[first_number:], has_events, has_request), sizes, axis=-1)
            known = tf.split(tf.cast(text != "", tf.int32), sizes, axis=-1)
        if counts[1]:
            base = tf.constant([VALUES[kind][0] - 2 for kind in kinds[end[0] : end[1]]])
            codes.append((tf.cast(number[0], tf.int32) - base) * known[0])
        if counts[2]:
            before = tf.cast(known[1], tf.int64)  # any time will do, 0 is missing
            codes.append(of_tensors("gap", before + _microseconds(number[1]), before, None, None))
        if codes:
            groups.append((names[: end[2]], tf.concat(codes, axis=-1)))
        if counts[3]:
            columns = [self.context.columns[name] for name in names[end[2] : end[3]]]
            mean, deviation = (tf.constant([column[i] for column in columns], tf.float64) for i in (3, 4))
            scaled = tf.clip_by_value((number[2] - mean) / deviation, -FARTHEST, FARTHEST)
            groups.append((names[end[2] : end[3]], tf.cast(tf.where(known[2] > 0, scaled, math.nan), tf.float32)))
        if end[3] < len(names):
            groups.append((names[end[3] :], _microseconds(number[3])))
        return groups

    def _numbers(self, text, names: list[str], has_events: bool, has_request: bool):
        """Reads numbers, 0 where they are missing: string [n, events + 1, columns] -> float64 of the same shape.

        Raises:
            InvalidArgumentError, when it runs: a text is no number, or out of range.
        """
        missing = text == ""
        readable = tf.strings.regex_full_match(text, NUMBER)
        number = tf.strings.to_number(tf.where(readable, text, "0"), tf.float64)
        ranges = [RANGE_OF.get(self._kind(name), (-math.inf, math.inf)) for name in names]
        least, most = (tf.constant([limits[i] for limits in ranges], tf.float64) for i in (0, 1))
        good = tf.stack([readable, (number >= least) & (number <= most)]) | missing  # (2, n, events + 1, columns)
        flags, keys = [], []
        if has_events:
            flags.append(tf.reduce_all(good[:, :, :-1] if has_request else good, axis=[1, 2]))
            keys += [f"context/{name}" for name in names]
        if has_request:
            flags.append(tf.reduce_all(good[:, :, -1], axis=1))
            keys += [f"request/{name}" for name in names]
        flags = tf.reshape(tf.concat(flags, axis=1), [-1])
        with tf.control_dependencies([self._check(flags, keys, "must hold numbers, or empty texts", RANGES)]):
            return tf.identity(number)

    def _ids(self, tables, items, texts) -> tuple:
        """Returns the ids of items, in their shape, NO_ITEM where `""` has context, and the columns."""
        ids, (events, request) = tables.ids(items), self._columns(items, texts)
        if self.context.itemless:
            speaks = tf.reduce_any(events != "", axis=-1)
            ids = tf.where((ids == 0) & (speaks if ids.shape.rank == 2 else speaks[:, 0]), NO_ITEM, ids)
        return ids, events, request

    def ids(self, tables, items, texts) -> tuple:
        """Returns the ids of items, string [n] -> int32 [n], NO_ITEM where `""` has context, and the context given."""
        ids, events, request = self._ids(tables, items, texts)
        return ids, self._encoded(events, request, histories=False)

    def history(self, tables, items, texts) -> tuple:
        """Returns the ids of the newest known events, int32 [n, at most `longest`], and the context given with them."""
        ids, events, request = self._ids(tables, items, texts)
        wanted = (ids > 1) | (ids == NO_ITEM)
        if events is None:
            (ids,) = newest(tables.longest, wanted, ids)
        else:
            ids, events = newest(tables.longest, wanted, ids, events)
        return ids, self._encoded(events, request, histories=True)

    def history_of_sessions(self, tables, items, sessions, texts) -> tuple:
        """Returns ids and sessions of the newest events, see `VocabularyTables`, and the context given with them."""
        text = "sessions must have the shape of items: the session number of each event"
        with tf.control_dependencies([tf.debugging.assert_equal(tf.shape(items), tf.shape(sessions), text)]):
            ids, events, request = self._ids(tables, items, texts)
        more = [] if events is None else [events]
        ids, sessions, *more = newest(tables.longest, ids != 0, ids, sessions, *more)
        return ids, sessions, self._encoded(*(more or [None]), request, histories=True)


def _in_order(texts, names: list[str], order: list[str]):
    """Returns columns in another order, blank where `names` has none: string [n, events, names] -> [..., order]."""
    if names == order:
        return texts
    blank = tf.pad(texts, [[0, 0], [0, 0], [0, 1]])
    return tf.gather(blank, [names.index(name) if name in names else len(names) for name in order], axis=2)


def _microseconds(seconds):
    return tf.cast(tf.round(seconds * SECOND), tf.int64)
