"""The run that a training continues from: whether it can. Needs no TensorFlow."""

from __future__ import annotations

import inspect

from tfrecsession.errors import InputError


def check_earlier_run(run, model: str, cls: type, settings: dict) -> None:
    """Checks that the weights of a run fit a training that continues from it.

    Args:
        run: a `Run`.
        model: the snake-case name of the model to train now.
        cls: its class.
        settings: all settings of the training now.

    Raises:
        InputError: the model cannot continue, or the model or a setting of its architecture differs; the message names
            the first that does.
    """
    trained = run.info["settings"]
    if run.info["model"] != model:
        raise InputError(f"model={model}: must be {run.info['model']}, the model of {run.path}, to continue from it")
    if not (cls.learning and cls.learning.grows):
        why = "is counted" if cls.learning is None else "takes no new items"
        raise InputError(f"grow_from={str(run.path)!r}: {model} {why} and does not continue: train it anew on this log")
    own = [*inspect.signature(cls.__init__).parameters, *cls.learning.arguments]
    for name in own:
        then, now = (_listed(values.get(name)) for values in (trained, settings))
        if name in trained and name not in cls.learning.harmless and then != now:
            raise InputError(
                f"{name}={now!r}: must be {then!r}, with which {run.path} was trained, to fit its weights; leave it "
                "out, or train anew"
            )


def _listed(value):
    return list(value) if isinstance(value, tuple) else value  # as it is read back from JSON
