"""Communication of two workers per step, and their speed compared with one worker, on one machine.

The bytes are those of the loopback interface, in a separate network namespace if the system allows it (Linux,
`unshare`), so that no other traffic is counted. `expected` is the formula of docs/scaling.md, from the rows that the
workers touched. All workers share the cores of this machine: two are not faster than one here.

python benchmarks/workers.py
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

ROWS, STEPS, NEGATIVES, SESSION = 128, 16, 2048, 17
SKIPPED = 10  # steps in which the graph is traced


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", default="10000,1000000")
    parser.add_argument("--units", type=int, default=100)
    parser.add_argument("--steps", type=int, default=110)
    parser.add_argument("--role", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.role == "worker":
        return work(options)
    if options.role != "alone" and shutil.which("unshare") and shutil.which("ip"):
        inside = ["unshare", "-rn", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
        if not subprocess.run([*inside, "true"], capture_output=True).returncode:
            return subprocess.run([*inside, sys.executable, *sys.argv, "--role", "alone"], check=True)
    if options.role == "alone":
        del sys.argv[-2:]  # not part of the command in the results
    from reporting import write_rows

    rows = []
    for items in map(int, options.items.split(",")):
        for workers in (1, 2):
            row = run(workers, items, options)
            alone = row if workers == 1 else rows[-1]
            row["against_one"] = round(row["events_per_s"] / alone["events_per_s"], 2)
            rows.append(row)
            print(row, flush=True)
    return write_rows("workers", rows)


def run(workers: int, items: int, options) -> dict:
    from tfrecsession.cli.launch import free_ports

    hosts = [f"127.0.0.1:{port}" for port in free_ports(workers)]
    cores = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "--items", str(items), "--units", str(options.units)]
        command += ["--steps", str(options.steps), "--role", "worker"]
        processes = []
        for index in range(workers):
            config = {"cluster": {"worker": hosts}, "task": {"type": "worker", "index": index}}
            environment = {"TF_CONFIG": json.dumps(config), "OUT": f"{folder}/{index}.json"}
            environment["TF_NUM_INTRAOP_THREADS"] = str(max(1, cores // workers))
            processes.append(subprocess.Popen(command, env=os.environ | environment))
        codes = [process.wait() for process in processes]
        if any(codes):
            raise SystemExit("a worker failed, see above")
        each = [json.loads(Path(f"{folder}/{index}.json").read_text()) for index in range(workers)]
    touched = max(worker["rows_touched"] for worker in each)  # shorter lists are padded
    chief = each[0]
    return {
        "items": items,
        "workers": workers,
        "cores": cores,
        "events_per_s": round(chief["events"] / chief["seconds"]),
        "ms_per_step": round(1e3 * chief["seconds"] / chief["steps"], 1),
        "rows_touched": round(touched),
        "bytes_per_step": round(chief["bytes"] / chief["steps"]),
        "expected": round(workers * sent_by_each(workers, touched, options.units)),
        "peak_GB": round(max(worker["peak_GB"] for worker in each), 2),
    }


def sent_by_each(workers: int, touched: float, units: int) -> float:
    """Returns the bytes that a worker sends per step.

    Rows of the item table and biases, with their indices, go to every other worker (an all-gather); the kernels go
    around a ring (an all-reduce).
    """
    sparse = touched * ((4 * units + 4) + (4 + 4))
    dense = 4 * (6 * units**2 + 3 * units)
    return (workers - 1) * sparse + 2 * (workers - 1) / workers * dense


def work(options):
    import resource

    import keras
    import numpy as np
    import tensorflow as tf

    import tfrecsession as trs
    from tfrecsession.batches import datasets
    from tfrecsession.sessions.vocabulary import Items
    from tfrecsession.training import cluster

    together = trs.training.strategy()
    catalogue = int(options.items)
    rng = np.random.default_rng(0)
    items = Items((f"i{number}" for number in range(catalogue)), rng.integers(1, 100, catalogue))
    events = ROWS * SESSION * (options.steps + SKIPPED)
    values = rng.integers(2, catalogue + 2, events).astype(np.int32)
    batches = datasets.packed(values, np.arange(0, events + 1, SESSION), rows=ROWS, steps=STEPS)
    keras.utils.set_random_seed(0)
    touched = []
    with together.scope():
        model = trs.models.GRU4Rec(items, units=[options.units], negatives=trs.negatives.Popularity(NEGATIVES))
        model.compile(trs.optimizers.LazyAdagrad(0.1), trs.losses.CrossEntropy(logq=1.0))
    replicas, worker = together.num_replicas_in_sync, cluster.worker_of(together)

    class Watch(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == SKIPPED - 1:
                float(np.asarray(logs["loss"]))
                self.start, self.bytes = time.perf_counter(), loopback()

        def on_epoch_end(self, epoch, logs=None):
            self.seconds, self.bytes = time.perf_counter() - self.start, loopback() - self.bytes

    watch = Watch()
    trs.training.fit_in_step(model, batches, callbacks=[watch], epochs=1, verbose=0)
    steps = int(batches.cardinality()) - SKIPPED
    for batch, targets in batches.take(20):  # a new epoch touches as many rows
        part = slice(worker * ROWS // replicas, (worker + 1) * ROWS // replicas)
        negatives = model.negatives.draw(targets)
        parts = [tf.reshape(ids[part], [-1]) for ids in (batch["items"], targets)]
        touched.append(len(np.unique(np.concatenate([*parts, negatives]))))
    measured = {
        "seconds": watch.seconds,
        "bytes": watch.bytes,
        "steps": steps,
        "events": steps * ROWS * STEPS,
        "rows_touched": float(np.mean(touched)),
        "peak_GB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9,
    }
    Path(os.environ["OUT"]).write_text(json.dumps(measured))
    cluster.wait_for_all(together)


def loopback() -> int:
    """Returns the bytes that this machine, or this network namespace, has sent to itself."""
    (line,) = (line for line in Path("/proc/net/dev").read_text().splitlines() if line.strip().startswith("lo:"))
    return int(line.split(":")[1].split()[0])


if __name__ == "__main__":
    main()
