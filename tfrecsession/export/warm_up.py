"""Requests that TensorFlow Serving plays to itself before it takes the first one: `tf_serving_warmup_requests`.

A TFRecord file of PredictionLog messages. They are written by hand: the classes for them come with
`tensorflow-serving-api`, which brings gRPC along and which nobody needs to export a model. The numbers are those of
`tensorflow_serving/apis/{prediction_log,predict,model}.proto`; the tests read the file with the real classes.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tensorflow as tf

SHAPES = ((1, 1), (4, 10))  # rows and events of the requests for each signature


def write_warm_up(model, signatures: dict, folder: Path, name: str) -> None:
    """Two requests for every signature, of popular items.

    Args:
        model: a Recommender.
        signatures: name -> tf.function, of its export.
        folder: the export's `assets.extra`.
        name: what the model will be called; the server does not look at it.
    """
    with tf.io.TFRecordWriter(str(folder / "tf_serving_warmup_requests")) as file:
        for signature in signatures:
            for rows, events in SHAPES:
                file.write(_log(name, signature, example(model, signatures[signature], rows, events)))


def example(model, signature, rows: int, events: int) -> dict[str, np.ndarray]:
    """What one may ask a signature: an array for each input, of `rows` rows."""
    width_of = {"user_state": model.user_width} if "user_states" in model.abilities else {}
    if "advance" in model.abilities:
        width_of["state"] = model.initial_state().shape[1]
    items = np.resize(model.items.ids.astype(object), (rows, events))
    if events > 1:
        items[:, -1] = ""
    made = {}
    for spec in signature.input_signature:
        if spec.name == "users":
            made["users"] = np.resize(model.users, rows)
        elif spec.dtype == tf.float32:
            made[spec.name] = np.zeros((rows, width_of[spec.name]), np.float32)
        elif spec.dtype == tf.int32:  # one session after the other
            made[spec.name] = np.tile(np.arange(events, dtype=np.int32) // 4, (rows, 1))
        elif spec.name == "only":
            made["only"] = np.full((rows, 1), "", object)
        elif spec.name == "exclude":
            made["exclude"] = items[:, :1]
        else:
            made[spec.name] = items if len(spec.shape) == 2 else items[:, 0]
    return made


def _log(name: str, signature: str, inputs: dict[str, np.ndarray]) -> bytes:
    """A serialized PredictionLog."""
    spec = _field(1, name.encode()) + _field(3, signature.encode())  # ModelSpec: name, signature_name
    tensors = b"".join(  # PredictRequest: inputs, a map of string to TensorProto
        _field(2, _field(1, key.encode()) + _field(2, tf.make_tensor_proto(value).SerializeToString()))
        for key, value in inputs.items()
    )
    request = _field(1, spec) + tensors
    return _field(6, _field(1, request))  # PredictionLog: predict_log; PredictLog: request


def _field(number: int, content: bytes) -> bytes:
    """A field of a protobuf message that holds bytes, a string or a message."""
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    """Seven bits a byte, the lowest first, all but the last with the eighth bit set."""
    low = [number >> shift & 0x7F for shift in range(0, max(number.bit_length(), 1), 7)]
    return bytes([*(byte | 0x80 for byte in low[:-1]), low[-1]])
