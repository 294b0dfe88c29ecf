"""The choice of a list from scored candidates, one item after the other: pinned items, quotas and diversity."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

NEVER = float("-inf")
UNLIMITED = 2**30  # items
PINNED = 1e6  # above every gain: relevance and similarity are at most 1
LEAST_VOLUME = 1e-6  # of a further item in the determinant: one that is like the chosen ones


class Candidates(NamedTuple):
    """The candidates of n requests, c each; the pinned ones stand in front, in the order of their positions."""

    is_open: object  # bool [n, c], whether the item may be chosen
    is_pinned: object  # bool [n, c]
    relevance: object  # float32 [n, c], from 0 to 1
    similarity: object  # float32 [n, c, c], of vectors of length 1
    codes: object  # int32 [n, c, u], values of the columns that have quotas; 0 is none
    most: object  # int32 [n, u], the most items of each value
    strength: object  # float32 [n], of diversity: 0 is none
    method: object  # string [n], of `rules.METHODS`


def choose(candidates: Candidates, k: int):
    """Chooses k items greedily: the highest gain, among those whose quotas are not full.

    The gain is (1 - strength) relevance - strength x the mean similarity with the chosen items ("mean", greedy max-sum
    diversification, Borodin et al., arXiv 1203.6397), or x the highest one ("mmr", Carbonell and Goldstein 1998), or
    (1 - strength) relevance + strength log d^2, where d^2 is the item's part in the determinant of the similarities
    ("dpp", by incremental Cholesky factors, Chen et al., arXiv 1709.05135).

    Returns:
        chosen int32 [n, k], indices of candidates, -1 where none is left; is_full bool [n, c, u], whether the quota of
        the item's value is reached at the end.
    """
    c = candidates
    rows, count = tf.shape(c.relevance)[0], tf.shape(c.relevance)[1]
    order = tf.cast(tf.range(count), tf.float32)[None]
    base = tf.where(c.is_pinned, PINNED - order, (1 - c.strength)[:, None] * c.relevance)  # (n, c)
    base = tf.where(c.is_open, base, NEVER)
    strength = tf.where(c.is_pinned, 0.0, c.strength[:, None])  # (n, c)
    room = tf.where(c.codes > 0, c.most[:, None], UNLIMITED)  # (n, c, u), items of the value that are still allowed

    def chosen_from(gain, base, room):
        """Takes the best item: its index, -1 for none, and `base` and `room` without it."""
        has_room = (tf.reduce_min(room, axis=2) > 0) | c.is_pinned
        gain = tf.where(has_room, gain, NEVER)
        best = tf.argmax(gain, axis=1, output_type=tf.int32)  # (n,)
        found = tf.reduce_max(gain, axis=1) > NEVER
        own = tf.where(found[:, None], tf.gather(c.codes, best, batch_dims=1), -1)  # (n, u)
        same = tf.reduce_any(c.codes[..., None] == own[:, None, None], axis=3)  # (n, c, u)
        base = tf.where(tf.one_hot(best, count, True, False), NEVER, base)
        return best, tf.where(found, best, -1), base, room - tf.cast(same, tf.int32)

    by_mean, by_volume = (c.method == "mean")[:, None], (c.method == "dpp")[:, None]

    def similarity_to(nearest, total, index):
        return tf.where(by_mean, total / tf.cast(tf.maximum(index, 1), tf.float32), nearest)

    def by_similarity(index, base, room, chosen, nearest, total):
        best, taken, base, room = chosen_from(base - strength * similarity_to(nearest, total, index), base, room)
        similar = tf.gather(c.similarity, best, batch_dims=1)  # (n, c)
        return index + 1, base, room, chosen.write(index, taken), tf.maximum(nearest, similar), total + similar

    def by_any(index, base, room, chosen, nearest, total, volume, factors):
        far = tf.where(by_volume, tf.math.log(tf.maximum(volume, LEAST_VOLUME)), -similarity_to(nearest, total, index))
        best, taken, base, room = chosen_from(base + strength * far, base, room)
        similar = tf.gather(c.similarity, best, batch_dims=1)  # (n, c)
        factors, volume = _grown(factors, volume, similar, best, index)
        nearest, total = tf.maximum(nearest, similar), total + similar
        return index + 1, base, room, chosen.write(index, taken), nearest, total, volume, factors

    def run(step, *more):
        chosen = tf.TensorArray(tf.int32, k, element_shape=(None,))
        state = 0, base, room, chosen, tf.zeros((rows, count)), tf.zeros((rows, count)), *more
        state = tf.while_loop(lambda index, *_: index < k, step, state, parallel_iterations=1)
        return tf.transpose(state[3].stack()), state[2]

    chosen, room = tf.cond(
        tf.reduce_any(by_volume),
        lambda: run(by_any, tf.ones((rows, count)), tf.zeros((rows, count, k))),
        lambda: run(by_similarity),
    )
    return tf.ensure_shape(chosen, (None, k)), room <= 0


def _grown(factors, volume, similar, best, index):
    """Returns the Cholesky factors [n, c, k] with a column for the item chosen last, and what is left: [n, c]."""
    own = tf.gather(factors, best, batch_dims=1)  # (n, k)
    left = tf.sqrt(tf.maximum(tf.gather(volume, best, batch_dims=1), LEAST_VOLUME))  # (n,)
    column = (similar - tf.einsum("nck,nk->nc", factors, own)) / left[:, None]  # (n, c)
    factors += column[..., None] * tf.one_hot(index, tf.shape(factors)[2])
    return factors, volume - column**2


def placed(chosen, is_pinned, positions, k: int):
    """Puts the chosen pinned items at their positions and the others, in their order, into the places that are left.

    Args:
        chosen: int32 [n, k], indices of candidates, -1 for none, the pinned ones first.
        is_pinned: bool [n, k], whether the chosen one is pinned.
        positions: int32 [n, k], the places of the pinned ones, from 0.

    Returns:
        int32 [n, k]; where items are missing, those behind the gap move up.
    """
    places = tf.range(k)[None]
    taken = tf.reduce_any((positions[..., None] == places[:, None]) & is_pinned[..., None], axis=1)  # (n, k)
    free = tf.argsort(tf.cast(taken, tf.int32), axis=1, stable=True)  # the free places first, rising
    pinned = tf.reduce_sum(tf.cast(is_pinned, tf.int32), axis=1, keepdims=True)
    others = tf.gather(free, tf.maximum(places - pinned, 0), batch_dims=1)
    place = tf.where(chosen < 0, k, tf.where(is_pinned, positions, others))
    order = tf.argsort(place, axis=1, stable=True)
    return tf.gather(chosen, order, batch_dims=1)
