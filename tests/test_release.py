"""The wheel and the source archive: what they hold, and that they work outside of the checkout."""

import configparser
import fnmatch
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

import tfrecsession

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "tfrecsession"
BUILD = "import sys; from setuptools import build_meta as b; print(getattr(b, sys.argv[1])(sys.argv[2]))"


def files_of_the_package() -> set[str]:
    return {
        file.relative_to(ROOT).as_posix()
        for file in PACKAGE.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }


def test_the_wheel_will_hold_every_file_of_the_package():
    """Each file is a module of a package, or data that setup.cfg names."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    data = {
        f"{package.replace('.', '/')}/{pattern}"
        for package, patterns in setup["options.package_data"].items()
        for pattern in re.split(r"[,\s]+", patterns.strip())
    }
    assert "tfrecsession/py.typed" in files_of_the_package()
    for name in files_of_the_package():
        module = name.endswith(".py") and (ROOT / name).with_name("__init__.py").exists()
        assert module or any(fnmatch.fnmatchcase(name, pattern) for pattern in data), f"setup.cfg: {name} is left out"
    for pattern in data:
        assert fnmatch.filter(files_of_the_package(), pattern), f"setup.cfg: no file matches {pattern}"


def test_the_version_is_said_alike():
    version = tfrecsession.__version__
    assert f"version: {version}\n" in (ROOT / "CITATION.cff").read_text()
    assert re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), flags=re.M)[1] == version
    assert f"tfrecsession:{version}" in (ROOT / "deploy/kubernetes.yaml").read_text()


def test_the_workflow_runs_the_supported_pythons():
    setup, workflow = (ROOT / "setup.cfg").read_text(), (ROOT / ".github/workflows/ci.yml").read_text()
    supported = re.findall(r"Programming Language :: Python :: (3\.\d+)", setup)
    assert re.findall(r'"(3\.\d+)"', workflow) == supported
    assert "lint test docs" in workflow


@pytest.mark.slow
def test_an_installed_wheel_runs_the_demo(tmp_path):
    """Builds the source archive, from it the wheel, installs the wheel into a new environment and works from there.

    Nothing is downloaded: the packages that it requires are those of this environment.
    """
    pytest.importorskip("setuptools")
    source = shutil.copytree(
        ROOT,
        tmp_path / "source",
        ignore=shutil.ignore_patterns(".git", ".venv*", "demo", "site", "*.egg-info", "__pycache__", "runs", "goldens"),
    )
    (archive,) = built("build_sdist", source, tmp_path / "dist")
    with tarfile.open(archive) as packed:
        packed.extractall(tmp_path / "unpacked", filter="data")
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    assert {"CHANGELOG.md", "LICENSE", "README.md", "setup.cfg"} <= {file.name for file in unpacked.iterdir()}
    (wheel,) = built("build_wheel", unpacked, tmp_path / "dist")
    with zipfile.ZipFile(wheel) as packed:
        held = {name for name in packed.namelist() if not name.startswith(f"tfrecsession-{tfrecsession.__version__}")}
    assert held == files_of_the_package()

    venv, env = tmp_path / "venv", {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    program = venv / "bin/python"
    (packages,) = venv.glob("lib/python*/site-packages")
    (packages / "outer.pth").write_text(sysconfig.get_path("purelib"))  # not read for .pth files of its own
    install = ["install", "--quiet", "--no-deps", "--no-index", "--ignore-installed", wheel]
    subprocess.run([sys.executable, "-m", "pip", "--python", program, *install], check=True, env=env)

    def run(*words):
        done = subprocess.run([str(word) for word in words], cwd=tmp_path, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    where = run(program, "-c", "import tfrecsession; print(tfrecsession.__file__)").strip()
    assert where.startswith(str(venv))
    assert run(program, "-m", "tfrecsession", "--version").strip() == f"tfrecsession {tfrecsession.__version__}"
    small = ["synthetic:items=100,sessions=800,seed=1", "--epochs", "1", "--budget", "0", "--out", "demo"]
    run(venv / "bin/tfrecsession", "demo", *small)
    assert list((tmp_path / "demo").rglob("saved_model.pb")) and list((tmp_path / "demo").rglob("*.html"))
    assert "retailrocket" in run(venv / "bin/tfrecsession", "presets")


def built(kind, source, out):
    """Builds by setuptools, as `python -m build` does, and returns what is new in `out`."""
    out.mkdir(exist_ok=True)
    before = set(out.iterdir())
    done = subprocess.run([sys.executable, "-c", BUILD, kind, out], cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return set(out.iterdir()) - before
