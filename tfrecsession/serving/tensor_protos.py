"""Conversion of a request's TensorProtos to arrays, and the warm-up requests of an export."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from tfrecsession.serving.refusal import Refusal
from tfrecsession.serving.signature import Signature

WARM_UP = Path("assets.extra") / "tf_serving_warmup_requests"


def arrays_of(tensors: Mapping, signature: Signature, most_bytes: int) -> dict[str, np.ndarray]:
    """Converts TensorProtos to checked arrays, strings as bytes. Raises Refusal."""
    signature.check_names(tensors)
    arrays = {name: _array(name, tensors[name], spec.dtype, most_bytes) for name, spec in signature.inputs.items()}
    signature.check(arrays)
    return arrays


def warm_up(folder: Path, signatures: Mapping[str, Signature]) -> None:
    """Runs the warm-up requests of an export before it answers others; an error is one of the export.

    The file has TensorFlow Serving's format, a TFRecord of PredictionLog. Records of other calls than Predict are
    ignored.
    """
    if not (folder / WARM_UP).is_file():
        return
    for record in tf.data.TFRecordDataset(str(folder / WARM_UP)).as_numpy_iterator():
        request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
        if request.inputs:
            signature = signatures[request.model_spec.signature_name or "serving_default"]
            signature(arrays_of(request.inputs, signature, len(record) * 1000))


def _array(name: str, tensor, dtype: tf.DType, most_bytes: int) -> np.ndarray:
    if tensor.dtype != dtype.as_datatype_enum:
        raise Refusal("INVALID_ARGUMENT", f"input {name!r}: expected {dtype.name}")
    shape = [dim.size for dim in tensor.tensor_shape.dim]
    # One value may fill a tensor of any size: a few bytes must not become terabytes.
    if tensor.tensor_shape.unknown_rank or min(shape, default=0) < 0:
        raise Refusal("INVALID_ARGUMENT", f"input {name!r}: the shape must be known")
    if len(shape) > 32 or math.prod(shape) * (dtype.size or 8) > most_bytes:
        raise Refusal("INVALID_ARGUMENT", f"input {name!r}: larger than {most_bytes:,} bytes")
    try:
        return np.asarray(tf.make_ndarray(tensor)).reshape(shape)
    except (TypeError, ValueError, IndexError) as error:
        raise Refusal("INVALID_ARGUMENT", f"input {name!r}: {error}") from None
