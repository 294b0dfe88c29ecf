"""A prepared data set is there whole or not at all."""

import os
import signal
import subprocess
import sys

import pytest

from tfrecsession.errors import InputError
from tfrecsession.sessions.prepare import prepare
from tfrecsession.sessions.staging import staged
from tfrecsession.sessions.store import read_prepared

SHOP = "synthetic:items=50,sessions=300"
KILLED = """
import os, signal, sys
from tfrecsession.sessions.prepare import prepare

def progress(step, done):
    if step == sys.argv[2]:
        os.kill(os.getpid(), signal.SIGKILL)

prepare(sys.argv[3], sys.argv[1], overwrite=True, progress=progress)
"""


def killed(out, step):
    """Run a prepare that is killed when `step` begins; the process's number."""
    process = subprocess.Popen([sys.executable, "-c", KILLED, out, step, SHOP])
    assert process.wait() == -signal.SIGKILL
    return process.pid


def test_a_killed_prepare_leaves_nothing_that_passes_for_whole(tmp_path):
    out = tmp_path / "out"
    left = tmp_path / f"out.partial-{killed(out, 'writing test')}"
    assert left.is_dir() and not out.exists()
    for folder in (left, out):
        with pytest.raises(InputError):
            read_prepared(folder)
    prepare(SHOP, out)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert len(read_prepared(out).items)


def test_a_killed_overwrite_leaves_the_old_one(tmp_path):
    out = tmp_path / "out"
    info = prepare("synthetic:items=40,sessions=300", out)
    killed(out, "vocabulary")
    assert read_prepared(out).info == info


def test_an_interrupt_cleans_up(tmp_path):
    def progress(step, done):
        if step == "vocabulary":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(SHOP, tmp_path / "out", progress=progress)
    assert not list(tmp_path.iterdir())


def fill(out, text, **options):
    with staged(out, **options) as folder:
        (folder / "dataset.json").write_text(text)


def test_staging_replaces_only_on_request(tmp_path):
    out = tmp_path / "a" / "out"
    fill(out, "first")
    with pytest.raises(InputError, match=r"out: exists already: choose another name, or replace it with --overwrite"):
        fill(out, "second")
    assert (out / "dataset.json").read_text() == "first"
    fill(out, "second", overwrite=True)
    assert (out / "dataset.json").read_text() == "second"
    assert [path.name for path in out.parent.iterdir()] == ["out"]


def test_staging_overwrites_nothing_but_data_sets(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "holiday.jpg").touch()
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds other things than a prepared data set"):
        fill(tmp_path / "photos", "", overwrite=True)
    with pytest.raises(InputError, match="exists and is not a folder"):
        fill(tmp_path / "file", "", overwrite=True)
    with pytest.raises(InputError, match="exists already"):
        fill(tmp_path / "empty", "")
    fill(tmp_path / "empty", "new", overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "file", "photos"]


def test_staging_clears_what_the_dead_left_and_spares_the_living(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    dead, alive, stranger = (f"out.partial-{process.pid}", f"out.partial-{os.getppid()}", "out.partial-notes")
    for name in (dead, alive, stranger, f"outer.partial-{process.pid}"):
        (tmp_path / name).mkdir()
    fill(tmp_path / "out", "new")
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"out", alive, stranger, f"outer.partial-{process.pid}"}


def test_staging_brings_back_what_was_about_to_be_replaced(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    fill(tmp_path / f"out.replaced-{process.pid}", "old")
    with pytest.raises(InputError, match="exists already"):
        fill(tmp_path / "out", "new")
    assert (tmp_path / "out" / "dataset.json").read_text() == "old"


def test_staging_in_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot write there"):
        fill(tmp_path / "file" / "out", "")
