"""A prepared data set is complete, or it does not exist."""

import signal
import subprocess
import sys

import pytest

from tfrecsession.errors import InputError
from tfrecsession.sessions.prepare import prepare
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
    """Runs a prepare that is killed when `step` begins; returns the process id."""
    process = subprocess.Popen([sys.executable, "-c", KILLED, out, step, SHOP])
    assert process.wait() == -signal.SIGKILL
    return process.pid


@pytest.mark.slow
def test_a_killed_prepare_leaves_nothing_that_can_be_read(tmp_path):
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
