"""TensorProtos of a request -> arrays, and the requests that come with an export to warm it up."""

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
    """Checked arrays, strings as bytes. Raises Refusal."""
    signature.check_names(tensors)
    arrays = {name: _array(name, tensors[name], spec.dtype, most_bytes) for name, spec in signature.inputs.items()}
    signature.check(arrays)
    return arrays


def warm_up(folder: Path, signatures: Mapping[str, Signature]) -> None:
    """Ask what the export wants to be asked before the first visitor comes; an error is one of the export.

    The file is TensorFlow Serving's, a TFRecord of PredictionLog; records of other calls than Predict are passed over.
    """
    if not (folder / WARM_UP).is_file():
        return
    for record in tf.data.TFRecordDataset(str(folder / WARM_UP)).as_numpy_iterator():
        asked = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
        if asked.inputs:
            signature = signatures[asked.model_spec.signature_name or "serving_default"]
            signature(arrays_of(asked.inputs, signature, len(record) * 1000))


def _array(name: str, tensor, dtype: tf.DType, most_bytes: int) -> np.ndarray:
    if tensor.dtype != dtype.as_datatype_enum:
        raise Refusal("INVALID_ARGUMENT", f"input {name!r}: expected {dtype.name}")
    shape = [dim.size for dim in tensor.tensor_shape.dim]
    # One value may stand for a tensor of any size: a few bytes must not become terabytes.
    if tensor.tensor_shape.unknown_rank or min(shape, default=0) < 0:
        raise Refusal("INVALID_ARGUMENT", f"input {name!r}: the shape has to be known")
    if len(shape) > 32 or math.prod(shape) * (dtype.size or 8) > most_bytes:
        raise Refusal("INVALID_ARGUMENT", f"input {name!r}: larger than {most_bytes:,} bytes")
    try:
        return np.asarray(tf.make_ndarray(tensor)).reshape(shape)
    except (TypeError, ValueError, IndexError) as error:
        raise Refusal("INVALID_ARGUMENT", f"input {name!r}: {error}") from None
