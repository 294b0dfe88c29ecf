"""TensorFlow Serving's gRPC services, `PredictionService` and `ModelService`, on its own messages."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable

import grpc
import tensorflow as tf
from google.protobuf.message import DecodeError, Message
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2, predict_pb2

from tfrecsession.serving.refusal import Refusal
from tfrecsession.serving.tensor_protos import arrays_of

log = logging.getLogger("tfrecsession.serving")


def grpc_server(models, batcher, meters, most_bytes: int, reuse_port: bool = False) -> grpc.aio.Server:
    """Returns a server, not yet listening, for a ModelFolder, a Batcher and Meters.

    Messages above `most_bytes` are refused. With `reuse_port`, other processes may listen at the same port.
    """
    options = [
        ("grpc.max_receive_message_length", most_bytes),
        ("grpc.max_send_message_length", -1),
        (
            "grpc.so_reuseport",
            int(reuse_port),
        ),  # otherwise two servers could share a port, and each would get half of the requests
    ]
    server = grpc.aio.server(options=options)
    prediction, status = Prediction(models, batcher, meters, most_bytes), Status(models, meters)
    metadata = get_model_metadata_pb2.GetModelMetadataRequest
    server.add_generic_rpc_handlers(
        [
            service(
                "PredictionService",
                Predict=(prediction.Predict, predict_pb2.PredictRequest),
                GetModelMetadata=(prediction.GetModelMetadata, metadata),
            ),
            service("ModelService", GetModelStatus=(status.GetModelStatus, get_model_status_pb2.GetModelStatusRequest)),
        ]
    )
    return server


def service(name: str, **methods) -> grpc.GenericRpcHandler:
    """Returns the handler that generated code would have, with a client's error for messages that cannot be parsed.

    gRPC itself would report them as an error of the server.
    """

    def reader(kind: type[Message]):
        def read(data: bytes) -> Message | Refusal:
            try:
                return kind.FromString(data)
            except DecodeError as error:
                return Refusal("INVALID_ARGUMENT", f"not a {kind.DESCRIPTOR.full_name}: {error}")

        return read

    handlers = {
        method: grpc.unary_unary_rpc_method_handler(work, reader(kind), lambda answer: answer.SerializeToString())
        for method, (work, kind) in methods.items()
    }
    return grpc.method_handlers_generic_handler(f"tensorflow.serving.{name}", handlers)


class Counted:
    """Base of the services: counts answers and turns a Refusal into its gRPC status.

    Any other exception becomes INTERNAL and a log entry.
    """

    async def answered(
        self, request: Message | Refusal, context, work: Callable[[Message], Awaitable[Message]]
    ) -> Message:
        started, code, message, model = time.perf_counter(), "OK", "", ""
        try:
            if isinstance(request, Refusal):
                raise request
            model = request.model_spec.name
            return await work(request)
        except Refusal as refusal:
            code, message = refusal.code, refusal.message
        except Exception:
            log.exception(type(request).__name__)
            code, message = "INTERNAL", "internal error, see the server's log"
        finally:
            self.meters.count(model, "grpc", code, time.perf_counter() - started)
        await context.abort(grpc.StatusCode[code], message)


class Prediction(Counted):
    """Predict and GetModelMetadata. Classify, Regress and MultiInference take `tf.Example`; they are UNIMPLEMENTED."""

    def __init__(self, models, batcher, meters, most_bytes: int):
        self.models, self.batcher, self.meters, self.most_bytes = models, batcher, meters, most_bytes

    async def Predict(self, request, context):
        return await self.answered(request, context, self._predict)

    async def GetModelMetadata(self, request, context):
        return await self.answered(request, context, self._metadata)

    async def _predict(self, request):
        version = self.models.find(request.model_spec.name, requested_version(request.model_spec))
        signature = version.signature(request.model_spec.signature_name)
        names = request.output_filter or signature.outputs
        for name in names:
            if name not in signature.outputs:
                among = ",".join(sorted(signature.outputs))
                text = f"output tensor alias not found in signature: {name} Outputs expected to be in the set"
                raise Refusal("INVALID_ARGUMENT", f"{text} {{{among}}}.")
        arrays = arrays_of(request.inputs, signature, self.most_bytes)
        answers = await self.batcher.answer(signature, arrays)
        response = predict_pb2.PredictResponse()
        fill(response.model_spec, version, signature.name)
        for name in names:
            tensor = tf.make_tensor_proto(answers[name], signature.outputs[name].dtype, answers[name].shape)
            response.outputs[name].CopyFrom(tensor)
        return response

    async def _metadata(self, request):
        for field in request.metadata_field or [""]:
            if field != "signature_def":
                raise Refusal("INVALID_ARGUMENT", f"metadata_field {field!r}: must be 'signature_def'")
        version = self.models.find(request.model_spec.name, requested_version(request.model_spec))
        signatures = get_model_metadata_pb2.SignatureDefMap()
        for name, signature in version.signature_def.items():
            signatures.signature_def[name].CopyFrom(signature)
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        fill(response.model_spec, version)
        response.metadata["signature_def"].Pack(signatures)
        return response


class Status(Counted):
    """GetModelStatus. HandleReloadConfigRequest is UNIMPLEMENTED: the folder determines the models."""

    def __init__(self, models, meters):
        self.models, self.meters = models, meters

    async def GetModelStatus(self, request, context):
        return await self.answered(request, context, self._status)

    async def _status(self, request):
        response = get_model_status_pb2.GetModelStatusResponse()
        states = get_model_status_pb2.ModelVersionStatus.State
        for version in self.models.states(request.model_spec.name, requested_version(request.model_spec)):
            status = response.model_version_status.add(version=version.number, state=states.Value(version.state))
            if version.error:
                status.status.error_code, status.status.error_message = tf.errors.UNKNOWN, version.error
        return response


def requested_version(spec) -> int | None:
    if spec.HasField("version"):
        return spec.version.value
    if spec.HasField("version_label"):
        raise Refusal("INVALID_ARGUMENT", f"Unrecognized servable version label: {spec.version_label}")
    return None


def fill(spec, version, signature: str = "") -> None:
    spec.name, spec.version.value, spec.signature_name = version.name, version.number, signature
