"""Blend: a weighted sum of the probabilities of fitted models."""

from __future__ import annotations

import contextlib

import keras
import numpy as np
import tensorflow as tf

from tfrecsession.batches import Sessions
from tfrecsession.batches.batch import Reads
from tfrecsession.errors import InputError
from tfrecsession.models.ensemble.learn_blend import Learned, learn
from tfrecsession.models.ensemble.members import (
    checked_lengths,
    checked_members,
    checked_scales,
    checked_weights,
)
from tfrecsession.models.ensemble.scales import comparable, comparable_without, lost_of_logits, range_of
from tfrecsession.recommender.counting_model import CountingModel
from tfrecsession.recommender.joint_context import joint_context


@keras.saving.register_keras_serializable(package="tfrecsession")
class Blend(CountingModel):
    """Weighted sum of the probabilities that fitted models of one data set give to every item.

        score(i) = sum over the members m of w_m(l) p_m(i),   w_m(l) >= 0, their sum is 1

    l is the number of known items in the history, in ranges. p_m are the member's scores s, made comparable:

        softmax   exp(s_i / T) / sum over the items j of exp(s_j / T)
        share     max(s_i, 0)^T / sum over the items j of max(s_j, 0)^T

    `fit` learns kind, T and weights on a split that no member was fitted on. Every member scores the whole catalogue,
    so the best items are exact, whatever index a member would have alone. Members without weight are not computed. A
    history without a known item gets the most popular items. Session neighbours score as they do for requests: a
    session of train that had not ended at an event counts too.

    Args:
        members: fitted models of one data set; those that read earlier sessions of a user cannot be members.
        weights: a weight per member, or such a list per range of `lengths`; divided by their sum. None: equal ones.
        lengths: the shortest history of each range, from 1.
        scales: a pair (kind, T) per member. None: ("softmax", 1) for members trained by gradient, else ("share", 1).

    Raises:
        InputError: members of different data, one that cannot be blended, or an argument out of range.

    Example:

        blend = trs.models.Blend([gru4rec, slist])
        blend.fit(data.validation)
        blend.recommend([["item-17", "item-4"]])
    """

    def __init__(self, members, weights=None, lengths=(1,), scales=None, **kwargs):
        # Arguments
        members = checked_members(members)
        lengths = checked_lengths(lengths)
        weights = checked_weights(weights, len(members), len(lengths))
        scales = checked_scales(scales, members)
        super().__init__(members[0].items, **kwargs)
        self.members = members
        self.weights_by_length = weights  # float32 [lengths, members]
        self.lengths = lengths
        self.scales = scales
        self.learned: Learned | None = None

        # Contract
        self.context = joint_context(members)
        one_target = any(member.reads.one_target for member in members)
        self.reads = Reads(targets="last_step" if one_target else "every_step")
        self.longest_history = max(member.longest_history for member in members)
        self.fitted = True
        self.build()

    # Training

    def fit(
        self,
        x=None,
        *args,
        metric: str = "ndcg@20",
        by_length: bool = True,
        events: int = 5000,
        seed: int = 0,
        **kwargs,
    ):
        """Learns scales and weights on a split that no member was fitted on; the members stay as they are.

        Kind and T of each member are those of the highest likelihood. The weights are those of the best `metric` among
        points of a lattice, a single member included.

        Args:
            x: `data.validation`.
            *args, **kwargs: as in `fit` of other models that are not trained by gradient.
            metric: "recall@k", "mrr@k" or "ndcg@k", which rewards both of the others.
            by_length: whether the weights may depend on the length of the history. They do where this is better on
                sessions that the weights were not learned on, by two standard errors.
            events: sessions are sampled until they have about so many events to score.
            seed: of the sample.

        Raises:
            InputError: x is not a split or has no event to score, an unknown metric, or weights.
        """
        self.refuse_weights(kwargs)
        if not isinstance(x, Sessions):
            raise InputError(f"x: must be data.validation, which no member was fitted on, not {type(x).__name__}")
        self.check_vocabulary(x.items)
        self.learned = learned = learn(self, x, metric, by_length, events, seed)
        self.scales, self.lengths, self.weights_by_length = learned.scales, learned.lengths, learned.weights
        self._answer_graphs, self._rank_graphs = {}, {}  # they hold the old weights
        history = keras.callbacks.History()
        history.set_model(self)
        history.on_train_begin()
        return history

    def of(self, members) -> Blend:
        """Returns a blend of other members with these scales and weights: the same models, fitted on more data."""
        if len(members) != len(self.members):
            raise InputError(f"members: must be {len(self.members)} models, as many as here, not {len(members)}")
        return Blend(members, self.weights_by_length, self.lengths, self.scales)

    # Recommendations

    @property
    def used(self) -> list[int]:
        """The members that have a weight, by number."""
        return np.flatnonzero((self.weights_by_length > 0).any(axis=0)).tolist()

    def encode(self, batch, training=False):
        """Returns what each member encodes, a tuple of `[rows, steps, any]`, for members with a weight."""
        return tuple(self.members[index].encode(batch, training=training) for index in self.used)

    def encoder(self, batch):
        encoders = [self.members[index].encoder(batch) for index in self.used]
        known = tf.cumsum(tf.pad(tf.cast(batch["items"] > 1, tf.int32), [[0, 0], [1, 0]]), axis=1)  # (rows, steps + 1)

        def encode(cells):
            row, step = cells[:, 0], cells[:, 1]
            first = tf.maximum(step - tf.gather_nd(batch["position"], cells), 0)
            until, before = (tf.gather_nd(known, tf.stack([row, at], axis=1)) for at in (step + 1, first))
            return tuple(encoder(cells) for encoder in encoders), until - before

        return encode

    def cells_of_an_event(self, batch):
        return sum(self.members[index].cells_of_an_event(batch) for index in self.used) + 4 * self.size

    def encode_last(self, batch, length):
        known = tf.math.count_nonzero(batch["items"] > 1, axis=1, dtype=tf.int32)  # (rows,)
        return tuple(self.members[index].encode_last(batch, length) for index in self.used), known

    def score_all(self, encoded):
        return self.scorer()(encoded)

    def scorer(self):
        score = self.member_probabilities()

        def mixed(encoded):
            members, length = encoded
            parts = zip(self._weights_after(length), score(members), strict=True)
            total = tf.add_n([weight * probability for weight, probability in parts])  # (n, size - 2)
            return tf.pad(total, [[0, 0], [2, 0]])  # (n, size)

        return mixed

    def _weights_after(self, length) -> list:
        """Returns the weights of the `used` members after histories, int32 [n]: a number, or float32 [n, 1], each."""
        weights = self.weights_by_length[:, self.used]
        if len(weights) == 1:
            return weights[0].tolist()
        of_row = tf.gather(tf.constant(weights), range_of(length, self.lengths))  # (n, used)
        return tf.split(of_row, len(self.used), axis=1)

    @property
    def explained_content(self) -> tuple:
        found: dict = {}
        for index in self.used:
            for column in self.members[index].explained_content:
                found.setdefault(column.name, column)
        return tuple(found.values())

    def parts_of_content(self, encoded, items, columns):
        members, length = encoded
        names, total = [column.name for column in columns], 0.0
        weights, scores = self._weights_after(length), self.member_scores()(members)
        for index, weight, of_member, own in zip(self.used, weights, members, scores, strict=True):
            read = [column for column in self.members[index].explained_content if column.name in names]
            if not read:
                continue
            lost = self.members[index].parts_of_content(of_member, items, read)  # (n, m, read)
            places = tf.maximum(items - 2, 0)
            if self.members[index].repeat_head is not None:
                lost = lost_of_logits(own, places, lost)
            lost = comparable_without(own, places, lost, *self.scales[index])
            placed = tf.one_hot([names.index(column.name) for column in read], len(names))  # (read, columns)
            total += tf.reshape(weight, [-1, 1, 1]) * tf.einsum("nmr,rc->nmc", lost, placed)
        return total

    def member_scores(self):
        """Returns a function from the members' encodings to their scores: an iterator of float32 [n, size - 2]."""
        scorers = [self.members[index].scorer() for index in self.used]

        def score(encoded):
            for scorer, of_member in zip(scorers, encoded, strict=True):
                yield tf.cast(tf.ensure_shape(scorer(of_member), (None, self.size))[:, 2:], tf.float32)

        return score

    def member_probabilities(self):
        """Returns a function as `member_scores` does, to comparable scores, which sum to 1 or are all 0."""
        score, scales = self.member_scores(), [self.scales[index] for index in self.used]

        def probabilities(encoded):
            for scores, (kind, sharpness) in zip(score(encoded), scales, strict=True):
                yield comparable(scores, kind, sharpness)

        return probabilities

    # Configuration

    @contextlib.contextmanager
    def _without_optimizers(self):
        """Takes the optimizers of trained members away: a blend is not trained, and they are as large as the models."""
        kept = [(member, member.optimizer) for member in self.members if member.learning is not None]
        for member, _ in kept:
            member.optimizer = None
        try:
            yield
        finally:
            for member, optimizer in kept:
                member.optimizer = optimizer

    def save(self, *args, **kwargs):
        with self._without_optimizers():
            return super().save(*args, **kwargs)

    def get_config(self):
        members = []
        for member in self.members:
            config = keras.saving.serialize_keras_object(member)
            config.pop("compile_config", None)
            members.append(config)
        return {
            "name": self.name,
            "members": members,
            "weights": self.weights_by_length.tolist(),
            "lengths": list(self.lengths),
            "scales": [list(scale) for scale in self.scales],
        }

    def compile_from_config(self, config):
        if config:  # without building the optimizer: nothing is trained
            self.compile(**keras.saving.deserialize_keras_object(config))

    @classmethod
    def from_config(cls, config):
        members = [keras.saving.deserialize_keras_object(member) for member in config["members"]]
        return cls(**{**config, "members": members})
