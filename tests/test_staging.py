"""Output folders appear whole or not at all."""

import os
import signal
import subprocess
import sys

import pytest

from tfrecsession import InputError
from tfrecsession.staging import staged


def fill(out, text, **options):
    with staged(out, marker="dataset.json", **options) as folder:
        (folder / "dataset.json").write_text(text)


def test_replaces_only_on_request(tmp_path):
    out = tmp_path / "a" / "out"
    fill(out, "first")
    with pytest.raises(
        InputError, match=r"out: exists already: choose another name, or replace it with overwrite=True"
    ):
        fill(out, "second")
    assert (out / "dataset.json").read_text() == "first"
    fill(out, "second", overwrite=True)
    assert (out / "dataset.json").read_text() == "second"
    assert [path.name for path in out.parent.iterdir()] == ["out"]


def test_overwrites_only_its_own_folders(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "holiday.jpg").touch()
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="must not be overwritten .it has no dataset.json."):
        fill(tmp_path / "photos", "", overwrite=True)
    with pytest.raises(InputError, match="exists and is not a folder"):
        fill(tmp_path / "file", "", overwrite=True)
    with pytest.raises(InputError, match="exists already"):
        fill(tmp_path / "empty", "")
    fill(tmp_path / "empty", "new", overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "file", "photos"]


def test_removes_leftovers_of_dead_processes_only(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    dead, alive, stranger = (f"out.partial-{process.pid}", f"out.partial-{os.getppid()}", "out.partial-notes")
    for name in (dead, alive, stranger, f"outer.partial-{process.pid}"):
        (tmp_path / name).mkdir()
    fill(tmp_path / "out", "new")
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"out", alive, stranger, f"outer.partial-{process.pid}"}


def test_restores_a_folder_that_was_moved_aside(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    fill(tmp_path / f"out.replaced-{process.pid}", "old")
    with pytest.raises(InputError, match="exists already"):
        fill(tmp_path / "out", "new")
    assert (tmp_path / "out" / "dataset.json").read_text() == "old"


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot write there"):
        fill(tmp_path / "file" / "out", "")


def test_a_failure_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt), staged(tmp_path / "deep" / "out", marker="m"):
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())


def test_leftovers_of_a_killed_process_are_removed(tmp_path):
    code = (
        "import sys, time; from tfrecsession.staging import staged\n"
        f"with staged({str(tmp_path / 'out')!r}, marker='m') as folder:\n"
        "    (folder / 'm').write_text('half'); print('ready', flush=True); time.sleep(60)"
    )
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    child.stdout.readline()
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert [path.name for path in tmp_path.iterdir()] == [f"out.partial-{child.pid}"]
    with staged(tmp_path / "out", marker="m") as folder:
        (folder / "m").write_text("whole")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
