"""What every model can do: evaluate, recommend, find similar items, save, export. Written once, here."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfrecsession.batches import Sessions
from tfrecsession.errors import InputError
from tfrecsession.metrics import conservative_ranks
from tfrecsession.sessions.vocabulary import Items

BLOCK_BYTES = 256 << 20  # scores held at once: memory does not grow with events x catalogue


class Recommendations(NamedTuple):
    """The k best items of each history, best first; `""` where the catalogue has no more to offer."""

    items: np.ndarray  # object (str) [histories, k]
    scores: np.ndarray  # float32 [histories, k]


class Recommender(keras.Model):
    """The shared base. A model says two things, `encode` and `score_all`; the rest follows from them.

    Args:
        items: the vocabulary of the data set (`data.items`). A saved model is built from the number of items alone and
            reads them back from its file.
    """

    history_alone = (
        True  # whether scores follow from the items of the session so far and nothing else, such as the user
    )
    causal = True  # whether what `encode` says at a step is free of the steps after it, so that each can have a target

    def __init__(self, items: Items | int, **kwargs):
        super().__init__(**kwargs)
        if isinstance(items, int):
            items = Items(np.full(items, ""), np.zeros(items, np.int64))
        self.items = items
        self.size = len(items.counts) + 2
        counts = np.concatenate([[0, 0], items.counts])
        self.item_counts = self.add_weight(
            name="item_counts",
            shape=(self.size,),
            dtype="int64",
            initializer=lambda shape, dtype: counts,
            trainable=False,
        )
        self._answer = tf.function(self.answer, reduce_retracing=True)
        self._ranks = None

    # What a model says -----------------------------------------------------------------------------------------------

    def encode(self, batch: dict, training: bool = False):
        """A batch of packed rows -> `[rows, steps, dim]`: what is known after each step."""
        raise NotImplementedError(f"{type(self).__name__} does not say how it encodes a batch")

    def score_all(self, encoded):
        """`[n, dim]` -> float32 `[n, size]`: the score of every item id (columns 0 and 1 are never looked at)."""
        raise NotImplementedError(f"{type(self).__name__} does not say how it scores the items")

    def scorer(self):
        """`score_all` as a function that has read its tables: what several blocks of events share."""
        return self.score_all

    def score_without_history(self):
        """float32 [size]: how items score after a history without a known item, the popular ones best."""
        return tf.math.log1p(tf.cast(self.item_counts.value, tf.float32))

    def item_vectors(self):
        """float `[size, dim]`, a vector per item id, or an InputError where a model has none."""
        raise InputError(f"{type(self).__name__} has no item vectors, so it cannot say which items are similar")

    # What follows ----------------------------------------------------------------------------------------------------

    def call(self, batch, training=False):
        return self.encode(batch, training=training)

    def fit(self, x=None, *args, validation_data=None, **kwargs):
        """Keras' `fit`; `x` and `validation_data` may also be splits of a data set (`data.train`)."""
        kwargs.setdefault("shuffle", False)  # batches come shuffled; Keras would warn that it cannot do it again
        return super().fit(self._batches(x), *args, validation_data=self._batches(validation_data), **kwargs)

    def evaluate(self, x=None, *args, **kwargs):
        """Keras' `evaluate`, over the whole catalogue; `x` may also be a split of a data set (`data.test`)."""
        return super().evaluate(self._batches(x), *args, **kwargs)

    def _batches(self, x):
        sessions = x if isinstance(x, Sessions) else getattr(x, "sessions", None)
        if sessions is not None:
            self.check_vocabulary(sessions.items)
        if isinstance(x, Sessions):
            return x.batches(one_target=not self.causal)
        if sessions is not None and not (self.causal or x.one_target):
            raise InputError(
                f"this {type(self).__name__} reads a session from both ends: with a target after every event it would "
                "see the next item before it has to name it. Say batches(one_target=True), one target after each prefix"
            )
        return x

    def check_vocabulary(self, items: Items) -> None:
        """Refuse a data set whose item ids mean other items."""
        if items.fingerprint != self.items.fingerprint:
            raise InputError(
                f"this {type(self).__name__} was made for another data set: its vocabulary is {self.items.fingerprint} "
                f"({len(self.items):,} items), the data's is {items.fingerprint} ({len(items):,} items); "
                "prepare the data with the same vocabulary or train a new model"
            )

    def ranks(self, batch: dict, targets):
        """Exact rank of each target over the whole catalogue, ties counted against the model.

        Args:
            batch: packed rows.
            targets: int32 [rows, steps], 0 where there is none.

        Returns:
            int32 [events], row by row: the ranks of the targets there are.
        """
        there = targets > 0
        encoded = tf.boolean_mask(self.encode(batch, training=False), there)
        targets = tf.boolean_mask(targets, there)
        largest = max(1, BLOCK_BYTES // (4 * self.size))
        events = tf.shape(targets)[0]
        blocks = tf.maximum((events + largest - 1) // largest, 1)
        block = (events + blocks - 1) // blocks  # alike, so that hardly any row is padding

        def pad(array):
            tail = [[0, blocks * block - events]] + [[0, 0]] * (len(array.shape) - 1)
            return tf.reshape(tf.pad(array, tail), tf.concat([[blocks, block], tf.shape(array)[1:]], axis=0))

        score = self.scorer()
        ranks = tf.map_fn(
            lambda some: tf.cast(conservative_ranks(score(some[0]), some[1]), tf.int32),
            (pad(encoded), pad(targets)),
            fn_output_signature=tf.TensorSpec((None,), tf.int32),
            parallel_iterations=1,  # one block of scores in memory at a time
        )
        return tf.reshape(ranks, [-1])[:events]

    def target_ranks(self, batch: dict[str, np.ndarray], targets: np.ndarray) -> np.ndarray:
        """`ranks`, traced once for all shapes and read back as a NumPy array."""
        if self._ranks is None:

            def any_shape(array):
                return tf.TensorSpec((None,) * array.ndim, array.dtype)

            spec = [{name: any_shape(array) for name, array in batch.items()}, any_shape(targets)]
            # autograph would take longer to rewrite the code than a small split takes to rank
            self._ranks = tf.function(self.ranks, input_signature=spec, autograph=False).get_concrete_function()
        return self._ranks(batch, targets).numpy()

    def test_step(self, data):
        batch, targets = data[:2]
        ranks = self.ranks(batch, targets)
        for metric in self.ranking_metrics:
            metric.update_from_ranks(ranks)
        return {metric.name: metric.result() for metric in self.ranking_metrics}

    def answer(self, ids, k: int, exclude_seen: bool = False, allowed=None):
        """Histories of item ids -> ids and scores of the k best items.

        Padding and unknown items may stand anywhere and change nothing. A history without a known item gets the most
        popular ones.

        Args:
            ids: int32 [histories, events], oldest first.
            k: how many.
            exclude_seen: leave out the items of the history.
            allowed: bool [size], the items that may be recommended; None: all.

        Returns:
            int32 [histories, k], 0 where nothing is left, and float32 [histories, k].
        """
        known = tf.cast(ids > 1, tf.int32)
        ids = tf.gather(ids * known, tf.argsort(1 - known, axis=1, stable=True), batch_dims=1)
        ids = tf.pad(ids, [[0, 0], [0, 1]])  # at least one step, also for no history at all
        length = tf.reduce_sum(known, axis=1)
        there = tf.cast(ids > 0, tf.int32)
        batch = {"items": ids, "position": tf.cumsum(there, axis=1, exclusive=True) * there, "segment": there}
        encoded = self.encode(batch, training=False)
        scores = self.score_all(tf.gather(encoded, tf.maximum(length - 1, 0), batch_dims=1))
        scores = tf.where(length[:, None] > 0, tf.cast(scores, tf.float32), self.score_without_history()[None])

        out = tf.constant(scores.dtype.min)
        real = tf.range(self.size) > 1
        scores = tf.where((real if allowed is None else real & allowed)[None], scores, out)
        if exclude_seen:
            histories = tf.broadcast_to(tf.range(tf.shape(ids)[0])[:, None], tf.shape(ids))
            seen = tf.reshape(tf.stack([histories, ids], axis=-1), [-1, 2])
            scores = tf.tensor_scatter_nd_update(scores, seen, tf.fill([tf.shape(seen)[0]], out))
        best = tf.math.top_k(scores, k)
        return tf.where(best.values > out, best.indices, 0), best.values

    def recommend(self, histories, k: int = 20, *, exclude_seen: bool = False, candidates=None) -> Recommendations:
        """The k best next items of each history.

        Args:
            histories: a list of lists of item ids as they stand in the log (strings; others through `str`), oldest
                first. Unknown ids are passed over; a history without a known item gets the most popular items.
            k: how many items, at most the catalogue's.
            exclude_seen: leave out the items of the history.
            candidates: item ids to choose from; None: the whole catalogue.

        Raises:
            InputError: k is not in 1..catalogue, a history is a bare string, or no candidate is known.
        """
        self.check_k(k)
        if isinstance(histories, str) or any(isinstance(history, str | bytes) for history in histories):
            raise InputError("histories is a list of lists: say recommend([['item-17', 'item-4']]) for one session")
        allowed = None
        if candidates is not None:
            chosen = self.items.encode(list(candidates))
            allowed = np.zeros(self.size, bool)
            allowed[chosen[chosen > 1]] = True
            if not allowed.any():
                raise InputError("candidates: none of them is in the catalogue")
        encoded = [self.items.encode(list(history)) for history in histories]
        ids = np.zeros((len(encoded), max(map(len, encoded), default=0)), np.int32)
        for row, history in zip(ids, encoded, strict=True):
            row[: len(history)] = history
        # a model may hold the session so far at every step, the square of the longest history
        some = max(1, BLOCK_BYTES // (4 * max(self.size, (ids.shape[1] + 1) ** 2)))
        best = [
            self._answer(tf.constant(ids[i : i + some]), k=k, exclude_seen=exclude_seen, allowed=allowed)
            for i in range(0, len(ids), some)
        ]
        if not best:
            return Recommendations(np.empty((0, k), object), np.empty((0, k), np.float32))
        found, scores = (np.concatenate([part[i].numpy() for part in best]) for i in (0, 1))
        return Recommendations(self.items.decode(found), scores)

    def similar_items(self, items, k: int = 20) -> Recommendations:
        """The k items nearest to each of `items` by cosine; the item itself is left out.

        Raises:
            InputError: an item is unknown, or the model has no item vectors.
        """
        self.check_k(k + 1)
        ids = self.items.encode(list(items))
        for item, number in zip(items, ids, strict=True):
            if number < 2:
                raise InputError(f"item {item!r} is not in the catalogue")
        vectors = tf.math.l2_normalize(tf.cast(self.item_vectors(), tf.float32), axis=1)
        scores = tf.matmul(tf.gather(vectors, ids), vectors, transpose_b=True)
        number = tf.range(self.size)[None]
        other = (number > 1) & (number != ids[:, None])
        best = tf.math.top_k(tf.where(other, scores, -tf.ones_like(scores) * 2), k)  # a cosine is never below -1
        return Recommendations(self.items.decode(best.indices.numpy()), best.values.numpy())

    def check_k(self, k: int) -> None:
        if not isinstance(k, int | np.integer) or not 1 <= k <= self.size - 2:
            raise InputError(f"k={k!r}: say a whole number from 1 to the size of the catalogue, {self.size - 2:,}")

    def export(self, path: str | Path, *, k: int = 20, exclude_seen: bool = False, overwrite: bool = False) -> Path:
        """Write a SavedModel that answers strings with strings, see `tfrecsession.export`."""
        import tfrecsession as trs  # export comes after the models; people look for it here

        return trs.export.write_saved_model(self, path, k=k, exclude_seen=exclude_seen, overwrite=overwrite)

    @classmethod
    def from_preset(cls, name: str, items: Items, **settings) -> Recommender:
        """The compiled model of a preset (`trs.presets.names()`), with `settings` over its own."""
        import tfrecsession as trs  # presets come after the models; people look for them here

        model = trs.presets.model(name, items, **settings)
        if not isinstance(model, cls):
            raise InputError(f"preset {name!r} is for {type(model).__name__}, not for {cls.__name__}")
        return model

    # Keras' contracts ------------------------------------------------------------------------------------------------

    def compile(self, optimizer="rmsprop", loss=None, metrics=None, **kwargs):
        """Keras' `compile`. `metrics` are ranking metrics; they are computed on validation and test data only, where
        every item is scored, never inside the training step."""
        # Loss and metrics stay out of Keras' own bookkeeping: it would score the catalogue at every training step.
        super().compile(optimizer=optimizer, **kwargs)
        loss = keras.losses.get(loss) if loss is not None else None
        self._learning = SimpleNamespace(loss=loss, metrics=list(metrics or []))

    @property
    def ranking_loss(self):
        return self._learning.loss

    @property
    def ranking_metrics(self) -> list:
        return self._learning.metrics

    @property
    def metrics(self) -> list:
        """What Keras resets before an epoch and reads after it."""
        return [*super().metrics, *(self.ranking_metrics if self.compiled else [])]

    def get_compile_config(self):
        config = super().get_compile_config() or {}
        serialize = keras.saving.serialize_keras_object
        loss = serialize(self.ranking_loss) if self.ranking_loss is not None else None
        return {**config, "loss": loss, "metrics": [serialize(metric) for metric in self.ranking_metrics]}

    def compile_from_config(self, config):
        if not config or "optimizer" not in config:
            return
        self.compile(**keras.saving.deserialize_keras_object(config))
        self.optimizer.build(self.trainable_variables)

    def build(self, input_shape=None):
        self.built = True  # every weight is made in the constructor: its shapes are known from the vocabulary

    def get_config(self):
        return {"name": self.name, "items": len(self.items.counts)}

    @classmethod
    def from_config(cls, config):
        nested = keras.saving.deserialize_keras_object
        return cls(
            **{
                name: nested(value) if isinstance(value, dict) and "class_name" in value else value
                for name, value in config.items()
            }
        )

    def save_assets(self, folder):
        self.items.write(Path(folder) / "items.parquet")

    def load_assets(self, folder):
        self.items = Items.read(Path(folder) / "items.parquet")
