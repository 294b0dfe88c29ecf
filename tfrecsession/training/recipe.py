"""Recipes: from settings, those of `tfrecsession train --set key=value`, to a compiled model."""

from __future__ import annotations

import inspect

import keras

from tfrecsession import losses, metrics, negatives, optimizers
from tfrecsession.batches.data import Data, check_data
from tfrecsession.errors import InputError
from tfrecsession.models import MODELS, by_name
from tfrecsession.recommender.log_defaults import following
from tfrecsession.recommender.mixed_precision import made_in
from tfrecsession.recommender.settings import (
    NOT_SETTINGS,
    defaults_of_class,
    settings_of_class,
    space_of_class,
)
from tfrecsession.recommender.training_values import check_training
from tfrecsession.training.run_folder import open_run

LOSSES = {
    "cross_entropy": lambda s: losses.CrossEntropy(s["label_smoothing"], logq=s["logq"], top=s["top_negatives"]),
    "gbce": lambda s: losses.GBCE(calibration=s["calibration"], top=s["top_negatives"]),
    "bpr": lambda s: losses.BPR(elu=s["elu"]),
    "bpr_max": lambda s: losses.BPRMax(regularization=s["regularization"], elu=s["elu"]),
    "top1": lambda s: losses.TOP1(regularization=s["regularization"], elu=s["elu"]),
    "top1_max": lambda s: losses.TOP1Max(regularization=s["regularization"], elu=s["elu"]),
    "all_pairs": lambda s: losses.AllPairs(s["unobserved_weight"]),
    "mean_squared_error": lambda s: keras.losses.MeanSquaredError(),
}
SAMPLERS = {
    "popularity": lambda s: negatives.Popularity(s["negatives"], alpha=s["alpha"], mask_hits=s["mask_hits"]),
    "uniform": lambda s: negatives.Uniform(s["negatives"], mask_hits=s["mask_hits"]),
    "log_uniform": lambda s: negatives.LogUniform(s["negatives"], mask_hits=s["mask_hits"]),
    "in_batch": lambda s: negatives.InBatch(mask_hits=s["mask_hits"]),
}
OPTIMIZERS = {
    "adagrad": lambda s: optimizers.LazyAdagrad(
        s["learning_rate"], momentum=s["momentum"], epsilon=s["epsilon"], **_steps(s)
    ),
    "adam": lambda s: optimizers.LazyAdam(s["learning_rate"], epsilon=s["epsilon"], **_steps(s)),
}


def settings_of(model: str, *given: dict, data=None) -> dict:
    """Returns all settings of a training: the model's defaults, overridden by each of `given` (a preset, --set).

    Args:
        model: its snake-case name.
        given: settings by name; later ones win.
        data: the data set, for defaults that follow its log (`log_defaults`); None: the fixed defaults. A preset and
            the settings of an earlier run are complete, and need none.

    Raises:
        InputError: a setting that neither the model nor its training has.
    """
    if data is not None:
        check_data(data)
    log = None if data is None else data.statistics
    return settings_of_class(model, by_name(model), *given, log=log)[0]


def chosen_settings(model: str, given: dict, data) -> tuple[dict, dict]:
    """Returns all settings of a training on `data`, and which of them follow its log, see `log_defaults`."""
    return settings_of_class(model, by_name(model), given, log=data.statistics)


def defaults_of(model: str) -> dict:
    """Returns the default of each setting: of the model's constructor, and of training by gradient."""
    return defaults_of_class(by_name(model))


def log_defaults(model: str, data, *given: dict) -> dict[str, dict]:
    """Returns setting -> {"value", "because"}: the defaults that follow the log, but for those that are `given`."""
    return following(by_name(model), data.statistics, {name: value for part in given for name, value in part.items()})


def space_of(model: str) -> dict:
    """Returns the range of each setting that `tfrecsession tune` searches: the model's own, then those of training."""
    return space_of_class(by_name(model))


def timed_settings(model: str) -> tuple[str, ...]:
    """Returns the settings of `space_of` that need a log with times."""
    learning = by_name(model).learning
    return learning.timed if learning else ()


def space_for(model: str, data: Data) -> dict:
    """Returns the search space of a model on a data set: without settings that need times where the log has none."""
    left_out = () if data.train.timed else timed_settings(model)
    return {name: values for name, values in space_of(model).items() if name not in left_out}


def build(model: str, items, settings: dict, k=(20,)):
    """Builds and compiles a model.

    Args:
        model: its snake-case name.
        items: the vocabulary.
        settings: all settings, from `settings_of`.
        k: the list lengths that validation reports.
    """
    cls = by_name(model)
    own = {name: value for name, value in settings.items() if name in inspect.signature(cls.__init__).parameters}
    for name in NOT_SETTINGS:
        own.pop(name, None)
    if isinstance(own.get("teacher"), str):
        own["teacher"] = _teacher(own["teacher"], items)
    reported = [metric(length) for length in k for metric in (metrics.Recall, metrics.MRR, metrics.NDCG)]
    learning = cls.learning
    if learning is None:
        built = cls(items, **own)
        built.compile(metrics=reported)
        return built
    check_training(model, cls, settings)
    own |= {name: settings[name] for name in learning.arguments}
    if learning.samples:
        own["negatives"] = _sampler(settings)
    with made_in(settings["precision"]):
        built = cls(items, **own)
    built.compile(OPTIMIZERS[settings["optimizer"]](settings), LOSSES[settings["loss"]](settings), reported)
    return built


def _teacher(name: str, items):
    """Returns the model of a run folder, or a new one by its name, which the student then fits first."""
    if name not in MODELS:
        return open_run(name).model()
    if by_name(name).learning is not None:
        raise InputError(f"teacher={name!r}: must be fitted first: train it, and name its run folder, e.g. runs/{name}")
    return build(name, items, defaults_of(name))


def _steps(settings: dict) -> dict:
    """Returns the arguments that all optimizers share."""
    batches = settings["accumulate"]
    return {"global_clipnorm": settings["clipnorm"], "gradient_accumulation_steps": batches if batches > 1 else None}


def _sampler(settings: dict):
    """Builds the negatives: one sampler by name, a mixture of several joined by +, or None for `full`."""
    if settings["sampler"] == "full":
        return None
    samplers = [SAMPLERS[name](settings) for name in str(settings["sampler"]).split("+")]
    return samplers[0] if len(samplers) == 1 else negatives.Mixture(samplers, settings["correction"])
