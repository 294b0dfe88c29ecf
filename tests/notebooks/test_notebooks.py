"""Every notebook is stored without output, begins with its settings and has a test that runs it."""

import ast
import json
import re
from pathlib import Path

import pytest

from tests.notebooks.conftest import NOTEBOOKS, code_cells

NAMES = sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb"))


def test_numbers_have_no_gaps():
    assert [int(name[:2]) for name in NAMES] == list(range(1, len(NAMES) + 1))


@pytest.mark.parametrize("name", NAMES)
def test_is_stored_without_output(name):
    notebook = json.loads((NOTEBOOKS / f"{name}.ipynb").read_text(encoding="utf-8"))
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in code_cells(name))
    ids = [cell["id"] for cell in notebook["cells"]]
    assert len(set(ids)) == len(ids)
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    assert not any(cell["metadata"].keys() - {"tags"} for cell in notebook["cells"])
    assert notebook["cells"][0]["cell_type"] == "markdown"
    assert "".join(notebook["cells"][0]["source"]).startswith(f"# {int(name[:2])}. ")


@pytest.mark.parametrize("name", NAMES)
def test_the_first_cell_has_the_settings_and_accepts_a_log(name):
    first, *others = code_cells(name)
    assert first["metadata"]["tags"] == ["parameters"]
    assert not any(cell["metadata"] for cell in others)
    lines = ast.parse("".join(first["source"])).body
    assert all(isinstance(line, ast.Assign) and line.targets[0].id.isupper() for line in lines)
    values = {line.targets[0].id: ast.literal_eval(line.value) for line in lines}
    assert values["EVENTS"] is None and values["COLUMNS"] == {} and isinstance(values["SEED"], int)


@pytest.mark.parametrize("name", NAMES)
def test_has_a_test_that_runs_it(name):
    test = (Path(__file__).parent / f"test_{name}.py").read_text(encoding="utf-8")
    assert re.search(rf'\brun\(\s*"{name}"', test)
