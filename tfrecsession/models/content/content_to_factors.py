"""ContentToFactors: a network from what items are made of to the item vectors of a fitted model."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from tfrecsession.batches import Sessions
from tfrecsession.batches.item_batches import is_of_items, item_batches
from tfrecsession.errors import InputError
from tfrecsession.models.content.taught_items import TaughtItems, taught
from tfrecsession.models.content.teachers import UsersOfTeacher, checked_teacher, fit_teacher, no_optimizer, queries_of
from tfrecsession.recommender.arguments import check_choice, check_number, check_whole, checked_widths, refuse
from tfrecsession.recommender.keras_contract import DATA
from tfrecsession.recommender.learning import Learning
from tfrecsession.recommender.reads_content import ReadsContent
from tfrecsession.recommender.recommender import Recommender
from tfrecsession.recommender.search_space import Choice, Float, Int
from tfrecsession.recommender.sequence_model import StopOnNaN, as_list
from tfrecsession.recommender.top_items import left_out
from tfrecsession.sessions.item_columns import kinds_of
from tfrecsession.sessions.item_table import read_item_table

ERRORS = ("vectors", "scores")
REPLACED = ("unseen", "all")


@keras.saving.register_keras_serializable(package="tfrecsession")
class ContentToFactors(UsersOfTeacher, ReadsContent, Recommender):
    """Item vectors of any fitted model from content (van den Oord, Dieleman, Schrauwen, NIPS 2013).

        v'_i = mean + scale * network(content of i)                      [width], the teacher's v_i being [width]
        error="vectors": mean over items of |v_i - v'_i|^2               the paper's MSE
        error="scores": mean over items and histories of (x . v_i - x . v'_i)^2     x: the teacher's encoding

    Both are divided by the error of the mean vector: 1 is no better than the mean, 0 is perfect. "scores" weighs the
    directions that histories use; its cost does not depend on the number of histories, of which 5,000 are sampled.

    The teacher encodes histories and users, and scores the items that it has seen; items without an event in its
    training are scored by v'_i, in the same index, and unknown in a history. The model's file holds the teacher.

    Args:
        items: the vocabulary.
        teacher: a fitted model that scores by dot products, such as ALS, two_tower, GRU4Rec; one in closed form that is
            not fitted is fitted first, on the same sessions. None: it is an argument of `fit`.
        layers: widths of the hidden layers (ReLU); none: the sum of the columns' encodings.
        dropout: share of each hidden layer's output set to zero in training.
        error: "vectors" or "scores", see above.
        replace: the items whose vectors are the network's: "unseen", or "all", which measures it.
        least_events: the fewest events of an item in training whose vector teaches.
        content: columns that are read, see `SequenceModel`; None: all columns of the item table.

    Raises:
        InputError: an argument out of range, no content, or a teacher without item vectors or of other data.

    Example:

        model = trs.models.ContentToFactors(data.items, content=["title", "price"])
        model.compile(trs.optimizers.LazyAdagrad(0.1), "mean_squared_error", [trs.metrics.Recall(20)])
        model.fit(data.train, teacher=als, epochs=50, rows=64)
        model.encode_items(new_items)
    """

    # Declarations
    search_space = {
        "layers": Choice([], [128], [256, 128]),
        "dropout": Float(0.0, 0.5),
        "error": Choice("vectors", "scores"),
        "least_events": Int(1, 20, log=True),
    }
    learning = Learning(
        defaults={
            "teacher": "als",
            "content": None,
            "rows": 64,
            "epochs": 50,
            "loss": "mean_squared_error",
            "optimizer": "adagrad",
            "learning_rate": 0.1,
        },
        space={
            "learning_rate": (
                Float(0.01, 0.5, log=True, when={"optimizer": "adagrad"}),
                Float(0.0003, 0.03, log=True, when={"optimizer": "adam"}),
            ),
        },
        losses=("mean_squared_error",),
        arguments=("content",),
        samples=False,
        harmless=("dropout",),
    )

    def __init__(
        self,
        items,
        teacher=None,
        layers=(128,),
        dropout=0.0,
        error="vectors",
        replace="unseen",
        least_events=1,
        content=None,
        **kwargs,
    ):
        # Arguments
        layers = checked_widths("layers", layers, optional=True)
        check_number("dropout", dropout, 0, 1)
        check_choice("error", error, ERRORS)
        check_choice("replace", replace, REPLACED)
        check_whole("least_events", least_events)
        super().__init__(items, **kwargs)
        if content is None:
            content = list(kinds_of(self.items.content, self.items.tensors))
        self.read_content(content, "output", 0.0)
        if self.content is None:
            text = "content: must name a column, this data set has none; prepare the log with"
            raise InputError(f"{text} items=TABLE", command_line=f"{text} --items TABLE")
        self.layer_widths = layers
        self.dropout = dropout
        self.error = error
        self.replace = replace
        self.least_events = least_events

        # Layers
        self.teacher = None
        if teacher is not None:
            self._take_teacher(teacher, None if isinstance(items, int) else self.items)

    def _take_teacher(self, teacher, items) -> None:
        teacher = checked_teacher(teacher, items)
        self._tracker.unlock()  # `summary` before `fit` has built and locked the model
        self.teacher = teacher
        self.context, self.reads = teacher.context, teacher.reads
        self.longest_history = teacher.longest_history
        by_scores, columns = self.error == "scores", self.content.columns
        shape = (columns, self.layer_widths, self.dropout, by_scores, self.replace, self.size)
        self.output_items = TaughtItems(teacher, self.item_content, *shape, name="taught_items")
        self._content_layers = [self.output_items]
        self.build()

    # Training

    @property
    def trainable_variables(self):
        """The weights of the network; the teacher has learned already."""
        return self.output_items.trainable_variables if self.trainable and self.output_items is not None else []

    trainable_weights = trainable_variables

    def compile(self, optimizer="rmsprop", loss="mean_squared_error", metrics=None, **kwargs):
        loss = keras.losses.get(loss)
        if not (isinstance(loss, keras.losses.MeanSquaredError) or loss is keras.losses.mean_squared_error):
            refuse("loss", loss, "'mean_squared_error'; the argument `error` of the model says what it compares")
        super().compile(optimizer, keras.losses.MeanSquaredError(), metrics, **kwargs)

    def fit(self, x=None, *args, teacher=None, rows: int = 64, seed: int = 0, callbacks=None, **kwargs):
        """Trains like Keras' `fit`: an epoch sees every item of the teacher once.

        Args:
            x: `data.train`, its batches, or what `training_batches` returns.
            teacher: the fitted model, where it is no argument of the constructor.
            rows, seed: items in a batch, and the seed of their order.
            *args, callbacks, **kwargs: as in Keras.

        Raises:
            InputError: no teacher or one that does not fit, or weights.
        """
        for name in {"sample_weight", "class_weight"} & {name for name in kwargs if kwargs[name] is not None}:
            raise InputError(f"{name}: must be None: this model learns from items, and each counts once")
        sessions = None if is_of_items(x) else self._checked_sessions(x)
        if teacher is not None and self.teacher is None:
            self._take_teacher(teacher, self.items)
        elif teacher is not None and teacher is not self.teacher:
            raise InputError("teacher: must be left out, this model has one; create a new model for another one")
        if sessions is not None:
            x = self.training_batches(sessions, {"rows": rows}, seed)
        return super().fit(x, *args, callbacks=[*as_list(callbacks), StopOnNaN()], **kwargs)

    def _checked_sessions(self, x) -> Sessions:
        self._check_kind(x, (), {}, targets=False)
        sessions = x if isinstance(x, Sessions) else getattr(x, "sessions", None)
        if sessions is None:
            raise InputError(f"x: must be {DATA.partition(', or')[0]}: the teacher's histories come from it")
        self.check_vocabulary(sessions.items)
        return sessions

    def training_batches(self, sessions, settings: dict, seed: int):
        """Returns batches of the items that teach; a teacher in closed form is fitted first if it is not."""
        teacher = self.teacher
        fit_teacher(teacher, sessions)
        counts = teacher.item_counts.numpy()  # [size of the teacher]
        ids = np.flatnonzero(counts >= self.least_events)
        ids = ids[ids > 1].astype(np.int32)
        if not len(ids):
            raise InputError(
                f"least_events={self.least_events}: must be lower: no item of the teacher has so many events"
            )
        self._read_tensors(sessions.items)
        self.output_items.learn(ids, counts, queries_of(teacher, sessions) if self.error == "scores" else None)
        return item_batches(ids, settings["rows"], seed)

    def newest_batches(self, sessions, is_newest, settings: dict, seed: int):
        raise InputError("finetune_days: must be left out: this model learns from items; fine-tune its teacher")

    def train_step(self, batch):
        variables = self.trainable_variables
        self._clear_losses()
        with tf.GradientTape() as tape:
            target, predicted = self.output_items.compared(batch["item"], training=True)  # [rows, width] each
            each = self.ranking_loss.call(target, predicted) * batch["weight"]  # [rows]
            further = self._further_losses()
            # averaged over padding too: the last, partial batch makes a smaller step
            scaled = self.optimizer.scale_loss(tf.reduce_mean(each) + further)
        if variables:  # none with `trainable=False`
            pairs = zip(tape.gradient(scaled, variables), variables, strict=True)
            self.optimizer.apply_gradients([pair for pair in pairs if pair[0] is not None])
        count = tf.reduce_sum(batch["weight"])
        self._loss_tracker.update_state(tf.reduce_sum(each) / count + further, sample_weight=count)
        return {"loss": self._loss_tracker.result()}

    # Recommendations

    def _as_taught(self, batch: dict) -> dict:
        return {**batch, "items": taught(self.output_items).known_to_teacher(batch["items"])}

    def encode(self, batch, training=False):
        return self.teacher.encode(self._as_taught(batch))  # [rows, steps, dim]

    def encode_last(self, batch, length):
        return self.teacher.encode_last(self._as_taught(batch), length)  # [rows, dim]

    def encoder(self, batch):
        return self.teacher.encoder(self._as_taught(batch))

    def cells_of_an_event(self, batch):
        return self.teacher.cells_of_an_event(batch)

    def _encode_histories(self, ids, given=None):
        return super()._encode_histories(taught(self.output_items).known_to_teacher(ids), given)

    def answer(self, ids, k, exclude_seen=False, allowed=None, exclude=None, only=None, given=None):
        encoded, _, length = self._encode_histories(ids, given)
        out = left_out(tf.maximum(ids, 0), exclude_seen, exclude)  # also items that the teacher does not know
        return self.find(encoded, length > 0, k, out, allowed, only)

    def encode_items(self, content, key: str | None = None) -> np.ndarray:
        """Returns the vectors of new items by their content alone, in the teacher's space: float32 [n, width].

        Args:
            content: an item table with the columns that the model reads, see `prepare(items=...)`.
            key: its column of item ids; None: a usual name.

        Raises:
            InputError: a column is missing, or holds values of another kind than in training.
        """
        kinds = {column.name: column.kind for column in self.content.columns}
        encoded, tensors = self.content.encode_contents(read_item_table(content, key, kinds))
        for name, tensor in tensors.items():
            encoded |= {name: tensor.values, f"{name}/present": tensor.present.astype("float32")}
        return self.output_items.predict({key: tf.constant(array) for key, array in encoded.items()}).numpy()

    def prepare_export(self):
        self.teacher.prepare_export()
        super().prepare_export()

    # Configuration

    def save(self, *args, **kwargs):
        """Saves as Keras does, without the teacher's optimizer."""
        with no_optimizer(self.teacher):
            return super().save(*args, **kwargs)

    @classmethod
    def from_config(cls, config):
        if isinstance(config.get("teacher"), dict):
            config = {**config, "teacher": keras.saving.deserialize_keras_object(config["teacher"])}
        return super().from_config(config)

    def config_of_copies(self):
        return {**super().config_of_copies(), "teacher": self.teacher}

    def get_config(self):
        teacher = None
        if self.teacher is not None:
            teacher = keras.saving.serialize_keras_object(self.teacher)
            teacher.pop("compile_config", None)
        config = super().get_config()
        config = {name: config[name] for name in config if name not in ("content_side", "id_dropout")}
        return {
            **config,
            "teacher": teacher,
            "layers": self.layer_widths,
            "dropout": self.dropout,
            "error": self.error,
            "replace": self.replace,
            "least_events": self.least_events,
        }
