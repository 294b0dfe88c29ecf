"""Tuned settings per model and data set, with the score each one measured.

A preset is a JSON file: `{"model": NAME, "settings": {...}, "measured": {...}, "reported": {...}}`. `measured` is what
our code scored; `reported` what the authors of the settings did, where we do not have the data.
"""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

from tfrecsession.errors import InputError
from tfrecsession.training import build, settings_of


def names() -> list[str]:
    """The presets that come with the package."""
    return sorted(file.name.removesuffix(".json") for file in files(__name__).iterdir() if file.name.endswith(".json"))


def read(name: str, model: str | None = None) -> dict:
    """The preset of that name, or the one in a JSON file of the user's.

    Args:
        name: "gru4rec_yoochoose1_64", or a path that ends in .json.
        model: refuse a preset of another model.
    """
    file = Path(name) if name.endswith(".json") else files(__name__) / f"{name}.json"
    if not file.is_file():
        raise InputError(
            f"no preset {name!r}; there are: {', '.join(names()) or 'none'}, or say the path of a .json file"
        )
    preset = json.loads(file.read_text())
    if model is not None and preset.get("model") != model:
        raise InputError(f"preset {name!r} is for {preset.get('model')}, not for {model}")
    return preset


def model(name: str, items, **settings):
    """The compiled model of a preset, for the vocabulary `items`; `settings` go over those of the preset."""
    preset = read(name)
    return build(preset["model"], items, settings_of(preset["model"], preset["settings"], settings))
