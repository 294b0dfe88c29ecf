"""Pipeline: candidates of one model, ranked by another, as one model."""

from __future__ import annotations

import keras
import tensorflow as tf

from tfrecsession.batches.batch import Reads
from tfrecsession.errors import InputError
from tfrecsession.metrics import top_k
from tfrecsession.models.ranking.examples import mask_of_items
from tfrecsession.models.ranking.members import (
    check_same_data,
    check_session_model,
    without_compile,
    without_optimizers,
)
from tfrecsession.models.ranking.wide_and_deep import WideAndDeep
from tfrecsession.recommender.arguments import check_choice, check_whole, refuse
from tfrecsession.recommender.joint_context import joint_context
from tfrecsession.recommender.recommender import Recommender


@keras.saving.register_keras_serializable(package="tfrecsession")
class Pipeline(Recommender):
    """Two stages as one model: the n best items of a fitted model, ranked by `WideAndDeep`.

        candidates C = the n items with the highest first score f(i)
        score(i) = r(i) for i in C;   below all of them, in the order of f, for the others

    with r the ranker's score. Evaluation ranks the whole catalogue, as that of any model. Filters act before the
    candidates are chosen. A history without a known item gets the most popular items.

    The ranker learns from sessions that the first stage was not fitted on, see `fit`: a model knows by heart what it
    was fitted on, and a ranker would learn to trust it too much.

    Args:
        candidates: a fitted model, the first stage.
        ranker: a `WideAndDeep` of the same data.
        n: candidates of each history; an answer has at most as many items.

    Raises:
        InputError: models of different data, a first stage that remembers users, or an n out of its range.

    Example:

        ranker = trs.models.WideAndDeep(data.items, scores_of=[gru4rec])
        pipeline = trs.models.Pipeline(candidates=gru4rec, ranker=ranker, n=500)
        pipeline.fit(data.validation)
        pipeline.recommend([["item-17", "item-4"]])
    """

    def __init__(self, candidates, ranker, n=500, **kwargs):
        # Arguments
        if not isinstance(ranker, WideAndDeep):
            raise InputError(f"ranker: must be a trs.models.WideAndDeep, not {type(ranker).__name__}")
        if isinstance(candidates, str):  # of a saved model: one of the ranker's members
            check_choice("candidates", candidates, ranker.names)
            candidates = ranker.members[ranker.names.index(candidates)]
        check_session_model("candidates", candidates)
        check_same_data("ranker", ranker.items, "candidates", candidates.items)
        check_whole("n", n)
        super().__init__(ranker.items, **kwargs)
        self.candidates = candidates
        self.ranker = ranker
        self.n = n

        # Contract
        self.shared = next((index for index, member in enumerate(ranker.members) if member is candidates), None)
        self.context = joint_context([ranker, candidates])
        one_target = ranker.reads.one_target or candidates.reads.one_target
        self.reads = Reads(targets="last_step" if one_target else "every_step")
        self.longest_history = max(model.longest_history for model in (candidates, *ranker.members))
        self.compile()
        self.build()

    # Training

    @property
    def has_learned(self):
        return self.fitted or self.ranker.has_learned

    @property
    def trainable_variables(self):
        """None: `fit` trains the ranker by itself."""
        return []

    def compile(self, optimizer="rmsprop", loss=None, metrics=None, **kwargs):
        super().compile(optimizer, None, metrics, **kwargs)

    def fit(self, x=None, **kwargs):
        """Fits the ranker on lists of the first stage's candidates, which stays as it is.

        Args:
            x: a split that the first stage was not fitted on, such as `data.validation`.
            **kwargs: as in `WideAndDeep.fit`: negatives, events, epochs, rows, seed.
        """
        history = self.ranker.fit(x, candidates=self.candidates, n=self.n, **kwargs)
        self._answer_graphs, self._rank_graphs = {}, {}  # they hold the old quantiles
        self.fitted = True
        return history

    # Recommendations

    def check_k(self, k: int) -> None:
        super().check_k(k)
        if k > self.n:
            refuse("k", k, f"at most n={self.n}, the candidates that are ranked; create the Pipeline with a larger n")

    def encoder(self, batch):
        encode = self.ranker.encoder(batch)
        first = None if self.shared is not None else self.candidates.encoder(batch)
        return lambda cells: (encode(cells), () if first is None else first(cells))

    def encode_last(self, batch, length):
        first = () if self.shared is not None else self.candidates.encode_last(batch, length)
        return self.ranker.encode_last(batch, length), first

    def encode(self, batch, training=False):
        first = () if self.shared is not None else self.candidates.encode(batch, training=training)
        return self.ranker.encode(batch), first

    def cells_of_an_event(self, batch):
        models = [*self.ranker.members, *([] if self.shared is not None else [self.candidates])]
        of_models = sum(model.cells_of_an_event(batch) + self.size for model in models)
        return of_models + 3 * self.size + self.n * self.ranker.cells_of_a_candidate

    def score_all(self, encoded):
        return self.scorer()(encoded)

    def scorer(self):
        score = self.scores_of_stages()
        return lambda encoded: self.merged(encoded[0], *score(encoded))

    def scores_of_stages(self):
        """Returns a function from encodings to the first scores, [n, size], and those of members without vectors."""
        members = self.ranker.members
        scorers = {index: member.scorer() for index, member in enumerate(members) if not member.scores_by_products}
        first = scorers.pop(self.shared, None) or self.candidates.scorer()

        def score(encoded):
            query, own = encoded
            known = {index: scorer(query["members"][index]) for index, scorer in scorers.items()}
            found = mask_of_items(first(own if self.shared is None else query["members"][self.shared]))
            return found, known if self.shared is None else {**known, self.shared: found}

        return score

    def merged(self, query, first, known, allowed=None):
        """Ranks the candidates, and puts the other items below them in the order of their first scores.

        Args:
            query: the ranker's encoding of n histories.
            first: float32 [n, size]; padding and the unknown item have the lowest number.
            known: index of a member -> its scores of all items, float [n, size]; the others score the candidates alone.
            allowed: bool [n or 1, size], the items that may be candidates; None: all.

        Returns:
            float32 [n, size].
        """
        ids, lists = self._candidates(query, first, known, allowed)  # (n, candidates)
        ranked = self.ranker.score_lists(query, ids, lists)
        lowest = tf.reduce_min(tf.where(ids > 1, ranked, tf.float32.max), axis=1, keepdims=True)  # (n, 1)
        lowest = tf.where(lowest < tf.float32.max, lowest, 0.0)

        highest = tf.reduce_max(first, axis=1, keepdims=True)
        depth = highest - tf.reduce_min(first[:, 2:], axis=1, keepdims=True)  # (n, 1)
        others = lowest - 1 - tf.math.divide_no_nan(highest - first, depth)  # (n, size), from lowest - 1 down by 1
        rows = tf.broadcast_to(tf.range(tf.shape(ids)[0])[:, None], tf.shape(ids))
        cells = tf.stack([rows, ids], axis=-1)  # (n, candidates, 2); padding writes column 0, which is ignored
        return tf.tensor_scatter_nd_update(others, cells, ranked)

    def _candidates(self, query, first, known, allowed=None):
        """Returns the candidates, int32 [n, candidates], 0 where there are no more, and their columns, see `merged`."""
        least = tf.float32.min
        open_to = first if allowed is None else tf.where(allowed, first, least)
        values, ids = top_k(tf.ensure_shape(open_to, (None, self.size)), min(self.n, self.size - 2))
        ids = tf.where(values > least, ids, 0)
        place = tf.cast(tf.range(1, tf.shape(ids)[1] + 1), tf.float32)[None] + tf.zeros_like(values)
        return ids, {"place": place, **self.ranker.lists_of(query["members"], ids, known)}

    @property
    def explained_content(self) -> tuple:
        return self.ranker.explained_content

    def parts_of_content(self, encoded, items, columns):
        """Returns what the ranker's scores lose, see `Recommender.parts_of_content`; 0 for items that it does not rank.

        The first stage keeps the content, so that the candidates stay.
        """
        query, (first, known) = encoded[0], self.scores_of_stages()(encoded)
        ids, lists = self._candidates(query, first, known)
        parts = self.ranker.parts_in_lists(query, ids, lists, columns)  # (n, candidates, columns)
        is_item = tf.cast((items[..., None] == ids[:, None]) & (items > 1)[..., None], tf.float32)
        return tf.matmul(is_item, parts)  # (n, m, columns)

    def scan(self, encoded, known, k: int, out=None, allowed=None):
        """Does the work of `find`: the candidates are chosen among the items that may be recommended."""
        first, known_scores = self.scores_of_stages()(encoded)
        may = allowed if allowed is None or allowed.shape.rank == 2 else allowed[None]
        if out is not None:
            left = tf.tensor_scatter_nd_update(tf.ones_like(first, tf.bool), out, tf.zeros([tf.shape(out)[0]], tf.bool))
            may = left if may is None else left & may
        scores = self.merged(encoded[0], first, known_scores, may)
        return self.best_of(self.or_popular(scores, known), k, out, allowed)

    def prepare_export(self):
        super().prepare_export()
        self.candidates.prepare_export()
        self.ranker.prepare_export()

    # Configuration

    def save(self, *args, **kwargs):
        with without_optimizers([self.ranker, self.candidates, *self.ranker.members]):
            return super().save(*args, **kwargs)

    def get_config(self):
        shared = None if self.shared is None else self.ranker.names[self.shared]
        return {
            "name": self.name,
            "candidates": shared or without_compile(self.candidates),
            "ranker": without_compile(self.ranker),
            "n": self.n,
        }

    def compile_from_config(self, config):
        if config:
            self.compile(**keras.saving.deserialize_keras_object(config))

    @classmethod
    def from_config(cls, config):
        parts = ("candidates", "ranker")
        models = {name: config[name] for name in parts}
        found = {
            name: part if isinstance(part, str) else keras.saving.deserialize_keras_object(part)
            for name, part in models.items()
        }
        return cls(**{**config, **found})
