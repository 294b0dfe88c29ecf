"""Keras' own methods on a recommender: what `compile`, `fit`, `evaluate` and `predict` accept and refuse."""

from __future__ import annotations

import weakref
from types import SimpleNamespace

import keras
import numpy as np
import tensorflow as tf

from tfrecsession.batches import Data, Sessions
from tfrecsession.errors import InputError
from tfrecsession.events.id_texts import text_lists
from tfrecsession.metrics import MRR, NDCG, Recall
from tfrecsession.recommender.arguments import refuse
from tfrecsession.recommender.fitted import warn_unfitted
from tfrecsession.sessions.store import SessionArrays
from tfrecsession.sessions.vocabulary import Items

BY_LABEL = {metric.label: metric for metric in (Recall, MRR, NDCG)}
DATA = "data.train or another split, its batches(...), or a tf.data.Dataset of (batch, targets[, sample_weight])"
WEIGHTS = "as in batches.map(lambda batch, targets: (batch, targets, weight)), weight float [rows, steps] or [rows]"
VOCABULARIES = weakref.WeakValueDictionary()  # fingerprint -> Items: `clone_model` finds the vocabulary by it


class KerasContract:
    """Keras' methods as recommenders support them. Mixed in before `keras.Model`.

    A class has `ranks`, `check_vocabulary`, `items` and `reads`; see `Recommender`.
    """

    def compile(
        self,
        optimizer="rmsprop",
        loss=None,
        metrics=None,
        *,
        loss_weights=None,
        weighted_metrics=None,
        jit_compile="auto",
        **kwargs,
    ):
        """Compiles like Keras. Metrics are ranking metrics over the whole catalogue, computed on validation and test
        data only.

        Args:
            optimizer: a Keras optimizer, `trs.optimizers.LazyAdagrad` or `LazyAdam`, or a name.
            loss: see the model's class.
            metrics: `trs.metrics`, or their names, such as "recall@20"; every event counts the same.
            loss_weights: must be None; a model has one loss.
            weighted_metrics: as `metrics`, with events weighted by `sample_weight`.
            jit_compile: must not be True: the number of compared cells changes from batch to batch.
            **kwargs: `run_eagerly`, `steps_per_execution`, `auto_scale_loss` as in Keras.

        Raises:
            InputError: a metric that is not a ranking metric, `loss_weights`, or `jit_compile=True`.
        """
        if loss_weights is not None:
            refuse("loss_weights", loss_weights, f"None: a {type(self).__name__} has one loss; weigh events instead")
        if jit_compile is True:
            refuse("jit_compile", True, "False or left out: XLA needs sizes that only each batch's events determine")
        unweighted = ranking_metrics("metrics", metrics)
        weighted = ranking_metrics("weighted_metrics", weighted_metrics)
        # Loss and metrics are kept apart from Keras' own, which would score the catalogue at every training step.
        super().compile(optimizer=optimizer, jit_compile=False, **kwargs)
        loss = keras.losses.get(loss) if loss is not None else None
        self._learning = SimpleNamespace(loss=loss, metrics=unweighted, weighted=weighted)

    @property
    def ranking_loss(self):
        return self._learning.loss

    @property
    def ranking_metrics(self) -> list:
        return self._learning.metrics

    @property
    def metrics(self) -> list:
        """The metrics that Keras resets before an epoch and reads after it."""
        return [*super().metrics, *(self._learning.metrics + self._learning.weighted if self.compiled else [])]

    def get_compile_config(self):
        if not self.compiled:
            return None
        config = super().get_compile_config() or {}
        serialize = keras.saving.serialize_keras_object
        loss = serialize(self.ranking_loss) if self.ranking_loss is not None else None
        weighted = [serialize(metric) for metric in self._learning.weighted] or None
        metrics = [serialize(metric) for metric in self.ranking_metrics]
        return {**config, "loss": loss, "metrics": metrics, "weighted_metrics": weighted}

    def compile_from_config(self, config):
        if not config or "optimizer" not in config:
            return
        self.compile(**keras.saving.deserialize_keras_object(config))
        self.optimizer.build(self.trainable_variables)

    # Data ------------------------------------------------------------------------------------------------------------

    def fit(
        self,
        x=None,
        *args,
        validation_data=None,
        callbacks=None,
        sample_weight=None,
        class_weight=None,
        **kwargs,
    ):
        """Trains like Keras' `fit`.

        Args:
            x: a split (`data.train`), its batches, a dataset of (batch, targets[, sample_weight]), or a batch, with
                `y` its targets. `sample_weight`, float [rows, steps] or [rows], multiplies the losses; 0 leaves an
                event out.
            validation_data: likewise.
            callbacks: with `mode="auto"`, those that monitor a ranking metric maximize it.
            sample_weight: beside arrays only.
            class_weight: must be None.
            *args, **kwargs: as in Keras.

        Raises:
            InputError: x is of another kind or another vocabulary, or `class_weight`.
        """
        self._check_weights(x, sample_weight, class_weight)
        x = self._batches(x, args, kwargs, training=True)
        validation_data = self._batches(validation_data, optional=True)
        kwargs.setdefault("shuffle", False)  # batches are shuffled already; Keras would warn
        callbacks = maximizing(callbacks, self)
        self._build_optimizer()
        super().fit(
            x, *args, validation_data=validation_data, callbacks=callbacks, sample_weight=sample_weight, **kwargs
        )
        self.fitted = True
        return self.history

    def _build_optimizer(self) -> None:
        """Creates the optimizer's variables; the first step would create them too, and TensorFlow trace it twice."""
        if self.compiled and self.built and not self.optimizer.built and self.trainable_variables:
            with self.distribute_strategy.scope():
                self.optimizer.build(self.trainable_variables)

    def evaluate(self, x=None, *args, sample_weight=None, **kwargs):
        """Evaluates like Keras, over the whole catalogue.

        Args:
            x: as in `fit`, or lists of item ids, a list for each session.
            sample_weight: beside arrays only. It weighs the loss and the `weighted_metrics`.
            *args, **kwargs: as in Keras.

        Warns:
            UserWarning: the model has learned nothing yet.
        """
        self._check_weights(x, sample_weight)
        x = self._batches(self.sessions_of_lists(x), args, kwargs)
        warn_unfitted(self)
        return super().evaluate(x, *args, sample_weight=sample_weight, **kwargs)

    def predict(self, x, *args, **kwargs):
        """Returns the encoded states, [rows, steps, dim], not scores: `encode` of every batch.

        `recommend` returns the best items, `score_all(states)` the scores of all items.

        Args:
            x: as in `evaluate`.
            *args, **kwargs: as in Keras.
        """
        x = self.sessions_of_lists(x)
        return super().predict(self._batches(x, args, {"y": None, **kwargs}, targets=False), *args, **kwargs)

    def train_on_batch(self, x, y=None, sample_weight=None, class_weight=None, return_dict=False):
        """Runs one training step on a batch, as Keras does; `class_weight` must be None."""
        self._check_weights(x, sample_weight, class_weight)
        return super().train_on_batch(x, y, sample_weight=sample_weight, return_dict=return_dict)

    def make_train_function(self, force=False):
        """Traces the training step again where `trainable` of a layer has changed."""
        trained = [id(variable) for variable in self.trainable_variables]
        changed = trained != getattr(self, "_traced_for", trained)
        self._traced_for = trained
        return super().make_train_function(force=force or changed)

    def sessions_of_lists(self, x):
        """Returns lists of item ids as sessions, and any other `x` unchanged."""
        if not isinstance(x, list | tuple) or not all(isinstance(row, list | tuple | np.ndarray) for row in x) or not x:
            return x
        lists = [self.items.encode(row) for row in text_lists(x, "x")]
        values = np.concatenate(lists).astype(np.int32)
        offsets = np.concatenate([[0], np.cumsum([len(row) for row in lists])])
        return Sessions(SessionArrays(self.items, values, offsets), "test", timed=False)

    def _check_weights(self, x, sample_weight, class_weight=None):
        if class_weight is not None:
            refuse("class_weight", class_weight, f"None; give every event its weight instead, {WEIGHTS}")
        if sample_weight is not None and not isinstance(x, dict):
            raise InputError(f"sample_weight: must be the third part of each element of x, {WEIGHTS}")

    def _batches(self, x, args=(), kwargs=None, optional=False, targets=True, training=False):
        """Returns what Keras' `fit` reads: the batches of a split, and anything that Keras reads itself unchanged."""
        context = self.training_context if training else self.context
        if x is None and optional:
            return x
        self._check_kind(x, args, kwargs or {}, targets and not optional)
        sessions = x if isinstance(x, Sessions) else getattr(x, "sessions", None)
        if sessions is not None:
            self.check_vocabulary(sessions.items)
        if isinstance(x, Sessions):
            return x.batches(one_target=self.reads.one_target, by_user=self.reads.by_user, context=context)
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
        if sessions is not None and context is not None and x.context is not context:
            return x.in_context(context)
        return x

    def _check_kind(self, x, args, kwargs, targets: bool):
        if isinstance(x, Data):
            raise InputError("x: must be one split of the data set, such as data.train or data.test, not all of it")
        if isinstance(x, dict) and targets and not args and kwargs.get("y") is None:
            raise InputError("y: must be the targets of the batch, int32 [rows, steps], 0 where there is none")
        is_array = isinstance(x, str | bytes | np.ndarray | tf.Tensor | list) or hasattr(x, "columns")
        if x is None or is_array:
            raise InputError(f"x: must be {DATA}, not {type(x).__name__}")

    # Steps -----------------------------------------------------------------------------------------------------------

    def test_step(self, data):
        batch, targets, weight = unpacked(data)
        self._rank(batch, targets, weight)
        return self._ranking_results()

    def _rank(self, batch, targets, weight) -> None:
        """Updates the ranking metrics by one batch."""
        ranks = self.ranks(batch, targets)
        for metric in self._learning.metrics:
            metric.update_from_ranks(ranks)
        if self._learning.weighted:
            each = None if weight is None else tf.boolean_mask(weight, targets > 0)
            for metric in self._learning.weighted:
                metric.update_from_ranks(ranks, each)

    def _ranking_results(self) -> dict:
        found = {metric.name: metric.result() for metric in self._learning.metrics}
        for metric in self._learning.weighted:
            found[f"weighted_{metric.name}" if metric.name in found else metric.name] = metric.result()
        return found

    def _further_losses(self):
        """Returns the regularizers and `add_loss` of the layers since the last `_clear_losses`, float32 []."""
        return tf.add_n([tf.cast(loss, tf.float32) for loss in self.losses]) if self.losses else tf.zeros([])

    # Not supported ---------------------------------------------------------------------------------------------------

    def quantize(self, mode=None, *args, **kwargs):
        """Raises InputError: tables are quantized when a model is exported."""
        raise InputError(
            f"quantize({mode!r}): is not supported by {type(self).__name__}; export(path, index='exact-int8') serves "
            "from an item table of int8, and trs.models are created in half precision by set_dtype_policy"
        )

    # Weights ---------------------------------------------------------------------------------------------------------

    def summary(self, *args, **kwargs):
        """Prints the table of layers, as Keras does."""
        if not self.built:
            self.build()
        return super().summary(*args, **kwargs)

    def count_params(self):
        """Returns the number of weights, as Keras does."""
        if not self.built:
            self.build()
        return super().count_params()

    def keep_vocabulary(self, items: Items) -> str:
        """Returns the fingerprint that `find_vocabulary` takes in this process."""
        VOCABULARIES[items.fingerprint] = items
        return items.fingerprint

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        items = VOCABULARIES.get(config.pop("vocabulary", None))
        model = super().from_config(config)
        if items is not None and config.get("items") == len(items):  # not a model made from another vocabulary
            model.take_items(items)
        return model


def check_model(model) -> None:
    """Checks that a model ranks items, as Keras models in general do not, and that it has learned something.

    Raises:
        InputError: it is no recommender.

    Warns:
        UserWarning: it has learned nothing yet.
    """
    if not isinstance(model, KerasContract):
        raise InputError(
            f"model: must be one of trs.models or a subclass of trs.models.SequenceModel, not {type(model).__name__}; "
            "other Keras models are evaluated by their own evaluate, with trs.metrics"
        )
    warn_unfitted(model)


def ranking_metrics(name: str, metrics) -> list:
    """Returns the metrics of an argument of `compile` as a list of ranking metrics.

    Raises:
        InputError: one of them is not a ranking metric, nor the name of one.
    """
    if metrics is None:
        return []
    found = []
    for metric in metrics if isinstance(metrics, list | tuple) else [metrics]:
        if isinstance(metric, str):
            label, _, k = metric.partition("@")
            found.append(BY_LABEL[label](int(k)) if label in BY_LABEL and k.isdecimal() else None)
        else:
            ranking = not isinstance(metric, type) and callable(getattr(metric, "update_from_ranks", None))
            found.append(metric if ranking else None)
        if found[-1] is None:
            shown = metric if isinstance(metric, str) else getattr(metric, "name", type(metric).__name__)
            raise InputError(
                f"{name}: {shown!r} is not a ranking metric, which is computed from exact ranks in the whole "
                "catalogue; must be one of trs.metrics or its name, e.g. trs.metrics.Recall(20) or 'recall@20' "
                "('accuracy' is 'recall@1'), or a subclass of trs.metrics.RankingMetric"
            )
    return found


def maximizing(callbacks, model):
    """Sets `mode="max"` in the callbacks that would guess the direction of a ranking metric, and returns them all.

    Keras knows the direction of the metrics in its own lists only.
    """
    names = {metric.name for metric in model._learning.metrics + model._learning.weighted} if model.compiled else set()
    names |= {f"weighted_{name}" for name in names}
    for callback in keras.tree.flatten(getattr(callbacks, "callbacks", callbacks) or []):
        is_auto = getattr(callback, "mode", None) == "auto" and getattr(callback, "monitor_op", None) is None
        if is_auto and str(getattr(callback, "monitor", "")).removeprefix("val_") in names:
            callback.mode = "max"
    return callbacks


def unpacked(data):
    """Returns the batch, the targets and the weight of one element of a dataset.

    Args:
        data: (batch, targets) or (batch, targets, sample_weight). The key "weight" of the batch counts as well.

    Returns:
        The batch; int32 [rows, steps]; float32 [rows, steps], None where every event counts the same.

    Raises:
        InputError: no targets, or a weight of another shape.
    """
    parts = tuple(data) if isinstance(data, list | tuple) else (data,)
    if len(parts) not in (2, 3) or parts[1] is None:
        raise InputError("x: each element must be (batch, targets) or (batch, targets, sample_weight)")
    batch, targets = parts[:2]
    weight = as_weights(parts[2] if len(parts) == 3 else None, tf.shape(targets), len(targets.shape))
    own = as_weights(batch.get("weight"), tf.shape(targets), len(targets.shape))
    return batch, targets, own if weight is None else weight if own is None else own * weight


def as_weights(weight, shape, rank: int):
    """Returns weights as float32 of `shape`: one for each event, or one for each row; None stays None."""
    if weight is None:
        return None
    weight = tf.cast(weight, tf.float32)
    if len(weight.shape) not in (1, rank):
        raise InputError(f"sample_weight: its shape is {list(weight.shape)}, it must be [rows, steps] or [rows]")
    while len(weight.shape) < rank:
        weight = weight[..., None]
    return tf.broadcast_to(weight, shape)
