"""Data flows one way: a folder imports only from those before it."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import tfrecsession

PACKAGE = Path(tfrecsession.__file__).parent
ORDER = [*tfrecsession._FOLDERS, "cli"]
BEFORE_ALL = {"errors", "file_lock", "near_names", "quiet", "staging", "version"}


def imported_folders(file):
    for node in ast.walk(ast.parse(file.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: say the whole name instead of a relative import"
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            parts = name.split(".")
            if parts[0] == "tfrecsession" and len(parts) > 1:
                yield parts[1]


def test_every_folder_has_its_place():
    folders = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
    assert folders <= set(ORDER)


@pytest.mark.parametrize("folder", ORDER)
def test_imports_point_upstream(folder):
    for file in sorted((PACKAGE / folder).rglob("*.py")):
        for imported in imported_folders(file):
            if imported in BEFORE_ALL or imported not in ORDER:
                continue
            assert ORDER.index(imported) <= ORDER.index(folder), f"{file.name} imports tfrecsession.{imported}"


@pytest.mark.parametrize("heavy", ["tensorflow", "keras", "ibis", "pandas"])
def test_the_front_door_is_light(heavy):
    code = f"import sys; from tfrecsession.cli.program import parser; parser(); sys.exit({heavy!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_names_that_are_loaded_when_asked_for():
    import tfrecsession as trs

    for place in (trs, trs.events):
        assert all(getattr(place, name) is not None for name in dir(place))
        with pytest.raises(AttributeError, match="no attribute 'Shops'"):
            _ = place.Shops
    assert trs.events.Shop(items=20, sessions=10).spec == "synthetic:items=20,sessions=10,seed=0,days=8"
