"""The examples in docstrings, run."""

import doctest
import importlib
from pathlib import Path

import pytest

import tfrecsession

PACKAGE = Path(tfrecsession.__file__).parent
FILES = [file.relative_to(PACKAGE) for file in sorted(PACKAGE.rglob("*.py")) if ">>> " in file.read_text()]


@pytest.mark.parametrize("file", FILES, ids=lambda file: ".".join(file.with_suffix("").parts))
def test_examples(file):
    module = importlib.import_module(".".join(["tfrecsession", *file.with_suffix("").parts]))
    found = doctest.testmod(module)
    assert found.attempted and not found.failed


def test_there_are_examples():
    assert len(FILES) >= 15
