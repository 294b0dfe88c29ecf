"""What every model can do: be evaluated, saved, exported. Written once, here; how it answers is in `answers.py`."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import tensorflow as tf

from tfrecsession.batches import Sessions
from tfrecsession.batches.batch import Reads
from tfrecsession.errors import InputError
from tfrecsession.metrics import best_items, conservative_ranks
from tfrecsession.recommender.learning import Learning
from tfrecsession.recommender.mixed_precision import InPrecision
from tfrecsession.recommender.recommend import BLOCK_BYTES, Recommending
from tfrecsession.sessions.vocabulary import Items


class Recommender(Recommending, InPrecision, keras.Model):
    """The shared base. A model says two things, `encode` and `score_all`; the rest follows from them.

    Args:
        items: the vocabulary of the data set (`data.items`). A saved model is built from the number of items alone and
            reads them back from its file.
    """

    reads = Reads()  # what a batch holds beside the items
    learning: Learning | None = None  # how it learns by gradient; None: it is counted
    training_state = ()  # variables that training changes beside the weights that Keras knows
    fitted = False  # by `fit`, or in the file that it was read from
    longest_history = 1000  # newest items of a history that an export reads, unless told otherwise
    search_space: dict = {}  # setting -> what `tfrecsession tune` may try, see `tfrecsession.recommender.search_space`

    def __init__(self, items: Items | int, **kwargs):
        super().__init__(**kwargs)
        if isinstance(items, int):
            items = Items(np.full(items, ""), np.zeros(items, np.int64))
        self.items, self.size = items, len(items.counts) + 2
        counts = np.concatenate([[0, 0], items.counts])
        self.item_counts = self.add_weight(
            name="item_counts", shape=(self.size,), dtype="int64", initializer=lambda *_, **kw: counts, trainable=False
        )
        self._answers, self._ranked = {}, {}  # what was traced, by what was asked

    # What a model says -----------------------------------------------------------------------------------------------

    def encode(self, batch: dict, training: bool = False):
        """A batch of packed rows -> `[rows, steps, dim]`: what is known after each step."""
        raise NotImplementedError(f"{type(self).__name__} does not say how it encodes a batch")

    def score_all(self, encoded):
        """`[n, dim]` -> float32 `[n, size]`: the score of every item id; columns 0 and 1 are ignored."""
        if self.output_items is None:
            raise NotImplementedError(f"{type(self).__name__} does not define how it scores the items")
        return self.output_items.score_all(encoded)

    def scorer(self):
        """Returns `score_all` as a function that has read its tables once, for several blocks of events."""
        return self.score_all if self.output_items is None else self.output_items.scorer()

    def score_without_history(self):
        """float32 [size]: how items score after a history without a known item, the popular ones best."""
        return tf.math.log1p(tf.cast(self.item_counts.value, tf.float32))

    def item_vectors(self):
        """Returns float `[size, dim]`, a vector per item id; raises InputError where a model has none."""
        if self.output_items is None:
            raise InputError(f"{type(self).__name__} has no item vectors, so it cannot find similar items")
        return self.output_items.all_vectors()[0]

    # Follows from it -------------------------------------------------------------------------------------------------

    @property
    def abilities(self) -> tuple[str, ...]:
        """What can be requested of this model: "recommend", "similar_items", "vectors", "advance", "users", ...

        Exports and reports go by it; a signature of an export belongs to an ability.
        """
        found = {"recommend": True, "similar_items": self.finds_similar_items, "vectors": self.scores_by_products}
        return tuple(name for name, able in found.items() if able)

    @property
    def finds_similar_items(self) -> bool:
        """Whether `similar_items` answers."""
        return self.scores_by_products

    def call(self, batch, training=False):
        return self.encode(batch, training=training)

    def fit(self, x=None, *args, validation_data=None, **kwargs):
        """Keras' `fit`; `x` and `validation_data` may also be splits of a data set (`data.train`)."""
        kwargs.setdefault("shuffle", False)  # batches come shuffled; Keras would warn that it cannot do it again
        super().fit(self._batches(x), *args, validation_data=self._batches(validation_data), **kwargs)
        self.fitted = True
        return self.history

    def evaluate(self, x=None, *args, **kwargs):
        """Keras' `evaluate`, over the whole catalogue; `x` may also be a split of a data set (`data.test`)."""
        return super().evaluate(self._batches(x), *args, **kwargs)

    def _batches(self, x):
        sessions = x if isinstance(x, Sessions) else getattr(x, "sessions", None)
        if sessions is not None:
            self.check_vocabulary(sessions.items)
        if isinstance(x, Sessions):
            return x.batches(one_target=self.reads.one_target, by_user=self.reads.by_user)
        if sessions is not None and x.by_user != self.reads.by_user:
            raise InputError(
                f"by_user={x.by_user!r}: this {type(self).__name__} reads batches(by_user={self.reads.by_user!r})"
            )
        if sessions is not None and self.reads.one_target and not x.one_target:
            raise InputError(
                f"this {type(self).__name__} reads a session from both ends: with a target after every event it would "
                "see the next item before it has to name it. Say batches(one_target=True), one target after each prefix"
            )
        return x

    def check_vocabulary(self, items: Items) -> None:
        """Refuse a data set whose item ids mean other items. A model that was grown may know more items than the data,
        behind the data's own."""
        if not self.items.holds(items):
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
        return self._ranks_and_lists(batch, targets, best=0)[0]

    def _ranks_and_lists(self, batch, targets, best: int):
        there = targets > 0
        encoded = tf.boolean_mask(self.encode(batch, training=False), there)
        targets = tf.boolean_mask(targets, there)
        largest = max(1, BLOCK_BYTES // (4 * self.size * (2 if best else 1)))  # lists are found in a copy
        events = tf.shape(targets)[0]
        blocks = tf.maximum((events + largest - 1) // largest, 1)
        block = (events + blocks - 1) // blocks  # alike, so that hardly any row is padding

        def pad(array):
            tail = [[0, blocks * block - events]] + [[0, 0]] * (len(array.shape) - 1)
            return tf.reshape(tf.pad(array, tail), tf.concat([[blocks, block], tf.shape(array)[1:]], axis=0))

        score = self.scorer()

        def of_block(some):
            scores = tf.ensure_shape(score(some[0]), (None, self.size))
            lists = best_items(scores, best) if best else tf.zeros([tf.shape(scores)[0], 0], tf.int32)
            return tf.cast(conservative_ranks(scores, some[1]), tf.int32), lists

        ranks, lists = tf.map_fn(
            of_block,
            (pad(encoded), pad(targets)),
            fn_output_signature=(tf.TensorSpec((None,), tf.int32), tf.TensorSpec((None, best), tf.int32)),
            parallel_iterations=1,  # one block of scores in memory at a time
        )
        return tf.reshape(ranks, [-1])[:events], tf.reshape(lists, [blocks * block, best])[:events]

    def target_ranks(
        self, batch: dict[str, np.ndarray], targets: np.ndarray, best: int = 0
    ) -> tuple[np.ndarray, np.ndarray]:
        """What evaluation asks of a model, and all it asks: ranks and lists, from one pass over the scores.

        A model that knows the scores of few items may override this one method; it is traced once for all shapes.

        Args:
            batch: packed rows, int32 [rows, steps] each.
            targets: int32 [rows, steps], 0 where there is none.
            best: length of the lists; 0: none, which is faster.

        Returns:
            `ranks`: int32 [events], row by row: where the targets there are stand among the whole catalogue, ties
            counted against the model. `lists`: int32 [events, best], the ids of the items with the highest scores, best
            first, the lower id first where scores are equal, 0 where nothing is left.
        """
        asked = (best, *batch)
        if asked not in self._ranked:

            def any_shape(array):
                return tf.TensorSpec((None,) * array.ndim, array.dtype)

            def both(batch, targets):
                return self._ranks_and_lists(batch, targets, best)

            spec = [{name: any_shape(array) for name, array in batch.items()}, any_shape(targets)]
            # autograph would take longer to rewrite the code than a small split takes to rank
            self._ranked[asked] = tf.function(both, input_signature=spec, autograph=False).get_concrete_function()
        ranks, lists = self._ranked[asked](batch, targets)
        return ranks.numpy(), lists.numpy()

    def test_step(self, data):
        batch, targets = data[:2]
        ranks = self.ranks(batch, targets)
        for metric in self.ranking_metrics:
            metric.update_from_ranks(ranks)
        return {metric.name: metric.result() for metric in self.ranking_metrics}

    def export(self, path: str | Path, *, k: int = 20, exclude_seen: bool = False, **choices) -> Path:
        """Write a SavedModel that answers strings with strings, see `tfrecsession.export.write_saved_model`."""
        import tfrecsession as trs  # export comes after the models; people look for it here

        return trs.export.write_saved_model(self, path, k=k, exclude_seen=exclude_seen, **choices)

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
        return {"name": self.name, "items": len(self.items.counts), "precision": self.dtype_policy.name}

    def load_own_variables(self, store):
        super().load_own_variables(store)
        self.fitted = True

    def save_assets(self, folder):
        self.items.write(Path(folder) / "items.parquet")

    def load_assets(self, folder):
        self.items = Items.read(Path(folder) / "items.parquet")
