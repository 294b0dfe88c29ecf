import pytest

import tfrecsession as trs


@pytest.fixture(scope="package")
def data():
    return trs.synthetic_sessions(items=40, sessions=250, seed=1, context=True, described=True)


@pytest.fixture(scope="package")
def first(data):
    markov = trs.models.MarkovChain(data.items)
    markov.fit(data.train)
    return markov
