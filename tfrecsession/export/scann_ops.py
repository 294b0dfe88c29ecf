"""Loading of ScaNN's TensorFlow ops."""

from __future__ import annotations

import importlib
import importlib.util

import tensorflow as tf

from tfrecsession.errors import InputError

INSTALL = "pip install 'tfrecsession[scann]'"


def load_scann_ops(wanted_by: str):
    """Returns the module `scann.scann_ops` after registering its ops in this process.

    Args:
        wanted_by: the start of an error's message, such as "index='scann'".

    Raises:
        InputError: ScaNN is not installed, or its ops do not fit this TensorFlow.
    """
    if importlib.util.find_spec("scann") is None:
        raise InputError(f"{wanted_by}: ScaNN is not installed: {INSTALL}")
    try:
        return importlib.import_module("scann.scann_ops.py.scann_ops")
    except (tf.errors.OpError, ImportError, OSError) as error:
        reason = str(error).partition("\n")[0]
        raise InputError(
            f"{wanted_by}: the installed ScaNN does not fit TensorFlow {tf.__version__} ({reason}): {INSTALL}"
        ) from None


def load_ops_of(saved_model, path) -> None:
    """Registers ScaNN's ops if a SavedModel uses them.

    Args:
        saved_model: the proto of `saved_model.pb`.
        path: its folder, for the error.

    Raises:
        InputError: as `load_scann_ops`.
    """
    graphs = [meta_graph.graph_def for meta_graph in saved_model.meta_graphs]
    node_lists = [graph.node for graph in graphs] + [f.node_def for graph in graphs for f in graph.library.function]
    if any(node.op.startswith("Scann>") for nodes in node_lists for node in nodes):
        load_scann_ops(f"{path}: holds a ScaNN index")
