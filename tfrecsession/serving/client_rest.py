"""The client's way through REST."""

from __future__ import annotations

import base64
from urllib.parse import quote

import numpy as np
import requests

from tfrecsession.errors import InputError
from tfrecsession.serving.client import Again

ONCE_MORE = {429, 502, 503, 504}


class Rest:
    """Each method is one try: InputError for what is refused, Again for what may go well the next time."""

    def __init__(self, url: str):
        self.url = url
        self._session = requests.Session()

    def predict(self, model, inputs, signature, version, described, *, timeout) -> dict[str, np.ndarray]:
        asked = {"signature_name": signature, "inputs": {name: plain(value) for name, value in inputs.items()}}
        answer = self._ask("POST", self._path(model, version) + ":predict", timeout, json=asked)["outputs"]
        if len(described["outputs"]) == 1:  # stands without its name
            answer = {next(iter(described["outputs"])): answer}
        return {name: array_of(value) for name, value in answer.items()}

    def signatures(self, model, version, *, timeout) -> dict:
        answer = self._ask("GET", self._path(model, version) + "/metadata", timeout)
        found = answer["metadata"]["signature_def"]["signature_def"]
        return {
            name: {side: {key: sizes(info) for key, info in one[side].items()} for side in ("inputs", "outputs")}
            for name, one in found.items()
        }

    def versions(self, model, *, timeout) -> dict[int, str]:
        answer = self._ask("GET", self._path(model, None), timeout)
        return {int(one["version"]): one["state"] for one in answer["model_version_status"]}

    def _path(self, model: str, version: int | None) -> str:
        return f"{self.url}/v1/models/{quote(model, safe='')}" + ("" if version is None else f"/versions/{version}")

    def _ask(self, method: str, url: str, timeout: float, **said) -> dict:
        try:
            response = self._session.request(method, url, timeout=timeout, **said)
            answer = response.json() if response.content else {}
        except requests.exceptions.InvalidJSONError as error:  # also: half an answer
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
    """Arrays as nested lists."""
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def sizes(info: dict) -> list[int] | None:
    """The dimensions in a TensorInfo's JSON, -1 for open ones; None where their number is open."""
    shape = info["tensor_shape"]
    return None if shape.get("unknown_rank") else [int(dim["size"]) for dim in shape.get("dim", [])]


def array_of(value) -> np.ndarray:
    """Nested lists -> float32, int64, bool or object (str, bytes)."""
    leaf, shape = value, []
    while isinstance(leaf, list):
        shape.append(len(leaf))
        leaf = leaf[0] if leaf else 0.0
    if isinstance(leaf, str | dict):
        level = [value]
        for _ in shape:
            level = [one for each in level for one in each]
        array = np.empty(len(level), object)
        array[:] = [base64.b64decode(one["b64"]) if isinstance(one, dict) else one for one in level]
        return array.reshape(shape)
    array = np.array(value)
    return array.astype(np.float32) if array.dtype == np.float64 else array
