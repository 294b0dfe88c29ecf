"""The columns that a ranker reads: of the history and the request, and of the candidates, as codes."""

from __future__ import annotations

import difflib

import keras
import tensorflow as tf
from keras import ops

from tfrecsession.errors import InputError
from tfrecsession.layers.items.gather import gather_rows
from tfrecsession.layers.items.item_content import ItemContent
from tfrecsession.layers.quantiles import Quantiles
from tfrecsession.recommender.arguments import refuse

CODED = ("category", "list", "words")  # kinds of content with codes
READABLE = (*CODED, "number")
NEVER, LAST = 2, 3  # codes of "seen": not in the window, the last item; then those before it


class Features(keras.layers.Layer):
    """The columns of candidates in their context, as codes: 0 missing, 1 unknown, 2.. values or quantiles.

    A history and its request have `last`, the last item; `length`, the events; `last.NAME`, content of the last item;
    `context.NAME` and `request.NAME`. A candidate has `item`; `item.NAME`, its content; `popularity`; `seen`, how many
    items ago it was in the history; `place` in the list; `score.NAME`, of a fitted model, with mean 0 and deviation 1
    within the list; `listed.NAME`, a number that the list gives.

    Args:
        size: the items + 2.
        context: the `Context` that is read, or None.
        content: tuple of `ContentColumn`.
        scores: names of the fitted models whose scores are read.
        listed: names of the numbers that lists give.
        window: the newest items of the history that are read.
        quantiles: of each number.
        support: events from which an item is known by its id.

    Attributes:
        of_query, of_candidate: name -> the count of its codes.
        numbers: the names of those that are quantiles.
    """

    def __init__(self, size, context, content, scores, listed, window, quantiles, support=1, **kwargs):
        super().__init__(**{"dtype": "float32", **kwargs})
        self.size, self.context, self.window, self.support = size, context, window, support
        self.content = ItemContent(content, size, name="content")
        keys = context.keys if context else {}
        sides = {key.replace("/", ".", 1): column for key, column in keys.items()}
        coded = {column.name: column.codes for column in content if column.kind in CODED}
        self.content_numbers = [column.name for column in content if column.kind == "number"]
        numbers = [f"{side}.{name}" for name in self.content_numbers for side in ("last", "item")]
        self.listed = [f"listed.{name}" for name in listed]
        self.scores = [f"score.{name}" for name in scores]
        of_lists = ["place", *self.scores, *self.listed]
        self.context_numbers = [name for name, column in sides.items() if not column.codes]
        self.numbers = ["length", "popularity", *of_lists, *numbers, *self.context_numbers]
        self.quantiles = Quantiles(self.numbers, quantiles, name="quantiles")
        quantile = self.quantiles.codes
        self.of_query = {"last": size, "length": quantile}
        self.of_query |= {name: column.codes or quantile for name, column in sides.items()}
        self.of_query |= {f"last.{column.name}": coded.get(column.name, quantile) for column in content}
        self.of_candidate = {"item": size, "seen": LAST + window, "popularity": quantile}
        self.of_candidate |= dict.fromkeys(of_lists, quantile)
        self.of_candidate |= {f"item.{column.name}": coded.get(column.name, quantile) for column in content}
        self.built = True

    @property
    def codes(self) -> dict[str, int]:
        """Name of a column -> the count of its codes."""
        return self.of_query | self.of_candidate

    def checked_crosses(self, crosses) -> list[tuple[str, ...]]:
        """Returns crosses as tuples of names: each a list of names, or one text, NAME*NAME.

        Raises:
            InputError: a column that does not exist, or a cross without a column of the candidate.
        """
        found = []
        example = 'such as ["last*item", ["seen", "place"]]'
        if not isinstance(crosses, str | list | tuple):
            refuse("crosses", crosses, f"a list of crosses, {example}")
        for cross in [crosses] if isinstance(crosses, str) else crosses:
            if not isinstance(cross, str | list | tuple):
                refuse("crosses", cross, f"names of columns joined by *, or in a list, {example}")
            names = tuple(name.strip() for name in cross.split("*")) if isinstance(cross, str) else tuple(cross)
            for name in names:
                if not isinstance(name, str) or name not in self.codes:
                    near = difflib.get_close_matches(str(name), self.codes, 1)
                    hint = f"; did you mean {near[0]!r}?" if near else ""
                    raise InputError(f"crosses: {name!r} must be one of {', '.join(self.codes)}{hint}")
            if not set(names) & set(self.of_candidate):
                of_candidate = ", ".join(self.of_candidate)
                raise InputError(
                    f"crosses: {'*'.join(names)!r} must have a column of the candidate ({of_candidate}), or it moves "
                    "all candidates alike"
                )
            if len(set(names)) < len(names):
                raise InputError(f"crosses: {'*'.join(names)!r} must name each column once")
            if names in found:
                raise InputError(f"crosses: {'*'.join(names)!r} must stand there once")
            found.append(names)
        return found

    def default_crosses(self) -> list[tuple[str, ...]]:
        """Returns the item with the last one and with every category, and each category of content with itself."""
        quantile = set(self.numbers)
        asked = [name for name in self.of_query if name.startswith(("context.", "request.")) and name not in quantile]
        shared = [f"item.{column.name}" for column in self.content.columns if column.kind == "category"]
        crosses = [("item",), ("seen",), ("last", "item"), *((name, "item") for name in asked)]
        return crosses + [(name.replace("item.", "last.", 1), name) for name in shared]

    # Codes -----------------------------------------------------------------------------------------------------------

    def known(self, ids, count):
        """Returns ids with 1, unknown, for items that training has seen too seldom to teach anything of them."""
        return tf.where((count >= self.support) | (ids == 0), ids, 1)

    def history(self, query, counts):
        """Returns the newest items of the histories, as far as they are known: int32 [n, window]."""
        return self.known(query["window"], counts_of(query, counts, query["window"]))

    def query_codes(self, query, counts) -> dict:
        """Returns name -> int32 [n, 1, values] of what a model's `encoder` returns; counts: int64 [size], of items."""
        last = query["window"][:, :1]  # (n, 1)
        found = {
            "last": self.history(query, counts)[:, :1, None],
            "length": self._quantile("length", query["length"][:, None]),
        }
        for name in self.of_query:
            if name.startswith(("context.", "request.")):
                values = query[name.replace(".", "/", 1)][:, None]  # (n, 1)
                found[name] = self._quantile(name, values) if name in self.context_numbers else values[..., None]
        return found | self._content_codes("last", last)

    def candidate_codes(self, query, ids, lists, counts, hidden=None) -> dict:
        """Returns name -> int32 [n, m, values].

        Args:
            query: as in `query_codes`.
            ids: int32 [n, m].
            lists: "place", "score.NAME", "listed.NAME" -> float [n, m], NaN where missing; columns may be left out.
                "count" replaces the counts of the candidates.
            counts: int64 [size], of the items.
            hidden: a column of the candidates' content that is taken as missing.
        """
        back = tf.equal(query["window"][:, None, :], ids[:, :, None])  # (n, m, window)
        first = tf.argmax(tf.cast(back, tf.int32), axis=-1, output_type=tf.int32)  # (n, m)
        seen = tf.where(tf.reduce_any(back, axis=-1), LAST + first, NEVER)
        count = counts_of(lists, counts, ids)
        item = self.known(ids, count)
        popularity = self._quantile("popularity", tf.math.log1p(count))
        found = {"item": item[..., None], "seen": seen[..., None], "popularity": popularity}
        nothing = tf.fill(tf.shape(ids), float("nan"))
        for name in ("place", *self.scores, *self.listed):
            found[name] = self._quantile(name, lists.get(name, nothing))
        return found | self._content_codes("item", ids, hidden)

    def exact(self, ids, lists):
        """Returns the numbers whose order counts exactly: -log(place) and the scores, 0 where missing.

        Args:
            ids, lists: as in `candidate_codes`.

        Returns:
            float32 [n, m, 1 + scores].
        """
        nothing = tf.fill(tf.shape(ids), float("nan"))
        place = -tf.math.log(lists.get("place", nothing))
        values = tf.stack([place, *(lists.get(name, nothing) for name in self.scores)], axis=-1)
        return tf.where(tf.math.is_finite(values), values, 0.0)

    def _quantile(self, name, values):
        return self.quantiles.codes_of(name, values)[..., None]

    def _content_codes(self, side: str, ids, hidden=None) -> dict:
        read, found = self.content(ids), {}
        for column in self.content.columns:
            name, values = f"{side}.{column.name}", read[column.name]
            if column.kind == "number":
                values = self._quantile(name, tf.where(values[..., 2] > 0, values[..., 0], float("nan")))
            found[name] = tf.zeros_like(values) if column.name == hidden else values
        return found

    def numbers_of(self, query, ids, lists, counts) -> dict:
        """Returns name -> the numbers that quantiles are learned from, float [any]."""
        last, is_read = query["window"][:, 0], ids > 0
        popularity = tf.boolean_mask(tf.math.log1p(counts_of(lists, counts, ids)), is_read)
        found = {"length": query["length"], "popularity": popularity}
        found |= {name: tf.boolean_mask(lists[name], is_read) for name in lists if name != "count"}
        found |= {name: query[name.replace(".", "/", 1)] for name in self.context_numbers}
        for side, of in (("last", last), ("item", ids[is_read])):
            read = self.content(of)
            for name in self.content_numbers:
                values = read[name]
                found[f"{side}.{name}"] = tf.where(values[..., 2] > 0, values[..., 0], float("nan"))
        return found


def counts_of(lists, counts, ids):
    """Returns the counts of candidates, float32 [n, m]: those of the lists, or of the items, int64 [size]."""
    return lists["count"] if "count" in lists else tf.cast(gather_rows(counts, ids), tf.float32)


def standardized(scores, ids):
    """Returns scores with mean 0 and deviation 1 within each list, NaN where there is no known item.

    Args:
        scores: float [n, m]. ids: int32 [n, m].
    """
    known = ids > 1
    weight = tf.cast(known, tf.float32)
    count = tf.maximum(tf.reduce_sum(weight, axis=1, keepdims=True), 1.0)
    scores = tf.where(known, tf.cast(scores, tf.float32), 0.0)
    mean = tf.reduce_sum(scores, axis=1, keepdims=True) / count
    centred = tf.where(known, scores - mean, 0.0)
    deviation = tf.sqrt(tf.reduce_sum(centred**2, axis=1, keepdims=True) / count)
    return tf.where(known, tf.math.divide_no_nan(centred, deviation), float("nan"))


@keras.saving.register_keras_serializable(package="tfrecsession")
class CodeVectors(keras.layers.Layer):
    """Embeddings of the codes of several columns, in one table; columns of one name in `shared` share their rows.

    The vector of a column with several codes is their mean. A missing one has the vector 0, unknown ones begin there.

    Args:
        columns: name -> the count of its codes.
        dim: width of the vectors.
        shared: name of a column -> that of the column whose rows it has.
    """

    def __init__(self, columns, dim, shared=None, **kwargs):
        super().__init__(**{"dtype": "float32", **kwargs})
        self.columns, self.dim, self.shared = dict(columns), dim, dict(shared or {})
        self.first, rows = {}, 0
        for name, codes in self.columns.items():
            if name not in self.shared:
                self.first[name], rows = rows, rows + codes
        unknown = [[first + 1] for first in self.first.values()]
        normal = keras.initializers.RandomNormal(stddev=0.1)

        def initial(shape, dtype=None):
            values = normal(shape, dtype=dtype)
            return ops.scatter_update(values, unknown, ops.zeros((len(unknown), shape[1]), dtype))

        self.table = self.add_weight(name="table", shape=(rows, dim), initializer=initial, autocast=False)
        self.built = True

    def vectors(self, name: str, codes):
        """Returns the vectors of a column: int32 [..., values] -> float32 [..., dim]."""
        first = self.first[self.shared.get(name, name)]
        there = tf.cast(codes > 0, tf.float32)[..., None]  # (..., values, 1)
        vectors = tf.reduce_sum(gather_rows(self.table.value, first + codes) * there, axis=-2)
        return tf.math.divide_no_nan(vectors, tf.reduce_sum(there, axis=-2))

    def get_config(self):
        return {**super().get_config(), "columns": self.columns, "dim": self.dim, "shared": self.shared}
