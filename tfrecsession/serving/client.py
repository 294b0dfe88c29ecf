"""A client for TensorFlow Serving and the local server, through REST or gRPC."""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import NamedTuple

import numpy as np

from tfrecsession.errors import InputError
from tfrecsession.events.id_texts import text_lists
from tfrecsession.recommender.served_reasons import Explanations, explanations_of
from tfrecsession.rules.answer import padded_texts, ruled
from tfrecsession.rules.rules import rule_texts
from tfrecsession.sessions.context_texts import context_texts

FIRST_PAUSE, LONGEST_PAUSE = 0.05, 2.0  # seconds
TRANSPORTS = {  # imported on use: REST needs neither gRPC nor TensorFlow
    "http": ("client_rest", "Rest"),
    "https": ("client_rest", "Rest"),
    "grpc": ("client_grpc", "Grpc"),
}

UNDER_RULES = {False: "recommend_with_rules", True: "recommend_in_context_with_rules"}  # whether context is given
CHOSEN = {  # (whether context is given, whether the answer is filtered) -> the signature
    (False, False): "serving_default",
    (False, True): "recommend_filtered",
    (True, False): "recommend_in_context",
    (True, True): "recommend_in_context_filtered",
}


class Recommendations(NamedTuple):
    """The top items of each history, best first; `""` pads shorter lists.

    Attributes:
        items: object (str) [histories, k].
        scores: float32 [histories, k].
    """

    items: np.ndarray
    scores: np.ndarray


class Client:
    """A client that queries exported models and retries up to a deadline.

        client = trs.serving.Client("http://127.0.0.1:8501")  # or "grpc://127.0.0.1:8500"
        client.recommend("gru4rec", [["item-17", "item-4"], []], k=5).items
        client.recommend("gru4rec", [["item-17"]], exclude=[["item-4", "item-9"]])

    A request is retried if the server cannot be reached, is full, or stops while it answers. The first pause is 0.05 s,
    each further one twice as long, up to 2 s. A random part of each pause is left out, so that many clients do not
    return at once. Retries are safe, because predictions do not change the server. Threads may share a client.

    Args:
        url: "http://HOST:PORT", "https://..." or "grpc://HOST:PORT".
        deadline: seconds that a call may take, with all retries and pauses.

    Raises:
        InputError: the URL is of another kind, or `deadline` is not above 0.
    """

    def __init__(self, url: str, *, deadline: float = 10.0):
        kind = url.partition("://")[0]
        if kind not in TRANSPORTS:
            raise InputError(f"url={url!r}: must be http://HOST:PORT, https://HOST:PORT or grpc://HOST:PORT")
        if not deadline > 0:
            raise InputError(f"deadline={deadline!r}: must be a number of seconds above 0")
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
        histories: Iterable[Iterable],
        k: int | None = None,
        *,
        exclude: Iterable[Iterable] | None = None,
        only: Iterable[Iterable] | None = None,
        context: Mapping | None = None,
        request: Mapping | None = None,
        rules=None,
        signature: str = "serving_default",
        version: int | None = None,
        **inputs,
    ) -> Recommendations:
        """Returns the top items after each history; `inputs` are further inputs of the signature, beside `items`.

        Histories are padded with `""` to one length. If the signature has a fixed length, they are also cut to it (the
        latest events stay).

        Args:
            model: the model's name at the server.
            histories: lists of item ids, oldest first: texts, bytes or numbers, in lists, generators, arrays, tensors,
                ragged tensors or columns; with context, None is an event without an item, see the guide.
            k: number of items, at most the k of the export; None: all of them.
            exclude: items that must not be returned, a list for each history.
            only: items that may be returned, a list for each history; an empty list allows the whole catalogue.
            context: for a model that reads context: column -> for each history a list with a value for each event, such
                as {"device": [["phone", "phone"]], "time": [[1700000000, 1700000060]]}; None is missing.
            request: column -> a value for each history, known of the request: {"device": ["phone"]}.
            rules: filters by the items' content, boosts, quotas, diversity and pinned items, as in `model.recommend`,
                see `tfrecsession.rules.rules`; the answer is then `RuledRecommendations`.
            signature: the default becomes "recommend_filtered" with `exclude` or `only`, "recommend_in_context" with
                `context` or `request`, "recommend_in_context_filtered" with both, "recommend_with_rules" with `rules`,
                and "recommend_in_context_with_rules" with `rules` and context.
            version: a version number; None: the highest.

        Raises:
            InputError: a value is not an id, context that the model does not read or of another length, the server
                refuses the request (unknown model, wrong shape), or k is above that of the export.
            TimeoutError: the server did not answer within the deadline.
        """
        histories, in_context = _texts(histories, context, request), bool(context or request)
        filtered = exclude is not None or only is not None
        texts = None if rules is None else rule_texts(rules, len(histories))
        if texts is not None:
            signature, inputs["rules"] = UNDER_RULES[in_context], padded_texts(texts)
        elif signature == "serving_default":
            signature = CHOSEN[in_context, filtered]
        if filtered or texts is not None:
            for name, lists in (("exclude", exclude), ("only", only)):
                inputs[name] = _filter(name, lists, len(histories))
        if k is not None and k < 1:
            raise InputError(f"k={k}: must be a number from 1")
        if not histories:
            return Recommendations(np.empty((0, k or 0), object), np.empty((0, k or 0), np.float32))
        answer = self._answer(model, histories, k, context, request, signature, version, inputs)
        best = answer["items"], answer["scores"].astype(np.float32)
        return Recommendations(*best) if texts is None else ruled(*best, answer["removed"], answer["note"], texts)

    def explain(
        self,
        model: str,
        histories: Iterable[Iterable],
        k: int | None = None,
        *,
        context: Mapping | None = None,
        request: Mapping | None = None,
        version: int | None = None,
    ) -> Explanations:
        """Returns the top items after each history, and the events that carried them; see `recommend`.

        The export needs `reasons`: `model.export(..., reasons=3)`.
        """
        histories = _texts(histories, context, request)
        if k is not None and k < 1:
            raise InputError(f"k={k}: must be a number from 1")
        signature = "explain_in_context" if context or request else "explain"
        rows = histories or [[]]  # of none, the shapes are those of one
        given = (context, request) if histories else ({}, {})
        answer = self._answer(model, rows, k, *given, signature, version, {})
        found = explanations_of(answer)
        features = {name: parts[: len(histories)] for name, parts in found.features.items()}
        return Explanations(*(array[: len(histories)] for array in found[:4]), features)

    def _answer(self, model, histories, k, context, request, signature, version, inputs) -> dict[str, np.ndarray]:
        """Calls a signature of histories and cuts its outputs to k items."""
        end = time.monotonic() + self.deadline
        described = self._described(model, version, signature, end)
        if "items" not in described["inputs"]:
            raise InputError(
                f"signature={signature!r} of {model}: must have the input items, has {', '.join(described['inputs'])}"
            )
        if context or request or "_in_context" in signature:
            inputs |= context_texts(context, request, list(map(len, histories)), described["inputs"])
        shape = described["inputs"]["items"]
        rows = padded(histories, shape[1] if shape and len(shape) == 2 else -1)
        answer = self._predict(model, {"items": rows, **inputs}, signature, version, described, end)
        largest = answer["items"].shape[1]
        if k is not None and k > largest:
            raise InputError(f"k={k}: must be 1 to {largest}, the k of this export; or export again with a larger k")
        whole = ("removed", "note", "feature_names")  # not of the items
        return {name: values if name in whole or values.ndim < 2 else values[:, :k] for name, values in answer.items()}

    def predict(
        self, model: str, inputs: Mapping, *, signature: str = "serving_default", version: int | None = None
    ) -> dict[str, np.ndarray]:
        """Calls any signature: arrays or nested lists by name -> arrays by name, strings as str.

        Raises as `recommend`.
        """
        end = time.monotonic() + self.deadline
        return self._predict(model, inputs, signature, version, self._described(model, version, signature, end), end)

    def versions(self, model: str) -> dict[int, str]:
        """Returns version -> state ("AVAILABLE", "LOADING", ...), the oldest first. Raises as `recommend`."""
        found = self._patiently(time.monotonic() + self.deadline, self._transport.versions, model)
        return dict(sorted(found.items()))

    def signatures(self, model: str, *, version: int | None = None) -> dict[str, dict]:
        """Returns the signatures of a model by name, {"inputs": {name: sizes}, "outputs": {name: sizes}}.

        An open size is -1. Raises as `recommend`.
        """
        found = self._patiently(time.monotonic() + self.deadline, self._transport.signatures, model, version)
        return {
            name: {side: signature[side] for side in ("inputs", "outputs")}
            for name, signature in sorted(found.items())
            if not name.startswith("__")  # TensorFlow's own
        }

    def _predict(self, model, inputs, signature, version, described, end) -> dict[str, np.ndarray]:
        try:
            return self._patiently(end, self._transport.predict, model, inputs, signature, version, described)
        except InputError:
            self._signatures.clear()  # another version may have been loaded, with other shapes
            raise

    def _described(self, model, version, signature, end) -> dict:
        """Returns {"inputs": {name: [sizes, -1 if open] or None}, "outputs": {...}, "dtypes": {input: number}}."""
        key = (model, version, signature)
        if key not in self._signatures:
            all_of_them = self._patiently(end, self._transport.signatures, model, version)
            if signature not in all_of_them:
                if signature in CHOSEN.values() and "in_context" in signature:
                    raise InputError(f"context: must be left out: {model} reads no context")
                if signature.startswith("explain"):
                    raise InputError(f"model={model!r}: must be an export with reasons, model.export(..., reasons=3)")
                names = ", ".join(sorted(name for name in all_of_them if not name.startswith("__")))
                raise InputError(f"signature={signature!r}: must be one of {model}'s {names}")
            self._signatures[key] = all_of_them[signature]
        return self._signatures[key]

    def _patiently(self, end: float, call, *arguments):
        pause = FIRST_PAUSE
        while True:
            try:
                return call(*arguments, timeout=max(end - time.monotonic(), 0.001))
            except Again as error:
                wait = pause * random.uniform(0.5, 1)
                if time.monotonic() + wait >= end:
                    raise TimeoutError(f"{self.url}: no answer within {self.deadline:g} s: {error}") from None
                time.sleep(wait)
                pause = min(2 * pause, LONGEST_PAUSE)


def _texts(histories, context, request) -> list[list[str]]:
    """Returns histories as lists of texts, "" for an event without an item."""
    histories = text_lists(histories, "histories", missing=bool(context or request))
    return [["" if item is None else item for item in history] for history in histories]


def _filter(name: str, lists, histories: int) -> list[list[str]]:
    """Checks and pads a filter, a list of items for each history; None: nothing is filtered."""
    lists = [[]] * histories if lists is None else text_lists(lists, name, ordered=False)
    if len(lists) != histories:
        raise InputError(
            f"{name}: must be a list of items for each of the {histories} histories, such as [['item-17']]"
        )
    return padded(lists)


class Again(Exception):
    """A failure that a retry may resolve."""


def padded(histories: list[list[str]], length: int = -1) -> list[list[str]]:
    """Pads histories at the end with `""` to `length`, or cuts their oldest items; -1: to the longest, at least 1."""
    if length < 0:
        length = max(1, *map(len, histories))
    cut = [history[max(0, len(history) - length) :] for history in histories]
    return [[*history, *[""] * (length - len(history))] for history in cut]
