"""Recommendations from histories, and similar items."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfrecsession.batches.batch import NO_ITEM, of_histories
from tfrecsession.errors import InputError
from tfrecsession.events.id_texts import text_lists, texts
from tfrecsession.layers.blocks import BLOCK_BYTES
from tfrecsession.layers.items.matmul import WholeTable
from tfrecsession.layers.ragged import wanted_first
from tfrecsession.recommender.fitted import warn_unfitted
from tfrecsession.recommender.in_context import columns_of_histories, speaking
from tfrecsession.recommender.top_items import TopItems, left_out, pairs
from tfrecsession.recommender.with_rules import WithRules
from tfrecsession.rules.answer import ruled

ZERO, EMPTY = np.int32(0), np.array("", object)
STEP_CELLS = 1024  # numbers that a model may hold for each event of a history


class Recommendations(NamedTuple):
    """The k best items of each history, best first; `""` where fewer items are left.

    Attributes:
        items: object (str) [histories, k].
        scores: float32 [histories, k].
    """

    items: np.ndarray
    scores: np.ndarray

    def __repr__(self) -> str:
        shape = "x".join(map(str, self.items.shape))
        rows = [
            " ".join(f"{str(item)[:20]} ({score:.4g})" for item, score in zip(items[:3], scores[:3], strict=True))
            for items, scores in zip(np.atleast_2d(self.items)[:4], np.atleast_2d(self.scores)[:4], strict=True)
        ]
        return "\n".join([f"<Recommendations [{shape}], best first", *(f"  {row} ..." for row in rows)]) + ">"


def padded_rows(rows, empty=ZERO) -> np.ndarray:
    """Returns arrays of any lengths as one, [rows, longest], with `empty` behind each, in its type."""
    padded = np.full((len(rows), max(map(len, rows), default=0)), empty, empty.dtype)
    for row, values in zip(padded, rows, strict=True):
        row[: len(values)] = values
    return padded


def empty_of(rows: list):
    """Returns the padding of ids or texts."""
    return EMPTY if len(rows) and rows[0].dtype == object else ZERO


class Recommending(WithRules, TopItems):
    """Recommendations from histories, and similar items.

    Mixed into `Recommender`, which has `items`, `size`, `reads`, `encode`, `score_all`, `score_without_history` and
    `item_vectors`.
    """

    def answer(self, ids, k: int, exclude_seen: bool = False, allowed=None, exclude=None, only=None, given=None):
        """Returns ids and scores of the k best next items of each history.

        Padding and unknown items are ignored wherever they stand. A history without a known item gets the most popular
        items.

        Args:
            ids: int32 [histories, events], oldest first; NO_ITEM is an event without an item, a step if its context is
                given.
            k: how many.
            exclude_seen: leave out the items of the history.
            allowed: bool [size] or [histories, size], the items that may be recommended; None: all.
            exclude: int32 [histories, any], further items to leave out; 0 and 1 are ignored.
            only: int32 [histories, any], items to choose from; 0 and 1 are ignored, a row of 0 stands for all.
            given: the context that is given, encoded: "context/NAME" -> [histories, events], "request/NAME" ->
                [histories], see `recommender.in_context`; None: all of it is missing.

        Returns:
            int32 [histories, k], 0 where nothing is left, and float32 [histories, k].
        """
        encoded, ids, length = self._encode_histories(ids, given)
        return self.find(encoded, length > 0, k, left_out(ids, exclude_seen, exclude), allowed, only)

    def query_vectors(self, ids):
        """Returns float32 [histories, width], whose products with `score_vectors` are the scores.

        Histories without a known item get all zeros; `answer` falls back to popular items.

        Args:
            ids: as in `answer`.
        """
        encoded, known = self.encoded_histories(ids)
        return tf.where(known[:, None], self.queries(encoded), 0.0)

    def encoded_histories(self, ids):
        """Returns encoded histories [histories, dim], and whether they have a known item, bool [histories].

        Args:
            ids: as in `answer`.
        """
        encoded, _, length = self._encode_histories(ids)
        return encoded, length > 0

    def _encode_histories(self, ids, given=None):
        """Returns the encoded histories [histories, dim], their known ids, padded to the right, and their lengths."""
        ids, given = self.known_events(ids, given)
        length = tf.math.count_nonzero(ids, axis=1, dtype=tf.int32)  # (histories,)
        return self.encode_last(self.batch_of_histories(ids, given), length), ids, length

    def known_events(self, ids, given=None, *others):
        """Moves the known items of histories to the front, with their context; at least one step of padding follows.

        Args:
            ids: int32 [histories, events].
            given: as in `answer`.
            others: int32 [histories, events] each.

        Returns:
            int32 [histories, events + 1], 0 behind the last known item or NO_ITEM with context, `given` of the same
            shape, and the others, whose padding is 0.
        """
        along = [key for key in given or {} if key.startswith("context/")]
        known = (ids > 1) | speaking(self.context, given or {}, ids == NO_ITEM)
        arrays = wanted_first(known, tf.where(known, ids, 0), *(given[key] for key in along), *others)
        ids, *arrays = (tf.pad(array, [[0, 0], [0, 1]]) for array in arrays)
        given = {**(given or {}), **dict(zip(along, arrays, strict=False))}
        return (ids, given, *arrays[len(along) :])

    def batch_of_histories(self, ids, given=None) -> dict:
        """Returns the batch of one session a row, with the columns that the model reads.

        Args:
            ids: int32 [rows, steps], known items or NO_ITEM, 0 behind the last one.
            given: as in `answer`, its "context/NAME" aligned with `ids`.
        """
        batch = of_histories(ids, self.reads)
        length = tf.reduce_sum(batch["segment"], axis=1)
        return batch | columns_of_histories(self.context, given or {}, batch["position"], length)

    def encode_last(self, batch: dict, length):
        """Encodes each row, one session from its first step, after its last event: `[rows, dim]`.

        A model whose steps are costly may override it.

        Args:
            batch: rows of one session each.
            length: int32 [rows], their numbers of events; results of empty rows are never used.
        """
        return tf.gather(self.encode(batch, training=False), tf.maximum(length - 1, 0), batch_dims=1)

    def recommend(
        self,
        histories,
        k: int = 20,
        *,
        exclude_seen: bool = False,
        candidates=None,
        exclude=None,
        only=None,
        context: Mapping | None = None,
        request: Mapping | None = None,
        rules=None,
    ) -> Recommendations:
        """Returns the k best next items of each history.

        Args:
            histories: lists of item ids as in the log, oldest first: texts, bytes or numbers, in lists, generators,
                arrays, tensors, ragged tensors or columns. Unknown ids are skipped; a history without a known item
                gets the most popular items. For a model that has learned from events without an item, see
                `prepare(itemless="keep")`, None is such an event, a step if its context is given.
            k: how many items, at most the catalogue's.
            exclude_seen: leave out the items of the history.
            candidates: item ids to choose from, the same for every history; None: the whole catalogue.
            exclude: items that must not be returned, a list for each history, as in the client and in exports. Unknown
                ids are ignored.
            only: items that may be returned, a list for each history; an empty list allows the whole catalogue.
            context: for a model that reads context: column -> for each history a list with a value for each event,
                {"device": [["phone", "phone"]], "time": [[1700000000, 1700000060]]}. None is missing, and so are
                columns that are not given. Gap, hour, weekday and month follow from "time" (datetimes, ISO texts, or
                seconds since 1970) unless they are given themselves.
            request: column -> a value for each history, known of the request: {"device": ["phone"], "time":
                [1700000090]}.
            rules: filters by the items' content, boosts, quotas, diversity and pinned items, see
                `tfrecsession.rules.rules`: the same for every history, or a list with those of each. The answer is then
                `RuledRecommendations`, which also counts what each rule removed.

        Raises:
            InputError: k is not in 1..catalogue, a history is a bare string, a value is not an id, no candidate is
                known, `exclude` or `only` is not a list for each history, a rule cannot be read or names a column or an
                item that is not there, or context that the model does not read, of another length, or of values that
                cannot be read.

        Warns:
            UserWarning: the rules leave fewer than k items, or the model has learned nothing yet.
        """
        self.check_k(k)
        encoded = self.encode_histories(histories)
        given = self.given_context(context, request, [len(history) for history in encoded])
        if rules is None:
            return self.recommend_ids(self.answer, [encoded], k, exclude_seen, candidates, exclude, only, given)
        lists, coded = self.checked_rules(rules, len(encoded), k)
        more = {"candidates": candidates, "exclude": exclude, "only": only, "given": given}
        answer = self.recommend_ids(self.answer_with_rules, [encoded, coded], k, exclude_seen, **more)
        return ruled(*answer, lists)

    def encode_histories(self, histories) -> list[np.ndarray]:
        """Returns the ids of each history, int32 [events]; NO_ITEM for None, if the model reads such events."""
        if self.context is None or not self.context.itemless:
            return [self.items.encode(history) for history in text_lists(histories, "histories")]
        lists = text_lists(histories, "histories", missing=True)
        return [self._encode_or_none(history) for history in lists]

    def _encode_or_none(self, history: list) -> np.ndarray:
        ids = self.items.encode(["" if item is None else item for item in history])
        return np.where([item is None for item in history], np.int32(NO_ITEM), ids).astype(np.int32)

    def given_context(self, context: Mapping | None, request: Mapping | None, lengths: list[int]) -> dict:
        """Encodes the context that a request gives, see `Context.given`; a model without context refuses any."""
        if self.context is not None:
            return self.context.given(context, request, lengths)
        for name, columns in (("context", context), ("request", request)):
            if columns:
                raise InputError(
                    f"{name}={list(columns)!r}: must be left out: this {type(self).__name__} was created without it"
                )
        return {}

    def item_rows(self):
        """Returns the reader of item vectors without biases: `rows`, `products`, `squares`, see `WholeTable`."""
        factored = self.output_items is not None and self.output_items.factored
        return self.output_items if factored else WholeTable(self.item_vectors)

    def missing_in(self, key: str):
        """Returns the missing value of a key of the given context, a NumPy number."""
        known = self.context.keys
        return known[key].missing if key in known else np.int64(0)  # times are no column

    def recommend_ids(
        self, answer, columns: list, k: int, exclude_seen: bool, candidates=None, exclude=None, only=None, given=None
    ) -> Recommendations:
        """Runs `answer` over histories of any lengths, block by block.

        Args:
            answer: called with an int32 [histories, events] array for each of `columns`, the rest by keyword.
            columns: each an array per history, int32 [events], or str [any]; the first is of item ids.
            k, exclude_seen, candidates, exclude, only: as in `recommend`.
            given: of `given_context`.

        Returns:
            `Recommendations`, or a tuple with the further arrays that `answer` returns.
        """
        warn_unfitted(self)
        given = given or {}
        filters = {
            name: self.filter_of(name, lists, len(columns[0]))
            for name, lists in (("exclude", exclude), ("only", only))
            if lists is not None
        }
        allowed = None
        if candidates is not None:
            chosen = self.items.encode(texts(candidates, "candidates"))
            allowed = np.zeros(self.size, bool)
            allowed[chosen[chosen > 1]] = True
            if not allowed.any():
                raise InputError("candidates: must hold an item of the catalogue, none of them is in it")
        parts = [(column, empty_of(column)) for column in (*columns, *filters.values())]
        specs = [tf.TensorSpec((None, None), tf.string if empty.dtype == object else tf.int32) for _, empty in parts]
        for key, values in given.items():
            of_request = key.startswith("request/")
            empty = self.missing_in(key)
            parts.append((values, None if of_request else empty))
            specs.append(tf.TensorSpec((None,) if of_request else (None, None), empty.dtype))
        names = (tuple(filters), tuple(given))
        traced = self._traced(answer, specs, names, int(k), bool(exclude_seen), allowed is not None)
        chosen = [] if allowed is None else [tf.constant(allowed)]
        rows = len(columns[0])
        found, scores = np.zeros((rows, k), np.int32), np.zeros((rows, k), np.float32)
        further = [np.empty(rows, object) for _ in traced.outputs[2:]]  # their widths follow the block
        for block in self._blocks_of_histories([len(history) for history in columns[0]]):
            padded = [
                values[block] if empty is None else padded_rows([values[row] for row in block], empty)
                for values, empty in parts
            ]
            best = traced(*map(tf.constant, padded), *chosen)
            found[block], scores[block] = best[0].numpy(), best[1].numpy()
            for array, values in zip(further, best[2:], strict=True):
                array[block] = list(values.numpy())
        answer = Recommendations(self.items.decode(found), scores)
        return (*answer, *further) if further else answer

    def filter_of(self, name: str, lists, rows: int, of: str = "histories") -> list:
        """Returns the ids of `exclude` or `only`, an int32 array for each row."""
        encoded = [self.items.encode(ids) for ids in text_lists(lists, name, ordered=False)]
        if len(encoded) != rows:
            raise InputError(f"{name}: must be a list for each of the {rows} {of}, not {len(encoded)} lists")
        return encoded

    def _blocks_of_histories(self, lengths: list[int]) -> Iterator[np.ndarray]:
        """Yields the rows of each block: all of them, where their padded array is small.

        Histories of similar length share a block, so one long history does not widen all others.
        """
        lengths = np.asarray(lengths, np.int64)

        def cells(longest):  # of a row: its scores, and the layers' results at each step
            return max(self.size, (longest + 1) * STEP_CELLS)

        if len(lengths) * cells(lengths.max(initial=0)) <= BLOCK_BYTES // 4:
            yield from [np.arange(len(lengths))] if len(lengths) else []
            return
        order = np.argsort(-lengths, kind="stable")
        first = 0
        while first < len(order):
            last = first + max(1, BLOCK_BYTES // 4 // cells(lengths[order[first]]))
            yield order[first:last]
            first = last

    def _traced(self, answer, specs: list, names: tuple, k: int, exclude_seen: bool, filtered: bool):
        """Returns `answer` as one graph for all shapes: a graph per shape would cost seconds each.

        specs: of the arrays of ids, then of those of the `names`: filters, and keys of the context.
        """
        key = (answer.__name__, names, k, exclude_seen, filtered)
        if key not in self._answer_graphs:
            filters, keys = names
            columns, count = len(specs) - len(filters) - len(keys), len(specs) - len(keys)

            def of_any_shape(*arrays):
                more = dict(zip(filters, arrays[columns:count], strict=True))
                if keys:
                    more["given"] = dict(zip(keys, arrays[count : len(specs)], strict=True))
                allowed = arrays[len(specs)] if filtered else None
                return answer(*arrays[:columns], k=k, exclude_seen=exclude_seen, allowed=allowed, **more)

            spec = [*specs, *[tf.TensorSpec((None,), tf.bool)] * filtered]
            graph = tf.function(of_any_shape, input_signature=spec, autograph=False)
            self._answer_graphs[key] = graph.get_concrete_function()
        return self._answer_graphs[key]

    def similar_items(self, items, k: int = 20) -> Recommendations:
        """Returns the k items nearest to each of `items` by cosine; the item itself is left out.

        Raises:
            InputError: an item is unknown, or the model has no item vectors.
        """
        self.check_k(k + 1)
        warn_unfitted(self)
        items = texts(items, "items")
        ids = self.items.encode(items)
        for item, row in zip(items, ids, strict=True):
            if row < 2:
                raise InputError(f"item {item!r} is not in the catalogue")
        best, scores = self.nearest()(tf.constant(ids), k)
        return Recommendations(self.items.decode(best.numpy()), scores.numpy())

    def nearest(self):
        """Returns `similar_items` on tensors, as a function that has measured the vectors' lengths once.

        It takes int32 [n] and k. It returns ids int32 [n, k], 0 where nothing is left or the item is unknown, and
        scores float32 [n, k].
        """
        items = self.item_rows()
        inverse = tf.Variable(tf.math.rsqrt(tf.maximum(items.squares(), 1e-12)), trainable=False)  # (size,)

        def nearest(ids, k):
            inverses = tf.convert_to_tensor(inverse)
            normalized = items.rows(ids) * tf.gather(inverses, ids)[:, None]  # (n, dim)
            scores = items.products(normalized) * inverses  # (n, size)
            return self.best_of(scores, k, pairs(ids[:, None]), allowed=(ids > 1)[:, None])

        return nearest
