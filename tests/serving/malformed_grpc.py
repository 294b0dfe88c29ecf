"""Malformed gRPC calls by seed: `grpc(seed)`."""

from __future__ import annotations

import random
from dataclasses import dataclass

from tensorflow.core.framework import types_pb2
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2, predict_pb2

from tests.serving.malformed_json import MOST_BYTES, MOST_ROWS, STATE, USER_STATE, text

PREDICT = "/tensorflow.serving.PredictionService/Predict"


@dataclass
class Grpc:
    """Attributes:
    kind: name of the malformation.
    method, data, metadata: of the call.
    compressed: whether data is compressed with gzip.
    """

    kind: str
    method: str
    data: bytes
    metadata: tuple = ()
    compressed: bool = False


def predict_request(signature="", model="gru4rec", **tensors) -> predict_pb2.PredictRequest:
    message = predict_pb2.PredictRequest()
    message.model_spec.name, message.model_spec.signature_name = model, signature
    for name, fields in tensors.items():
        fill(message.inputs[name], **fields)
    return message


def fill(tensor, dtype, shape, **values) -> None:
    tensor.dtype = dtype
    for size in shape:
        tensor.tensor_shape.dim.add(size=size)
    for name, value in values.items():
        if isinstance(value, bytes):
            setattr(tensor, name, value)
        else:
            getattr(tensor, name).extend(value)


def strings(shape, values=(b"item-1",)) -> dict:
    return {"dtype": types_pb2.DT_STRING, "shape": shape, "string_val": list(values)}


def floats(shape, **values) -> dict:
    return {"dtype": types_pb2.DT_FLOAT, "shape": shape, **(values or {"float_val": [0.0]})}


def wrong_dtype(r):
    dtype = r.choice([dtype for dtype in types_pb2.DataType.values() if dtype != types_pb2.DT_STRING])
    field = r.choice(
        [{"float_val": [1.0]}, {"int_val": [1]}, {"tensor_content": b"12345678"}, {"string_val": [b"a"]}, {}]
    )
    return predict_request(items={"dtype": dtype, "shape": (1, 1), **field})


def wrong_shape(r):
    shape = r.choice(
        [(), (1,), (1, 1, 1), (-1, 1), (1, -1), (2**31, 2**31), (2**62, 4), (2**63 - 1, 2**63 - 1), (10**12, 1),
         (1,) * 300,         (0, 2**63 - 1), (2**40, 0, 1), (-(2**63), 1), (2**32 + 1, 2**32)]
    )  # fmt: skip
    return predict_request(items=strings(shape))


def unknown_rank(r):
    message = predict_request(items=strings(()))
    message.inputs["items"].tensor_shape.unknown_rank = True
    return message


def wrong_size(r):
    """Has more or fewer values than the shape."""
    if r.random() < 0.5:
        return predict_request(items=strings((1, 2), [b"a"] * r.choice([3, 5, 100])))
    return predict_request(
        "advance", items=strings((1,)), state=floats((1, STATE), tensor_content=bytes(r.choice([1, 3, 4, 31, 33, 64])))
    )


def string_content(r):
    """Puts random bytes into `tensor_content`, where each string must follow its length."""
    tensor = {
        "dtype": types_pb2.DT_STRING,
        "shape": (1, r.choice([2, 8])),
        "tensor_content": r.randbytes(r.choice([1, 7, 50])),
    }
    return predict_request(items=tensor)


def grpc_state(r):
    value = r.choice([float("nan"), float("inf"), -float("inf")])
    values = [0.0] * STATE
    values[r.randrange(STATE)] = value
    good = floats((1, STATE), float_val=values)
    wide = floats((1, r.choice([0, 1, STATE + 1, 10**6])))
    return predict_request(
        "advance", items=strings((1,)), state=r.choice([good, wide, floats((2, STATE)), floats((STATE,))])
    )


def grpc_user_state(r):
    values = [r.choice([float("nan"), float("inf")])] * USER_STATE
    tensor = r.choice([floats((1, USER_STATE), float_val=values), floats((1, USER_STATE + 1)), floats((3, USER_STATE))])
    return predict_request("with_user", "hrnn", items=strings((1, 1)), user_state=tensor)


def grpc_rows(r):
    return predict_request("", items=strings((r.randrange(MOST_ROWS + 1, 100_000), 1)))


def grpc_long_id(r):
    return predict_request(items=strings((1, 1), [b"a" * 2 ** r.randrange(17, 20)]))


def nothing(r):
    return r.choice([predict_pb2.PredictRequest(), predict_request(), predict_request("advance", items=strings((1,)))])


def other_inputs(r):
    return predict_request(items=strings((1, 1)), **{r.choice(["k", "", "item", text(r)]): strings((1, 1))})


def other_model(r):
    names = ["", "none", "..", "../gru4rec", "gru4rec/1", "gru4rec\0", "a" * 10**6, text(r)]
    return predict_request(model=r.choice(names), items=strings((1, 1)))


def other_signature(r):
    return predict_request(r.choice([text(r), "a" * 10**6, "__saved_model_init_op"]), items=strings((1, 1)))


def other_version(r):
    message = predict_request(items=strings((1, 1)))
    if r.random() < 0.5:
        message.model_spec.version.value = r.choice([0, -1, 3, 2**63 - 1, -(2**63)])
    else:
        message.model_spec.version_label = text(r)
    return message


def other_outputs(r):
    message = predict_request(items=strings((1, 1)))
    message.output_filter.extend(r.choice([["no"], ["items", "no"], ["no"] * 100_000, ["a" * 10**6]]))
    return message


def not_protobuf(r):
    good = predict_request(items=strings((1, 1), [b"item-1"] * 2)).SerializeToString()
    if r.random() < 0.5:
        return b"\xff" + r.randbytes(r.choice([1, 10, 1000, 100_000]))
    return good[: r.randrange(len(good) - 8, len(good))]


def deep_protobuf(r):
    """Nests groups, all of them unknown fields."""
    return b"\xf3\x01" * r.randrange(200, 100_000)


def bad_strings(r):
    good = predict_request(items=strings((1, 1))).SerializeToString()
    return good.replace(b"gru4rec", b"gru\xff\xferc")


def too_large(r):
    return bytes(MOST_BYTES + r.choice([1, 1000, 10**6]))


PREDICTIONS = [
    wrong_dtype, wrong_shape, unknown_rank, wrong_size, string_content, grpc_state, grpc_user_state, grpc_rows,
    grpc_long_id, nothing, other_inputs, other_model, other_signature, other_version, other_outputs,
    not_protobuf, deep_protobuf, bad_strings, too_large,
]  # fmt: skip


def grpc(seed: int) -> Grpc:
    r = random.Random(seed)
    draw = r.random()
    if draw < 0.05:  # unknown methods
        name = r.choice(["/", "/a/b", PREDICT + "x", PREDICT.lower(), "/tensorflow.serving.PredictionService/Classify"])
        return Grpc("other_method", name, b"")
    if draw < 0.1:  # headers above gRPC's limits
        data = predict_request(items=strings((1, 1))).SerializeToString()
        many = r.choice([[("x", "a" * 20_000)], [(f"x{n}", "a" * 100) for n in range(500)]])
        return Grpc("metadata", PREDICT, data, tuple(many))
    if draw < 0.13:  # small when sent, too large when decompressed
        return Grpc("compressed", PREDICT, bytes(MOST_BYTES * 5), compressed=True)
    if draw < 0.2:
        service = r.choice(
            [
                ("/tensorflow.serving.ModelService/GetModelStatus", get_model_status_pb2.GetModelStatusRequest()),
                (
                    "/tensorflow.serving.PredictionService/GetModelMetadata",
                    get_model_metadata_pb2.GetModelMetadataRequest(),
                ),
            ]
        )
        message = service[1]
        message.model_spec.name = r.choice(["", "none", "a" * 10**5, ".."])
        data = r.choice([message.SerializeToString(), b"\xff" + r.randbytes(20)])
        return Grpc("other_services", service[0], data)
    make = r.choice(PREDICTIONS)
    message = make(r)
    return Grpc(make.__name__, PREDICT, message if isinstance(message, bytes) else message.SerializeToString())
