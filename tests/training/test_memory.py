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
        pytest.skip("this system does not report peak memory")


def test_memory_that_was_freed_counts_for_the_peak(counted):
    with PeakMemory() as took:
        held = np.ones(64 * MEGABYTE, np.uint8)
        del held
    assert 60 * MEGABYTE < took.growth < 100 * MEGABYTE


def test_memory_held_before_does_not_count(counted):
    held = np.ones(64 * MEGABYTE, np.uint8)
    with PeakMemory() as took:
        held[:] = 2
    assert took.growth < 30 * MEGABYTE


def test_without_a_report_of_the_system_the_growth_is_none(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "RESET", tmp_path / "missing" / "clear_refs")
    with PeakMemory() as took:
        pass
    assert took.growth is None
