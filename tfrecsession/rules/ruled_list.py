"""The list of a request under rules, as a graph: filter, score, choose, and what each rule removed."""

from __future__ import annotations

import tensorflow as tf

from tfrecsession.rules.attributes import ItemAttributes
from tfrecsession.rules.rule_tables import Rules, RuleTables
from tfrecsession.rules.rules import OVERLAP, OWN
from tfrecsession.rules.selection import UNLIMITED, Candidates, choose, placed

LEAST = tf.float32.min  # the score of no item


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
        rules = self.tables.read(texts, k)
        candidates = candidates or candidates_of(k, self.tables.size - 2)
        allowed, removed = self._filtered(rules)
        ids, scores = find(allowed, candidates)
        ids, scores, is_pinned, places = self._with_pinned(rules, ids, scores, allowed, to_ids, exclude)
        codes = self.tables.codes_of(ids)  # (slots, n, c)
        is_open = ids > 1
        scores, lost = self._scored(rules, ids, scores, codes, is_open, is_pinned, k)
        removed += lost

        def greedy():
            most, own = self._quotas(rules, codes)
            is_diverse = rules.name == "diversity"
            strength = tf.reduce_max(tf.where(is_diverse, rules.number, 0.0), axis=1)
            method = tf.reduce_any(is_diverse & (rules.method == "dpp"), axis=1)
            relevance = _relative(scores, is_open)
            similarity = self._similarity(rules, ids, codes)
            chosen, is_full = choose(
                Candidates(is_open, is_pinned, relevance, similarity, own, most, strength, method), k
            )
            return chosen, self._counted(rules, chosen, scores, is_open, is_pinned, is_full, k)

        def by_score():
            best, index = tf.math.top_k(tf.pad(scores, [[0, 0], [0, k]], constant_values=LEAST), k)
            return tf.where(best > LEAST, index, -1), tf.zeros_like(removed)

        is_greedy = tf.reduce_any((rules.name == "pin") | (rules.name == "at_most") | (rules.name == "diversity"))
        chosen, lost = tf.cond(is_greedy, greedy, by_score)
        chosen = placed(chosen, _at(is_pinned, chosen, False), _at(places, chosen, 0), k)
        ids, scores = _at(ids, chosen, 0), _at(scores, chosen, LEAST)
        return ids, scores, removed + lost, self._notes(ids, allowed, k, candidates)

    def _filtered(self, rules: Rules):
        """Returns the items that pass all filters, bool [n, size], and how many each removes, int32 [n, R]."""
        shape = tf.shape(rules.name)
        cells = tf.cast(tf.where(rules.is_filter), tf.int32)  # (filters, 2)
        items = self.tables.size - 2

        def one(index, allowed, removed):
            row, cell = cells[index, 0], cells[index, 1]
            holds = self.tables.holds_everywhere(rules, row, cell)
            fails = items - self.tables.count(rules, row, cell, holds)
            removed = tf.tensor_scatter_nd_update(removed, [cells[index]], [fails])
            allowed = tf.cond(
                shape[0] == 1,
                lambda: allowed & holds,
                lambda: tf.tensor_scatter_nd_update(allowed, [[row]], [allowed[row] & holds]),
            )
            return index + 1, tf.ensure_shape(allowed, (None, self.tables.size)), removed

        state = 0, tf.ones((shape[0], self.tables.size), tf.bool), tf.zeros(shape, tf.int32)
        _, allowed, removed = tf.while_loop(lambda index, *_: index < tf.shape(cells)[0], one, state)
        return allowed, removed

    def _with_pinned(self, rules: Rules, ids, scores, allowed, to_ids, exclude):
        """Puts the pinned items in front of the candidates: ids, scores, is_pinned, places, [n, R + m] each."""
        is_pin = rules.name == "pin"
        pinned = tf.where(is_pin, to_ids(rules.item), 0)  # (n, R)
        unknown = tf.boolean_mask(rules.item, is_pin & (pinned < 2))
        text = tf.strings.join(["rules: pin: unknown item: ", tf.strings.reduce_join(unknown, separator=", ")])
        with tf.control_dependencies([tf.debugging.Assert(tf.size(unknown) == 0, [text])]):
            passes = tf.gather(allowed, pinned, batch_dims=1) & is_pin
        if exclude is not None:
            passes &= ~tf.reduce_any(pinned[..., None] == exclude[:, None], axis=2)
        pinned = tf.where(passes, pinned, 0)
        is_repeat = (pinned[..., None] == ids[:, None]) & (ids > 1)[:, None]  # (n, R, m)
        least = tf.reduce_min(tf.where(ids > 1, scores, tf.float32.max), axis=1, keepdims=True)  # at most this
        found = tf.reduce_max(tf.where(is_repeat, scores[:, None], LEAST), axis=2)
        found = tf.where(tf.reduce_any(is_repeat, axis=2), found, tf.where(tf.reduce_any(ids > 1, 1, True), least, 0.0))
        ids = tf.where(tf.reduce_any(is_repeat, axis=1), 0, ids)
        places = tf.where(passes, tf.cast(rules.number, tf.int32) - 1, 0)
        rest = [[0, 0], [0, tf.shape(ids)[1]]]
        scores = tf.concat([tf.where(passes, found, LEAST), tf.where(ids > 1, scores, LEAST)], axis=1)
        return tf.concat([pinned, ids], axis=1), scores, tf.pad(passes, rest), tf.pad(places, rest)

    def _scored(self, rules: Rules, ids, scores, codes, is_open, is_pinned, k: int):
        """Adds popularity and boosts to the scores; returns them, and how many of the k best each rule removed.

        One unit is the standard deviation of the candidates' scores: scores of models differ in scale and sign, so a
        factor would raise items of one model and bury those of another.
        """
        movable = is_open & ~is_pinned
        deviation = _deviation(scores, movable)
        counts = tf.gather(tf.convert_to_tensor(self.counts), ids)  # (n, c)
        popularity = tf.math.log1p(tf.cast(counts, tf.float32))
        popularity = (popularity - _mean(popularity, movable)) / tf.maximum(_deviation(popularity, movable), 1e-6)
        numbers = self.tables.numbers_of(ids)
        count = tf.minimum(k, tf.shape(scores)[1])

        def best(scores):
            ranked = tf.where(movable, scores, LEAST)
            least = tf.math.top_k(ranked, count).values[:, -1:]
            return movable & (ranked >= least)

        def one(cell, scores, removed):
            holds = tf.cast(self.tables.holds(rules, cell, codes, numbers), tf.float32)
            name, number = rules.name[:, cell, None], rules.number[:, cell, None]
            added = tf.where(name == "boost", number * holds, tf.where(name == "popularity", -number * popularity, 0.0))
            after = tf.where(is_open, scores + deviation * added, LEAST)
            lost = tf.math.count_nonzero(best(scores) & ~best(after), axis=1, dtype=tf.int32)
            place = tf.one_hot(cell, tf.shape(removed)[1], dtype=tf.int32)
            return cell + 1, after, removed + place * lost[:, None]

        moves = tf.where(tf.reduce_any((rules.name == "boost") | (rules.name == "popularity"), axis=0))[:, 0]
        moves = tf.cast(moves, tf.int32)

        def step(index, scores, removed):
            return index + 1, *one(moves[index], scores, removed)[1:]

        state = 0, scores, tf.zeros(tf.shape(rules.name), tf.int32)
        return tf.while_loop(lambda index, *_: index < tf.size(moves), step, state)[1:]

    def _quotas(self, rules: Rules, codes):
        """Returns the most items of each value, int32 [n, u], and the candidates' values, int32 [n, c, u]."""
        own = tf.convert_to_tensor(self._slots_of_quotas(rules))  # (n, R, slots)
        most = tf.cast(tf.where(own, rules.number[..., None], UNLIMITED), tf.int32)
        most = tf.reduce_min(most, axis=1)  # (n, slots)
        used = tf.where(tf.reduce_any(own, axis=[0, 1]))[:, 0]
        return tf.gather(most, used, axis=1), tf.transpose(tf.gather(codes, used), [1, 2, 0])

    def _slots_of_quotas(self, rules: Rules):
        column = tf.maximum(rules.column, 0)
        first, width = tf.gather(self.tables.first, column)[..., None], tf.gather(self.tables.width, column)[..., None]
        slot = tf.range(tf.shape(self.tables.codes)[0])
        return (slot >= first) & (slot < first + width) & (rules.name == "at_most")[..., None]

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

    def _counted(self, rules: Rules, chosen, scores, is_open, is_pinned, is_full, k: int):
        """Returns how many items quotas, diversity and pinned items removed, int32 [n, R].

        A quota: the candidates that score above the lowest of the list and whose value it had filled. Diversity: those
        of the k best by score that are neither in the list nor held back by a quota. A pinned item: 1, if it is in the
        list and not among the k best itself.
        """
        count = tf.shape(scores)[1]
        is_chosen = tf.reduce_any(tf.one_hot(chosen, count, True, False), axis=1)  # (n, c)
        lowest = tf.where(is_chosen & ~is_pinned, scores, tf.float32.max)
        above = is_open & ~is_chosen & (scores >= tf.reduce_min(lowest, axis=1, keepdims=True))
        left = is_open & ~is_chosen
        own = self._slots_of_quotas(rules)  # (n, R, slots)
        own = tf.gather(own, tf.where(tf.reduce_any(own, axis=[0, 1]))[:, 0], axis=2)  # (n, R, u)
        held = tf.reduce_any(is_full[:, None] & own[:, :, None], axis=3)  # (n, R, c)
        by_quota = tf.math.count_nonzero(held & above[:, None], axis=2, dtype=tf.int32)
        least = tf.math.top_k(scores, tf.minimum(k, count)).values[:, -1:]
        best = is_open & (scores >= least)
        lost = best & left & ~tf.reduce_any(held, axis=1)
        by_diversity = tf.math.count_nonzero(lost, axis=1, dtype=tf.int32)[:, None]
        pinned = is_pinned & is_chosen & ~best
        by_pin = tf.cast(pinned[:, : tf.shape(rules.name)[1]], tf.int32)
        zero = tf.zeros_like(by_quota)
        is_diverse = rules.name == "diversity"
        return tf.where(rules.name == "at_most", by_quota, tf.where(is_diverse, by_diversity, zero)) + by_pin

    def _notes(self, ids, allowed, k: int, candidates: int):
        """Returns why a list is shorter than k, string [n]; `""` where it is not."""
        found = tf.math.count_nonzero(ids, axis=1, dtype=tf.int32)

        def noted():
            left = tf.math.count_nonzero(allowed[:, 2:], axis=1, dtype=tf.int32)
            parts = [tf.as_string(found), f" of {k} items: ", tf.as_string(left)]
            text = tf.strings.join([*parts, f" of {self.tables.size - 2} items of the catalogue pass the filters"])
            none = tf.where(left == 0, "no item: the filters contradict each other or match nothing", text)
            quotas = f", the rest of the {candidates} candidates is over the quotas"
            text = tf.where(left == 0, none, tf.where(left > found, text + quotas, text))
            return tf.where(found < k, text, "")

        return tf.cond(tf.reduce_all(found == k), lambda: tf.fill(tf.shape(found), ""), noted)


def candidates_of(k: int, items: int) -> int:
    """Returns how many of the best items boosts, quotas and diversity choose from: ten lists, 200 at least."""
    return min(max(10 * k, 200), items)


def _at(values, index, empty):
    """Returns values [n, c] at indices [n, k], and `empty` where the index is -1."""
    return tf.where(index >= 0, tf.gather(values, tf.maximum(index, 0), batch_dims=1), empty)


def _mean(values, is_open):
    count = tf.maximum(tf.math.count_nonzero(is_open, axis=1, keepdims=True, dtype=tf.float32), 1.0)
    return tf.reduce_sum(tf.where(is_open, values, 0.0), axis=1, keepdims=True) / count


def _deviation(values, is_open):
    return tf.sqrt(_mean(tf.where(is_open, values - _mean(values, is_open), 0.0) ** 2, is_open))


def _relative(scores, is_open):
    """Returns the scores from 0, the lowest candidate, to 1, the best."""
    low = tf.reduce_min(tf.where(is_open, scores, tf.float32.max), axis=1, keepdims=True)
    high = tf.reduce_max(tf.where(is_open, scores, LEAST), axis=1, keepdims=True)
    return tf.where(is_open, (scores - low) / tf.maximum(high - low, 1e-12), 0.0)
