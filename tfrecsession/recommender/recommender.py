"""The base of all models: training, evaluation, saving and export; `recommend.py` has the recommendations."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import tensorflow as tf

from tfrecsession.batches import Sessions
from tfrecsession.batches.batch import Reads
from tfrecsession.errors import InputError
from tfrecsession.layers.blocks import block_by_block, rows_within
from tfrecsession.metrics import best_items, conservative_ranks
from tfrecsession.recommender.learning import Learning
from tfrecsession.recommender.mixed_precision import InPrecision
from tfrecsession.recommender.recommend import Recommending
from tfrecsession.sessions.vocabulary import Items


class Recommender(Recommending, InPrecision, keras.Model):
    """The base of all models. A subclass defines `encode` and `score_all`; the rest follows from them.

    Args:
        items: the vocabulary of the data set (`data.items`). A saved model is built from the number of items alone and
            reads the vocabulary from its file.
    """

    reads = Reads()  # columns of a batch besides the items
    learning: Learning | None = None  # how it is trained by gradient; None: it is counted
    training_state = ()  # variables that training changes besides Keras' weights
    fitted = False  # whether `fit` was called, also before the model was saved
    longest_history = 1000  # newest items of a history that an export reads by default
    search_space: dict = {}  # setting -> range for `tfrecsession tune`, see `tfrecsession.recommender.search_space`

    def __init__(self, items: Items | int, **kwargs):
        super().__init__(**kwargs)
        if isinstance(items, int):
            items = Items(np.full(items, ""), np.zeros(items, np.int64))
        self.items, self.size = items, len(items.counts) + 2
        counts = np.concatenate([[0, 0], items.counts])
        self.item_counts = self.add_weight(
            name="item_counts", shape=(self.size,), dtype="int64", initializer=lambda *_, **kw: counts, trainable=False
        )
        self._answer_graphs, self._rank_graphs = {}, {}  # traced graphs by the arguments that they depend on

    # Defined by a model ----------------------------------------------------------------------------------------------

    def encode(self, batch: dict, training: bool = False):
        """Encodes a batch of packed rows: `[rows, steps, dim]`, the session up to each step."""
        raise NotImplementedError(f"{type(self).__name__} does not define encode")

    def score_all(self, encoded):
        """Returns the score of every item id: `[n, dim]` -> float32 `[n, size]`; columns 0 and 1 are ignored."""
        if self.output_items is None:
            raise NotImplementedError(f"{type(self).__name__} does not define score_all")
        return self.output_items.score_all(encoded)

    def scorer(self):
        """Returns `score_all` as a function that has read its tables once, for several blocks of events."""
        return self.score_all if self.output_items is None else self.output_items.scorer()

    def encoder(self, batch: dict):
        """Returns a function that encodes events of a batch: int32 [n, 2], (row, step) -> `[n, dim]`.

        A model whose encoding is as long as the session so far overrides it, and `cells_of_an_event`: evaluation then
        encodes a block of events at a time, not the square of the longest session.
        """
        encoded = self.encode(batch, training=False)
        return lambda cells: tf.gather_nd(encoded, cells)

    def cells_of_an_event(self, batch: dict):
        """Returns how many numbers `encoder` holds for an event of the batch, beside its scores: int scalar."""
        return 0

    def score_without_history(self):
        """Returns the scores for histories without a known item, float32 [size]: the popular items come first."""
        return tf.math.log1p(tf.cast(self.item_counts.value, tf.float32))

    def item_vectors(self):
        """Returns float `[size, dim]`, a vector per item id; raises InputError where a model has none."""
        if self.output_items is None:
            raise InputError(f"{type(self).__name__} has no item vectors, so it cannot find similar items")
        return self.output_items.all_vectors()[0]

    # Shared by all models --------------------------------------------------------------------------------------------

    @property
    def abilities(self) -> tuple[str, ...]:
        """Names of what this model supports: "recommend", "similar_items", "vectors", "advance", "users", ...

        Exports and reports depend on it: a signature of an export belongs to an ability.
        """
        found = {"recommend": True, "similar_items": self.finds_similar_items, "vectors": self.scores_by_products}
        return tuple(name for name, able in found.items() if able)

    @property
    def finds_similar_items(self) -> bool:
        """Whether the model supports `similar_items`."""
        return self.scores_by_products

    def call(self, batch, training=False):
        return self.encode(batch, training=training)

    def fit(self, x=None, *args, validation_data=None, **kwargs):
        """Trains like Keras' `fit`; `x` and `validation_data` may also be splits of a data set (`data.train`)."""
        kwargs.setdefault("shuffle", False)  # batches are shuffled already; Keras would warn
        super().fit(self._batches(x), *args, validation_data=self._batches(validation_data), **kwargs)
        self.fitted = True
        return self.history

    def evaluate(self, x=None, *args, **kwargs):
        """Evaluates like Keras, over the whole catalogue; `x` may also be a split of a data set (`data.test`)."""
        return super().evaluate(self._batches(x), *args, **kwargs)

    def _batches(self, x):
        sessions = x if isinstance(x, Sessions) else getattr(x, "sessions", None)
        if sessions is not None:
            self.check_vocabulary(sessions.items)
        if isinstance(x, Sessions):
            return x.batches(one_target=self.reads.one_target, by_user=self.reads.by_user)
        if sessions is not None and x.by_user != self.reads.by_user:
            raise InputError(
                f"by_user={x.by_user!r}: must be {self.reads.by_user!r}; "
                f"this {type(self).__name__} reads batches(by_user={self.reads.by_user!r})"
            )
        if sessions is not None and self.reads.one_target and not x.one_target:
            raise InputError(
                f"one_target=False: must be True, as in batches(one_target=True), one target after each prefix: this "
                f"{type(self).__name__} reads a session from both ends, so it would see the next item"
            )
        return x

    def check_vocabulary(self, items: Items) -> None:
        """Refuses a data set whose ids stand for other items.

        A model grown on a newer log may have more items than the data, behind the data's own.
        """
        if not self.items.holds(items):
            raise InputError(
                f"this {type(self).__name__} was made for another data set: its vocabulary is {self.items.fingerprint} "
                f"({len(self.items):,} items), the data's is {items.fingerprint} ({len(items):,} items); "
                "prepare the data with the same vocabulary or train a new model"
            )

    def ranks(self, batch: dict, targets):
        """Returns the exact rank of each target over the whole catalogue, ties counted against the model.

        Args:
            batch: packed rows.
            targets: int32 [rows, steps], 0 where there is none.

        Returns:
            int32 [events], row by row: the ranks of the targets above 0.
        """
        return self._ranks_and_lists(batch, targets, best=0)[0]

    def _ranks_and_lists(self, batch, targets, best: int):
        is_target = targets > 0
        cells = tf.cast(tf.where(is_target), tf.int32)  # (events, 2): row and step
        targets = tf.boolean_mask(targets, is_target)  # (events,)
        encode, score = self.encoder(batch), self.scorer()

        def of_block(cells, targets):
            scores = tf.ensure_shape(score(encode(cells)), (None, self.size))
            lists = best_items(scores, best) if best else tf.zeros([tf.shape(scores)[0], 0], tf.int32)
            return tf.cast(conservative_ranks(scores, targets), tf.int32), lists

        scores = self.size * (2 if best else 1)  # lists are selected in a copy
        most = rows_within(scores + self.cells_of_an_event(batch))
        signature = (tf.TensorSpec((None,), tf.int32), tf.TensorSpec((None, best), tf.int32))
        return block_by_block(of_block, [cells, targets], most, signature)

    def target_ranks(
        self, batch: dict[str, np.ndarray], targets: np.ndarray, best: int = 0
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns ranks and lists from one pass over the scores: all that evaluation needs of a model.

        A model that scores few items may override this one method. The graph is traced once for all shapes.

        Args:
            batch: packed rows, int32 [rows, steps] each.
            targets: int32 [rows, steps], 0 where there is none.
            best: length of the lists; 0: none, which is faster.

        Returns:
            `ranks`: int32 [events], row by row: the ranks of the targets above 0 in the whole catalogue, ties counted
            against the model. `lists`: int32 [events, best], the ids of the items with the highest scores, best first,
            the lower id first where scores are equal, 0 where nothing is left.
        """
        key = (best, *batch)
        if key not in self._rank_graphs:

            def any_shape(array):
                return tf.TensorSpec((None,) * array.ndim, array.dtype)

            def both(batch, targets):
                return self._ranks_and_lists(batch, targets, best)

            spec = [{name: any_shape(array) for name, array in batch.items()}, any_shape(targets)]
            # without autograph: rewriting the code would take longer than ranking a small split
            self._rank_graphs[key] = tf.function(both, input_signature=spec, autograph=False).get_concrete_function()
        ranks, lists = self._rank_graphs[key](batch, targets)
        return ranks.numpy(), lists.numpy()

    def test_step(self, data):
        batch, targets = data[:2]
        ranks = self.ranks(batch, targets)
        for metric in self.ranking_metrics:
            metric.update_from_ranks(ranks)
        return {metric.name: metric.result() for metric in self.ranking_metrics}

    def export(self, path: str | Path, *, k: int = 20, exclude_seen: bool = False, **choices) -> Path:
        """Writes a SavedModel from item ids to item ids (strings), see `tfrecsession.export.write_saved_model`."""
        import tfrecsession as trs  # export imports the models

        return trs.export.write_saved_model(self, path, k=k, exclude_seen=exclude_seen, **choices)

    @classmethod
    def from_preset(cls, name: str, items: Items, **settings) -> Recommender:
        """Returns the compiled model of a preset (`trs.presets.names()`), with `settings` in place of its own."""
        import tfrecsession as trs  # presets import the models

        model = trs.presets.model(name, items, **settings)
        if not isinstance(model, cls):
            raise InputError(f"name={name!r}: must be a preset of {cls.__name__}, not of {type(model).__name__}")
        return model

    # Keras' contracts ------------------------------------------------------------------------------------------------

    def compile(self, optimizer="rmsprop", loss=None, metrics=None, **kwargs):
        """Compiles like Keras. `metrics` are ranking metrics over the whole catalogue, computed on validation and test
        data only."""
        # Loss and metrics are kept apart from Keras' own, which would score the catalogue at every training step.
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
        """The metrics that Keras resets before an epoch and reads after it."""
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
        self.built = True  # the constructor creates every weight: the vocabulary determines the shapes

    def get_config(self):
        return {"name": self.name, "items": len(self.items.counts), "precision": self.dtype_policy.name}

    def load_own_variables(self, store):
        super().load_own_variables(store)
        self.fitted = True

    def save_assets(self, folder):
        self.items.write(Path(folder) / "items.parquet")

    def load_assets(self, folder):
        self.items = Items.read(Path(folder) / "items.parquet")
