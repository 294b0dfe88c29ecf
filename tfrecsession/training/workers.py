"""Several workers, one model: every worker holds all of it and computes its rows of each batch; gradients are summed.

What is sparse stays sparse: of an item table only the rows that a batch touches travel, so that the bytes of a step do
not depend on the catalogue (`benchmarks/workers.py`). The workers draw the same negatives and make the same update, and
so hold the same weights after every step: those that one worker would have after the whole batch.
"""

from __future__ import annotations

import contextlib
import json
import os
import warnings

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.eager import context

from tfrecsession.errors import InputError, WorkerLost
from tfrecsession.models import SequenceModel, by_name
from tfrecsession.negatives import InBatch, Negatives

GATHER_SECONDS = 300  # for the workers to find one another: clusters start them minutes apart
SILENCE_SECONDS = 20  # after which a worker that says nothing counts as dead
LOST = (tf.errors.UnavailableError, tf.errors.CancelledError, tf.errors.AbortedError, tf.errors.InternalError)
LOST += (tf.errors.DeadlineExceededError, tf.errors.FailedPreconditionError, tf.errors.UnknownError)


def strategy() -> tf.distribute.Strategy:
    """How this process trains: with the workers that the environment variable TF_CONFIG lists, on the several GPUs of
    this machine, or else alone.

        with trs.training.strategy().scope():
            model = trs.models.GRU4Rec(data.items, units=[100])
            model.compile(trs.optimizers.LazyAdagrad(0.1), trs.losses.CrossEntropy(logq=1.0))
        trs.training.fit_in_step(model, data.train.batches(rows=128, steps=16), epochs=5)

    To be called once, before anything of TensorFlow: it waits until all workers are there. TF_CONFIG is JSON:
    {"cluster": {"worker": ["host:port", ...]}, "task": {"type": "worker", "index": 0}}; worker 0 is the chief, which
    validates and writes. A worker that says nothing for 20 seconds counts as dead, and stops the others.

    Raises:
        InputError: TF_CONFIG is not of this form.
        WorkerLost: a worker did not come within five minutes.
    """
    cluster, index = _cluster()
    if len(cluster) > 1:
        context.context().configure_coordination_service(
            service_type="standalone",
            service_leader="/job:worker/replica:0/task:0",
            cluster_register_timeout_in_ms=GATHER_SECONDS * 1000,
            heartbeat_timeout_in_ms=SILENCE_SECONDS * 1000,
            coordinated_jobs=[_job(len(cluster))],
        )
        with lost_workers():
            several = tf.distribute.MultiWorkerMirroredStrategy()
        several.extended.experimental_enable_get_next_as_optional = False  # all have as many batches: nobody has to ask
        return several
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    if len(devices) > 1:
        return tf.distribute.MirroredStrategy([device.name for device in devices])
    return tf.distribute.get_strategy()


def _job(workers: int):
    from tensorflow.compiler.xla.tsl.protobuf import coordination_config_pb2

    return coordination_config_pb2.CoordinatedJob(name="worker", num_tasks=workers)


def _cluster() -> tuple[list[str], int]:
    """What TF_CONFIG says: the addresses of all workers and the number of this one; [] and 0 where it says nothing."""
    text = os.environ.get("TF_CONFIG", "").strip()
    if not text:
        return [], 0
    form = '{"cluster": {"worker": ["host:port", ...]}, "task": {"type": "worker", "index": 0}}'
    try:
        said = json.loads(text)
        cluster, task = said["cluster"]["worker"], said["task"]
        index = int(task["index"])
        right = task["type"] == "worker" and set(said["cluster"]) == {"worker"} and 0 <= index < len(cluster)
    except (ValueError, TypeError, KeyError):
        right = False
    if not right:
        raise InputError(f"TF_CONFIG={text}: say {form}, with a number below that of the workers")
    return cluster, index


@contextlib.contextmanager
def lost_workers():
    """What TensorFlow says when another worker has gone, as a `WorkerLost` that a person can read."""
    try:
        yield
    except LOST as error:
        raise WorkerLost(
            "another worker has stopped or cannot be reached, so this one stops too: see what the others said, then "
            "start all of them again"
        ) from error


def suited(together: tf.distribute.Strategy | None, name: str, settings: dict) -> tf.distribute.Strategy:
    """The strategy that trains a model: `together`, or one device alone where the model cannot be shared by GPUs.

    Raises:
        InputError: there are several workers, and only one can train this model.
    """
    alone = tf.distribute.get_strategy()
    if together is None or together.num_replicas_in_sync == 1:
        return alone
    reason = None
    if not issubclass(by_name(name), SequenceModel):
        reason = f"model={name}: does not learn from rows of batches, which workers could share: train on one worker"
    elif settings.get("lanes"):
        reason = (
            f"lanes={settings['lanes']}: the state that lanes carry from batch to batch is not shared among workers: "
            "train on one worker, or with --set lanes=None"
        )
    if reason and workers_of(together) > 1:
        raise InputError(reason)
    return alone if reason else together


def check_alike(together: tf.distribute.Strategy, said: dict) -> None:
    """Refuse to train where the workers were not told the same.

    Args:
        together: from `strategy()`.
        said: what must be equal everywhere, name -> value.

    Raises:
        InputError: on every worker, and it names what differs.
    """
    if workers_of(together) == 1:
        return
    text = np.frombuffer(json.dumps(said, default=str).encode(), np.uint8).astype(np.int32)
    lengths = _gathered(together, np.array([len(text)], np.int32))
    texts = _gathered(together, np.pad(text, (0, lengths.max() - len(text)))[None])
    told = [json.loads(bytes(row[:length].astype(np.uint8))) for row, length in zip(texts, lengths, strict=True)]
    for worker, theirs in enumerate(told):
        names = [name for name in {**told[0], **theirs} if told[0].get(name) != theirs.get(name)]
        if names:
            differs = ", ".join(f"{name} ({theirs.get(name)} instead of {told[0].get(name)})" for name in names)
            raise InputError(f"worker {worker} differs from worker 0 in {differs}: start all workers alike")


def workers_of(together: tf.distribute.Strategy) -> int:
    return len(together.cluster_resolver.cluster_spec().as_dict().get("worker", [1])) if _across(together) else 1


def worker_of(together: tf.distribute.Strategy) -> int:
    """The number of this process among the workers; 0 is the chief."""
    return together.cluster_resolver.task_id if _across(together) else 0


def _across(together) -> bool:
    return isinstance(together, tf.distribute.MultiWorkerMirroredStrategy)


def fit_in_step(model: SequenceModel, batches: tf.data.Dataset, validation_data=None, callbacks=(), **options):
    """Keras' `fit` of a model that was made in the scope of a strategy: its workers, or its GPUs, train in step.

    Replica i of n takes rows i R / n to (i + 1) R / n of every batch of R rows. Negatives that are drawn are the same
    on all; negatives that are other targets of the batch (`InBatch`) are those of the replica's own rows. Dropout
    differs from worker to worker. Validation is the chief's, and the others hear of it.

    Args:
        model: compiled, and free of carried states.
        batches: of all rows, the same on all workers.
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
    if getattr(model, "carried", ()):
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

    def of_worker(where):
        here = replicas // where.num_input_pipelines
        first = where.input_pipeline_id * here

        def cut(*batch):
            def parts(array):
                return tf.reshape(array, (replicas, rows // replicas, *array.shape[1:]))[first : first + here]

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
        with _placed(model.distribute_strategy):
            sums = tf.stack([tracked.total.value, tracked.count.value])
            total, count = tf.unstack(replica.all_reduce(tf.distribute.ReduceOp.SUM, sums))
            loss = tf.math.divide_no_nan(total, count)
            return {"loss": loss[None] if _across(model.distribute_strategy) else loss}

    model.train_step = train_step
    model.train_function = None


def _placed(together):
    """A value that is to travel must say where it lies; alone on its worker, a replica has no device to say."""
    devices = together.extended.worker_devices
    return tf.device(devices[0]) if len(devices) == 1 else contextlib.nullcontext()


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
        sums = _gathered(together, sums[None])[0] if _across(together) else sums
        logs.update(
            {
                f"val_{metric.name}": float(total / max(sums[-1], 1))
                for metric, total in zip(metrics, sums[:-1], strict=True)
            }
        )


def wait_for_all(together: tf.distribute.Strategy) -> None:
    """Until every worker is here: none leaves while another still writes."""
    if workers_of(together) > 1:
        _gathered(together, np.zeros(1, np.int32))


def _gathered(together: tf.distribute.Strategy, array: np.ndarray) -> np.ndarray:
    """The arrays of all workers, alike in shape, end to end: in the order of the workers."""

    def of_replica(mine):
        replica = tf.distribute.get_replica_context()
        with _placed(together):
            return replica.all_gather(tf.identity(mine), axis=0)

    def gather(value):
        return together.run(of_replica, args=(value,))

    value = tf.constant(array)
    gather = tf.function(gather, autograph=False).get_concrete_function(tf.TensorSpec(value.shape, value.dtype))
    with lost_workers():
        gathered = together.experimental_local_results(gather(value))[0].numpy()
    here = len(together.extended.worker_devices)  # every replica of a worker brings the same
    return gathered.reshape(-1, here, *array.shape)[:, 0].reshape(-1, *array.shape[1:])
