import gc
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import hypothesis
import pytest

hypothesis.settings.register_profile("untimed", deadline=None)  # tests do not time
hypothesis.settings.load_profile("untimed")


@pytest.fixture(scope="module", autouse=True)
def no_garbage():
    """Hides the objects that a file of tests leaves alive from later garbage collections.

    A process that has made thousands of graphs would spend its time looking through them.
    """
    yield
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def shop():
    """A small prepared shop, in memory: 200 items, 3,000 sessions."""
    import tfrecsession as trs

    return trs.synthetic_sessions(items=200, sessions=3000, seed=1)


@pytest.fixture(scope="session")
def real_data():
    """The folder of real data sets, or a skip."""
    folder = os.environ.get("TFRECSESSION_DATA")
    if not folder:
        pytest.skip("TFRECSESSION_DATA is not set: the real data sets are not at hand")
    from pathlib import Path

    return Path(folder)
