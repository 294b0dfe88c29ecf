"""Settings of a training, by name: those of the model's constructor and those of training by gradient.

Needs no TensorFlow, so that the command line can check names before TensorFlow is imported.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterable

from tfrecsession.errors import InputError
from tfrecsession.recommender.log_defaults import following
from tfrecsession.sessions.statistics import Statistics

NOT_SETTINGS = ("negatives", "users", "content")  # constructor arguments that are not settings
# Settings of every training by gradient, beside the model's own.
TRAINING = {
    "sampler": "popularity",  # in_batch+popularity: a mixture; full: the full softmax over all items
    "correction": "parts",  # the logQ correction of mixed samplers: parts or pooled
    "mask_hits": True,
    "regularization": 1.0,
    "elu": 0.0,
    "label_smoothing": 0.0,  # of the cross-entropy
    "top_negatives": None,  # how many of the highest negatives count, of the cross-entropy and gbce
    "calibration": 0.75,  # of gbce
    "momentum": 0.0,
    "epsilon": 1e-7,
    "clipnorm": None,
    "precision": None,  # mixed_bfloat16 or mixed_float16; None: Keras' policy, float32 by default
    "accumulate": 1,  # batches per step of the optimizer
    "decay": None,  # decay of the learning rate: linear, to 0 at the end of the last epoch
    "score_dtype": None,
    "finetune_days": None,  # further epochs over the sessions that start in the last days of train; fractions allowed
    "finetune_epochs": 4,
    "finetune_rate": None,  # their first learning rate, which falls to 0; None: learning_rate
}

# Settings of models that weigh events, the arguments of `Sessions.weighted`: networks, and counted models that say so.
WEIGHTS = {
    "event_weights": None,  # event type -> weight
    "weight": None,  # a column of numbers
    "session_decay": None,  # days after which a session counts 1/e
    "target_events": None,  # the event types that are targets
}


def checked_name(name: str, known: Iterable[str]) -> str:
    """Returns the snake-case name of a model; InputError lists the known names, nearest first."""
    known = list(known)
    if name in known:
        return name
    near = difflib.get_close_matches(str(name), known, n=len(known), cutoff=0.0)
    raise InputError(f"no model is called {name!r}; there are: {', '.join(near)}")


def defaults_of_class(cls: type) -> dict:
    """Returns the default of each setting of a model class."""
    arguments = inspect.signature(cls.__init__).parameters
    own = {
        name: argument.default
        for name, argument in arguments.items()
        if argument.default is not inspect.Parameter.empty and name not in NOT_SETTINGS
    }
    training = {**TRAINING, **cls.learning.defaults} if cls.learning else {}
    weights = {name: value for name, value in WEIGHTS.items() if name not in own} if weighs_events(cls) else {}
    return {**own, **training, **weights}


def weighs_events(cls: type) -> bool:
    """Returns whether a model class has the settings WEIGHTS."""
    return bool(cls.learning or cls.weighs_events)


def weights_of(cls: type, settings: dict) -> dict:
    """Returns the arguments of `Sessions.weighted` among the settings of a model class, without the model's own."""
    own = inspect.signature(cls.__init__).parameters
    return {name: settings.get(name) for name in WEIGHTS if name not in own} if weighs_events(cls) else {}


def space_of_class(cls: type) -> dict:
    """Returns the range of each setting that `tfrecsession tune` searches: the model's own, then those of training."""
    return {**cls.search_space, **(cls.learning.space if cls.learning else {})}


def settings_of_class(model: str, cls: type, *given: dict, log: Statistics | None = None) -> tuple[dict, dict]:
    """Returns all settings of a training, and which of them follow the log, as `following` returns them.

    They are the defaults of the class, overridden by those that follow the log, then by each of `given`. Without `log`
    none follows it.

    Raises:
        InputError: a setting that neither the model nor its training has.
    """
    known = defaults_of_class(cls)
    follow = following(cls, log, {name: value for part in given for name, value in part.items()}) if log else {}
    known |= {name: choice["value"] for name, choice in follow.items()}
    for settings in given:
        for name in settings:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=len(known), cutoff=0.0)
                raise InputError(f"{model} has no setting {name!r}; it has: {', '.join(near) or 'none'}")
        known = {**known, **settings}
    return known, follow
