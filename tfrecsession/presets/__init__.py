"""Tuned settings per model and data set, with the score each one measured.

A preset is a JSON file: `{"model": NAME, "settings": {...}, "measured": {...}, "reported": {...}}`. `measured` holds
the scores of this package; `reported` those of the authors of the settings, where the data is not available to us.
"""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

from tfrecsession.errors import InputError


def names() -> list[str]:
    """Returns the names of the package's presets."""
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


def model(name: str, items, **settings):
    """Returns the compiled model of a preset for the vocabulary `items`; `settings` override those of the preset."""
    from tfrecsession.training import build, settings_of  # imports TensorFlow, which reading a preset does not need

    preset = read(name)
    return build(preset["model"], items, settings_of(preset["model"], preset["settings"], settings))
