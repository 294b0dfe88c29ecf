"""gRPC transport of the client."""

from __future__ import annotations

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from tfrecsession.errors import InputError
from tfrecsession.serving.client import Again

# the client cancels nothing: a call that is cancelled had a server, or a proxy, that stopped
ONCE_MORE = {"UNAVAILABLE", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED", "ABORTED", "CANCELLED"}
REFUSED = {"INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION", "OUT_OF_RANGE", "UNIMPLEMENTED"}


class Grpc:
    """A gRPC transport; each method makes one attempt and raises as those of `Rest`."""

    def __init__(self, url: str):
        self.url = url
        options = [
            ("grpc.max_receive_message_length", -1),
            ("grpc.initial_reconnect_backoff_ms", 100),  # gRPC's own pause before it reconnects; its default is 1 s
            ("grpc.max_reconnect_backoff_ms", 2000),
        ]
        channel = grpc.insecure_channel(url.partition("://")[2], options)
        self._predictions = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        self._models = model_service_pb2_grpc.ModelServiceStub(channel)

    def predict(self, model, inputs, signature, version, described, *, timeout) -> dict[str, np.ndarray]:
        request = predict_pb2.PredictRequest()
        self._fill(request.model_spec, model, version)
        request.model_spec.signature_name = signature
        for name, value in inputs.items():
            dtype = described["dtypes"].get(name)
            try:
                proto = tf.make_tensor_proto(value, dtype and tf.as_dtype(dtype))
            except (TypeError, ValueError) as error:
                raise InputError(f"{name}: {str(error).splitlines()[0]}") from None
            request.inputs[name].CopyFrom(proto)
        answer = self._ask(self._predictions.Predict, request, timeout)
        return {name: array_of(tensor) for name, tensor in answer.outputs.items()}

    def signatures(self, model, version, *, timeout) -> dict:
        request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        self._fill(request.model_spec, model, version)
        answer = self._ask(self._predictions.GetModelMetadata, request, timeout)
        found = get_model_metadata_pb2.SignatureDefMap()
        answer.metadata["signature_def"].Unpack(found)
        return {
            name: {
                "inputs": {key: sizes(info) for key, info in signature.inputs.items()},
                "outputs": {key: sizes(info) for key, info in signature.outputs.items()},
                "dtypes": {key: info.dtype for key, info in signature.inputs.items()},
            }
            for name, signature in found.signature_def.items()
        }

    def versions(self, model, *, timeout) -> dict[int, str]:
        request = get_model_status_pb2.GetModelStatusRequest()
        self._fill(request.model_spec, model, None)
        answer = self._ask(self._models.GetModelStatus, request, timeout)
        name_of = get_model_status_pb2.ModelVersionStatus.State.Name
        return {status.version: name_of(status.state) for status in answer.model_version_status}

    def _fill(self, spec, model, version) -> None:
        spec.name = model
        if version is not None:
            spec.version.value = version

    def _ask(self, method, request, timeout: float):
        try:
            return method(request, timeout=timeout)
        except grpc.RpcError as error:
            code, text = error.code().name, error.details()
        if code in ONCE_MORE:
            raise Again(text)
        if code in REFUSED:
            raise InputError(f"{self.url} refuses: {text}")
        raise RuntimeError(f"{self.url} answers {code}: {text}")


def sizes(info) -> list[int] | None:
    """Returns the dimensions of a TensorInfo, as `client_rest.sizes`."""
    return None if info.tensor_shape.unknown_rank else [dim.size for dim in info.tensor_shape.dim]


def array_of(tensor) -> np.ndarray:
    """Converts a TensorProto to an array; strings become str where they are UTF-8."""
    array = tf.make_ndarray(tensor)
    if array.dtype != object:
        return array
    texts = np.empty(array.size, object)
    texts[:] = [text_of(value) for value in array.ravel()]
    return texts.reshape(array.shape)


def text_of(value: bytes) -> str | bytes:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value
