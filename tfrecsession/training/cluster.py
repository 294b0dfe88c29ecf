"""Worker discovery, agreement on settings, and liveness checks."""

from __future__ import annotations

import contextlib
import json
import os

import numpy as np
import tensorflow as tf
from tensorflow.python.eager import context

from tfrecsession.errors import InputError, WorkerLost

GATHER_SECONDS = 300  # for the workers to find one another: clusters start them minutes apart
SILENCE_SECONDS = 20  # after which a silent worker counts as dead
LOST = (tf.errors.UnavailableError, tf.errors.CancelledError, tf.errors.AbortedError, tf.errors.InternalError)
LOST += (tf.errors.DeadlineExceededError, tf.errors.FailedPreconditionError, tf.errors.UnknownError)


def strategy() -> tf.distribute.Strategy:
    """Returns the strategy of this process: with the workers that the environment variable TF_CONFIG lists, on the
    several GPUs of this machine, or else on one device.

        with trs.training.strategy().scope():
            model = trs.models.GRU4Rec(data.items, units=[100])
            model.compile(trs.optimizers.LazyAdagrad(0.1), trs.losses.CrossEntropy(logq=1.0))
        trs.training.fit_in_step(model, data.train.batches(rows=128, steps=16), epochs=5)

    Call it once, before any other use of TensorFlow: it waits until all workers have started. TF_CONFIG is JSON:
    {"cluster": {"worker": ["host:port", ...]}, "task": {"type": "worker", "index": 0}}; worker 0 is the chief, which
    validates and writes. A worker that is silent for 20 seconds counts as dead, and the others stop.

    Raises:
        InputError: TF_CONFIG has another form.
        WorkerLost: a worker did not start within five minutes.
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
        several.extended.experimental_enable_get_next_as_optional = False  # all have the same number of batches
        return several
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    if len(devices) > 1:
        return tf.distribute.MirroredStrategy([device.name for device in devices])
    return tf.distribute.get_strategy()


def _job(workers: int):
    from tensorflow.compiler.xla.tsl.protobuf import coordination_config_pb2

    return coordination_config_pb2.CoordinatedJob(name="worker", num_tasks=workers)


def _cluster() -> tuple[list[str], int]:
    """Reads from TF_CONFIG the addresses of all workers and the index of this one; [] and 0 where it is not set."""
    text = os.environ.get("TF_CONFIG", "").strip()
    if not text:
        return [], 0
    form = '{"cluster": {"worker": ["host:port", ...]}, "task": {"type": "worker", "index": 0}}'
    try:
        config = json.loads(text)
        cluster, task = config["cluster"]["worker"], config["task"]
        index = int(task["index"])
        valid = task["type"] == "worker" and set(config["cluster"]) == {"worker"} and 0 <= index < len(cluster)
    except (ValueError, TypeError, KeyError):
        valid = False
    if not valid:
        raise InputError(f"TF_CONFIG={text}: must be {form}, with an index below the number of workers")
    return cluster, index


@contextlib.contextmanager
def lost_workers():
    """Turns TensorFlow's errors about a lost worker into a readable `WorkerLost`."""
    try:
        yield
    except LOST as error:
        raise WorkerLost(
            "another worker has stopped or cannot be reached, so this one stops too: read the messages of the others, "
            "then start all of them again"
        ) from error


def check_alike(together: tf.distribute.Strategy, settings: dict) -> None:
    """Refuses to train if the workers have different settings.

    Args:
        together: from `strategy()`.
        settings: the values that must be equal on all workers, by name.

    Raises:
        InputError: on every worker; the message names what differs.
    """
    if workers_of(together) == 1:
        return
    text = np.frombuffer(json.dumps(settings, default=str).encode(), np.uint8).astype(np.int32)
    lengths = gathered(together, np.array([len(text)], np.int32))
    texts = gathered(together, np.pad(text, (0, lengths.max() - len(text)))[None])
    by_worker = [json.loads(bytes(row[:length].astype(np.uint8))) for row, length in zip(texts, lengths, strict=True)]
    chief = by_worker[0]
    for worker, own in enumerate(by_worker):
        names = [name for name in {**chief, **own} if chief.get(name) != own.get(name)]
        if names:
            differs = ", ".join(f"{name} ({own.get(name)} instead of {chief.get(name)})" for name in names)
            raise InputError(f"worker {worker} differs from worker 0 in {differs}: start all workers alike")


def workers_of(together: tf.distribute.Strategy) -> int:
    return len(together.cluster_resolver.cluster_spec().as_dict().get("worker", [1])) if across(together) else 1


def worker_of(together: tf.distribute.Strategy) -> int:
    """Returns the index of this process among the workers; 0 is the chief."""
    return together.cluster_resolver.task_id if across(together) else 0


def across(together) -> bool:
    return isinstance(together, tf.distribute.MultiWorkerMirroredStrategy)


def placed(together):
    """Returns a device scope for values that workers exchange: a single replica on a worker has none by itself."""
    devices = together.extended.worker_devices
    return tf.device(devices[0]) if len(devices) == 1 else contextlib.nullcontext()


def wait_for_all(together: tf.distribute.Strategy) -> None:
    """Waits until every worker calls it, so that none leaves while another still writes."""
    if workers_of(together) > 1:
        gathered(together, np.zeros(1, np.int32))


def gathered(together: tf.distribute.Strategy, array: np.ndarray) -> np.ndarray:
    """Concatenates the arrays of all workers, equal in shape, in the order of the workers."""

    def of_replica(value):
        replica = tf.distribute.get_replica_context()
        with placed(together):
            return replica.all_gather(tf.identity(value), axis=0)

    def gather(value):
        return together.run(of_replica, args=(value,))

    value = tf.constant(array)
    gather = tf.function(gather, autograph=False).get_concrete_function(tf.TensorSpec(value.shape, value.dtype))
    with lost_workers():
        gathered = together.experimental_local_results(gather(value))[0].numpy()
    replicas = len(together.extended.worker_devices)  # of a worker: each sends the same array
    return gathered.reshape(-1, replicas, *array.shape)[:, 0].reshape(-1, *array.shape[1:])
