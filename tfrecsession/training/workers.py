"""Several workers, one model: every worker holds all of it and computes its rows of each batch; gradients are summed.

What is sparse stays sparse: of an item table only the rows that a batch touches travel, so that the bytes of a step do
not depend on the catalogue (`benchmarks/workers.py`). The workers draw the same negatives and make the same update, and
so hold the same weights after every step: those that one worker would have after the whole batch.
"""

from __future__ import annotations

import warnings

import keras
import numpy as np
import tensorflow as tf

from tfrecsession.batches.epochs import Batches
from tfrecsession.errors import InputError
from tfrecsession.models import SequenceModel, by_name
from tfrecsession.negatives import InBatch, Negatives
from tfrecsession.training.cluster import across, gathered, lost_workers, placed, worker_of, workers_of


def suited(
    together: tf.distribute.Strategy | None, name: str, settings: dict, grows: bool = False
) -> tf.distribute.Strategy:
    """The strategy that trains a model: `together`, or one device alone where the model cannot be shared by GPUs.

    grows: whether it goes on from an earlier run.

    Raises:
        InputError: there are several workers, and only one can train this model.
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
            "train on one worker, or with --set lanes=None"
        )
    elif settings.get("precision") == "mixed_float16":
        reason = (
            "precision=mixed_float16: workers would scale their losses each for itself: train on one worker, or with "
            "mixed_bfloat16"
        )
    elif settings.get("accumulate", 1) != 1:
        reason = (
            f"accumulate={settings['accumulate']}: sums of gradients are not shared among workers: train on one "
            "worker, or with more rows, which workers share"
        )
    elif grows:
        reason = "from: a model that grows goes on with one worker: train without --workers"
    if reason and workers_of(together) > 1:
        raise InputError(reason)
    return alone if reason else together


def fit_in_step(model: SequenceModel, batches: tf.data.Dataset, validation_data=None, callbacks=(), **options):
    """Keras' `fit` of a model that was made in the scope of a strategy: its workers, or its GPUs, train in step.

    Replica i of n takes rows i R / n to (i + 1) R / n of every batch of R rows. Negatives that are drawn are the same
    on all; negatives that are other targets of the batch (`InBatch`) are those of the replica's own rows. Dropout
    differs from worker to worker. Validation is the chief's, and the others hear of it.

    Args:
        model: compiled, and free of carried states.
        batches: of all rows, the same on all workers. Those that are read from files (`memory=`) are another shuffle
            than one worker's: each worker reads its own part of the files.
        validation_data: a split of the data set, or its batches.
        callbacks, **options: as in `fit`; callbacks run on every worker.

    Returns:
        The Keras history.

    Raises:
        InputError: rows do not divide by the number of replicas, or the model carries a state or scales its loss.
        WorkerLost: another worker has gone.
    """
    together, replicas = model.distribute_strategy, model.distribute_strategy.num_replicas_in_sync
    validation_data = model._batches(validation_data)
    if replicas == 1:
        return model.fit(batches, validation_data=validation_data, callbacks=list(callbacks), **options)
    if model.carried:
        raise InputError("lanes: a state that is carried from batch to batch is not shared among workers, say None")
    if isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer):
        raise InputError("optimizer: workers would scale their losses each for itself; say mixed_bfloat16, or float32")
    if any(isinstance(layer, InBatch) for layer in model._flatten_layers()):
        warnings.warn(
            f"in-batch negatives are those of a replica's own rows, a part in {replicas} of the batch: not quite the "
            "training of one worker",
            stacklevel=2,
        )
    shares = _shares(model._batches(batches), together)
    mend(model)
    part_dropout(model, worker_of(together))
    after = [ValidateOnChief(validation_data)] if validation_data is not None else []
    with lost_workers():
        return model.fit(shares, callbacks=[*after, *callbacks], **options)


def _shares(batches: tf.data.Dataset, together: tf.distribute.Strategy):
    """Batches of R rows -> what a `DistributedDataset` gives each replica: R / replicas rows, epoch after epoch."""
    replicas = together.num_replicas_in_sync
    rows = tf.nest.flatten(batches.element_spec)[0].shape[0]
    if rows is None or rows % replicas:
        raise InputError(f"rows={rows}: {replicas} workers share the rows of a batch, say a multiple of {replicas}")

    # each worker reads its part of the files, not all rows
    own = across(together) and isinstance(batches, Batches) and batches.split is not None
    if own:
        batches = batches.of_worker(worker_of(together), workers_of(together))

    def of_worker(where):
        here = replicas // where.num_input_pipelines
        first = 0 if own else where.input_pipeline_id * here

        def cut(*batch):
            def parts(array):
                return tf.reshape(array, (-1, rows // replicas, *array.shape[1:]))[first : first + here]

            return tf.nest.map_structure(parts, batch)

        return batches.map(cut).unbatch()

    shares = together.distribute_datasets_from_function(of_worker)
    shares._cardinality = np.int64(batches.cardinality())  # that of `of_worker` counts replicas, not steps
    return shares


def mend(model: keras.Model) -> None:
    """Meet two faults of Keras 3.15's `fit` under MultiWorkerMirroredStrategy. To be deleted once Keras has mended them
    (keras-team/keras#20585, tensorflow/tensorflow#72388).

    1. It builds the model from a first batch, which it takes for tensors where it is one value per replica, and which
       it takes away from the epoch. Here everything is built already, so that step is left out.
    2. What a training step returns is averaged over axis 0, which scalars do not have. Here the loss gets one. (And it
       is the loss of all events so far, where Keras would count replicas with few events as much as others.)
    """
    if not model.optimizer.built:
        with model.distribute_strategy.scope():
            model.optimizer.build(model.trainable_variables)
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


def part_dropout(model: keras.Model, worker: int) -> None:
    """Give the worker random states of its own; not for the negatives, which all draw alike.

    To be called once in the life of a model, on states that are the same on all workers.
    """
    layers = model._flatten_layers()
    own = {id(layer.seed_generator): layer.seed_generator for layer in layers if hasattr(layer, "seed_generator")}
    for layer in layers:
        if isinstance(layer, Negatives):
            own.pop(id(layer.seed_generator), None)
    for seeds in own.values():
        seed, drawn = seeds.state.numpy()
        seeds.state.assign([seed + worker, drawn])


class ValidateOnChief(keras.callbacks.Callback):
    """Validation by the chief alone, on all its events; the others wait for the result and log the same."""

    def __init__(self, batches: tf.data.Dataset):
        super().__init__()
        self.batches = batches

    def on_epoch_end(self, epoch, logs=None):
        metrics = self.model.ranking_metrics
        sums = np.zeros(len(metrics) + 1)
        together = self.model.distribute_strategy
        if worker_of(together) == 0:
            for batch, targets in self.batches.as_numpy_iterator():
                ranks, _ = self.model.target_ranks(batch, targets)
                sums += [*(float(keras.ops.sum(metric.of_each(ranks))) for metric in metrics), len(ranks)]
        sums = gathered(together, sums[None])[0] if across(together) else sums
        logs.update(
            {
                f"val_{metric.name}": float(total / max(sums[-1], 1))
                for metric, total in zip(metrics, sums[:-1], strict=True)
            }
        )
