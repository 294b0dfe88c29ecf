"""ScaNN's TensorFlow ops, loaded where they are wanted."""

from __future__ import annotations

import importlib
import importlib.util

import tensorflow as tf

from tfrecsession.errors import InputError

INSTALL = "pip install 'tfrecsession[scann]'"


def load_scann_ops(wanted_by: str):
    """The module `scann.scann_ops`, with its ops registered in this process.

    Args:
        wanted_by: what begins an error's message.

    Raises:
        InputError: ScaNN is not installed, or its ops do not fit this TensorFlow.
    """
    if importlib.util.find_spec("scann") is None:
        raise InputError(f"{wanted_by}: ScaNN is not installed: {INSTALL}")
    try:
        return importlib.import_module("scann.scann_ops.py.scann_ops")
    except (tf.errors.OpError, ImportError, OSError) as error:
        why = str(error).partition("\n")[0]
        raise InputError(
            f"{wanted_by}: the ScaNN that is installed does not fit TensorFlow {tf.__version__} ({why}): {INSTALL}"
        ) from None


def load_ops_of(saved_model, path) -> None:
    """Register what a SavedModel needs beside TensorFlow's own ops, as far as that is ScaNN.

    Args:
        saved_model: the proto of `saved_model.pb`.
        path: where it is, for the error.

    Raises:
        InputError: as `load_scann_ops`.
    """
    graphs = [meta_graph.graph_def for meta_graph in saved_model.meta_graphs]
    nodes = [graph.node for graph in graphs] + [f.node_def for graph in graphs for f in graph.library.function]
    if any(node.op.startswith("Scann>") for some in nodes for node in some):
        load_scann_ops(f"{path}: holds a ScaNN index")
