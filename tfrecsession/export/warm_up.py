"""Warm-up requests that TensorFlow Serving runs before it accepts others: `tf_serving_warmup_requests`.

A TFRecord file of PredictionLog messages, serialized here by hand: their classes are in `tensorflow-serving-api`, which
depends on gRPC, and an export should not need it. The field numbers are those of
`tensorflow_serving/apis/{prediction_log,predict,model}.proto`; the tests read the file with the real classes.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tensorflow as tf

SHAPES = ((1, 1), (4, 10))  # rows and events of the requests for each signature


def write_warm_up(model, signatures: dict, folder: Path, name: str) -> None:
    """Writes two requests for every signature, with popular items.

    Args:
        model: a Recommender.
        signatures: name -> tf.function, the signatures of its export.
        folder: the export's `assets.extra`.
        name: the name that the model will be served as; the server ignores it.
    """
    with tf.io.TFRecordWriter(str(folder / "tf_serving_warmup_requests")) as file:
        for signature in signatures:
            for rows, events in SHAPES:
                file.write(_log(name, signature, example(model, signatures[signature], rows, events)))


def example(model, signature, rows: int, events: int) -> dict[str, np.ndarray]:
    """Returns a valid request for a signature: an array of `rows` rows for each input."""
    width_of = {"user_state": model.user_width} if "user_states" in model.abilities else {}
    if "advance" in model.abilities:
        width_of["state"] = model.initial_state().shape[1]
    items = np.resize(model.items.ids.astype(object), (rows, events))
    if events > 1:
        items[:, -1] = ""
    inputs = {}
    for spec in signature.input_signature:
        if spec.name == "users":
            inputs["users"] = np.resize(model.users, rows)
        elif spec.name.startswith(("context_", "request_")):  # missing
            inputs[spec.name] = np.full((rows, events)[: len(spec.shape)], "", object)
        elif spec.dtype == tf.float32:
            inputs[spec.name] = np.zeros((rows, width_of[spec.name]), np.float32)
        elif spec.dtype == tf.int32:  # sessions of four events
            inputs[spec.name] = np.tile(np.arange(events, dtype=np.int32) // 4, (rows, 1))
        elif spec.name == "only":
            inputs["only"] = np.full((rows, 1), "", object)
        elif spec.name == "rules":
            inputs["rules"] = np.full((rows, 1), "popularity\t0.1", object)
        elif spec.name == "exclude":
            inputs["exclude"] = items[:, :1]
        else:
            inputs[spec.name] = items if len(spec.shape) == 2 else items[:, 0]
    return inputs


def _log(name: str, signature: str, inputs: dict[str, np.ndarray]) -> bytes:
    """Returns a serialized PredictionLog."""
    spec = _field(1, name.encode()) + _field(3, signature.encode())  # ModelSpec: name, signature_name
    tensors = b"".join(  # PredictRequest: inputs, a map of string to TensorProto
        _field(2, _field(1, key.encode()) + _field(2, tf.make_tensor_proto(value).SerializeToString()))
        for key, value in inputs.items()
    )
    request = _field(1, spec) + tensors
    return _field(6, _field(1, request))  # PredictionLog: predict_log; PredictLog: request


def _field(number: int, content: bytes) -> bytes:
    """Returns a field of a protobuf message that holds bytes, a string or a message."""
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    """Returns a varint: seven bits per byte, lowest first, with the eighth bit set in all bytes but the last."""
    low = [number >> shift & 0x7F for shift in range(0, max(number.bit_length(), 1), 7)]
    return bytes([*(byte | 0x80 for byte in low[:-1]), low[-1]])
