"""NeighbourModel: the base of the session neighbours, where similar past sessions vote for their items."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import tensorflow as tf
from keras import ops

from tfrecsession.batches.batch import Reads
from tfrecsession.batches.co_occurrence import counted_events, supports
from tfrecsession.layers.ragged import spread
from tfrecsession.layers.session_window import history_length, last_items, newest_items, newest_items_at
from tfrecsession.models.neighbours.session_index import SessionIndex
from tfrecsession.models.neighbours.voted_items import candidates_of, is_in, rows_of
from tfrecsession.recommender.arguments import check_choice, check_number, check_whole
from tfrecsession.recommender.counting_model import CountingModel

SIMILARITIES = ("cosine", "vec", "jaccard")


class NeighbourModel(CountingModel):
    """Base of the session neighbours: the most similar of the recent sessions vote for their items.

        score(i) = sum over neighbours n with item i of sim(history, n) freshness(n) step_weight(n)
                   item_weight(i) exp(-place_decay |pos(i) - pos(i*)|)

    Candidates are the `recent` newest sessions that share an item with the history; the `neighbours` most similar of
    them vote. Of equally similar sessions the newest vote. An item that is repeated in a session counts at its last
    position. In a log of weighted events, a vote counts as much as the item's event in n, and events of weight 0
    are not in n. A session counts as many sessions in `idf` as its events weigh on average. So a session of weight 2 is
    the session twice, except that it takes one place among `recent` and `neighbours`. Sessions are compared as sets:
    one event of weight 2 changes its item's vote, not `sim`. `w` is the `position_weight` of the history's items; `sim`
    is, over the items in both,

        cosine   sum w / (sqrt(sum w^2 over the history) sqrt(|n|))
        vec      sum w / |history|
        jaccard  |history and n| / |history or n|

    and i* is the last item of n that is in the history. Subclasses define `position_weight` and `step_weight`, and set
    the other terms. Evaluation of a split with times sees only sessions that ended before the event: neither the future
    nor the session itself.

    Args:
        items: the vocabulary.
        neighbours: the most similar sessions that vote, k in the papers.
        recent: the newest sessions that are candidates, m in the papers.
        similarity: "cosine", "vec" or "jaccard".
        window: the newest events of a history that count; None: all.
        session_decay: days after which a session's vote is worth 1/e; None: age does not matter. In a log without times
            no session is older than another.
        idf: the weight of log(sessions / events of the item) on top of 1; never below 0.

    Raises:
        InputError: an argument out of range.
    """

    # Declarations
    weighs_events = True
    reads = Reads(context=("times",))  # finds only sessions that ended before
    place_decay = 0.0  # per event between an item of a neighbour and the last shared one

    def __init__(
        self, items, neighbours, recent, similarity="cosine", window=None, session_decay=None, idf=0.0, **kwargs
    ):
        # Arguments
        check_whole("neighbours", neighbours)
        check_whole("recent", recent)
        check_choice("similarity", similarity, SIMILARITIES)
        check_whole("window", window, optional=True)
        check_number("session_decay", session_decay, 0, above=True, optional=True)
        check_number("idf", idf)
        super().__init__(items, **kwargs)
        self.neighbours = neighbours
        self.recent = recent
        self.similarity = similarity
        self.window = window
        self.session_decay = session_decay
        self.idf = idf

        # Weights
        self._tables = None
        self._set_index(SessionIndex.empty(self.size))
        self.build()

    # Training

    def count(self, sessions):
        values, offsets, times, weight = counted_events(sessions, times=True)
        self._set_index(SessionIndex.of(values, offsets, times, self.size, weight), _supports(sessions, self.size))

    def _set_index(self, index: SessionIndex, supports=None) -> None:
        """Keeps the index twice: as arrays for `target_ranks`, as variables for graphs and exports.

        supports: float64 [size], of a weighted log: the weights of the events of each item; at 0, of all sessions.
        """
        self.index, self.supports = index, supports
        counts = np.maximum(np.asarray(self.item_counts), 1) if supports is None else supports  # (size,)
        count = (len(index.ends) if supports is None else supports[0]) or 1
        known = (np.bincount(index.members, minlength=self.size) > 0) & (counts > 0)  # (size,)
        idf = np.log(count / np.where(known, counts, count))  # (size,)
        self.item_weights = np.maximum(1.0 + self.idf * idf, 0.0).astype(np.float32)
        self.freshness = index.freshness(self.session_decay)
        arrays = {**index._asdict(), "item_weights": self.item_weights, "freshness": self.freshness}
        del arrays["ends"]
        if self._tables is None:  # not Keras' weights, whose sizes must be known before the data
            any_size = {"trainable": False, "shape": tf.TensorShape([None])}
            variables = {name: tf.Variable(array, **any_size) for name, array in arrays.items()}
            self._tables = SimpleNamespace(**variables)  # hidden from Keras
        else:  # traced graphs refer to these variables
            for name, array in arrays.items():
                getattr(self._tables, name).assign(array)

    def save_own_variables(self, store):
        super().save_own_variables(store)
        for name, array in self.index._asdict().items():
            store[f"index_{name}"] = array
        if self.supports is not None:
            store["supports"] = self.supports

    def load_own_variables(self, store):
        stored = {name: np.asarray(store[f"index_{name}"]) for name in SessionIndex._fields[:-1]}
        weighted = "index_member_weights" in set(store.keys())  # models saved by earlier versions do not have them
        stored["member_weights"] = np.asarray(store["index_member_weights"]) if weighted else np.zeros(0, np.float32)
        counts = {"0": store["0"]}  # item_counts, the only weight that Keras tracks
        super().load_own_variables(counts)
        supports = np.asarray(store["supports"]) if "supports" in set(store.keys()) else None
        self._set_index(SessionIndex(**stored), supports)

    # Recommendations

    def position_weight(self, position, length):
        """Returns the weight of a history's event in the similarity; position from 1, the oldest, float, any shape."""
        return ops.ones_like(position)

    def step_weight(self, step):
        """Returns the weight of a neighbour whose newest shared item was `step` events ago, 1 for the last event."""
        return ops.ones_like(step)

    def encode(self, batch, training=False):
        """Returns the session so far, newest event first: int32 [rows, steps, events], 0 is padding."""
        return newest_items(batch, self.window)

    def encoder(self, batch):
        return newest_items_at(batch, self.window)

    def cells_of_an_event(self, batch):
        return 8 * history_length(batch, self.window)

    def encode_last(self, batch, length):
        return last_items(batch, length, self.window)  # (rows, events)

    def score_all(self, encoded):
        # (n, events) -> (n, size), one history after the other
        return tf.map_fn(self._scores, encoded, fn_output_signature=tf.TensorSpec((self.size,), tf.float32))

    def _scores(self, history):
        """Scores all items for int32 [events], newest first -> float32 [size]."""
        items, votes = self._votes(history)
        return tf.cast(tf.math.unsorted_segment_sum(votes, items, self.size), tf.float32)

    def find(self, encoded, known, k, out=None, allowed=None, only=None):
        # Items without votes score 0: of those, only the first ids can be among the best, so few items are scored.
        if allowed is not None:
            return super().find(encoded, known, k, out, allowed, only)
        rows = tf.shape(encoded)[0]
        out = tf.zeros((rows, 0), tf.int32) if out is None else rows_of(out, rows)
        count = tf.minimum(k + tf.shape(out)[1], self.size - 2)  # some of them may be left out

        def best(history, is_known, out, *listed):
            def voted():
                fillers = tf.range(2, count + 2)
                return candidates_of(*self._votes(history), tf.concat([fillers, *listed], axis=0))

            def popular():
                scores = self.score_without_history()
                first = tf.math.top_k(scores[2:], count).indices + 2
                ids = tf.sort(tf.unique(tf.concat([first, *listed], axis=0))[0])
                return ids, tf.gather(scores, ids)

            ids, scores = tf.cond(is_known, voted, popular)
            is_left = ~is_in(ids, out)
            for ids_of_row in listed:
                is_left &= is_in(ids, ids_of_row) | tf.reduce_all(ids_of_row == 0)
            ids, scores = self.best_among(tf.where(is_left, ids, 0)[None], scores[None], k)
            return ids[0], scores[0]

        specs = tf.TensorSpec((k,), tf.int32), tf.TensorSpec((k,), tf.float32)
        arrays = [encoded, known, out, *([] if only is None else [only])]
        return tf.map_fn(lambda row: best(*row), tuple(arrays), fn_output_signature=specs)

    def _votes(self, history):
        """Returns the neighbours' votes: int32 [events], newest first -> items int32 [votes], float64 [votes].

        Sums are in float64, so that equal scores stay equal.
        """
        tables = self._tables
        history = tf.boolean_mask(history, history > 1)  # (known events,)
        length = tf.size(history)
        items, which = tf.unique(history)  # (items,), (known events,): in the order of their newest occurrence
        age = tf.math.unsorted_segment_min(tf.range(length), which, tf.size(items))  # (items,)
        weight = self.position_weight(tf.cast(length - age, tf.float64), tf.cast(length, tf.float64))  # (items,)

        # candidates: the newest sessions of every item, then the newest of them all
        stops = tf.gather(tables.posting_offsets, items + 1)  # (items,)
        counts = tf.minimum(stops - tf.gather(tables.posting_offsets, items), self.recent)  # (items,)
        posting, item = spread(stops - counts, counts)  # (postings,), (postings,)
        sessions, which = tf.unique(tf.gather(tables.postings, posting))  # (sessions,), (postings,)
        candidates, newest = tf.math.top_k(sessions, tf.minimum(self.recent, tf.size(sessions)))  # (candidates,) each

        def per_candidate(reduce, values):
            return tf.gather(reduce(values, which, tf.size(sessions)), newest)  # (postings,) -> (candidates,)

        shared_weight = per_candidate(tf.math.unsorted_segment_sum, tf.gather(weight, item))
        shared = per_candidate(tf.math.unsorted_segment_sum, tf.ones_like(item, tf.float64))
        step = per_candidate(tf.math.unsorted_segment_min, tf.gather(age, item)) + 1
        anchor = per_candidate(tf.math.unsorted_segment_max, tf.gather(tables.posting_places, posting))

        # the most similar of them
        first = tf.gather(tables.member_offsets, candidates)  # (candidates,)
        members = tf.gather(tables.member_offsets, candidates + 1) - first  # (candidates,)
        history_items, session_items = tf.cast(tf.size(items), tf.float64), tf.cast(members, tf.float64)
        if self.similarity == "cosine":
            similar = tf.math.divide_no_nan(shared_weight, tf.sqrt(tf.reduce_sum(weight**2) * session_items))
        elif self.similarity == "vec":
            similar = shared_weight / history_items
        else:
            similar = shared / (history_items + session_items - shared)
        similar *= tf.cast(tf.gather(tables.freshness, candidates), tf.float64)
        similar, nearest = tf.math.top_k(similar, tf.minimum(self.neighbours, tf.size(similar)))  # (neighbours,) each

        # their items
        member, neighbour = spread(tf.gather(first, nearest), tf.gather(members, nearest))  # (votes,), (votes,)
        item = tf.gather(tables.members, member)  # (votes,)
        vote = similar * self.step_weight(tf.cast(tf.gather(step, nearest), tf.float64))  # (neighbours,)
        distance = tf.abs(tf.gather(tables.member_places, member) - tf.gather(tf.gather(anchor, nearest), neighbour))
        votes = tf.gather(vote, neighbour) * tf.cast(tf.gather(tables.item_weights, item), tf.float64)  # (votes,)
        weights = tables.member_weights
        votes *= tf.cond(
            tf.size(weights) > 0,
            lambda: tf.cast(tf.gather(weights, member), tf.float64),
            lambda: tf.ones_like(votes),
        )
        return item, votes * tf.exp(-self.place_decay * tf.cast(distance, tf.float64))

    def target_ranks(self, batch, targets, best=0):
        """Ranks many histories by a compiled search, see `Recommender.target_ranks`."""
        from tfrecsession.models.neighbours import session_search  # slow to import: Numba

        items, is_target = batch["items"], targets > 0  # (rows, steps) each
        row, column = np.nonzero(is_target)  # (targets,) each
        stop = row * items.shape[1] + column + 1
        known_before = np.concatenate([[0], np.cumsum(items.ravel() > 1)])  # (rows * steps + 1,)
        begins, ends = known_before[stop - 1 - batch["position"][is_target]], known_before[stop]  # (targets,) each
        longest = int((ends - begins).max(initial=1))
        past = np.full(len(ends), len(self.index.ends))
        if "context/times" in batch:
            past = np.searchsorted(self.index.ends, batch["context/times"][is_target])
        scheme = session_search.Scheme(
            recent=self.recent,
            neighbours=self.neighbours,
            similarity=SIMILARITIES.index(self.similarity),
            step_weights=np.asarray(self.step_weight(np.arange(1.0, longest + 1))),
            place_decay=float(self.place_decay),
            freshness=self.freshness,
            item_weights=self.item_weights,
        )
        histories = items.ravel()[items.ravel() > 1]  # (known events,)
        return session_search.rank(
            self.index,
            histories,
            begins,
            ends,
            past,
            targets[is_target],
            self.position_weight,
            scheme,
            self.size,
            self.window,
            best,
        )

    # Configuration

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


def _supports(sessions, size: int):
    """Returns the weights that `idf` counts, see `NeighbourModel._set_index`; None of a log without weights."""
    if sessions.weights is None:
        return None
    found = supports(sessions, size)
    weight = sessions.weights.event * sessions.weights.session
    counted = (weight > 0) & (sessions.values > 1)
    session = np.repeat(np.arange(len(sessions)), np.diff(sessions.offsets))[counted]
    lengths = np.bincount(session, minlength=len(sessions))  # (sessions,)
    totals = np.bincount(session, weight[counted], minlength=len(sessions))
    found[0] = (totals / np.maximum(lengths, 1)).sum()
    return found
