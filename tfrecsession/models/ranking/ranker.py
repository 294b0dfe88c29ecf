"""The base of models that rank lists of candidates: examples, training, answers and files."""

from __future__ import annotations

from types import SimpleNamespace

import keras
import numpy as np
import tensorflow as tf

from tfrecsession.batches.batch import Reads
from tfrecsession.layers.session_window import newest_items_at
from tfrecsession.models.ranking.examples import make_examples, ranks_in_lists
from tfrecsession.models.ranking.features import standardized
from tfrecsession.models.ranking.lists import given_lists
from tfrecsession.models.ranking.members import checked_members, without_compile, without_optimizers
from tfrecsession.recommender.arguments import check_whole
from tfrecsession.recommender.in_context import context_of
from tfrecsession.recommender.joint_context import joint_context
from tfrecsession.recommender.recommend import padded_rows
from tfrecsession.recommender.recommender import Recommender


class Ranker(Recommender):
    """Base of models that rank lists of candidates.

    A subclass calls `read_history`, creates `features`, defines `score_lists`, `step`, `group_of` and `settings`, and
    calls `build` last.
    """

    loss_of_lists = "softmax"

    def read_history(self, scores_of, context, request, window: int) -> None:
        """Takes the arguments of what is read of histories and requests."""
        self.names, self.members = checked_members(scores_of, self.items)
        self.window = window
        self.own_context = context_of(context, request, self.items)
        self.context = joint_context([SimpleNamespace(context=self.own_context), *self.members])
        one_target = any(member.reads.one_target for member in self.members)
        self.reads = Reads(targets="last_step" if one_target else "every_step")

    def build(self, input_shape=None):
        """Builds the layers by scoring one candidate of one empty history."""
        if not self.built:
            ids = tf.zeros([1, 1], tf.int32)
            query, _, _ = self._encode_histories(ids)
            self.score_lists(query, ids, {})
        super().build(input_shape)

    # Defined by a ranker ---------------------------------------------------------------------------------------------

    def score_lists(self, query, ids, lists, hidden=None):
        """Scores lists of candidates.

        Args:
            query: what `encoder` returns, for n histories.
            ids: int32 [n, m], 1 for unknown items, 0 as padding, whose score means nothing.
            lists: "place", from 1, "score.NAME", "listed.NAME" -> float32 [n, m], NaN where missing.
            hidden: a column of the candidates' content that is taken as missing; None: all is read.

        Returns:
            float32 [n, m].
        """

        raise NotImplementedError(f"{type(self).__name__} does not define score_lists")

    def step(self, query, ids, lists, label):
        """Takes one step on a batch of lists and returns its loss; `label`: int32 [n], the column of the item."""
        raise NotImplementedError(f"{type(self).__name__} does not define step")

    def settings(self) -> dict:
        """Returns the arguments of the constructor behind `scores_of`."""
        raise NotImplementedError(f"{type(self).__name__} does not define settings")

    @property
    def cells_of_a_candidate(self) -> int:
        """How many numbers are held to score a candidate."""
        return 1

    # Training --------------------------------------------------------------------------------------------------------

    @property
    def trainable_variables(self):
        """Those of the ranker itself: its members are fitted."""
        members = {id(variable) for member in self.members for variable in member.variables}
        return [variable for variable in super().trainable_variables if id(variable) not in members]

    def fit(
        self,
        x=None,
        *,
        shown: str | None = None,
        candidates=None,
        n: int = 500,
        negatives: int = 50,
        events: int = 20_000,
        epochs: int = 5,
        rows: int = 64,
        seed: int = 0,
        **kwargs,
    ):
        """Learns to rank the lists that the log has shown, or those of a first stage.

        Args:
            x: a split. With `candidates`, one that neither they nor the members were fitted on: models know by heart
                what they were fitted on, and their candidates would flatter them.
            shown: a column of the log, with the list that was shown before the event: items joined by "|".
            candidates: a fitted model; its n best items of each history are the list.
            n: see `candidates`; events whose item is not among them teach nothing.
            negatives: sampled of a list in each example, the rest is not compared; None: all are.
            events: sampled of the split, at most so many; None: all.
            epochs, rows: passes over the examples, and examples of a step.
            seed: of the samples.
            **kwargs: as in Keras.

        Raises:
            InputError: neither or both of `shown` and `candidates`, no list with the item of its event, or another
                argument out of its range.
        """
        for name, value in (("n", n), ("negatives", negatives), ("events", events), ("epochs", epochs), ("rows", rows)):
            check_whole(name, value, optional=name in ("negatives", "events"))
        check_whole("seed", seed, 0)
        self._check_weights(x, kwargs.get("sample_weight"), kwargs.get("class_weight"))
        self.examples = found = make_examples(self, x, shown, candidates, n, negatives, events, seed)
        if not self.fitted:
            self.features.quantiles.learn(found.numbers(self))
        if not self.compiled:
            self.compile()
        history = super().fit(found.batches(rows, seed), epochs=epochs, **{"verbose": 0, **kwargs})
        self._answer_graphs, self._rank_graphs = {}, {}
        return history

    def train_step(self, data):
        query, ids, lists, label = data
        self._loss_tracker.update_state(self.step(query, ids, lists, label), sample_weight=tf.shape(ids)[0])
        return {"loss": self._loss_tracker.result()}

    def losses_of_lists(self, scores, ids, label):
        """Returns the loss of each list: float [n, m], int32 [n, m], 0 where there is none, int32 [n] -> float [n]."""
        is_read = ids > 0
        if self.loss_of_lists == "softmax":
            scores = tf.where(is_read, scores, -1e9)
            return tf.nn.sparse_softmax_cross_entropy_with_logits(labels=label, logits=scores)
        labels = tf.one_hot(label, tf.shape(ids)[1])
        each = tf.nn.sigmoid_cross_entropy_with_logits(labels=labels, logits=scores)
        return tf.reduce_sum(tf.where(is_read, each, 0.0), axis=1)

    # Recommendations -------------------------------------------------------------------------------------------------

    def encoder(self, batch):
        encoders = [member.encoder(batch) for member in self.members]
        newest = newest_items_at(batch, self.window)
        keys = self.own_context.keys if self.own_context else ()

        def encode(cells):
            window = newest(cells)  # (n, at most window)
            window = tf.pad(window, [[0, 0], [0, self.window - tf.shape(window)[1]]])  # (n, window)
            length = tf.cast(tf.gather_nd(tf.convert_to_tensor(batch["position"]), cells) + 1, tf.float32)
            query = {"window": tf.ensure_shape(window, (None, self.window)), "length": length}
            query |= {key: tf.gather_nd(batch[key], cells) for key in keys}
            return query | {"members": tuple(encoder(cells) for encoder in encoders)}

        return encode

    def encode_last(self, batch, length):
        cells = tf.stack([tf.range(tf.size(length)), tf.maximum(length - 1, 0)], axis=1)  # (rows, 2)
        own = Ranker.encoder(SimpleNamespace(members=(), window=self.window, own_context=self.own_context), batch)
        return own(cells) | {"members": tuple(member.encode_last(batch, length) for member in self.members)}

    def encode(self, batch, training=False):
        rows, steps = tf.unstack(tf.shape(batch["items"]))
        cells = tf.reshape(tf.stack(tf.meshgrid(tf.range(rows), tf.range(steps), indexing="ij"), -1), [-1, 2])
        encoded = self.encoder(batch)(cells)
        return tf.nest.map_structure(lambda part: tf.reshape(part, [rows, steps, *part.shape[1:]]), encoded)

    def cells_of_an_event(self, batch):
        of_members = sum(member.cells_of_an_event(batch) + self.size for member in self.members)
        return of_members + self.size * self.cells_of_a_candidate

    def scorer(self):
        lists = self._lists_of_all()
        return lambda query: self.score_lists(query, *lists(query))

    def _lists_of_all(self):
        """Returns a function from encodings to the ids of the whole catalogue, [n, size], and their columns."""
        scorers = [member.scorer() for member in self.members]

        def lists(query):
            n = tf.shape(query["window"])[0]
            ids = tf.tile(tf.range(self.size)[None], [n, 1])  # (n, size)
            known = {
                index: scorer(part) for index, (scorer, part) in enumerate(zip(scorers, query["members"], strict=True))
            }
            return ids, self.lists_of(query["members"], ids, known)

        return lists

    def score_all(self, encoded):
        return self.scorer()(encoded)

    @property
    def explained_content(self) -> tuple:
        return tuple(self.features.content.columns)

    def parts_of_content(self, encoded, items, columns):
        _, lists = self._lists_of_all()(encoded)
        lists = {name: tf.gather(values, items, batch_dims=1) for name, values in lists.items()}  # (n, m) each
        return self.parts_in_lists(encoded, items, lists, columns)

    def parts_in_lists(self, query, ids, lists, columns):
        """Returns what the scores of lists lose where a column of the candidate is missing: float32 [n, m, columns].

        The other candidates keep it, and so do the scores of the members.

        Args:
            query, ids, lists: as in `score_lists`.
            columns: some of `explained_content`.
        """
        whole = self.score_lists(query, ids, lists)
        return tf.stack([whole - self.score_lists(query, ids, lists, column.name) for column in columns], axis=-1)

    def lists_of(self, encoded, ids, known=None) -> dict:
        """Returns the columns of lists that the members score: name -> float32 [n, m].

        Args:
            encoded: the members' encodings of n histories.
            ids: int32 [n, m].
            known: index of a member -> its scores of all items, float [n, size], where they are known already.
        """
        columns, known = {}, known or {}
        for index, (name, member) in enumerate(zip(self.features.scores, self.members, strict=True)):
            is_known = index in known
            scores = tf.gather(known[index], ids, batch_dims=1) if is_known else member.score_items(encoded[index], ids)
            columns[name] = standardized(scores, ids)
        return columns

    def rank(self, histories, candidates, context=None, request=None, listed=None) -> list[np.ndarray]:
        """Scores a list of candidates for each history.

        Args:
            histories, context, request: as in `recommend`.
            candidates: a list of items for each history, in the order in which they would be shown; unknown ones too.
            listed: name -> for each history a number for each candidate.

        Returns:
            For each history float32 [candidates], the higher the better.

        Raises:
            InputError: lists of other lengths, or values that cannot be read.
        """
        encoded = self.encode_histories(histories)
        given = self.given_context(context, request, [len(history) for history in encoded])
        ids, lists = given_lists(self, candidates, listed, len(encoded))
        query, _, _ = self._encode_histories(*tensors_of_histories(self, encoded, given))
        lists |= self.lists_of(query["members"], ids)
        scores = self.score_lists(query, tf.constant(ids), lists).numpy()
        return [row[:length] for row, length in zip(scores, (ids > 0).sum(axis=1), strict=True)]

    def shown_ranks(self, x, shown: str, events: int | None = None, seed: int = 0) -> np.ndarray:
        """Returns the rank of each event's item within the list that was shown, ties counted against the model.

        Args:
            x, shown, events, seed: as in `fit`; events=None: all.

        Returns:
            int32 [events whose list has their item].
        """
        return ranks_in_lists(self, make_examples(self, x, shown, None, 0, None, events, seed))

    # Files -----------------------------------------------------------------------------------------------------------

    def of(self, members) -> Ranker:
        """Returns this ranker with other members: the same models, fitted on more data."""
        twin = type(self)(self.items, dict(zip(self.names, members, strict=True)), **self.settings())
        for new, old in zip(twin.own_weights, self.own_weights, strict=True):
            new.assign(old)
        twin.fitted = self.fitted
        return twin

    @property
    def own_weights(self) -> list:
        """The weights of the ranker without those of its members."""
        members = {id(variable) for member in self.members for variable in member.variables}
        return [variable for variable in self.weights if id(variable) not in members]

    def prepare_export(self):
        super().prepare_export()
        for member in self.members:
            member.prepare_export()

    def save(self, *args, **kwargs):
        with without_optimizers(self.members):
            return super().save(*args, **kwargs)

    def get_config(self):
        members = dict(zip(self.names, map(without_compile, self.members), strict=True))
        return {**super().get_config(), "scores_of": members, **self.settings()}

    @classmethod
    def from_config(cls, config):
        members = {name: keras.saving.deserialize_keras_object(part) for name, part in config["scores_of"].items()}
        return super().from_config({**config, "scores_of": members})


def tensors_of_histories(model, encoded, given):
    """Returns encoded histories of any lengths and their context as tensors, see `Recommending.answer`."""
    columns = {}
    for key, values in given.items():
        is_of_request = key.startswith("request/")
        columns[key] = tf.constant(values if is_of_request else padded_rows(values, model.missing_in(key)))
    return tf.constant(padded_rows(encoded)), columns
