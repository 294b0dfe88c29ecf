"""Runs that teach another model, checked before a training. Needs no TensorFlow."""

from __future__ import annotations

from collections.abc import Iterable

from tfrecsession.errors import InputError
from tfrecsession.training.run_folder import open_run


def teaching(settings: dict, several: bool = False) -> dict:
    """Returns the arguments of `fit` of a model that learns the best items of a run, the setting `teacher`.

    Raises:
        InputError: several workers train the model, or there is no such run.
    """
    name = settings.get("teacher")
    if name is None or "teacher_weight" not in settings:  # a teacher of item vectors is a part of the model
        return {}
    if several:
        raise InputError(f"teacher={str(name)!r}: must be left out with several workers")
    try:
        teacher = open_run(name).model() if isinstance(name, str) else name
    except InputError as error:
        raise InputError(f"teacher={name!r}: must be a run folder ({error})") from None
    return {"teacher": teacher, "teacher_weight": settings["teacher_weight"]}


def check_teacher(settings: dict, data, models: Iterable[str], refit: bool = False) -> dict | None:
    """Checks the setting `teacher` of a training, where it names a run.

    Args:
        settings: all settings of the training.
        data: its data set.
        models: names of models, which are no runs.
        refit: whether the training ends with a fit on train and validation.

    Returns:
        For run.json: the model of the run, its path, whether it was fitted on validation too, and the items that it
        knows from there alone, if any. None: there is no run.

    Raises:
        InputError: there is no such run, it is of other data, or `refit`.
    """
    name = settings.get("teacher")
    if not isinstance(name, str) or name in models:
        return None
    try:
        run = open_run(name)
        run.check()
    except InputError as error:
        raise InputError(f"teacher={name!r}: {error}") from None
    if run.info["data"]["fingerprint"] != data.fingerprint:
        raise InputError(
            f"teacher={name!r}: was trained on data {run.info['data']['fingerprint']}, but {data.path or 'this data'} "
            f"is {data.fingerprint}: train the teacher on the same data set"
        )
    if refit:
        raise InputError(
            f"refit=True: must be left out with teacher={name!r}, which was trained already: train the teacher with it"
        )
    further = {"new_items": new} if (new := run.info.get("refit", {}).get("new_items")) else {}
    return {"model": run.info["model"], "run": name, "refit": "refit" in run.info, **further}
