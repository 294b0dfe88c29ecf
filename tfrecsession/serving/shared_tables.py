"""Large variables of SavedModels in files that several processes map, so that memory holds them once."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import trackable_object_graph_pb2

log = logging.getLogger("tfrecsession.serving")
LEAST_BYTES = 1 << 20  # of a variable that is worth a file
OBJECTS = "_CHECKPOINTABLE_OBJECT_GRAPH"  # the key of a checkpoint's object graph
BUNDLE = "variables/variables"
WHOLE = "whole"  # a file that says that all others are there


class SharedTables:
    """A folder with the large variables of SavedModels, which all processes of a server map.

    The first process that loads a version writes them. Pages are copied when a process writes to them: what a model
    counts while it serves stays with its process.

    Args:
        folder: an existing folder; whoever starts the processes removes it after them.
    """

    def __init__(self, folder: str | os.PathLike):
        self.folder = Path(folder)

    def load(self, name: str, number: int, path: Path, files: frozenset):
        """Loads a SavedModel as `tf.saved_model.load` does.

        One whose checkpoint holds more than the variables that its objects lead to is loaded without sharing. So is
        every one, with a warning, when the folder cannot be written.

        Args:
            name, number: of the model and its version.
            path: its folder.
            files: its files, see `model_folder.files_of`; a version whose files were rewritten is another one.
        """
        plain = {"export_dir": str(path), "tags": ["serve"]}
        reader = tf.train.load_checkpoint(str(path / BUNDLE)) if (path / f"{BUNDLE}.index").is_file() else None
        objects = objects_of(reader)
        if objects is None:
            return tf.saved_model.load(**plain)
        own = self._of(name, number) / hashlib.sha256(repr(sorted(files)).encode()).hexdigest()[:16]
        try:
            shared = kept(own, reader)
        except OSError as error:
            shutil.rmtree(own, ignore_errors=True)
            log.warning("%s: tables cannot be shared (%s), each process holds its own", self.folder, error.strerror)
            return tf.saved_model.load(**plain)
        skipping = tf.saved_model.LoadOptions(experimental_skip_checkpoint=True)
        loaded = tf.saved_model.load(**plain, options=skipping)
        variables = dict(variables_of(loaded, objects))
        if variables.keys() != keys_of(objects):
            return tf.saved_model.load(**plain)
        for key, variable in variables.items():
            variable.assign(mapped(shared[key], reader, key) if key in shared else reader.get_tensor(key))
        return loaded

    def drop(self, name: str, number: int) -> None:
        """Removes the files of a version that is gone. A process that has mapped them keeps them until it ends."""
        shutil.rmtree(self._of(name, number), ignore_errors=True)

    def _of(self, name: str, number: int) -> Path:
        return self.folder / name / str(number)


def objects_of(reader):
    """Returns the object graph of a checkpoint; None if there is none, or one with more than variables."""
    if reader is None or not reader.has_tensor(OBJECTS):
        return None
    objects = trackable_object_graph_pb2.TrackableObjectGraph.FromString(reader.get_tensor(OBJECTS))
    known = all(attribute.name == "VARIABLE_VALUE" for node in objects.nodes for attribute in node.attributes)
    return objects if known else None


def keys_of(objects) -> set[str]:
    return {attribute.checkpoint_key for node in objects.nodes for attribute in node.attributes}


def variables_of(loaded, objects) -> Iterator[tuple[str, tf.Variable]]:
    """Yields the key in the checkpoint and the variable of a loaded SavedModel, for all that its objects lead to."""
    view, found = tf.train.TrackableView(loaded), {0: loaded}
    waiting = [0]
    while waiting:
        node = waiting.pop()
        for attribute in objects.nodes[node].attributes:
            yield attribute.checkpoint_key, found[node]
        children = view.children(found[node])
        for child in objects.nodes[node].children:
            if child.node_id not in found and child.local_name in children:
                found[child.node_id] = children[child.local_name]
                waiting.append(child.node_id)


def kept(folder: Path, reader) -> dict[str, Path]:
    """Returns key -> file of the large variables of a checkpoint; writes the files unless another process has."""
    import fcntl  # a system without it has no ports that processes share

    kinds, shapes = reader.get_variable_to_dtype_map(), reader.get_variable_to_shape_map()
    sizes = {key: int(np.prod(shapes[key])) * kind.size for key, kind in kinds.items() if kind.is_numeric}
    files = {key: folder / str(number) for number, key in enumerate(sorted(sizes)) if sizes[key] >= LEAST_BYTES}
    folder.mkdir(parents=True, exist_ok=True)
    opened = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX)  # until the process that writes is done, or dies
        if not (folder / WHOLE).exists():
            for key, file in files.items():
                reader.get_tensor(key).tofile(file)
            (folder / WHOLE).touch()
            for other in folder.parent.iterdir():
                if other != folder:
                    shutil.rmtree(other, ignore_errors=True)  # of the files before they were rewritten
    finally:
        os.close(opened)
    return files


def mapped(file: Path, reader, key: str) -> tf.Tensor:
    """Returns the tensor in a file without reading it."""
    kind, shape = reader.get_variable_to_dtype_map()[key], reader.get_variable_to_shape_map()[key]
    plain = np.uint16 if kind == tf.bfloat16 else kind.as_numpy_dtype  # DLPack of NumPy has no bfloat16
    array = np.memmap(file, plain, "c", shape=tuple(shape))
    tensor = tf.experimental.dlpack.from_dlpack(array.__dlpack__())
    return tf.bitcast(tensor, kind) if kind == tf.bfloat16 else tensor
