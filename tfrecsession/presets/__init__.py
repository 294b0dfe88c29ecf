"""Presets: tuned settings per model and data set, and trained models with their weights.

A preset with weights is a folder, see `tfrecsession.presets.weights`. A preset of settings is a JSON file:
`{"model": NAME, "settings": {...}, "measured": {...}, "reported": {...}}`. `measured` holds the scores of this package;
`reported` those of the authors of the settings, where the data is not available to us.
"""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

from tfrecsession.errors import InputError
from tfrecsession.presets.hub import is_of_hub
from tfrecsession.presets.weights import is_preset, load, open_preset, save

__all__ = ["is_preset", "load", "model", "names", "open_preset", "read", "save"]


def names() -> list[str]:
    """Returns the names of the package's presets of settings."""
    return sorted(file.name.removesuffix(".json") for file in files(__name__).iterdir() if file.name.endswith(".json"))


def read(name: str, model: str | None = None) -> dict:
    """Reads a preset of the package, or one from a JSON file.

    Args:
        name: "gru4rec_yoochoose1_64", or a path that ends in .json.
        model: the model that the preset must be for; None: any.

    Raises:
        InputError: there is no such preset, or it is for another model.
    """
    file = Path(name) if name.endswith(".json") else files(__name__) / f"{name}.json"
    if not file.is_file():
        raise InputError(
            f"no preset {name!r}; must be one of {', '.join(names()) or 'none'}, or the path of a .json file"
        )
    try:
        preset = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"preset {name!r}: is not JSON ({error})") from None
    if not isinstance(preset, dict) or not isinstance(preset.get("settings"), dict):
        raise InputError(f'preset {name!r}: must be {{"model": NAME, "settings": {{...}}}}, as `tune` writes best.json')
    if model is not None and preset.get("model") != model:
        raise InputError(f"preset {name!r} is for {preset.get('model')}, not for {model}")
    return preset


def model(name: str, items=None, **settings):
    """Returns the model of a preset: of one with weights, loaded; of one of settings, new and compiled.

    Args:
        name: a preset of settings, as in `read`; or one with weights, as in `load`.
        items: the vocabulary of a new model; None with weights, which have their own.
        **settings: override those of a preset of settings.

    Raises:
        InputError: as `read` and `load`; `items` is missing, or it or `settings` are given beside weights.
    """
    if has_weights(name):
        if items is not None or settings:
            given = "items" if items is not None else next(iter(settings))
            raise InputError(f"{given}: must be left out: {name} has its own vocabulary and settings, with weights")
        return load(name)
    from tfrecsession.training import build, settings_of  # imports TensorFlow, which reading a preset does not need

    preset = read(str(name))
    if items is None:
        raise InputError(
            f"items: must be given, e.g. data.items: preset {str(name)!r} has settings alone; one with weights is a "
            "folder, hf://user/name or kaggle://owner/model/framework/variation"
        )
    return build(preset["model"], items, settings_of(preset["model"], preset["settings"], settings))


def has_weights(name) -> bool:
    """Returns whether a name is that of a preset with weights: a name of a hub, or a folder.

    A name of the package's settings wins over a folder; "./NAME" is always a path.
    """
    if is_of_hub(name) or isinstance(name, Path):
        return not str(name).endswith(".json")
    return name not in names() and not name.endswith(".json") and (Path(name).expanduser().is_dir() or "/" in name)
