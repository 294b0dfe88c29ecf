"""Reasons: which events of a history, and which context and content, carried a recommendation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfrecsession.batches.batch import NO_ITEM
from tfrecsession.errors import InputError
from tfrecsession.events.id_texts import text_lists
from tfrecsession.layers.blocks import BLOCK_BYTES
from tfrecsession.recommender.arguments import check_whole
from tfrecsession.recommender.content_reasons import ExplainingContent
from tfrecsession.recommender.in_context import speaking
from tfrecsession.recommender.recommend import STEP_CELLS, padded_rows
from tfrecsession.recommender.served_reasons import strongest_features

DELETED = 50  # newest events of a history that are left out one by one


class Explanations(NamedTuple):
    """The reasons of items, the strongest first; there are fewer where a history has fewer events.

    Attributes:
        items: object (str) [histories, k], the explained items.
        scores: float32 [histories, k].
        because: object (str) [histories, k, reasons], the items of the events that carried the score; "" where there is
            none.
        events: int32 [histories, k, reasons], the index of each in its history; -1 where there is none.
        weights: float32 [histories, k, reasons], the part of the score that each carried.
        features: column -> float32 [histories, k], the part of the score that it carried. A key is "context/NAME" or
            "request/NAME" of the given context, "time", with all that follows from the times, or "item/NAME", content
            of the explained item.
        copied: float32 [histories, k, reasons], of models with `repeats`: the share of an item's probability that
            repeats each event, exactly; None: the model has no such head.
    """

    items: np.ndarray
    scores: np.ndarray
    because: np.ndarray
    events: np.ndarray
    weights: np.ndarray
    features: dict
    copied: np.ndarray | None = None

    def strongest(self) -> np.ndarray:
        """Returns the names of the features that carried each item, the strongest first.

        Returns:
            object (str) [histories, k, features]; "" in place of those that added nothing, or took from the score.
        """
        return strongest_features(self.features, self.items.shape)

    def __repr__(self) -> str:
        lines = []
        for items, because, features in zip(self.items[:4], self.because[:4], self.strongest()[:4], strict=True):
            lines += [
                f"  {item}, because of {', '.join(filter(None, [*events, *names[:1]])) or 'popularity'}"
                for item, events, names in zip(items[:2], because[:2], features[:2], strict=True)
            ]
        return "\n".join([f"<Explanations [{'x'.join(map(str, self.because.shape))}]", *lines]) + ">"


class Explaining(ExplainingContent):
    """Reasons of recommendations, and scores of chosen items. Mixed into `Recommender` beside `Recommending`.

    A model whose score is a sum over the events of a history defines `parts_of_events`. All others leave out one event
    at a time, all in one batch: a part is what the score loses.
    """

    def parts_of_events(self, newest, items):
        """Returns the parts of the scores that each event adds, float32 [n, m, events]; None: scores are no such sums.

        Args:
            newest: int32 [n, events], the known items of histories, newest first, 0 where there are no more.
            items: int32 [n, m], the explained items.
        """
        return None

    def copies_of_events(self, ids, items, scores, given=None):
        """Returns the share of the items' probabilities that repeats each event, float32 [n, m, events], newest first.

        None: the model has no repeat head. `scores`: float32 [n, m], of the items.
        """
        return None

    def scores_after(self, ids, items=None, given=None):
        """Returns the scores after each history, as `answer` compares them.

        Args:
            ids, given: as in `answer`.
            items: int32 [histories, m], the items to score; None: the whole catalogue.

        Returns:
            float32 [histories, m], or [histories, size], whose columns 0 and 1 are ignored.
        """
        encoded, _, length = self._encode_histories(ids, given)
        if items is None:
            return self.or_popular(self.score_all(encoded), length > 0)
        return self._candidates_or_popular(items, self.score_items(encoded, items), length > 0)

    def reasons(self, ids, items, count: int, given=None, content=()):
        """Returns the events, the given context and the content that carried the scores of items.

        Args:
            ids, given: as in `answer`.
            items: int32 [histories, m].
            count: how many events of each.
            content: some of `explained_content`.

        Returns:
            scores, float32 [histories, m]; events, int32 [histories, m, count], columns of `ids`, -1 where there are no
            more; their parts, float32 [histories, m, count]; those of the `names_of_features(given, content)`, float32
            [histories, m, features]; `copied` of `Explanations`, or None.
        """
        given = given or {}
        known = (ids > 1) | speaking(self.context, given, ids == NO_ITEM)  # (n, events)
        column = tf.argsort(tf.cast(known, tf.int32), axis=1, stable=True)[:, ::-1]  # (n, events): newest first
        total = tf.math.count_nonzero(known, axis=1, dtype=tf.int32)  # (n,)
        newest = tf.where(known, ids, 0)
        parts = self.parts_of_events(tf.gather(newest, column, batch_dims=1), items)
        if parts is None:
            column = column[:, :DELETED]  # (n, deleted)
            scores, parts, features = self._without_each(ids, items, column, total, given)
        else:
            scores, _, features = self._without_each(ids, items, column[:, :0], total, given)
        if content:
            encoded, _, length = self._encode_histories(ids, given)
            lost = self.parts_of_content(encoded, items, content)  # (n, m, columns)
            features = tf.concat([features, tf.where((length > 0)[:, None, None], lost, 0.0)], axis=-1)
        exists = tf.range(tf.shape(column)[1]) < total[:, None]  # (n, events or deleted)
        least = parts.dtype.min
        parts = tf.pad(tf.where(exists[:, None], parts, least), [[0, 0], [0, 0], [0, count]], constant_values=least)
        column = tf.pad(column, [[0, 0], [0, count]], constant_values=-1)
        parts, best = tf.math.top_k(parts, count)  # (n, m, count) each
        is_event = parts > least
        events = tf.gather(column, tf.reshape(best, [tf.shape(best)[0], -1]), batch_dims=1)  # (n, m count)
        events = tf.where(is_event, tf.reshape(events, tf.shape(best)), -1)
        copied = self.copies_of_events(ids, items, scores, given)
        if copied is not None:
            width = tf.shape(column)[1]
            copied = tf.pad(copied[..., :width], [[0, 0], [0, 0], [0, tf.maximum(width - tf.shape(copied)[2], 0)]])
            copied = tf.where(is_event, tf.gather(copied, best, batch_dims=2), 0.0)
        return scores, events, tf.where(is_event, parts, 0.0), features, copied

    def _without_each(self, ids, items, column, total, given: dict):
        """Scores histories as they are, without each of the events at `column`, and without each feature: one batch.

        Returns:
            scores [n, m], and what they lose, [n, m, columns] and [n, m, features]. A history that has one event alone
            owes it the whole score.
        """
        n, events = tf.unstack(tf.shape(ids))
        deleted = tf.shape(column)[1]
        step = tf.range(events)[None, None]  # (1, 1, events)
        without = tf.where(step == column[..., None], 0, ids[:, None])  # (n, deleted, events)
        groups = features_of(given)
        kept = tf.repeat(ids[:, None], 1 + len(groups), axis=1)  # (n, 1 + features, events)
        rows = tf.concat([kept, without], axis=1)  # (n, 1 + features + deleted, events)
        count = tf.shape(rows)[1]
        repeated = {}
        for key, values in given.items():
            of_event = values.shape.rank == 2
            empty = tf.fill(tf.shape(values), tf.constant(self.missing_in(key), values.dtype))
            cells = [values, *(empty if key in keys else values for keys in groups.values())]
            cells = tf.stack(cells, axis=1)  # (n, 1 + features[, events])
            cells = tf.concat([cells, tf.repeat(values[:, None], deleted, axis=1)], axis=1)
            repeated[key] = tf.reshape(cells, [n * count, events] if of_event else [n * count])
        scores = self.scores_after(tf.reshape(rows, [n * count, events]), tf.repeat(items, count, axis=0), repeated)
        scores = tf.reshape(scores, [n, count, tf.shape(items)[1]])  # (n, count, m)
        scores = tf.transpose(scores, [0, 2, 1])  # (n, m, count)
        whole, first = scores[..., :1], 1 + len(groups)
        lost = whole - scores[..., first:]
        lost = tf.where(total[:, None, None] == 1, whole, lost)
        return whole[..., 0], lost, whole - scores[..., 1:first]

    def explain(
        self,
        histories,
        items=None,
        k: int = 5,
        *,
        reasons: int = 3,
        exclude_seen: bool = False,
        context: Mapping | None = None,
        request: Mapping | None = None,
    ) -> Explanations:
        """Returns which events of a history carried its recommendations, and which features.

            model.explain([["item-17", "item-4", "item-9"]], k=5).because[0]

        Features are columns of the given context, and of the content of the recommended item where its score follows
        from it; the part of each is what the score loses where the column is missing.

        Parts of models whose scores are sums over events (`als`, rules, `item_knn`, `slist`, `session_aggregation`) add
        up to the score, but for biases. All other models score the history again without each of its newest 50 events,
        all in one batch; a part is what the score loses. The only event of a history carries the whole score. A history
        without a known item has no reasons.

        Args:
            histories, exclude_seen, context, request: as in `recommend`.
            items: the items to explain, a list for each history; None: the k best.
            k: how many of the best.
            reasons: how many events of each.

        Raises:
            InputError: as `recommend`, `items` is not a list for each history, or one of them is unknown.
        """
        check_whole("reasons", reasons)
        encoded = self.encode_histories(histories)
        given = self.given_context(context, request, [len(history) for history in encoded])
        if items is None:
            self.check_k(k)
            best = self.recommend_ids(self.answer, [encoded], k, exclude_seen, given=given).items
            chosen = self.items.encode(best.ravel()).reshape(best.shape)
        else:
            chosen = padded_rows(self._explained(items, len(encoded)))
        shape, content = (*chosen.shape, reasons), self.explained_content
        scores, parts = np.zeros(shape[:2], np.float32), np.zeros(shape, np.float32)
        events = np.full(shape, -1, np.int32)
        features = {name: np.zeros(shape[:2], np.float32) for name in names_of_features(given, content)}
        copied = None
        explained = self._traced_reasons(reasons, given, content)
        longest = max(map(len, encoded), default=0)
        cells = (1 + min(longest, DELETED) + len(features)) * max(self.size, (longest + 1) * STEP_CELLS)
        block_rows = max(1, BLOCK_BYTES // 4 // cells)
        for first in range(0, len(encoded), block_rows):
            block = slice(first, first + block_rows)
            arrays = [padded_rows(encoded[block]), chosen[block]]
            for key, values in given.items():
                of_request = key.startswith("request/")
                arrays.append(values[block] if of_request else padded_rows(values[block], self.missing_in(key)))
            found = explained(*map(tf.constant, arrays))
            scores[block], events[block], parts[block] = (part.numpy() for part in found[:3])
            for number, name in enumerate(features):
                features[name][block] = found[3][..., number].numpy()
            if found[4] is not None:
                copied = np.zeros(shape, np.float32) if copied is None else copied
                copied[block] = found[4].numpy()
        is_item = chosen > 0
        padded = np.pad(padded_rows(encoded), [(0, 0), (0, 1)])  # a column for -1
        ids = np.take_along_axis(padded, events.reshape(len(events), -1).astype(np.int64), axis=1).reshape(shape)
        events = np.where(is_item[..., None], events, -1)
        return Explanations(
            self.items.decode(chosen),
            np.where(is_item, scores, 0),
            self.items.decode(np.where(events < 0, 0, np.maximum(ids, 0))),
            events,
            np.where(is_item[..., None], parts, 0),
            {name: np.where(is_item, values, 0) for name, values in features.items()},
            copied,
        )

    def _explained(self, items, rows: int) -> list[np.ndarray]:
        lists = text_lists(items, "items")
        if len(lists) != rows:
            raise InputError(f"items: must be a list for each of the {rows} histories, not {len(lists)} lists")
        encoded = [self.items.encode(ids) for ids in lists]
        for row, (texts, ids) in enumerate(zip(lists, encoded, strict=True)):
            if (ids < 2).any():
                unknown = list(texts)[int(np.argmax(ids < 2))]
                raise InputError(f"items[{row}]: {unknown!r} must be in the catalogue")
        return encoded

    def _traced_reasons(self, count: int, given: dict, content):
        """Returns `reasons` as one graph for all shapes, over the arrays of ids, items and the given context."""
        key = ("reasons", count, tuple(given), tuple(column.name for column in content))
        if key not in self._answer_graphs:
            specs = [tf.TensorSpec((None, None), tf.int32)] * 2
            for name in given:
                of_request = name.startswith("request/")
                specs.append(tf.TensorSpec((None,) if of_request else (None, None), self.missing_in(name).dtype))

            def of_any_shape(ids, items, *arrays):
                return self.reasons(ids, items, count, dict(zip(given, arrays, strict=True)), content)

            graph = tf.function(of_any_shape, input_signature=specs, autograph=False)
            self._answer_graphs[key] = graph.get_concrete_function()
        return self._answer_graphs[key]


def features_of(given: Mapping) -> dict[str, tuple[str, ...]]:
    """Returns name -> keys of the given context that are left out together; times are one feature."""
    times = tuple(key for key in given if key.endswith("/time"))
    found = {key: (key,) for key in given if key not in times}
    return found | ({"time": times} if times else {})


def names_of_features(given: Mapping, content) -> list[str]:
    """Returns the names of `Explanations.features`: those of the given context, and of columns of content."""
    return [*features_of(given), *(f"item/{column.name}" for column in content)]
