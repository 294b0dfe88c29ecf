"""Settings of a training, by name: those of the model's constructor and those of training by gradient.

Needs no TensorFlow, so that the command line can check names before TensorFlow is imported.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterable

from tfrecsession.errors import InputError
from tfrecsession.near_names import by_meaning, nearest_first
from tfrecsession.recommender.log_defaults import following
from tfrecsession.sessions.statistics import Statistics

NOT_SETTINGS = ("negatives", "users", "content")  # constructor arguments that are not settings
# Settings of every training by gradient, beside the model's own.
TRAINING = {
    "sampler": "popularity",
    "correction": "parts",
    "mask_hits": True,
    "regularization": 1.0,
    "elu": 0.0,
    "label_smoothing": 0.0,
    "top_negatives": None,
    "calibration": 0.75,
    "momentum": 0.0,
    "epsilon": 1e-7,
    "clipnorm": None,
    "precision": None,
    "accumulate": 1,
    "decay": None,
    "score_dtype": None,
    "finetune_days": None,
    "finetune_epochs": 4,
    "finetune_rate": None,
}

# Settings of models that weigh events, the arguments of `Sessions.weighted`: networks, and counted models that say so.
WEIGHTS = {"event_weights": None, "weight": None, "session_decay": None, "target_events": None}

# Meanings of settings that are no arguments of a constructor; those of constructors stand in their docstrings.
MEANINGS = {
    "rows": "rows of a batch",
    "steps": "events in a row of a batch",
    "epochs": "passes over the training sessions",
    "loss": "cross_entropy, bpr, bpr_max, top1, top1_max, gbce or another loss of this model",
    "logq": "strength of the cross-entropy's correction for how often each negative is sampled; 1: full, 0: none",
    "regularization": "weight of the score penalty of bpr_max",
    "elu": "slope of the ELU on bpr_max's scores; 0: none",
    "label_smoothing": "share of the cross-entropy's target that goes to the negatives",
    "top_negatives": "how many of the highest negatives count, in cross_entropy and gbce; None: all",
    "calibration": "of gbce, from 0, plain binary cross-entropy, to 1, calibrated probabilities",
    "unobserved_weight": "weight of the pairs without an event in the loss all_pairs",
    "negatives": "number of sampled negatives of a step",
    "sampler": "popularity, uniform, log_uniform or in_batch; a+b: a mixture; full: all items",
    "alpha": "exponent of an item's count in the sampler popularity; 0: uniform",
    "correction": "logQ of a mixture of samplers: parts, each its own, or pooled",
    "mask_hits": "whether a negative that is the target itself is left out",
    "optimizer": "adagrad or adam, on the rows touched",
    "learning_rate": "of the optimizer",
    "momentum": "of adagrad, as in GRU4Rec",
    "epsilon": "of the optimizer's denominator",
    "clipnorm": "largest norm of the gradient; None: any",
    "decay": "of the learning rate: linear, to 0 at the end of the last epoch, or None",
    "accumulate": "batches per step of the optimizer",
    "precision": "mixed_bfloat16, mixed_float16, or None: Keras' policy",
    "score_dtype": "dtype of the sampled scores in training; None: that of the model",
    "finetune_days": "further epochs over the sessions that start in the last days of train; None: no such epochs",
    "finetune_epochs": "how many of them",
    "finetune_rate": "their first learning rate, which falls to 0; None: learning_rate",
    "event_weights": "event type -> how often such an event counts",
    "weight": "a column of numbers: how often an event counts",
    "session_decay": "days after which a session counts 1/e",
    "target_events": "the event types that are targets; the others are read only",
    "lanes": "rows of session-parallel batches, whose states are carried on; None: packed rows",
    "reset_after": "whether the reset gate acts after the recurrent product, as in cuDNN's GRU",
    "teacher": "a run whose best items are learned beside the next event, see fit(teacher=)",
    "teacher_weight": "share of the teacher in the loss",
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
                same = by_meaning(name, known)
                near = f"it has: {', '.join(nearest_first(name, known)) or 'none'}"
                raise InputError(
                    f"{model} has no setting {name!r}; " + (near if same is None else f"its {same[0]} is {same[1]!r}")
                )
        known = {**known, **settings}
    return known, follow
