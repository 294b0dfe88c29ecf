"""Which Python `make` takes, and into which environment it installs."""

import configparser
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TOOLS = ["awk", "cat", "dirname", "make", "rm", "sed", "sh", "sort", "touch"]
PYTHON = """#!/bin/sh
case "$1 $2" in
    -c*) echo {version} ;;
    --version*) echo Python {version}.0 ;;
    "-m venv")
        mkdir -p "$3/bin"
        cat "$0" > "$3/bin/python"
        printf '#!/bin/sh\\necho demo of {version} "$@"\\n' > "$3/bin/tfrecsession"
        printf '#!/bin/sh\nexit 0\n' > "$3/bin/ruff"
        chmod +x "$3/bin/python" "$3/bin/tfrecsession" "$3/bin/ruff" ;;
    "-m pip")
        [ {version} != "$HANGS" ] || read line < "{folder}/never"
        echo "{version} $*" >> "{folder}/installed" ;;
    "-m pytest")
        echo "tests on {version} $TFRECSESSION_CONFORMANCE"
        [ -z "$PYTHONDONTWRITEBYTECODE" ] || echo compiled files are forbidden
        [ "$TFRECSESSION_CONFORMANCE" != few ] || [ {version} != "$FAILS" ] ;;
esac
"""
pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


@pytest.fixture
def machine(tmp_path):
    """A machine with a checkout of the project, and Pythons that only say their version."""
    return Machine(tmp_path)


class Machine:
    def __init__(self, folder):
        self.folder = folder
        self.checkout = self.clone("checkout")
        self.programs = folder / "programs"
        self.programs.mkdir()
        for tool in [*TOOLS, "chmod", "mkdir"]:
            (self.programs / tool).symlink_to(shutil.which(tool))

    def clone(self, name):
        checkout = self.folder / name
        (checkout / "tools").mkdir(parents=True)
        for file in ["Makefile", "setup.cfg", "pyproject.toml", "tools/find_python", "tools/environment"]:
            shutil.copy(ROOT / file, checkout / file)
        return checkout

    def add(self, name, version=None):
        """Adds a Python; without a version one that cannot start, as a shim of pyenv."""
        file = self.programs / name
        file.parent.mkdir(parents=True, exist_ok=True)
        text = PYTHON.format(version=version, folder=self.folder) if version else "#!/bin/sh\nexit 127\n"
        file.write_text(text)
        file.chmod(0o755)

    def make(self, *words, checkout=None, **variables):
        environment = {"PATH": str(self.programs), "HOME": str(self.folder), "PYENV_ROOT": str(self.programs / "pyenv")}
        environment |= variables
        command = ["make", "--no-print-directory", "-s", *words]
        place = checkout or self.checkout
        return subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True)

    def installed(self):
        """Versions of the Pythons that pip has installed the project with."""
        file = self.folder / "installed"
        return re.findall(r"^(\S+) .*--editable", file.read_text(), re.M) if file.exists() else []


def test_make_takes_the_newest_supported_python(machine):
    machine.add("python3.11", "3.11")
    machine.add("python3.12", "3.12")
    machine.add("python3.14", "3.14")
    machine.add("python3", "3.14")
    assert "tests on 3.12" in machine.make("test").stdout
    assert (machine.checkout / ".venv").is_dir() and machine.installed() == ["3.12"]


def test_the_tests_keep_compiled_files_where_the_machine_forbids_them(machine):
    machine.add("python3.12", "3.12")
    done = machine.make("test", PYTHONDONTWRITEBYTECODE="1")
    assert done.returncode == 0 and "tests on 3.12" in done.stdout
    assert "compiled files are forbidden" not in done.stdout


def test_a_python_that_cannot_start_is_passed_over(machine):
    machine.add("python3.13")
    machine.add("python3.11", "3.11")
    assert "demo of 3.11 demo" in machine.make("demo").stdout


def test_pyenv_versions_are_found_without_their_shim(machine):
    machine.add("python3.13")
    machine.add("python3.11", "3.11")
    machine.add("pyenv/versions/3.13.0/bin/python3.13", "3.13")
    assert "tests on 3.13" in machine.make("test").stdout
    assert "tests on 3.13" in machine.make("PYTHON=python3.13", "test").stdout


@pytest.mark.parametrize("name", ["python3", "python"])
def test_a_python_without_a_version_in_its_name_is_found(machine, name):
    machine.add(name, "3.13")
    assert "tests on 3.13" in machine.make("test").stdout


def test_without_a_supported_python_one_line_says_which_are(machine):
    machine.add("python3", "3.10")
    done = machine.make("demo")
    line, *rest = done.stderr.splitlines()
    assert done.returncode and "3.11, 3.12 and 3.13" in line and all(text.startswith("make: ***") for text in rest)
    assert not (machine.checkout / ".venv").exists()


@pytest.mark.parametrize(
    "python, words",
    [("python3.10", "must be Python 3.11, 3.12 and 3.13, not 3.10"), ("python3.12", "must be"), ("no/such", "no/such")],
)
def test_a_named_python_that_is_none_is_refused(machine, python, words):
    machine.add("python3.11", "3.11")
    machine.add("python3.10", "3.10")
    done = machine.make(f"PYTHON={python}", "test")
    assert done.returncode and f"PYTHON={python}: " in done.stderr and words in done.stderr
    assert not machine.installed()


def test_a_named_python_has_an_environment_of_its_own(machine):
    machine.add("python3.11", "3.11")
    machine.add("python3.13", "3.13")
    assert "tests on 3.13" in machine.make("test").stdout
    assert "tests on 3.11" in machine.make("PYTHON=python3.11", "test").stdout
    assert "tests on 3.13" in machine.make("test").stdout
    assert machine.installed() == ["3.13", "3.11"]
    assert (machine.checkout / ".venv-3.11").is_dir()


def test_an_environment_stays_when_a_newer_python_comes(machine):
    machine.add("python3.11", "3.11")
    machine.make("install")
    machine.add("python3.13", "3.13")
    assert "tests on 3.11" in machine.make("test").stdout


def test_an_environment_of_another_python_is_not_changed(machine):
    machine.add("python3.11", "3.11")
    machine.add("python3.13", "3.13")
    machine.make("VENV=mine", "PYTHON=python3.11", "install")
    done = machine.make("VENV=mine", "PYTHON=python3.13", "test")
    assert done.returncode and "VENV=mine: has Python 3.11, not 3.13" in done.stderr
    assert machine.installed() == ["3.11"]


def test_an_environment_of_another_checkout_is_not_changed(machine):
    machine.add("python3.13", "3.13")
    machine.make("install")
    other = machine.clone("other")
    for target in ("docs", "test", "install"):
        done = machine.make(f"VENV={machine.checkout}/.venv", target, checkout=other)
        assert done.returncode and f"is the environment of {machine.checkout}, not of this checkout" in done.stderr
    (other / ".venv").symlink_to(machine.checkout / ".venv")
    assert "not of this checkout" in machine.make("test", checkout=other).stderr
    assert machine.installed() == ["3.13"]


def test_an_environment_that_make_did_not_create_is_not_changed(machine):
    machine.add("python3.13", "3.13")
    theirs = machine.folder / "theirs"
    subprocess.run([machine.programs / "python3.13", "-m", "venv", theirs], check=True)
    done = machine.make(f"VENV={theirs}", "docs")
    assert done.returncode and "not of this checkout" in done.stderr and not machine.installed()


def test_an_environment_from_before_is_used(machine):
    machine.add("python3.13", "3.13")
    subprocess.run([machine.programs / "python3.13", "-m", "venv", machine.checkout / ".venv"], check=True)
    assert "tests on 3.13" in machine.make("test").stdout and machine.installed() == ["3.13"]


def test_an_environment_outside_the_checkout_is_created_and_used_again(machine):
    machine.add("python3.13", "3.13")
    for _ in range(2):
        assert "tests on 3.13" in machine.make(f"VENV={machine.folder}/apart", "test").stdout
    assert machine.installed() == ["3.13"]


def test_a_changed_setup_is_installed_again(machine):
    machine.add("python3.13", "3.13")
    machine.make("install")
    later = (machine.checkout / ".venv" / ".ready").stat().st_mtime + 10
    os.utime(machine.checkout / "setup.cfg", (later, later))
    machine.make("install")
    assert machine.installed() == ["3.13", "3.13"]


def ci(machine, **environment):
    """Runs .ci/run on the machine: its lines in order, and the exit code."""
    (machine.checkout / ".ci").mkdir()
    shutil.copy(ROOT / ".ci/run", machine.checkout / ".ci")
    for tool in ("bash", "timeout"):
        (machine.programs / tool).symlink_to(shutil.which(tool))
    environment |= {"PATH": str(machine.programs), "HOME": str(machine.folder), "PYENV_ROOT": str(machine.folder)}
    command = [machine.programs / "bash", ".ci/run"]
    place = {"cwd": machine.checkout, "env": environment}
    done = subprocess.run(command, **place, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return done.stdout.splitlines(), done.returncode


TOOLS_OF_CI = all(shutil.which(name) for name in ("bash", "timeout"))
CI = pytest.mark.skipif(not TOOLS_OF_CI, reason="bash or timeout is not installed")


@CI
@pytest.mark.parametrize("fails", ["", "3.12"])
def test_ci_runs_a_part_on_the_other_pythons_and_ends_with_the_whole_suite(machine, fails):
    for version in ("3.11", "3.12"):
        machine.add(f"python{version}", version)
    lines, code = ci(machine, FAILS=fails)
    text = "\n".join(lines)
    assert "demo of 3.12" in text and "tests on 3.12 few" in text
    assert "Python 3.13: not on this machine, so nothing was run on it" in text
    assert lines[-1].strip() == "tests on 3.11"
    assert ("Python 3.12: four models: FAILED" in text) == (code != 0) == bool(fails)


@CI
@pytest.mark.parametrize("seconds, words", [("1", "ended unfinished after"), ("0", "NOT run, the 0 s")])
def test_ci_leaves_out_what_does_not_end_in_time_and_runs_the_whole_suite(machine, seconds, words):
    for version in ("3.11", "3.12", "3.13"):
        machine.add(f"python{version}", version)
    os.mkfifo(machine.folder / "never")  # nothing writes to it
    lines, code = ci(machine, HANGS="3.13", TFRECSESSION_CI_SECONDS=seconds)
    text = "\n".join(lines)
    assert f"Python 3.13: environment: {words}" in text and "Python 3.12: environment: NOT run" in text
    assert "demo of" not in text and "tests on 3.12" not in text
    assert code == 0 and lines[-1].strip() == "tests on 3.11"


@CI
def test_ci_runs_the_whole_suite_where_there_is_a_newer_python_alone(machine):
    machine.add("python3.13", "3.13")
    lines, code = ci(machine)
    assert code == 0 and lines[-1].strip() == "tests on 3.13"
    assert any("Python 3.11: not on this machine" in line for line in lines)


def test_the_pythons_of_setup_cfg_agree():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    versions = [int(each) for each in re.findall(r"Python :: 3\.(\d+)", setup["metadata"]["classifiers"])]
    assert setup["options"]["python_requires"] == f">=3.{min(versions)},<3.{max(versions) + 1}"
    assert versions == list(range(min(versions), max(versions) + 1))
