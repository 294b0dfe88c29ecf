import os
import signal
import subprocess
import sys

import pytest

from tfrecsession import InputError
from tfrecsession.staging import staged


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_result_appears_at_the_end(tmp_path):
    with staged(tmp_path / "out", marker="m") as folder:
        (folder / "m").write_text("new")
        assert not (tmp_path / "out").exists()
    assert names(tmp_path) == ["out"]


def test_a_failure_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt), staged(tmp_path / "deep" / "out", marker="m"):
        raise KeyboardInterrupt
    assert names(tmp_path / "deep") == []


def test_overwriting_keeps_the_old_one_until_the_end(tmp_path):
    with staged(tmp_path / "out", marker="m") as folder:
        (folder / "m").write_text("old")
    with pytest.raises(InputError, match="--overwrite"), staged(tmp_path / "out", marker="m"):
        raise AssertionError("the work must not begin")
    with pytest.raises(ZeroDivisionError), staged(tmp_path / "out", marker="m", overwrite=True):
        1 / 0  # noqa: B018
    assert (tmp_path / "out" / "m").read_text() == "old"
    with staged(tmp_path / "out", marker="m", overwrite=True) as folder:
        (folder / "m").write_text("new")
    assert (tmp_path / "out" / "m").read_text() == "new" and names(tmp_path) == ["out"]


def test_strange_folders_are_not_overwritten(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match="not ours"), staged(tmp_path / "out", marker="m", overwrite=True):
        raise AssertionError("the work must not begin")


def test_what_a_killed_process_left_is_cleared(tmp_path):
    code = (
        "import sys, time; from tfrecsession.staging import staged\n"
        f"with staged({str(tmp_path / 'out')!r}, marker='m') as folder:\n"
        "    (folder / 'm').write_text('half'); print('ready', flush=True); time.sleep(60)"
    )
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    child.stdout.readline()
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert names(tmp_path) == [f"out.partial-{child.pid}"]
    with staged(tmp_path / "out", marker="m") as folder:
        (folder / "m").write_text("whole")
    assert names(tmp_path) == ["out"]
