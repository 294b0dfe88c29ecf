"""What the session neighbours have in common: past sessions like this one say what comes next."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import tensorflow as tf
from keras import ops

from tfrecsession.batches.batch import Reads
from tfrecsession.errors import InputError
from tfrecsession.layers.ragged import spread
from tfrecsession.layers.session_window import last_items, newest_items
from tfrecsession.models.neighbours.session_index import SessionIndex
from tfrecsession.recommender.counting_model import CountingModel

SIMILARITIES = ("cosine", "vec", "jaccard")


class NeighbourModel(CountingModel):
    """Of the `recent` newest sessions that share an item with the history, the `neighbours` most similar ones vote.

        score(i) = sum over neighbours n with item i of sim(history, n) freshness(n) step_weight(n)
                   item_weight(i) exp(-place_decay |pos(i) - pos(i*)|)

    An item that is repeated in a session counts where it occurred last. `w` is `position_weight` of the history's
    items; `sim` is, over the items in both,

        cosine   sum w / (sqrt(sum w^2 over the history) sqrt(|n|))
        vec      sum w / |history|
        jaccard  |history and n| / |history or n|

    and i* the last item of n that the history has. A model says `position_weight` and `step_weight`, and sets the
    rest. Of equally similar sessions the newest are taken. Only sessions that ended before are seen (evaluation of a
    split with times), so neither the future nor the session itself.

    Args:
        items: the vocabulary.
        neighbours: the most similar sessions that vote, k in the papers.
        recent: the newest sessions that are looked at, m in the papers.
        similarity: "cosine", "vec" or "jaccard".
        window: the newest events of a history that count; None: all.
        session_decay: days after which a session's vote is worth 1/e; None: age does not matter. In a log without times
            no session is older than another.
        idf: the weight of log(sessions / events of the item) on top of 1; never below 0.
    """

    reads = Reads(context=("times",))  # finds only sessions that ended before

    def __init__(
        self, items, neighbours, recent, similarity="cosine", window=None, session_decay=None, idf=0.0, **kwargs
    ):
        if similarity not in SIMILARITIES:
            raise InputError(f"similarity={similarity!r}: say one of {', '.join(SIMILARITIES)}")
        for name, number in (("neighbours", neighbours), ("recent", recent), ("window", window)):
            if number is not None and (not isinstance(number, int | np.integer) or number < 1):
                raise InputError(f"{name}={number!r}: say a whole number of at least 1")
        check_decays(session_decay=session_decay)
        super().__init__(items, **kwargs)
        self.neighbours = neighbours
        self.recent = recent
        self.similarity = similarity
        self.window = window
        self.session_decay = session_decay
        self.idf = idf
        self._held = None
        self._take(SessionIndex.empty(self.size))

    place_decay = 0.0

    def position_weight(self, position, length):
        """What an event of the history counts in the similarity: position from 1 (the oldest), float, any shape."""
        return ops.ones_like(position)

    def step_weight(self, step):
        """What a neighbour's vote counts, where the newest item it shares was `step` events ago: 1 for the last."""
        return ops.ones_like(step)

    # Counting --------------------------------------------------------------------------------------------------------

    def count(self, sessions):
        times = sessions.column("times")
        self._take(SessionIndex.of(sessions.values, sessions.offsets, np.asarray(times), self.size))

    def _take(self, index: SessionIndex) -> None:
        """Hold the index: as arrays for `target_ranks`, as variables for graphs and what is exported."""
        self.index = index
        counts = np.bincount(index.members, minlength=self.size)  # sessions of each item
        events = np.maximum(np.asarray(self.item_counts), 1)
        idf = np.where(counts > 0, np.log(max(len(index.ends), 1) / events), 0.0)
        self.item_weights = np.maximum(1.0 + self.idf * idf, 0.0).astype(np.float32)
        self.freshness = index.freshness(self.session_decay)
        held = {**index._asdict(), "item_weights": self.item_weights, "freshness": self.freshness}
        del held["ends"]
        if self._held is None:  # plain variables: the data decides their sizes, which Keras wants to know before
            any_size = {"trainable": False, "shape": tf.TensorShape([None])}
            self._held = SimpleNamespace(**{name: tf.Variable(array, **any_size) for name, array in held.items()})
        else:  # graphs that were traced hold on to them
            for name, array in held.items():
                getattr(self._held, name).assign(array)

    def save_own_variables(self, store):
        super().save_own_variables(store)
        for name, array in self.index._asdict().items():
            store[f"index_{name}"] = array

    def load_own_variables(self, store):
        stored = {name: np.asarray(store[f"index_{name}"]) for name in SessionIndex._fields}
        counts = {"0": store["0"]}  # the one variable that Keras knows of
        super().load_own_variables(counts)
        self._take(SessionIndex(**stored))

    # In the graph: one history after the other -----------------------------------------------------------------------

    def encode(self, batch, training=False):
        """The session so far, newest event first: int32 [rows, steps, events], 0 where there is none."""
        return newest_items(batch, self.window)

    def encode_last(self, batch, length):
        return last_items(batch, length, self.window)

    def score_all(self, encoded):
        return tf.map_fn(self._scores, encoded, fn_output_signature=tf.TensorSpec((self.size,), tf.float32))

    def _scores(self, history):
        """int32 [events], newest first -> float32 [size]; summed in float64, so that equal scores stay equal."""
        held = self._held
        history = tf.boolean_mask(history, history > 1)
        length = tf.size(history)
        items, which = tf.unique(history)  # in the order of their newest occurrence
        age = tf.math.unsorted_segment_min(tf.range(length), which, tf.size(items))
        weight = self.position_weight(tf.cast(length - age, tf.float64), tf.cast(length, tf.float64))

        # candidates: the newest sessions of every item, then the newest of them all
        stops = tf.gather(held.posting_offsets, items + 1)
        counts = tf.minimum(stops - tf.gather(held.posting_offsets, items), self.recent)
        at, item = spread(stops - counts, counts)
        found, which = tf.unique(tf.gather(held.postings, at))
        candidates, newest = tf.math.top_k(found, tf.minimum(self.recent, tf.size(found)))

        def over(reduce, values):
            return tf.gather(reduce(values, which, tf.size(found)), newest)

        together = over(tf.math.unsorted_segment_sum, tf.gather(weight, item))
        shared = over(tf.math.unsorted_segment_sum, tf.ones_like(item, tf.float64))
        step = over(tf.math.unsorted_segment_min, tf.gather(age, item)) + 1
        anchor = over(tf.math.unsorted_segment_max, tf.gather(held.posting_places, at))

        # the most similar of them
        first = tf.gather(held.member_offsets, candidates)
        members = tf.gather(held.member_offsets, candidates + 1) - first
        own, theirs = tf.cast(tf.size(items), tf.float64), tf.cast(members, tf.float64)
        if self.similarity == "cosine":
            similar = tf.math.divide_no_nan(together, tf.sqrt(tf.reduce_sum(weight**2) * theirs))
        elif self.similarity == "vec":
            similar = together / own
        else:
            similar = shared / (own + theirs - shared)
        similar *= tf.cast(tf.gather(held.freshness, candidates), tf.float64)
        similar, nearest = tf.math.top_k(similar, tf.minimum(self.neighbours, tf.size(similar)))

        # their items
        at, neighbour = spread(tf.gather(first, nearest), tf.gather(members, nearest))
        item = tf.gather(held.members, at)
        worth = similar * self.step_weight(tf.cast(tf.gather(step, nearest), tf.float64))
        away = tf.abs(tf.gather(held.member_places, at) - tf.gather(tf.gather(anchor, nearest), neighbour))
        votes = tf.gather(worth, neighbour) * tf.cast(tf.gather(held.item_weights, item), tf.float64)
        votes *= tf.exp(-self.place_decay * tf.cast(away, tf.float64))
        return tf.cast(tf.math.unsorted_segment_sum(votes, item, self.size), tf.float32)

    # Many histories: compiled ----------------------------------------------------------------------------------------

    def target_ranks(self, batch, targets, best=0):
        from tfrecsession.models.neighbours import session_search  # Numba takes a while to load

        items, there = batch["items"], targets > 0
        row, column = np.nonzero(there)
        stop = row * items.shape[1] + column + 1
        known = np.concatenate([[0], np.cumsum(items.ravel() > 1)])  # unknown items are passed over
        starts, ends = known[stop - 1 - batch["position"][there]], known[stop]
        if self.window is not None:
            starts = np.maximum(starts, ends - self.window)
        lengths = ends - starts
        longest = int(lengths.max(initial=1))
        position = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths) + 1.0
        weights = np.asarray(self.position_weight(position, np.repeat(lengths, lengths).astype(float)))
        past = np.full(len(starts), len(self.index.ends))
        if "context/times" in batch:
            past = np.searchsorted(self.index.ends, batch["context/times"][there])
        scheme = session_search.Scheme(
            recent=self.recent,
            neighbours=self.neighbours,
            similarity=SIMILARITIES.index(self.similarity),
            step_weights=np.asarray(self.step_weight(np.arange(1.0, longest + 1))),
            place_decay=float(self.place_decay),
            freshness=self.freshness,
            item_weights=self.item_weights,
        )
        histories = items.ravel()[items.ravel() > 1]
        return session_search.rank(
            self.index, histories, starts, ends, past, targets[there], weights, scheme, self.size, best
        )

    def get_config(self):
        return {
            **super().get_config(),
            "neighbours": self.neighbours,
            "recent": self.recent,
            "similarity": self.similarity,
            "window": self.window,
            "session_decay": self.session_decay,
            "idf": self.idf,
        }


def check_decays(**decays: float | None) -> None:
    for name, decay in decays.items():
        if decay is not None and not decay > 0:
            raise InputError(f"{name}={decay!r}: say a number above 0, or None for no decay")
