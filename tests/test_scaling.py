"""docs/scaling.md says what its arithmetic gives, and the arithmetic's bytes are those that were measured."""

import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def scaling(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import scaling

    yield scaling
    for name in ("scaling", "workers"):
        sys.modules.pop(name, None)


def test_the_document_holds_the_tables(scaling):
    text = scaling.DOCUMENT.read_text()
    assert scaling.filled(text) == text, "run benchmarks/scaling.py --write"


def test_the_bytes_of_a_step_are_those_of_the_formula_at_any_catalogue(scaling):
    several = [row for row in scaling.rows_of("workers") if int(row["workers"]) > 1]
    assert {int(row["items"]) for row in several} >= {10_000, 1_000_000}
    for row in several:
        sent = int(row["workers"]) * scaling.sent_by_each(int(row["workers"]), int(row["rows_touched"]), scaling.UNITS)
        assert int(row["bytes_per_step"]) == pytest.approx(sent, rel=0.03)


def test_a_step_worked_out_by_hand(scaling, monkeypatch):
    monkeypatch.setattr(scaling, "measured", lambda: {"compute": 1024.0, "layout": 1e9, "parquet": 1.0, "update": 1e-3})
    step = scaling.step(2, 64)
    touched = 1024 * 4 / 3 + 2048
    sent = touched * 412 + 4 * (6 * 100**2 + 300)
    assert step["sent"] == pytest.approx(sent)
    assert step["seconds"] == pytest.approx(1 + sent / 1.25e9 + touched * 1e-3)
    assert step["rate"] == pytest.approx(2048 / step["seconds"])
