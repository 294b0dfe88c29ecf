"""Checks of the values of training settings. Needs no TensorFlow, so that the command line can refuse them first."""

from __future__ import annotations

from tfrecsession.errors import InputError
from tfrecsession.recommender.arguments import check_choice, check_number, check_whole
from tfrecsession.recommender.settings import TRAINING

OPTIMIZERS = ("adagrad", "adam")
SAMPLERS = ("popularity", "uniform", "log_uniform", "in_batch")
DECAYS = ("linear",)
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
WHOLE = {"rows": 1, "steps": 1, "epochs": 1, "negatives": 0}  # setting -> the least; the batch itself may be negatives
NUMBERS = {  # setting -> arguments of `check_number`
    "learning_rate": {"least": 0, "above": True},
    "epsilon": {"least": 0},
    "clipnorm": {"least": 0, "above": True, "optional": True},
    "alpha": {},
    "logq": {},
    "regularization": {"least": 0},
    "elu": {"least": 0},
    "calibration": {"least": 0, "most": 1},
}


def check_training(model: str, cls: type, settings: dict) -> None:
    """Checks the values of the settings of a training by gradient, as far as their names and numbers tell.

    Args:
        model: the snake-case name of the model.
        cls: its class; a counted model has no such settings.
        settings: all settings.

    Raises:
        InputError: a value out of its range, or a name that the table of its kind does not have.
    """
    learning = cls.learning
    if learning is None:
        return
    for name, least in WHOLE.items():
        if name in settings:
            check_whole(name, settings[name], least)
    for name, range_of in NUMBERS.items():
        if name in settings:
            check_number(name, settings[name], **range_of)
    batches = settings["accumulate"]
    if not isinstance(batches, int) or isinstance(batches, bool) or batches < 1:
        raise InputError(f"accumulate={batches!r}: must be the number of batches that make one step, 1 or more")
    for name, choices in (
        ("optimizer", OPTIMIZERS),
        ("loss", learning.losses),
        ("decay", (*DECAYS, None)),
        ("precision", (*PRECISIONS, None)),
    ):
        check_choice(name, settings[name], choices)
    if settings["precision"] not in (None, "float32") and not learning.half_precision:
        raise InputError(f"precision={settings['precision']!r}: {model} learns in float32; leave it out")
    _check_sampler(model, learning, settings["sampler"])


def _check_sampler(model: str, learning, sampler) -> None:
    if not learning.samples and sampler != TRAINING["sampler"]:
        raise InputError(f"sampler={sampler!r}: must be left out, {model} samples no negatives")
    if sampler != "full" and not set(str(sampler).split("+")) <= set(SAMPLERS):
        raise InputError(
            f"sampler={sampler!r}: must be one of {', '.join(SAMPLERS)}, full (the whole catalogue), "
            "or several joined, e.g. in_batch+popularity"
        )
