"""No number changes: every golden, loaded from its file, answers and learns as on the day it was made."""

import keras
import numpy as np
import pytest

from tests.conformance.descriptors import TABLE
from tests.goldens import goldens, media


@pytest.fixture(scope="module")
def data():
    data, folder = goldens.prepared()
    yield data
    folder.cleanup()


def slow(row):
    """Returns whether `make test-all` alone runs a row: its model has another row, which `make test` runs."""
    return [pytest.mark.slow] if row.like and row.name != row.registered else []


@pytest.mark.parametrize("name", [pytest.param(row.name, marks=slow(row)) for row in TABLE.values()])
def test_golden(name, data):
    model = keras.models.load_model(goldens.FOLDER / f"{name}.keras")
    found = goldens.outputs(model, data, goldens.settings_of(name)[1])
    with np.load(goldens.FOLDER / f"{name}.npz") as expected:
        assert set(found) == set(expected)
        for key in expected:
            if key == "weights":  # the smallest are steps that Adam makes of gradients that are nothing but rounding
                tiny = expected[key] < 1e-3
                found[key], wanted = np.where(tiny & (found[key] < 1e-3), 0, (found[key], expected[key]))
            else:
                wanted = expected[key]
            np.testing.assert_allclose(found[key], wanted, rtol=1e-6, atol=1e-6, err_msg=f"{name}: {key}")


def test_pictures_and_sounds():
    """Pictures and sounds are read, and encoded, as on the day `media.npz` was made."""
    found = media.outputs()
    with np.load(media.FILE) as expected:
        assert set(found) == set(expected)
        np.testing.assert_allclose(found.pop("photo"), expected["photo"], atol=1)  # another Pillow may round otherwise
        for key, values in found.items():
            tolerance = 1e-2 if key == "song" else 2e-3  # float16; the convolutions of other processors
            np.testing.assert_allclose(values, expected[key], rtol=tolerance, atol=tolerance, err_msg=key)
