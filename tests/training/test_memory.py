import numpy as np
import pytest

from tfrecsession.training import memory
from tfrecsession.training.memory import PeakMemory

MEGABYTE = 1 << 20


@pytest.fixture
def counted():
    with PeakMemory() as idle:
        pass
    if idle.growth is None:
        pytest.skip("this system does not tell a process its peak memory")


def test_the_peak_is_counted_also_when_it_was_freed(counted):
    with PeakMemory() as took:
        held = np.ones(64 * MEGABYTE, np.uint8)
        del held
    assert 60 * MEGABYTE < took.growth < 100 * MEGABYTE


def test_what_was_held_before_is_not_counted(counted):
    held = np.ones(64 * MEGABYTE, np.uint8)
    with PeakMemory() as took:
        held[:] = 2
    assert took.growth < 30 * MEGABYTE


def test_a_system_that_does_not_tell(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "RESET", tmp_path / "missing" / "clear_refs")
    with PeakMemory() as took:
        pass
    assert took.growth is None
