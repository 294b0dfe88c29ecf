"""Training by several workers: each holds the whole model and computes its rows of a batch; gradients are summed.

Sparse gradients stay sparse: workers exchange only the rows of an item table that a batch touches. So the bytes of a
step do not depend on the catalogue (`benchmarks/workers.py`). The workers sample the same negatives and make the same
update. So they hold the same weights after every step: those of one worker after the whole batch.
"""

from __future__ import annotations

import warnings
import weakref

import keras
import numpy as np
import tensorflow as tf

from tfrecsession.batches.epochs import Batches
from tfrecsession.errors import InputError
from tfrecsession.models import SequenceModel, by_name
from tfrecsession.negatives import InBatch, Negatives
from tfrecsession.training.cluster import across, gathered, lost_workers, placed, worker_of, workers_of

SEPARATED = weakref.WeakSet()  # models whose dropout differs by worker: fine-tuning fits a model twice


def suited(
    together: tf.distribute.Strategy | None, name: str, settings: dict, grows: bool = False
) -> tf.distribute.Strategy:
    """Returns the strategy that trains a model: `together`, or one device where GPUs cannot share the training.

    grows: whether the model continues from an earlier run.

    Raises:
        InputError: there are several workers, but only one can train this model.
    """
    alone = tf.distribute.get_strategy()
    if together is None or together.num_replicas_in_sync == 1:
        return alone
    reason = None
    learning = by_name(name).learning
    if not (learning and learning.shares_rows):
        reason = f"model={name}: does not learn from rows of batches, which workers could share: train on one worker"
    elif settings.get("lanes"):
        reason = (
            f"lanes={settings['lanes']}: the state that lanes carry from batch to batch is not shared among workers: "
            "train on one worker, or with lanes=None"
        )
    elif settings.get("precision") == "mixed_float16":
        reason = (
            "precision=mixed_float16: each worker would scale its own loss: train on one worker, or with mixed_bfloat16"
        )
    elif settings.get("accumulate", 1) != 1:
        reason = (
            f"accumulate={settings['accumulate']}: sums of gradients are not shared among workers: train on one "
            "worker, or with more rows, which workers share"
        )
    elif grows:
        reason = "grow_from: a model that grows is trained by one worker: leave strategy= out"
    if reason and workers_of(together) > 1:
        raise InputError(reason)
    return alone if reason else together


def fit_in_step(model: SequenceModel, batches: tf.data.Dataset, validation_data=None, callbacks=(), **options):
    """Fits a model that was built in the scope of a strategy, as Keras' `fit` does; workers, or GPUs, train in step.

    Replica i of n takes rows i R / n to (i + 1) R / n of every batch of R rows. Sampled negatives are the same on all
    replicas; in-batch negatives (`InBatch`) are those of the replica's own rows. Dropout differs from worker to worker.
    The chief validates, and the others receive the result.

    Args:
        model: compiled, and free of carried states.
        batches: with all rows, the same on all workers. With `memory=`, each worker reads its own part of the files, so
            that sessions are shuffled otherwise than by one worker.
        validation_data: a split of the data set, or its batches.
        callbacks, **options: as in `fit`; callbacks run on every worker.

    Returns:
        The Keras history.

    Raises:
        InputError: the number of replicas does not divide the rows, or the model carries a state or scales its loss.
        WorkerLost: another worker has gone.
    """
    together, replicas = model.distribute_strategy, model.distribute_strategy.num_replicas_in_sync
    validation_data = model._batches(validation_data, optional=True)
    if replicas == 1:
        return model.fit(batches, validation_data=validation_data, callbacks=list(callbacks), **options)
    if model.carried:
        raise InputError("lanes: must be None: a state that is carried from batch to batch is not shared among workers")
    if isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer):
        raise InputError("optimizer: each worker would scale its own loss; use precision mixed_bfloat16 or float32")
    if any(isinstance(layer, InBatch) for layer in model._flatten_layers()):
        warnings.warn(
            f"in-batch negatives are those of a replica's own rows, 1/{replicas} of the batch: the training differs "
            "from that of one worker",
            stacklevel=2,
        )
    shares = _shares(model._batches(batches), together)
    patch_keras_fit(model)
    if model not in SEPARATED:
        separate_dropout_seeds(model, worker_of(together))
        SEPARATED.add(model)
    after = [ValidateOnChief(validation_data)] if validation_data is not None else []
    with lost_workers():
        return model.fit(shares, callbacks=[*after, *callbacks], **options)


def _shares(batches: tf.data.Dataset, together: tf.distribute.Strategy):
    """Returns a `DistributedDataset` that gives each replica R / replicas of the R rows of each batch, every epoch."""
    replicas = together.num_replicas_in_sync
    rows = tf.nest.flatten(batches.element_spec)[0].shape[0]
    if rows is None or rows % replicas:
        raise InputError(
            f"rows={rows}: must be a multiple of {replicas}, as {replicas} workers share the rows of a batch"
        )

    # each worker reads its part of the files, not all rows
    own = across(together) and isinstance(batches, Batches) and batches.split is not None
    if own:
        batches = batches.of_worker(worker_of(together), workers_of(together))

    def of_worker(context):
        count = replicas // context.num_input_pipelines
        first = 0 if own else context.input_pipeline_id * count

        def cut(*batch):
            def parts(array):
                return tf.reshape(array, (-1, rows // replicas, *array.shape[1:]))[first : first + count]

            return tf.nest.map_structure(parts, batch)

        return batches.map(cut).unbatch()

    shares = together.distribute_datasets_from_function(of_worker)
    shares._cardinality = np.int64(batches.cardinality())  # that of `of_worker` counts replicas, not steps
    return shares


def patch_keras_fit(model: keras.Model) -> None:
    """Works around two faults of Keras 3.15's `fit` under MultiWorkerMirroredStrategy. Delete it once Keras has fixed
    them (keras-team/keras#20585, tensorflow/tensorflow#72388).

    1. `fit` builds the model from a first batch, which it removes from the epoch and treats as tensors, although it has
       one value per replica. Everything is built already, so that this step is skipped.
    2. `fit` averages the results of a training step over axis 0, which scalars do not have. So the loss gets one. (It
       is the loss of all events so far; Keras would give replicas with few events the same weight.)
    """
    model._maybe_symbolic_build = lambda *args, **kwargs: None
    step, tracked = type(model).train_step, model._loss_tracker

    def train_step(data):
        step(model, data)
        replica = tf.distribute.get_replica_context()
        with placed(model.distribute_strategy):
            sums = tf.stack([tracked.total.value, tracked.count.value])
            total, count = tf.unstack(replica.all_reduce(tf.distribute.ReduceOp.SUM, sums))
            loss = tf.math.divide_no_nan(total, count)
            return {"loss": loss[None] if across(model.distribute_strategy) else loss}

    model.train_step = train_step
    model.train_function = None


def separate_dropout_seeds(model: keras.Model, worker: int) -> None:
    """Gives the worker random states of its own, except for the negatives, which are the same on all workers.

    Call it once in the life of a model, on states that are the same on all workers.
    """
    layers = model._flatten_layers()
    own = {id(layer.seed_generator): layer.seed_generator for layer in layers if hasattr(layer, "seed_generator")}
    for layer in layers:
        if isinstance(layer, Negatives):
            own.pop(id(layer.seed_generator), None)
    for seeds in own.values():
        seed, count = seeds.state.numpy()
        seeds.state.assign([seed + worker, count])


class ValidateOnChief(keras.callbacks.Callback):
    """Validation by the chief alone, on all events; the others wait for the result and log the same."""

    def __init__(self, batches: tf.data.Dataset):
        super().__init__()
        self.batches = batches

    def on_epoch_end(self, epoch, logs=None):
        metrics = self.model.ranking_metrics
        sums = np.zeros(len(metrics) + 1)
        together = self.model.distribute_strategy
        if worker_of(together) == 0:
            for batch, targets, *_ in self.batches.as_numpy_iterator():
                ranks, _ = self.model.target_ranks(batch, targets)
                sums += [*(float(keras.ops.sum(metric.of_each(ranks))) for metric in metrics), len(ranks)]
        sums = gathered(together, sums[None])[0] if across(together) else sums
        logs.update(
            {
                f"val_{metric.name}": float(total / max(sums[-1], 1))
                for metric, total in zip(metrics, sums[:-1], strict=True)
            }
        )
