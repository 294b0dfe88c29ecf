"""Ask a server: TensorFlow Serving, or the local one, through REST or gRPC."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import NamedTuple

import numpy as np

from tfrecsession.errors import InputError

FIRST_PAUSE, LONGEST_PAUSE = 0.05, 2.0  # seconds
TRANSPORTS = {  # imported when asked for: REST does without gRPC and TensorFlow
    "http": ("client_rest", "Rest"),
    "https": ("client_rest", "Rest"),
    "grpc": ("client_grpc", "Grpc"),
}


class Recommendations(NamedTuple):
    """The best items of each history, best first; `""` where there are no more.

    Attributes:
        items: object (str) [histories, k].
        scores: float32 [histories, k].
    """

    items: np.ndarray
    scores: np.ndarray


class Client:
    """Asks exported models, patiently up to a deadline.

        client = trs.serving.Client("http://127.0.0.1:8501")  # or "grpc://127.0.0.1:8500"
        client.recommend("gru4rec", [["item-17", "item-4"], []], k=5).items
        client.recommend("gru4rec", [["item-17"]], exclude=[["item-4", "item-9"]])

    A server that cannot be reached, is full or goes away while it answers is asked again: after 0.05 s, then twice as
    long each time up to 2 s, each pause cut by a random part so that many clients do not come back together. A
    prediction changes nothing at the server, so asking twice does no harm. One client may be used by many threads.

    Args:
        url: "http://HOST:PORT", "https://..." or "grpc://HOST:PORT".
        deadline: seconds that a question may take, all tries and pauses together.

    Raises:
        InputError: another kind of URL.
    """

    def __init__(self, url: str, *, deadline: float = 10.0):
        kind = url.partition("://")[0]
        if kind not in TRANSPORTS:
            raise InputError(f"url={url!r}: say http://HOST:PORT, https://HOST:PORT or grpc://HOST:PORT")
        if not deadline > 0:
            raise InputError(f"deadline={deadline!r}: say a number of seconds above 0")
        self.url, self.deadline = url.rstrip("/"), deadline
        module, name = TRANSPORTS[kind]
        try:
            self._transport = getattr(import_module(f"tfrecsession.serving.{module}"), name)(self.url)
        except ModuleNotFoundError as error:
            raise InputError(f"{error.name} is not installed: pip install 'tfrecsession[serving]'") from None
        self._signatures: dict[tuple, dict] = {}

    def recommend(
        self,
        model: str,
        histories: Sequence[Sequence[str]],
        k: int | None = None,
        *,
        exclude: Sequence[Sequence[str]] | None = None,
        only: Sequence[Sequence[str]] | None = None,
        signature: str = "serving_default",
        version: int | None = None,
        **inputs,
    ) -> Recommendations:
        """The best items after each history; `inputs` are those that the signature takes beside `items`.

        Histories are padded with `""` to one length, or padded and cut (the latest events stay) to the length that
        the signature asks for.

        Args:
            model: its name at the server.
            histories: of item ids, oldest first.
            k: fewer than the export gives; None: all.
            exclude: items to leave out, a list for each history.
            only: items to choose from, a list for each history; an empty one stands for the whole catalogue.
            signature: with `exclude` or `only` it is "recommend_filtered" unless said otherwise.
            version: None: the highest.

        Raises:
            InputError: what the server refuses (unknown model, wrong shape), or k above what the export gives.
            TimeoutError: no answer within the deadline.
        """
        if isinstance(histories, str) or any(isinstance(history, str) for history in histories):
            raise InputError("histories: say a list of lists, such as [['item-17', 'item-4']]")
        if exclude is not None or only is not None:
            signature = "recommend_filtered" if signature == "serving_default" else signature
            for name, lists in (("exclude", exclude), ("only", only)):
                inputs[name] = _filter(name, lists, len(histories))
        if k is not None and k < 1:
            raise InputError(f"k={k}: say a number from 1")
        if not len(histories):
            return Recommendations(np.empty((0, k or 0), object), np.empty((0, k or 0), np.float32))
        end = time.monotonic() + self.deadline
        described = self._described(model, version, signature, end)
        if "items" not in described["inputs"]:
            raise InputError(f"signature={signature!r} of {model} takes {', '.join(described['inputs'])} and no items")
        shape = described["inputs"]["items"]
        rows = padded(histories, shape[1] if shape and len(shape) == 2 else -1)
        answer = self._predict(model, {"items": rows, **inputs}, signature, version, described, end)
        gives = answer["items"].shape[1]
        if k is not None and k > gives:
            raise InputError(f"k={k}: this export gives {gives}; say 1 to {gives}, or export again with a larger k")
        return Recommendations(answer["items"][:, :k], answer["scores"][:, :k].astype(np.float32))

    def predict(
        self, model: str, inputs: Mapping, *, signature: str = "serving_default", version: int | None = None
    ) -> dict[str, np.ndarray]:
        """Any signature: arrays or nested lists by name -> arrays by name, strings as str. Errors as of `recommend`."""
        end = time.monotonic() + self.deadline
        return self._predict(model, inputs, signature, version, self._described(model, version, signature, end), end)

    def versions(self, model: str) -> dict[int, str]:
        """Version -> state ("AVAILABLE", "LOADING", ...), the oldest first. Errors as of `recommend`."""
        found = self._patiently(time.monotonic() + self.deadline, self._transport.versions, model)
        return dict(sorted(found.items()))

    def signatures(self, model: str, *, version: int | None = None) -> dict[str, dict]:
        """What a model can be asked, by name: {"inputs": {name: sizes}, "outputs": {name: sizes}}, where -1 is a size
        that is open. Errors as of `recommend`."""
        found = self._patiently(time.monotonic() + self.deadline, self._transport.signatures, model, version)
        return {
            name: {side: one[side] for side in ("inputs", "outputs")}
            for name, one in sorted(found.items())
            if not name.startswith("__")  # TensorFlow's own
        }

    def _predict(self, model, inputs, signature, version, described, end) -> dict[str, np.ndarray]:
        try:
            return self._patiently(end, self._transport.predict, model, inputs, signature, version, described)
        except InputError:
            self._signatures.clear()  # perhaps another version answers by now, with other shapes
            raise

    def _described(self, model, version, signature, end) -> dict:
        """{"inputs": {name: [sizes, -1 for open ones] or None}, "outputs": {...}, "dtypes": {input: number}}."""
        key = (model, version, signature)
        if key not in self._signatures:
            all_of_them = self._patiently(end, self._transport.signatures, model, version)
            if signature not in all_of_them:
                names = ", ".join(sorted(name for name in all_of_them if not name.startswith("__")))
                raise InputError(f"signature={signature!r}: {model} has {names}")
            self._signatures[key] = all_of_them[signature]
        return self._signatures[key]

    def _patiently(self, end: float, ask, *said):
        pause = FIRST_PAUSE
        while True:
            try:
                return ask(*said, timeout=max(end - time.monotonic(), 0.001))
            except Again as error:
                wait = pause * random.uniform(0.5, 1)
                if time.monotonic() + wait >= end:
                    raise TimeoutError(f"{self.url}: no answer within {self.deadline:g} s: {error}") from None
                time.sleep(wait)
                pause = min(2 * pause, LONGEST_PAUSE)


def _filter(name: str, lists, histories: int) -> list[list[str]]:
    """A list of items for each history; None: nothing is filtered."""
    lists = [[]] * histories if lists is None else lists
    if isinstance(lists, str) or any(isinstance(each, str) for each in lists) or len(lists) != histories:
        raise InputError(f"{name}: say a list of items for each of the {histories} histories, such as [['item-17']]")
    return padded(lists)


class Again(Exception):
    """What may go well the next time."""


def padded(histories: Sequence[Sequence[str]], length: int = -1) -> list[list[str]]:
    """Histories of one length, at least 1, that end in `""`; `length` -1: that of the longest."""
    if length < 0:
        length = max(1, *map(len, histories))
    cut = [[str(item) for item in history[max(0, len(history) - length) :]] for history in histories]
    return [[*history, *[""] * (length - len(history))] for history in cut]
