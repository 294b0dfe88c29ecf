"""The script of a worker in test_workers.py: `python -m tests.training.in_step DATA OUT`, alone or with a TF_CONFIG.

With LOGICAL_CPUS=2 one process has two devices; with DATA_MEMORY the data is read from its files. It writes weights,
optimizer states and histories to OUT.
"""

import json
import os
import sys

import keras
import numpy as np
import tensorflow as tf

import tfrecsession as trs
from tfrecsession import InputError, training
from tfrecsession.batches import out_of_core
from tfrecsession.training import cluster, workers

SETTINGS = {"units": [8], "rows": 16, "steps": 8, "negatives": 32, "epochs": 2, "dropout": 0.0, "decay": "linear"}
TRAINED = {
    "trend": {"trend": [0.5, 3], "trend_every": 0.5},
    "adagrad": {"learning_rate": 0.05, "momentum": 0.3, "clipnorm": 0.05, "loss": "bpr_max"},
    "adam": {"learning_rate": 0.003, "optimizer": "adam"},
}


def without_validation(data):
    nothing = data.validation.only(np.zeros(len(data.validation), bool))
    return trs.batches.Data(data.items, data.train, nothing, data.test, data.info)


def reads_of(model, data):
    """Returns the operations of a step that read the whole item table, or an optimizer table of its shape."""
    together = model.distribute_strategy
    batches = data.train.batches(rows=16, steps=8, context=model.training_context)
    batch = next(iter(workers._shares(batches, together)))
    step = tf.function(lambda batch: together.run(model.train_step, args=(batch,)), autograph=False)
    graph = step.get_concrete_function(batch).graph
    table = model.output_items.table.shape
    reads = [op for op in graph.get_operations() if op.type == "ReadVariableOp" and op.outputs[0].shape == table]
    assert any(op.type == "ResourceGather" for op in graph.get_operations())
    return [op.name for op in reads]


def read_shards():
    """Returns a list to which every shard is added that is read into a window from now on."""
    found, read = [], out_of_core._Stream._window

    def window(stream, shards, *number):
        found.extend([str(shard.part), shard.group] for shard in shards)
        return read(stream, shards, *number)

    out_of_core._Stream._window = window
    return found


def main(data, out):
    if number_of_cpus := int(os.environ.get("LOGICAL_CPUS", "0")):
        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * number_of_cpus)
    together = training.strategy()
    worker = cluster.worker_of(together)
    data, found = trs.load(data), {"shards": read_shards()}
    memory = int(os.environ.get("DATA_MEMORY", "0")) or None
    try:
        cluster.check_alike(together, {"model": "gru4rec", "seed": worker, "learning_rate": 0.1 + worker})
    except InputError as error:
        found["refused"] = str(error)
    cluster.check_alike(together, {"model": "gru4rec", "seed": 1})
    arrays = {}
    for name, own in TRAINED.items():
        keras.utils.set_random_seed(1)
        settings = training.settings_of("gru4rec", SETTINGS, own)
        with together.scope():
            model = training.build("gru4rec", data.items, settings)
        without = trs.batches.Data(
            data.items, data.train, data.train.only(np.zeros(len(data.train), bool)), data.test, {}
        )
        validated = data if name == "adagrad" and together.num_replicas_in_sync > 1 else without
        found[name] = training.fit(model, validated, settings, seed=1, data_memory=memory)
        for number, variable in enumerate([*model.weights, *model.optimizer.variables]):
            arrays[f"{name} {number} {variable.path}"] = np.asarray(variable)
        if name == "adagrad" and together.num_replicas_in_sync > 1 and worker == 0:
            model.save(f"{out}.keras")
        if number_of_cpus:
            found["whole_tables_read"] = reads_of(model, data)
    cluster.wait_for_all(together)
    np.savez(f"{out}.npz", **arrays)
    with open(f"{out}.json", "w") as file:
        json.dump(found, file)


if __name__ == "__main__":
    main(*sys.argv[1:])
