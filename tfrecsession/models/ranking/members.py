"""The fitted models that a ranker or a pipeline reads: checks, and how they are saved."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping

import keras

from tfrecsession.errors import InputError
from tfrecsession.recommender.arguments import refuse
from tfrecsession.recommender.counting_model import CountingModel
from tfrecsession.recommender.recommender import Recommender


def checked_members(scores_of, items) -> tuple[list[str], list]:
    """Returns names and models of the argument `scores_of` of a ranker of `items`."""
    if isinstance(scores_of, Recommender):
        scores_of = [scores_of]
    if not isinstance(scores_of, Mapping):
        if isinstance(scores_of, str) or not isinstance(scores_of, Iterable):
            refuse("scores_of", scores_of, "fitted models in a list, or name -> model")
        named: dict = {}
        for member in scores_of:
            name = type(member).__name__.lower()
            named[name if name not in named else f"{name}_{len(named)}"] = member
        scores_of = named
    for name, member in scores_of.items():
        if not isinstance(name, str) or not name or "*" in name:
            refuse("scores_of", name, "a name without *, in front of each model")
        check_session_model(f"scores_of[{name!r}]", member)
        if any(items.ids):  # those of a saved model are read later
            check_same_data(f"scores_of[{name!r}]", member.items, "items", items)
    return list(scores_of), list(scores_of.values())


def check_session_model(argument: str, model) -> None:
    """Checks that an argument is a model that reads the session alone."""
    if not isinstance(model, Recommender):
        raise InputError(f"{argument}: must be one of trs.models, fitted, not {type(model).__name__}")
    if model.reads.users is not None:
        raise InputError(
            f"{argument}: is a {type(model).__name__}, which reads earlier sessions of a user; must be another, "
            "since a ranker answers for the session alone"
        )


def check_same_data(argument: str, items, other: str, of_other) -> None:
    """Checks that two models have one vocabulary."""
    if items.fingerprint != of_other.fingerprint:
        raise InputError(
            f"{argument}: is of other data: its vocabulary is {items.fingerprint} ({len(items):,} items), that of "
            f"{other} is {of_other.fingerprint} ({len(of_other):,} items); both must be made from one data set"
        )


def without_compile(model) -> dict:
    """Returns the serialized model without its optimizer."""
    config = keras.saving.serialize_keras_object(model)
    config.pop("compile_config", None)
    return config


@contextlib.contextmanager
def without_optimizers(models):
    """Takes the optimizers of fitted models away while they are saved: they are as large as the models."""
    models = [model for model in models if not isinstance(model, CountingModel)]
    kept = [(model, model.optimizer) for model in models if model.compiled and model.optimizer]
    for model, _ in kept:
        model.optimizer = None
    try:
        yield
    finally:
        for model, optimizer in kept:
            model.optimizer = optimizer
