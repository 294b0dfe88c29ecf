"""The list of a request under rules, as a graph: filter, score, choose, and what each rule removed."""

from __future__ import annotations

import tensorflow as tf

from tfrecsession.rules.attributes import ItemAttributes
from tfrecsession.rules.list_steps import listed, notes, scored, with_pinned
from tfrecsession.rules.rule_fields import Rules, is_one_of, read
from tfrecsession.rules.rule_tables import RuleTables, filtered, values_of
from tfrecsession.rules.rules import OVERLAP, OWN

GREEDY = ("pin", "at_most", "diversity")  # rules that choose one item after the other


class RuledLists(tf.Module):
    """Applies the rules of requests to a model's answers.

    Args:
        attributes: the content of the catalogue.
        counts: int [size], the events of each item in training; a variable is read, not copied.
        own: int32 [m] -> float32 [m, width], the model's vectors; None: it has none.

    Attributes:
        kinds: column -> kind, those that conditions and quotas may read.
        similar: what diversity may compare, the first is the default.
    """

    def __init__(self, attributes: ItemAttributes, counts, own=None):
        super().__init__()
        self.tables, self._own = RuleTables(attributes), own
        self.counts = counts
        self.kinds = dict(attributes.kinds)
        self.similar = [*([OWN] if own is not None else []), *attributes.similar]
        vectors = attributes.vectors.items()
        self.vectors = {name: tf.Variable(tf.cast(array, tf.float16), trainable=False) for name, array in vectors}

    def __call__(self, texts, find, k: int, to_ids, exclude=None, candidates: int | None = None):
        """Returns the lists of n requests.

        Args:
            texts: string [n, R], see `rules.rules`; `""` is none.
            find: bool [n, size], the items that may be returned, and a number m -> their m best: ids int32 [n, m], 0
                where nothing is left, and scores float32 [n, m].
            k: items of a list.
            to_ids: string [...] -> int32 ids; 1 for unknown items.
            exclude: int32 [n, any], items that are not pinned either; None: none.
            candidates: how many items are chosen from; None: `candidates_of`.

        Returns:
            ids int32 [n, k], 0 where nothing is left; scores float32 [n, k]; removed int32 [n, R]; notes string [n].
        """
        columns, size = self.tables.columns(), self.tables.size
        rules = read(texts, columns, k)
        candidates = candidates or candidates_of(k, size - 2)
        allowed, removed = tf.ones((tf.shape(texts)[0], size), tf.bool), tf.zeros(tf.shape(texts), tf.int32)
        if self.tables.names:
            allowed, removed = filtered(rules, columns, tf.constant(size))
            allowed = tf.ensure_shape(allowed, (None, size))
        found = with_pinned(rules, *find(allowed, candidates), allowed, to_ids(rules.item), exclude)
        counts = tf.gather(tf.convert_to_tensor(self.counts), found.ids)  # (n, c)
        codes = values_of(columns.codes, found.ids)  # (slots, n, c)
        scores, lost = scored(rules, columns, found, counts, codes, k)
        found, removed = found._replace(scores=scores), removed + lost
        is_greedy = tf.reduce_any(is_one_of(rules.name, GREEDY))
        similarity = tf.cond(
            is_greedy, lambda: self._similarity(rules, found.ids, codes), lambda: tf.zeros([0, 0, 0], tf.float32)
        )
        ids, scores, lost = listed(rules, columns, found, codes, similarity, is_greedy, k)
        return ids, scores, removed + lost, notes(ids, allowed, k, candidates)

    def _similarity(self, rules: Rules, ids, codes):
        """Returns the cosine of every two candidates, float32 [n, c, c]; that of an item with itself is 1."""
        shape = tf.shape(ids)
        on = tf.reduce_max(tf.where(rules.name == "diversity", tf.range(1, tf.shape(rules.on)[1] + 1), 0), axis=1)
        on = tf.gather(tf.pad(rules.on, [[0, 0], [1, 0]], constant_values=""), on, batch_dims=1)  # (n,)
        is_diverse = tf.reduce_any(rules.name == "diversity", axis=1)
        on = tf.where(is_diverse & (on == ""), self.similar[0] if self.similar else "?", on)
        known = tf.reduce_any(on[:, None] == tf.constant([*self.similar, ""]), axis=1)
        there = ", ".join(self.similar) or "nothing: the items have neither vectors nor categories"
        check = tf.debugging.Assert(tf.reduce_all(known), [f"rules: diversity: must compare one of {there}"])
        with tf.control_dependencies([check]):
            found = tf.zeros((shape[0], shape[1], shape[1]))
        for name in self.similar:
            is_on = on == name

            def compared(name=name, is_on=is_on, found=found):
                vectors = self._vectors(name, ids, codes)
                return tf.where(is_on[:, None, None], tf.matmul(vectors, vectors, transpose_b=True), found)

            found = tf.cond(tf.reduce_any(is_on), compared, lambda found=found: found)
        return tf.linalg.set_diag(found, tf.ones(shape))

    def _vectors(self, name: str, ids, codes):
        """Returns the vectors of candidates that diversity compares, of length 1: float32 [n, c, width]."""
        if name == OVERLAP:
            values, local = tf.unique(tf.reshape(tf.transpose(codes, [1, 2, 0]), [-1]))
            shape = tf.concat([tf.shape(ids), tf.shape(codes)[:1]], 0)
            hot = tf.one_hot(tf.reshape(local, shape), tf.size(values))  # (n, c, slots, values)
            vectors = tf.reduce_sum(hot * tf.cast(values > 0, tf.float32), axis=2)
        elif name == OWN:
            vectors = self._own(tf.reshape(ids, [-1]))
            vectors = tf.reshape(vectors, (tf.shape(ids)[0], tf.shape(ids)[1], vectors.shape[1]))
        else:
            return tf.cast(tf.gather(tf.convert_to_tensor(self.vectors[name]), ids), tf.float32)
        return tf.math.l2_normalize(tf.cast(vectors, tf.float32), axis=2)


def candidates_of(k: int, items: int) -> int:
    """Returns how many of the best items boosts, quotas and diversity choose from: ten lists, 200 at least."""
    return min(max(10 * k, 200), items)
