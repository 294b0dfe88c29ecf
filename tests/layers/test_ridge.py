"""Many small ridge regressions against NumPy's solve."""

import numpy as np
import pytest

from tfrecsession.layers import ridge


@pytest.mark.parametrize(("rows", "dim"), [(1, 6), (5, 6), (6, 6), (20, 6), (0, 3)])
def test_equals_a_solve(rows, dim):
    random = np.random.default_rng(rows)
    features = random.standard_normal((4, rows, dim)).astype(np.float32)
    confidence = (random.random((4, rows)) * 3).astype(np.float32)
    target = random.standard_normal((4, rows)).astype(np.float32)
    confidence[1, rows // 2 :] = target[1, rows // 2 :] = 0  # padding
    background = (random.random((4, dim)) + 0.1).astype(np.float32)
    found = ridge(features, confidence, target, background).numpy()
    for f, c, t, b, x in zip(features, confidence, target, background, found, strict=True):
        expected = np.linalg.solve(np.diag(b) + (f.T * c) @ f, f.T @ t)
        np.testing.assert_allclose(x, expected, rtol=1e-3, atol=1e-4)


def test_padding_changes_nothing():
    random = np.random.default_rng(0)
    features = random.standard_normal((2, 3, 5)).astype(np.float32)
    ones, background = np.ones((2, 3), np.float32), np.full((2, 5), 0.5, np.float32)
    padded = np.pad(features, [(0, 0), (0, 9), (0, 0)], constant_values=7)
    wide = np.pad(ones, [(0, 0), (0, 9)])
    before, after = ridge(features, ones, ones, background), ridge(padded, wide, wide, background)
    np.testing.assert_allclose(after, before, rtol=1e-3, atol=1e-4)


def test_repeated_rows_are_solved():
    features = np.ones((1, 50, 8), np.float32)
    ones = np.ones((1, 50), np.float32)
    found = ridge(features, ones, ones, np.full((1, 8), 1e-6, np.float32)).numpy()
    assert np.isfinite(found).all() and found.sum() == pytest.approx(1, abs=1e-3)
