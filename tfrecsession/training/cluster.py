"""The workers of a training: who they are, what they were told, and that they have not gone."""

from __future__ import annotations

import contextlib
import json
import os

import numpy as np
import tensorflow as tf
from tensorflow.python.eager import context

from tfrecsession.errors import InputError, WorkerLost

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
    lengths = gathered(together, np.array([len(text)], np.int32))
    texts = gathered(together, np.pad(text, (0, lengths.max() - len(text)))[None])
    told = [json.loads(bytes(row[:length].astype(np.uint8))) for row, length in zip(texts, lengths, strict=True)]
    for worker, theirs in enumerate(told):
        names = [name for name in {**told[0], **theirs} if told[0].get(name) != theirs.get(name)]
        if names:
            differs = ", ".join(f"{name} ({theirs.get(name)} instead of {told[0].get(name)})" for name in names)
            raise InputError(f"worker {worker} differs from worker 0 in {differs}: start all workers alike")


def workers_of(together: tf.distribute.Strategy) -> int:
    return len(together.cluster_resolver.cluster_spec().as_dict().get("worker", [1])) if across(together) else 1


def worker_of(together: tf.distribute.Strategy) -> int:
    """The number of this process among the workers; 0 is the chief."""
    return together.cluster_resolver.task_id if across(together) else 0


def across(together) -> bool:
    return isinstance(together, tf.distribute.MultiWorkerMirroredStrategy)


def placed(together):
    """A value that is to travel must say where it lies; alone on its worker, a replica has no device to say."""
    devices = together.extended.worker_devices
    return tf.device(devices[0]) if len(devices) == 1 else contextlib.nullcontext()


def wait_for_all(together: tf.distribute.Strategy) -> None:
    """Until every worker is here: none leaves while another still writes."""
    if workers_of(together) > 1:
        gathered(together, np.zeros(1, np.int32))


def gathered(together: tf.distribute.Strategy, array: np.ndarray) -> np.ndarray:
    """The arrays of all workers, alike in shape, end to end: in the order of the workers."""

    def of_replica(mine):
        replica = tf.distribute.get_replica_context()
        with placed(together):
            return replica.all_gather(tf.identity(mine), axis=0)

    def gather(value):
        return together.run(of_replica, args=(value,))

    value = tf.constant(array)
    gather = tf.function(gather, autograph=False).get_concrete_function(tf.TensorSpec(value.shape, value.dtype))
    with lost_workers():
        gathered = together.experimental_local_results(gather(value))[0].numpy()
    here = len(together.extended.worker_devices)  # every replica of a worker brings the same
    return gathered.reshape(-1, here, *array.shape)[:, 0].reshape(-1, *array.shape[1:])
