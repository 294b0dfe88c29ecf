"""JSON of TensorFlow Serving's REST API <-> arrays (https://www.tensorflow.org/tfx/serving/api_rest)."""

from __future__ import annotations

import base64
import binascii
import json

import numpy as np
import tensorflow as tf

from tfrecsession.serving.refusal import Refusal
from tfrecsession.serving.signature import Signature


def parse(body: bytes) -> dict:
    """The JSON object of a request. NaN and Infinity are numbers, as for TensorFlow Serving.

    Keys that stand twice or are not known are refused: TensorFlow Serving takes the first of the former, passes over
    the latter, and who sends them wants something else.
    """
    try:
        asked = json.loads(body.decode(), object_pairs_hook=_object)  # decoded here: json guesses at UTF-16 and UTF-32
    except RecursionError:
        raise Refusal("INVALID_ARGUMENT", "JSON Parse error: nested too deeply") from None
    except ValueError as error:  # JSON's, Unicode's, and numbers of thousands of digits
        raise Refusal("INVALID_ARGUMENT", f"JSON Parse error: {error}") from None
    if not isinstance(asked, dict):
        raise Refusal("INVALID_ARGUMENT", "JSON Parse error: the request has to be an object")
    name = asked.get("signature_name", "")
    if not isinstance(name, str):
        raise Refusal("INVALID_ARGUMENT", "'signature_name' has to be a string")
    if ("instances" in asked) == ("inputs" in asked):
        raise Refusal("INVALID_ARGUMENT", "expecting exactly one of the keys 'instances' and 'inputs'")
    for key in asked:
        if key not in ("signature_name", "instances", "inputs"):
            text = f"key {key[:100]!r}: a request has 'signature_name' and 'instances' or 'inputs'"
            raise Refusal("INVALID_ARGUMENT", text)
    return asked


def arrays_of(asked: dict, signature: Signature) -> dict[str, np.ndarray]:
    """`instances` (a list of rows) or `inputs` (a tensor per name) -> checked arrays, strings as bytes."""
    if "instances" in asked:
        named = _columns(asked["instances"], signature)
    else:
        named = asked["inputs"]
        if not _is_named(named):
            named = {_only(signature, "inputs"): named}
    signature.check_names(named)
    arrays = {name: _array(named[name], name, spec) for name, spec in signature.inputs.items()}
    signature.check(arrays)
    return arrays


def answer_of(answers: dict[str, np.ndarray], by_row: bool) -> dict:
    """Arrays -> `predictions`, a value or an object per row; or `outputs`. A single output stands without its name."""
    lists = {name: _json(array, name) for name, array in answers.items()}
    if not by_row:
        return {"outputs": lists if len(lists) > 1 else next(iter(lists.values()))}
    sizes = {array.shape[:1] for array in answers.values()}
    if len(sizes) > 1 or () in sizes:
        raise Refusal("INVALID_ARGUMENT", "the outputs are not by row: ask with 'inputs' instead of 'instances'")
    if len(lists) == 1:
        return {"predictions": next(iter(lists.values()))}
    return {"predictions": [dict(zip(lists, row, strict=True)) for row in zip(*lists.values(), strict=True)]}


def _object(pairs: list[tuple]) -> dict:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice in an object")
    return found


def _columns(rows, signature: Signature) -> dict:
    if not isinstance(rows, list) or not rows:
        raise Refusal("INVALID_ARGUMENT", "'instances' has to be a list of at least one row")
    if not _is_named(rows[0]):
        return {_only(signature, "instances"): rows}
    for row in rows:
        if not _is_named(row) or row.keys() != rows[0].keys():
            raise Refusal("INVALID_ARGUMENT", "'instances': all rows have to be objects with the same names")
    return {name: [row[name] for row in rows] for name in rows[0]}


def _only(signature: Signature, key: str) -> str:
    if len(signature.inputs) != 1:
        names = ", ".join(signature.inputs)
        raise Refusal("INVALID_ARGUMENT", f"{key!r}: signature {signature.name!r} has the inputs {names}: name them")
    return next(iter(signature.inputs))


def _is_named(value) -> bool:
    return isinstance(value, dict) and value.keys() != {"b64"}


def _array(value, name: str, spec: tf.TensorSpec) -> np.ndarray:
    """Nested lists -> an array of the signature's type; the lists of one level have one length."""
    shape, level = [], [value]
    while level and isinstance(level[0], list):
        if spec.shape.rank is not None and len(shape) == spec.shape.rank:
            raise Refusal("INVALID_ARGUMENT", f"input {name!r} is nested deeper than its {spec.shape.rank} dimensions")
        size = len(level[0])
        if any(not isinstance(one, list) or len(one) != size for one in level):
            raise Refusal("INVALID_ARGUMENT", f"input {name!r}: the lists have to be of one length: pad them")
        shape.append(size)
        level = [one for each in level for one in each]
    leaf = _leaf_of(spec.dtype)
    try:
        flat = [leaf(one) for one in level]
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
    """The check of one value: nothing is cast that would lose its meaning (TypeError, ValueError, OverflowError)."""

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
    raise Refusal("UNIMPLEMENTED", f"inputs of type {dtype.name} do not go through JSON")


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
