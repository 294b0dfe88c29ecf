"""Calling a SavedModel from Python."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from tfrecsession.errors import InputError
from tfrecsession.events.id_texts import text_lists
from tfrecsession.export.scann_ops import load_ops_of
from tfrecsession.export.versions import newest_version, read_card
from tfrecsession.recommender.served_reasons import Explanations, explanations_of
from tfrecsession.rules.answer import padded_texts, ruled
from tfrecsession.rules.rules import rule_texts
from tfrecsession.sessions.context_texts import context_texts

ANSWERS = {  # (whether context is given, whether rules are) -> the signature
    (False, False): "serving_default",
    (False, True): "recommend_with_rules",
    (True, False): "recommend_in_context",
    (True, True): "recommend_in_context_with_rules",
}


def ask(path: str | Path, histories, context=None, request=None, rules=None):
    """Loads a SavedModel and calls its `serving_default`; for many requests use `tfrecsession.serving`.

    With `context` or `request` it calls `recommend_in_context`, with `rules` `recommend_with_rules`, with both
    `recommend_in_context_with_rules`.

    Args:
        path: a SavedModel, or a folder of versions, of which the highest is used.
        histories: lists of item ids, oldest first, in any form that `recommend` takes; with context, None is an
            event without an item.
        context: column -> for each history a list with a value for each event.
        request: column -> a value for each history.
        rules: as in `model.recommend`.

    Returns:
        items object [histories, k] of str, scores float32 [histories, k]; with rules `RuledRecommendations`.

    Raises:
        InputError: there is no SavedModel, its ScaNN index cannot be loaded here, a value is not an id, or context that
            the model does not read.
    """
    return answering(path)(histories, context, request, rules)


def explain(path: str | Path, histories, context=None, request=None) -> Explanations:
    """Loads a SavedModel with `reasons` and calls its `explain`; with context `explain_in_context`.

    Args:
        path, histories, context, request: as in `ask`.

    Raises:
        InputError: as `ask`, or an export without reasons.
    """
    path, loaded = _loaded(path)
    inputs, starts = _inputs(loaded, histories, context, request)
    name = "explain_in_context" if starts else "explain"
    if name not in loaded.signatures:
        raise InputError(f"{path}: was exported without reasons; export again with reasons=3")
    found = _called(loaded.signatures[name], inputs, starts)
    return explanations_of({name: _array(values) for name, values in found.items()})


def answering(path: str | Path):
    """Loads a SavedModel once and returns `ask` without its path, a function of its other arguments."""
    path, loaded = _loaded(path)

    def answer(histories, context=None, request=None, rules=None):
        texts = None if rules is None else _rule_texts(path, rules, len(histories))
        inputs, starts = _inputs(loaded, histories, context, request)
        if texts is not None:
            nothing = tf.fill((tf.shape(inputs["items"])[0], 1), "")
            inputs |= {"rules": tf.constant(padded_texts(texts), tf.string), "exclude": nothing, "only": nothing}
            starts = ("rules:", *starts)
        name = ANSWERS[bool(context or request), texts is not None]
        if name not in loaded.signatures:
            raise InputError(f"{path}: was exported without {name}; export again")
        found = _called(loaded.signatures[name], inputs, starts)
        best = _array(found["items"]), found["scores"].numpy()
        return best if texts is None else ruled(*best, found["removed"].numpy(), found["note"].numpy(), texts)

    return answer


def _loaded(path):
    """Returns the path of the newest version, and what TensorFlow has loaded from it."""
    path = newest_version(path)
    load_ops_of(saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes()), path)
    return path, tf.saved_model.load(str(path))


def _inputs(loaded, histories, context, request) -> tuple[dict, tuple[str, ...]]:
    """Returns the inputs of a signature, and the names of those of the context."""
    histories = text_lists(histories, "histories", missing=bool(context or request))
    histories = [["" if item is None else item for item in history] for history in histories]
    longest = max(map(len, histories), default=0)
    padded = [[*history, *[""] * (longest - len(history))] for history in histories]
    rows = tf.reshape(tf.constant(padded, tf.string), (len(histories), longest))
    given = _given(loaded, context, request, list(map(len, histories))) if context or request else {}
    return {"items": rows, **given}, tuple(given)


def _array(values) -> np.ndarray:
    """Returns an output as an array, texts as str."""
    array = values.numpy()
    return array if array.dtype != object else np.array([*map(bytes.decode, array.flat)], object).reshape(array.shape)


def _rule_texts(path: Path, rules, rows: int) -> list[list[str]]:
    card = read_card(path)
    if "rules" not in card:
        raise InputError(f"rules: must be left out: {path} was exported without them; export again")
    return rule_texts(rules, rows, card["rules"], card["k"])


def _given(loaded, context, request, lengths: list[int]) -> dict:
    """Returns the inputs of the context that is given."""
    signature = loaded.signatures.get("recommend_in_context")
    if signature is None:
        raise InputError("context: must be left out: this model was exported without context")
    inputs = context_texts(context, request, lengths, signature.structured_input_signature[1])
    return {name: tf.constant(texts, tf.string) for name, texts in inputs.items()}


def _called(signature, inputs: dict, starts: tuple[str, ...]) -> dict:
    """Calls a signature; an error of the graph becomes one line, from one of `starts` on."""
    if not starts:
        return signature(**inputs)
    try:
        return signature(**inputs)
    except tf.errors.InvalidArgumentError as error:
        found = re.search(rf"\b({'|'.join(map(re.escape, starts))}).*", str(error))
        raise InputError(found[0].removesuffix("]") if found else str(error)) from None
