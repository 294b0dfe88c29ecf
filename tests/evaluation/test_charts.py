import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfrecsession.evaluation.report import charts, drawing

# Machado, Oliveira, Fernandes, "A physiologically-based model for simulation of color vision deficiency", 2009
VISIONS = {
    "normal": np.eye(3),
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
}
PAGES = {"light": ("#ffffff", drawing.LIGHT), "dark": ("#15171a", drawing.DARK)}


def linear(colour):
    value = np.array([int(colour[place : place + 2], 16) for place in (1, 3, 5)]) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def contrast(first, second):
    """Returns the WCAG 2 contrast: (L1 + 0.05) / (L2 + 0.05) of the relative luminances."""
    low, high = sorted(linear(colour) @ [0.2126, 0.7152, 0.0722] for colour in (first, second))
    return (high + 0.05) / (low + 0.05)


def lab(rgb):
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    xyz = to_xyz @ np.clip(rgb, 0, 1) / [0.9505, 1, 1.089]
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("theme", PAGES)
def test_series_contrast_with_the_page(theme):
    background, palette = PAGES[theme]
    assert all(contrast(colour, background) >= 3 for colour in palette)


@pytest.mark.parametrize("vision", VISIONS)
@pytest.mark.parametrize("theme", PAGES)
def test_series_are_distinguishable(theme, vision):
    seen = [lab(np.asarray(VISIONS[vision]) @ linear(colour)) for colour in PAGES[theme][1]]
    assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2)) >= 22


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.floats(0.01, 0.08))
def test_spread_keeps_names_apart_and_in_order(wanted, gap):
    places = drawing.spread(wanted, gap)
    order = np.argsort(wanted, kind="stable")
    assert (np.diff(np.array(places)[order]) >= gap - 1e-9).all()
    assert max(places) <= 1 + 1e-9


def test_spread_moves_only_overlapping_names():
    assert drawing.spread([0.9, 0.1, 0.5], 0.1) == pytest.approx([0.9, 0.1, 0.5])
    assert drawing.spread([0.5, 0.5], 0.2) == pytest.approx([0.4, 0.6])


def test_the_best_have_own_looks_and_the_others_are_grey(results):
    models = drawing.series([{"model": f"model {number}"} for number in range(8)])
    assert [model.named for model in models] == [True] * 6 + [False] * 2
    assert len({(model.color, model.marker) for model in models[:6]}) == 6


def test_a_gap_where_a_slice_has_no_events(results):
    rows = results["models"][-1:]
    whole = charts.lines(drawing.series(rows), "position", "recall@20", "", "", "wide")
    for label in ("3", "4"):
        rows[0]["slices"]["position"][label] = {"events": 0, "recall@20": None, "intervals": {}}
    gaps = charts.lines(drawing.series(rows), "position", "recall@20", "", "", "wide")
    assert whole.count("<use") > gaps.count("<use")


@pytest.mark.parametrize(
    ("number", "text"), [(7, "7"), (999, "999"), (1234, "1.2k"), (98_765, "99k"), (3_400_000, "3.4m")]
)
def test_short_counts(number, text):
    assert charts.short(number) == text
