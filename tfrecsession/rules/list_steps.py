"""The steps of a list under rules that read no variables: pinned items, scores, the choice, and notes."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from tfrecsession.rules.rule_fields import Columns, Rules
from tfrecsession.rules.rule_tables import holds, slots_of, values_of
from tfrecsession.rules.selection import UNLIMITED, Candidates, choose, placed
from tfrecsession.rules.traced_once import traced_once

LEAST = tf.float32.min  # the score of no item


class Found(NamedTuple):
    """The pinned items and the candidates of n requests, c together."""

    ids: object  # int32 [n, c], 0 for none
    scores: object  # float32 [n, c]
    is_pinned: object  # bool [n, c]
    places: object  # int32 [n, c], of pinned items, from 0

    @property
    def is_open(self):
        """Which cells have an item, bool [n, c]."""
        return self.ids > 1


@traced_once
def with_pinned(rules: Rules, ids, scores, allowed, pinned, exclude) -> Found:
    """Puts the pinned items in front of the candidates.

    Args:
        rules: R of each request.
        ids, scores: int32 and float32 [n, m], the candidates.
        allowed: bool [n, size], the items that pass the filters.
        pinned: int32 [n, R], the items of the rules; 1 is unknown.
        exclude: int32 [n, any], items that are not pinned; None: none.
    """
    is_pin = rules.name == "pin"
    pinned = tf.where(is_pin, pinned, 0)  # (n, R)
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
    return Found(tf.concat([pinned, ids], axis=1), scores, tf.pad(passes, rest), tf.pad(places, rest))


@traced_once
def scored(rules: Rules, columns: Columns, found: Found, counts, codes, k: int):
    """Adds popularity and boosts to the scores; returns them, and how many of the k best each rule removed.

    One unit is the standard deviation of the candidates' scores: scores of models differ in scale and sign, so a
    factor would raise items of one model and bury those of another.

    Args:
        rules, columns, found: of n requests, c candidates.
        counts: int [n, c], the events of the candidates in training.
        codes: int32 [slots, n, c], the values of the candidates.
        k: items of the list.
    """
    ids, scores, is_open, movable = found.ids, found.scores, found.is_open, found.is_open & ~found.is_pinned
    deviation = _deviation(scores, movable)
    popularity = tf.math.log1p(tf.cast(counts, tf.float32))
    popularity = (popularity - _mean(popularity, movable)) / tf.maximum(_deviation(popularity, movable), 1e-6)
    numbers = values_of(columns.numbers, ids)
    count = tf.minimum(k, tf.shape(scores)[1])

    def best(scores):
        ranked = tf.where(movable, scores, LEAST)
        least = tf.math.top_k(ranked, count).values[:, -1:]
        return movable & (ranked >= least)

    def one(cell, scores, removed):
        is_held = tf.cast(holds(rules, columns, cell, codes, numbers), tf.float32)
        name, number = rules.name[:, cell, None], rules.number[:, cell, None]
        added = tf.where(name == "boost", number * is_held, tf.where(name == "popularity", -number * popularity, 0.0))
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


@traced_once
def listed(rules: Rules, columns: Columns, found: Found, codes, similarity, is_greedy, k: int):
    """Chooses the lists: ids int32 and scores float32 [n, k], and how many items each rule removed, int32 [n, R].

    Args:
        rules, columns, found: of n requests, c candidates.
        codes: int32 [slots, n, c], the values of the candidates.
        similarity: float32 [n, c, c], read with `is_greedy` alone.
        is_greedy: bool, whether a rule chooses one item after the other; without, the best are the list.
        k: items of a list.
    """
    ids, scores = found.ids, found.scores

    def greedy():
        most, own = _quotas(rules, columns, codes)
        is_diverse = rules.name == "diversity"
        strength = tf.reduce_max(tf.where(is_diverse, rules.number, 0.0), axis=1)
        last = tf.argmax(tf.cast(is_diverse, tf.int32) * tf.range(1, tf.shape(is_diverse)[1] + 1), axis=1)
        method = tf.gather(rules.method, last, batch_dims=1)  # of the last of these rules, as its vectors
        relevance = tf.where((method == "mean")[:, None], _odds(scores, found), _relative(scores, found.is_open))
        candidates = Candidates(found.is_open, found.is_pinned, relevance, similarity, own, most, strength, method)
        chosen, is_full = choose(candidates, k)
        return chosen, _counted(rules, columns, found, chosen, is_full, k)

    def by_score():
        best, index = tf.math.top_k(tf.pad(scores, [[0, 0], [0, k]], constant_values=LEAST), k)
        return tf.where(best > LEAST, index, -1), tf.zeros(tf.shape(rules.name), tf.int32)

    chosen, lost = tf.cond(is_greedy, greedy, by_score)
    chosen = placed(chosen, _at(found.is_pinned, chosen, False), _at(found.places, chosen, 0), k)
    return _at(ids, chosen, 0), _at(scores, chosen, LEAST), lost


def _quotas(rules: Rules, columns: Columns, codes):
    """Returns the most items of each value, int32 [n, u], and the candidates' values, int32 [n, c, u]."""
    own = _slots_of_quotas(rules, columns)  # (n, R, slots)
    most = tf.cast(tf.where(own, rules.number[..., None], UNLIMITED), tf.int32)
    most = tf.reduce_min(most, axis=1)  # (n, slots)
    used = tf.where(tf.reduce_any(own, axis=[0, 1]))[:, 0]
    return tf.gather(most, used, axis=1), tf.transpose(tf.gather(codes, used), [1, 2, 0])


def _slots_of_quotas(rules: Rules, columns: Columns):
    return slots_of(rules, columns) & (rules.name == "at_most")[..., None]


def _counted(rules: Rules, columns: Columns, found: Found, chosen, is_full, k: int):
    """Returns how many items quotas, diversity and pinned items removed, int32 [n, R].

    A quota: the candidates that score above the lowest of the list and whose value it had filled. Diversity: those
    of the k best by score that are neither in the list nor held back by a quota. A pinned item: 1, if it is in the
    list and not among the k best itself.
    """
    scores, is_open, is_pinned = found.scores, found.is_open, found.is_pinned
    count = tf.shape(scores)[1]
    is_chosen = tf.reduce_any(tf.one_hot(chosen, count, True, False), axis=1)  # (n, c)
    lowest = tf.where(is_chosen & ~is_pinned, scores, tf.float32.max)
    above = is_open & ~is_chosen & (scores >= tf.reduce_min(lowest, axis=1, keepdims=True))
    left = is_open & ~is_chosen
    own = _slots_of_quotas(rules, columns)  # (n, R, slots)
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


@traced_once
def notes(ids, allowed, k: int, candidates: int):
    """Returns why a list is shorter than k, string [n]; `""` where it is not."""
    found = tf.math.count_nonzero(ids, axis=1, dtype=tf.int32)

    def noted():
        left = tf.math.count_nonzero(allowed[:, 2:], axis=1, dtype=tf.int32)
        items = tf.as_string(tf.shape(allowed)[1] - 2)
        parts = [tf.as_string(found), f" of {k} items: ", tf.as_string(left)]
        text = tf.strings.join([*parts, " of ", items, " items of the catalogue pass the filters"])
        none = tf.where(left == 0, "no item: the filters contradict each other or match nothing", text)
        quotas = f", the rest of the {candidates} candidates is over the quotas"
        text = tf.where(left == 0, none, tf.where(left > found, text + quotas, text))
        return tf.where(found < k, text, "")

    return tf.cond(tf.reduce_all(found == k), lambda: tf.fill(tf.shape(found), ""), noted)


def _at(values, index, empty):
    """Returns values [n, c] at indices [n, k], and `empty` where the index is -1."""
    return tf.where(index >= 0, tf.gather(values, tf.maximum(index, 0), batch_dims=1), empty)


def _mean(values, is_open):
    count = tf.maximum(tf.math.count_nonzero(is_open, axis=1, keepdims=True, dtype=tf.float32), 1.0)
    return tf.reduce_sum(tf.where(is_open, values, 0.0), axis=1, keepdims=True) / count


def _deviation(values, is_open):
    return tf.sqrt(_mean(tf.where(is_open, values - _mean(values, is_open), 0.0) ** 2, is_open))


def _odds(scores, found: Found):
    """Returns exp((score - the best) / 2 deviations): falls as probabilities do, whatever the scale of the scores."""
    high = tf.reduce_max(tf.where(found.is_open, scores, LEAST), axis=1, keepdims=True)
    deviation = tf.maximum(_deviation(scores, found.is_open), 1e-12)
    return tf.where(found.is_open, tf.exp((scores - high) / (2 * deviation)), 0.0)


def _relative(scores, is_open):
    """Returns the scores from 0, the lowest candidate, to 1, the best."""
    low = tf.reduce_min(tf.where(is_open, scores, tf.float32.max), axis=1, keepdims=True)
    high = tf.reduce_max(tf.where(is_open, scores, LEAST), axis=1, keepdims=True)
    return tf.where(is_open, (scores - low) / tf.maximum(high - low, 1e-12), 0.0)
