"""REST transport of the client."""

from __future__ import annotations

import base64
from urllib.parse import quote

import numpy as np
import requests

from tfrecsession.errors import InputError
from tfrecsession.serving.client import Again

ONCE_MORE = {429, 502, 503, 504}


class Rest:
    """A REST transport; each method makes one attempt. Raises InputError if refused, Again if a retry may succeed."""

    def __init__(self, url: str):
        self.url = url
        self._session = requests.Session()

    def predict(self, model, inputs, signature, version, described, *, timeout) -> dict[str, np.ndarray]:
        request = {"signature_name": signature, "inputs": {name: plain(value) for name, value in inputs.items()}}
        answer = self._ask("POST", self._path(model, version) + ":predict", timeout, json=request)["outputs"]
        if len(described["outputs"]) == 1:  # TensorFlow Serving leaves out the name of a single output
            answer = {next(iter(described["outputs"])): answer}
        return {name: array_of(value) for name, value in answer.items()}

    def signatures(self, model, version, *, timeout) -> dict:
        answer = self._ask("GET", self._path(model, version) + "/metadata", timeout)
        found = answer["metadata"]["signature_def"]["signature_def"]
        return {
            name: {side: {key: sizes(info) for key, info in signature[side].items()} for side in ("inputs", "outputs")}
            for name, signature in found.items()
        }

    def versions(self, model, *, timeout) -> dict[int, str]:
        answer = self._ask("GET", self._path(model, None), timeout)
        return {int(status["version"]): status["state"] for status in answer["model_version_status"]}

    def _path(self, model: str, version: int | None) -> str:
        return f"{self.url}/v1/models/{quote(model, safe='')}" + ("" if version is None else f"/versions/{version}")

    def _ask(self, method: str, url: str, timeout: float, **arguments) -> dict:
        try:
            response = self._session.request(method, url, timeout=timeout, **arguments)
            answer = response.json() if response.content else {}
        except requests.exceptions.InvalidJSONError as error:  # also raised for a truncated answer
            raise Again(f"not JSON: {error}") from None
        except requests.RequestException as error:
            raise Again(f"{type(error).__name__}: {error}") from None
        if response.status_code == 200:
            return answer
        text = answer.get("error", response.reason) if isinstance(answer, dict) else response.reason
        if response.status_code in ONCE_MORE:
            raise Again(text)
        if response.status_code < 500:
            raise InputError(f"{self.url} refuses: {text}")
        raise RuntimeError(f"{self.url} answers {response.status_code}: {text}")


def plain(value):
    """Converts arrays to nested lists."""
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def sizes(info: dict) -> list[int] | None:
    """Returns the dimensions in a TensorInfo's JSON, -1 for open ones; None for an unknown rank."""
    shape = info["tensor_shape"]
    return None if shape.get("unknown_rank") else [int(dim["size"]) for dim in shape.get("dim", [])]


def array_of(value) -> np.ndarray:
    """Converts nested lists to a float32, int64, bool or object (str, bytes) array."""
    leaf, shape = value, []
    while isinstance(leaf, list):
        shape.append(len(leaf))
        leaf = leaf[0] if leaf else 0.0
    if isinstance(leaf, str | dict):
        level = [value]
        for _ in shape:
            level = [value for values in level for value in values]
        array = np.empty(len(level), object)
        array[:] = [base64.b64decode(leaf["b64"]) if isinstance(leaf, dict) else leaf for leaf in level]
        return array.reshape(shape)
    array = np.array(value)
    return array.astype(np.float32) if array.dtype == np.float64 else array
