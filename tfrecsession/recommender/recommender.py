"""The base of all models: training, evaluation, saving and export; `recommend.py` has the recommendations."""

from __future__ import annotations

import inspect
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from tfrecsession.batches.batch import Reads
from tfrecsession.errors import InputError
from tfrecsession.layers.blocks import block_by_block, rows_within
from tfrecsession.layers.rounded_products import multiplies_bfloat16
from tfrecsession.metrics import best_items, conservative_ranks
from tfrecsession.recommender.arguments import check_arguments, check_items, refuse
from tfrecsession.recommender.explain import Explaining
from tfrecsession.recommender.first_ranks import FirstRanks
from tfrecsession.recommender.fitted import FittedState
from tfrecsession.recommender.keras_contract import KerasContract
from tfrecsession.recommender.learning import Learning
from tfrecsession.recommender.log_defaults import following
from tfrecsession.recommender.mixed_precision import InPrecision
from tfrecsession.recommender.recommend import Recommending
from tfrecsession.recommender.with_presets import WithPresets
from tfrecsession.sessions.vocabulary import Items


class Recommender(Recommending, Explaining, WithPresets, KerasContract, InPrecision, FittedState, keras.Model):
    """The base of all models. A subclass defines `encode` and `score_all`; the rest follows from them.

    Args:
        items: the vocabulary of the data set (`data.items`). A saved model is built from the number of items alone and
            reads the vocabulary from its file.

    Raises:
        InputError: `items` is something else, such as the data set itself, or an argument that the model does not have.
    """

    reads = Reads()  # columns of a batch besides the items
    context = None  # the `Context` of these columns, where the model has learned one
    training_context = property(lambda self: self.context)  # that of the batches that it is fitted to
    learning: Learning | None = None  # how it is trained by gradient; None: it is counted
    training_state = ()  # variables that training changes besides Keras' weights
    weighs_events = False  # whether a counted model honours `Sessions.weighted`; those trained by gradient do
    code_table = None  # the codes of the items, where its item table is compressed, see `CompressedItems`
    code_state = ()  # their weights
    codes_follow_from_ids = False  # whether a new item's codes follow from its id
    longest_history = 1000  # newest items of a history that an export reads by default
    search_space: dict = {}  # setting -> range for `tfrecsession tune`, see `tfrecsession.recommender.search_space`
    log_defaults: dict = {}  # setting -> its default by the log, see `tfrecsession.recommender.log_defaults`

    def __init__(self, items: Items | int, **kwargs):
        check_arguments(type(self), kwargs)
        super().__init__(**kwargs)
        check_items(items)
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

    def live(self, sessions, earlier=()):
        """Returns a context manager in which counts go on after training, see `Trending.live`."""
        raise InputError(f"live=True: must be False: {type(self).__name__} has no counts that go on")

    # Shared by all models --------------------------------------------------------------------------------------------

    @property
    def abilities(self) -> tuple[str, ...]:
        """Names of what this model supports: "recommend", "similar_items", "vectors", "advance", "users", ...

        Exports and reports depend on it: a signature of an export belongs to an ability.
        """
        found = {
            "recommend": True,
            "rules": True,
            "context": self.context is not None,
            "similar_items": self.finds_similar_items,
        }
        found["vectors"] = self.scores_by_products
        return tuple(name for name, able in found.items() if able)

    @property
    def finds_similar_items(self) -> bool:
        """Whether the model supports `similar_items`."""
        return self.searched_by_products

    def call(self, batch, training=False):
        return self.encode(batch, training=training)

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

    def _ranks_and_lists(self, batch, targets, best: int, first: FirstRanks | None = None):
        is_target = targets > 0
        cells = tf.cast(tf.where(is_target), tf.int32)  # (events, 2): row and step
        targets = tf.boolean_mask(targets, is_target)  # (events,)
        encode = self.encoder(batch)
        scores = self.size * (2 if best else 1)  # lists are selected in a copy
        rows = rows_within(scores + self.cells_of_an_event(batch))

        if first is None:
            score = self.scorer()

            def of_block(cells, targets):
                scores = tf.ensure_shape(score(encode(cells)), (None, self.size))
                lists = best_items(scores, best) if best else tf.zeros([tf.shape(scores)[0], 0], tf.int32)
                return tf.cast(conservative_ranks(scores, targets), tf.int32), lists
        else:
            rows = tf.minimum(rows, FirstRanks.ROWS)

            def of_block(cells, targets):
                return first(self.queries(encode(cells)), targets), tf.zeros([tf.shape(targets)[0], 0], tf.int32)

        signature = (tf.TensorSpec((None,), tf.int32), tf.TensorSpec((None, best), tf.int32))
        return block_by_block(of_block, [cells, targets], rows, signature)

    def first_ranks(self, most: int) -> FirstRanks | None:
        """Returns what ranks up to `most` for `target_ranks`, until weights change.

        None: it gives other ranks than all scores do, or takes longer here; or a vector has what is not a number.
        """
        if (
            self.output_items is None
            or not self.scores_by_products
            or self.output_items.factored
            or self.trend_head is not None  # its scores depend on the time of the event
            or self.compute_dtype != "float32"
            or self.size < max(FirstRanks.MANY, FirstRanks.APART * most)
            or not multiplies_bfloat16()
        ):
            return None
        first = FirstRanks(most, self.score_vectors(tf.range(self.size)))
        return first if first.are_numbers() else None

    def target_ranks(
        self, batch: dict[str, np.ndarray], targets: np.ndarray, best: int = 0, first: FirstRanks | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns ranks and lists from one pass over the scores: all that evaluation needs of a model.

        A model that scores few items may override this one method. The graph is traced once for all shapes.

        Args:
            batch: packed rows, int32 [rows, steps] each.
            targets: int32 [rows, steps], 0 where there is none.
            best: length of the lists; 0: none, which is faster.
            first: of `first_ranks`, for `best` 0: ranks above its limit may be any number above it; None: all scores
                are computed, and all ranks told apart.

        Returns:
            `ranks`: int32 [events], row by row: the ranks of the targets above 0 in the whole catalogue, ties counted
            against the model. `lists`: int32 [events, best], the ids of the items with the highest scores, best first,
            the lower id first where scores are equal, 0 where nothing is left.
        """
        most, parts = (None, []) if first is None else (first.most, [first.vectors, *first.table])
        key = (best, most, *batch)
        if key not in self._rank_graphs:

            def any_shape(array):
                return tf.TensorSpec((None,) * array.ndim, array.dtype)

            def both(batch, targets, *parts):
                first = FirstRanks(most, parts[0], parts[1:]) if parts else None
                return self._ranks_and_lists(batch, targets, best, first)

            spec = [{name: any_shape(array) for name, array in batch.items()}, any_shape(targets)]
            spec += map(tf.TensorSpec.from_tensor, parts)
            # without autograph: rewriting the code would take longer than ranking a small split
            self._rank_graphs[key] = tf.function(both, input_signature=spec, autograph=False).get_concrete_function()
        ranks, lists = self._rank_graphs[key](batch, targets, *parts)
        return ranks.numpy(), lists.numpy()

    def export(
        self,
        path: str | Path,
        format: str = "tf_saved_model",
        *,
        k: int = 20,
        exclude_seen: bool = False,
        longest: int | None = None,
        index: str = "exact",
        target_recall: float = 0.98,
        histories=None,
        clusters: int | None = None,
        overwrite: bool = False,
        about: dict | None = None,
        content=None,
        reasons: int = 0,
    ) -> Path:
        """Writes a SavedModel from item ids to item ids (strings), see `tfrecsession.export.write_saved_model`.

        Other formats are files for other runtimes, see `tfrecsession.export.write_for_runtime`.

        Args:
            path: the folder of this version, "saved_models/gru4rec/1": TensorFlow Serving and `tfrecsession serve` load
                folders whose names are numbers. `tfrecsession export --out saved_models/gru4rec` adds the number.
            format: as in Keras' `export`: "tf_saved_model", "litert" or "onnx"; the latter two take `k`,
                `exclude_seen`, `longest` and `overwrite` alone.
            k: items per answer.
            exclude_seen: leave out the items of the history.
            longest: newest known items of a history that are read; None: `longest_history`.
            index: "exact", "exact-two-pass", "exact-bf16", "exact-int8", "ivf" or "scann".
            target_recall: the share of the exact answer that "ivf" and "scann" must find.
            histories: lists of items, as in `recommend`, to measure the recall on; None: single items.
            clusters: number of clusters of "ivf"; None: by the number of items.
            overwrite: replace an earlier export.
            about: further entries for `assets.extra/tfrecsession.json`.
            content: a table of items with their titles or images; None: that of the catalogue.
            reasons: events that the signature `explain` names for each item; 0: there is no such signature.

        Raises:
            InputError: as the function of the format, or an unknown format.

        Warns:
            UserWarning: the name of a SavedModel's folder is not a number, so that no server loads it; or the model has
                learned nothing yet.
        """
        import tfrecsession as trs  # export imports the models

        shared = {"k": k, "exclude_seen": exclude_seen, "longest": longest, "overwrite": overwrite}
        if format in ("litert", "onnx"):
            if index != "exact":
                refuse("index", index, f"'exact' with format={format!r}")
            return trs.export.write_for_runtime(self, path, format, **shared)
        if format != "tf_saved_model":
            refuse("format", format, "one of 'tf_saved_model', which TensorFlow Serving loads, 'litert' and 'onnx'")
        more = {"index": index, "target_recall": target_recall, "histories": histories, "clusters": clusters}
        more |= {"about": about, "content": content, "reasons": reasons}
        return trs.export.write_saved_model(self, path, **shared, **more)

    def prepare_export(self) -> None:
        """Brings up to date what the graphs of an export read; models that need it override it."""

    def write_export_extras(self, folder: Path) -> None:
        """Writes further files into `assets.extra` of an export; models that need them override it."""

    @classmethod
    def for_data(cls, data, **settings) -> Recommender:
        """Returns a model for `data` with the arguments that follow its log; `settings` win over them.

        `tfrecsession train` and `compare` use the same defaults. `cls(data.items)` has the fixed ones.
        """
        known, chosen = inspect.signature(cls.__init__).parameters, following(cls, data.statistics, settings)
        return cls(data.items, **{name: chosen[name]["value"] for name in chosen if name in known}, **settings)

    # Keras' contracts ------------------------------------------------------------------------------------------------

    def build(self, input_shape=None):
        self.built = True  # the constructor creates every weight: the vocabulary determines the shapes
        self.keep_first_weights()

    def get_config(self):
        return {
            "name": self.name,
            "items": len(self.items.counts),
            "vocabulary": self.keep_vocabulary(self.items),
            "precision": self.dtype_policy.name,
        }

    def take_items(self, items: Items) -> None:
        """Takes the vocabulary of a model created from its number of items alone, such as a clone."""
        self.items = items
        self.item_counts.assign(np.concatenate([[0, 0], items.counts]))
        if getattr(self, "negatives", None) is not None:
            self.negatives.build_from(np.concatenate([[0, 0], items.counts]))

    def save_assets(self, folder):
        self.items.write(Path(folder) / "items.parquet")

    def load_assets(self, folder):
        self.items = Items.read(Path(folder) / "items.parquet")
