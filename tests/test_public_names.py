"""Public names are a promise: every name that a release had is still there."""

import argparse
import json
from importlib import import_module
from pathlib import Path

import pytest

import tfrecsession as trs
from tfrecsession.cli.program import parser

PROMISED = json.loads((Path(__file__).parent / "public_names.json").read_text())


@pytest.mark.parametrize("folder", PROMISED["python"])
def test_python(folder):
    module = import_module(f"tfrecsession.{folder}") if folder else trs
    assert set(PROMISED["python"][folder]) <= set(getattr(module, "__all__", ()))
    assert all(hasattr(module, name) for name in PROMISED["python"][folder])


def test_models():
    assert set(PROMISED["models"]) <= set(trs.models.MODELS)


def test_commands():
    commands = next(action for action in parser()._actions if isinstance(action, argparse._SubParsersAction)).choices
    for name, promised in PROMISED["commands"].items():
        known = {word for action in commands[name]._actions for word in (action.option_strings or [action.dest])}
        assert set(promised) <= known, name
