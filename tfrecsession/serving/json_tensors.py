"""Conversion between arrays and TensorFlow Serving's JSON (https://www.tensorflow.org/tfx/serving/api_rest)."""

from __future__ import annotations

import base64
import binascii
import json

import numpy as np
import tensorflow as tf

from tfrecsession.serving.refusal import Refusal
from tfrecsession.serving.signature import Signature


def parse(body: bytes) -> dict:
    """Parses the JSON object of a request. NaN and Infinity are numbers, as for TensorFlow Serving.

    Duplicate and unknown keys are refused, because the sender expects something else to happen: TensorFlow Serving uses
    the first of duplicate keys and ignores unknown ones.
    """
    try:
        text = body.decode()  # json.loads(bytes) would accept UTF-16 and UTF-32
        request = json.loads(text, object_pairs_hook=_object)
    except RecursionError:
        raise Refusal("INVALID_ARGUMENT", "JSON Parse error: nested too deeply") from None
    except ValueError as error:  # from JSON, Unicode, or numbers of thousands of digits
        raise Refusal("INVALID_ARGUMENT", f"JSON Parse error: {error}") from None
    if not isinstance(request, dict):
        raise Refusal("INVALID_ARGUMENT", "JSON Parse error: the request must be an object")
    name = request.get("signature_name", "")
    if not isinstance(name, str):
        raise Refusal("INVALID_ARGUMENT", "'signature_name' must be a string")
    if ("instances" in request) == ("inputs" in request):
        raise Refusal("INVALID_ARGUMENT", "expecting exactly one of the keys 'instances' and 'inputs'")
    for key in request:
        if key not in ("signature_name", "instances", "inputs"):
            text = f"key {key[:100]!r}: must be 'signature_name', 'instances' or 'inputs'"
            raise Refusal("INVALID_ARGUMENT", text)
    return request


def arrays_of(request: dict, signature: Signature) -> dict[str, np.ndarray]:
    """Converts `instances` (a list of rows) or `inputs` (a tensor per name) to checked arrays, strings as bytes."""
    if "instances" in request:
        named = _columns(request["instances"], signature)
    else:
        named = request["inputs"]
        if not _is_named(named):
            named = {_only(signature, "inputs"): named}
    signature.check_names(named)
    arrays = {name: _array(named[name], name, spec) for name, spec in signature.inputs.items()}
    signature.check(arrays)
    return arrays


def answer_of(answers: dict[str, np.ndarray], by_row: bool) -> dict:
    """Converts arrays to `predictions`, a value or an object per row, or to `outputs`. A single output has no name."""
    lists = {name: _json(array, name) for name, array in answers.items()}
    if not by_row:
        return {"outputs": lists if len(lists) > 1 else next(iter(lists.values()))}
    sizes = {array.shape[:1] for array in answers.values()}
    if len(sizes) > 1 or () in sizes:
        raise Refusal("INVALID_ARGUMENT", "the outputs have no common rows: send 'inputs' instead of 'instances'")
    if len(lists) == 1:
        return {"predictions": next(iter(lists.values()))}
    return {"predictions": [dict(zip(lists, row, strict=True)) for row in zip(*lists.values(), strict=True)]}


def _object(pairs: list[tuple]) -> dict:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("duplicate key in an object")
    return found


def _columns(rows, signature: Signature) -> dict:
    if not isinstance(rows, list) or not rows:
        raise Refusal("INVALID_ARGUMENT", "'instances' must be a list of at least one row")
    if not _is_named(rows[0]):
        return {_only(signature, "instances"): rows}
    for row in rows:
        if not _is_named(row) or row.keys() != rows[0].keys():
            raise Refusal("INVALID_ARGUMENT", "'instances': all rows must be objects with the same names")
    return {name: [row[name] for row in rows] for name in rows[0]}


def _only(signature: Signature, key: str) -> str:
    if len(signature.inputs) != 1:
        names = ", ".join(signature.inputs)
        raise Refusal("INVALID_ARGUMENT", f"{key!r}: signature {signature.name!r} has the inputs {names}: name them")
    return next(iter(signature.inputs))


def _is_named(value) -> bool:
    return isinstance(value, dict) and value.keys() != {"b64"}


def _array(value, name: str, spec: tf.TensorSpec) -> np.ndarray:
    """Converts nested lists to an array of the signature's type; the lists of one level must have one length."""
    shape, level = [], [value]
    while level and isinstance(level[0], list):
        if spec.shape.rank is not None and len(shape) == spec.shape.rank:
            raise Refusal("INVALID_ARGUMENT", f"input {name!r} is nested deeper than its {spec.shape.rank} dimensions")
        size = len(level[0])
        if any(not isinstance(values, list) or len(values) != size for values in level):
            raise Refusal("INVALID_ARGUMENT", f"input {name!r}: the lists must have one length: pad them")
        shape.append(size)
        level = [value for values in level for value in values]
    leaf = _leaf_of(spec.dtype)
    try:
        flat = [leaf(value) for value in level]
        if spec.dtype == tf.string:
            array = np.empty(len(flat), object)
            array[:] = flat
        else:
            with np.errstate(over="ignore"):  # 1e300 is infinite as a float32
                array = np.array(flat, spec.dtype.as_numpy_dtype)
    except (TypeError, ValueError, OverflowError) as error:
        text = f"input {name!r}: {error}, expected {spec.dtype.name}"
        raise Refusal("INVALID_ARGUMENT", text) from None
    return array.reshape(shape)


def _leaf_of(dtype: tf.DType):
    """Returns the check of one value, which raises TypeError, ValueError or OverflowError instead of a lossy cast."""

    def text(value):
        if isinstance(value, dict) and value.keys() == {"b64"} and isinstance(value["b64"], str):
            try:
                return base64.b64decode(value["b64"], validate=True)
            except binascii.Error:
                raise ValueError("'b64' is not base64") from None
        if not isinstance(value, str):
            raise TypeError(f"got {_kind(value)}")
        try:
            return value.encode()
        except UnicodeEncodeError:
            raise ValueError("a string is not Unicode (a lone surrogate)") from None

    def of_types(*types):
        def check(value):
            if type(value) not in types:
                raise TypeError(f"got {_kind(value)}")
            return value

        return check

    if dtype == tf.string:
        return text
    if dtype == tf.bool:
        return of_types(bool)
    if dtype.is_integer:
        return of_types(int)
    if dtype.is_floating:
        return of_types(int, float)
    raise Refusal("UNIMPLEMENTED", f"inputs of type {dtype.name} cannot be sent as JSON")


def _kind(value) -> str:
    kinds = {dict: "an object", list: "a list", str: "a string", type(None): "null", bool: "a boolean"}
    return kinds.get(type(value), f"the number {str(value)[:20]}")


def _json(array: np.ndarray, name: str):
    if array.dtype != object:
        return array.astype(np.float64).tolist() if array.dtype.kind == "V" else array.tolist()  # V: bfloat16
    flat = np.empty(array.size, object)
    flat[:] = [_text(value, name) for value in array.ravel()]
    return flat.reshape(array.shape).tolist()


def _text(value: bytes, name: str):
    if not name.endswith("_bytes"):  # TensorFlow Serving's convention for what is not text
        try:
            return value.decode()
        except UnicodeDecodeError:
            pass
    return {"b64": base64.b64encode(value).decode()}
