"""Fixtures of the promises, and which of their tests `make test` leaves out.

A test that asks for `name` runs over every row of descriptors.py; `neural`, `recurrent` and `across` name fewer rows.
"""

import functools
import json
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pyarrow as pa
import pytest

import tfrecsession as trs
from tests.conformance import descriptors, selection
from tests.conformance.descriptors import TABLE
from tfrecsession import evaluation, training
from tfrecsession.sessions.users import Users

OVER = {
    "name": lambda row: True,
    "neural": descriptors.learned,
    "recurrent": descriptors.recurrent,
    "across": descriptors.across_sessions,
    "contextual": descriptors.in_context,
}
"""The arguments of tests that name a row, and the rows that each runs over."""


# Models --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def built():
    """(name, items, wanted settings) -> the compiled model, and all its settings."""

    def build(name, items, wanted=None):
        settings = TABLE[name].settings_with(wanted)
        return training.build(TABLE[name].registered, items, settings), settings

    return build


@pytest.fixture(scope="session")
def trained(built):
    """(name, data, wanted settings, seed) -> the model, fitted to the train split."""

    def train(name, data, wanted=None, seed=0):
        model, settings = built(name, data.items, wanted)
        training.fit(model, data, settings, seed=seed)
        return model

    return train


@pytest.fixture(scope="session")
def fitted(trained, data_of):
    """name -> the model, fitted to its data set; once, as the tests come model by model."""

    @functools.lru_cache(maxsize=1)
    def fit(name):
        keras.utils.set_random_seed(1)
        return trained(name, data_of(name))

    return fit


@pytest.fixture(scope="session")
def scored(fitted, data_of):
    """name -> the evaluation of the fitted model on the test split."""
    return functools.cache(lambda name: evaluation.evaluate(fitted(name), data_of(name).test))


@pytest.fixture(scope="session")
def exported(fitted, tmp_path_factory):
    """(name, exclude_seen) -> the folder of the model's export with k=10, to be read only."""

    @functools.cache
    def export(name, exclude_seen=False):
        folder = tmp_path_factory.mktemp("exported") / "1"
        return fitted(name).export(folder, k=10, exclude_seen=exclude_seen)

    return export


@pytest.fixture(scope="session")
def tensorflow_alone():
    """(path of an export, its signature, `items` of one request after the other) -> items and scores of each.

    One process answers all, as its start takes longer than all else. See alone.py.
    """
    command = [sys.executable, Path(__file__).with_name("alone.py")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:

        def ask(path, signature, requests):
            print(json.dumps([str(path), signature, requests]), file=process.stdin, flush=True)
            lines = (line.removeprefix("answer ") for line in process.stdout if line.startswith("answer "))
            answer = json.loads(next(lines, '{"error": "the process has ended"}'))
            assert "answers" in answer, answer["error"]
            return answer["answers"]

        yield ask
        process.stdin.close()


# Data sets -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def data_of(request):
    """(name, kind) -> the data set of a row: the small one, or its "large", "another" or "noisy" kind."""

    def get(name, kind=""):
        return with_ages(request.getfixturevalue("_".join(filter(None, [kind, TABLE[name].data]))))

    return get


def with_ages(data):
    """Returns a data set after giving its users a feature that tells nothing; models that do not ask see no change."""
    if data.users is None and "user" in data.train.arrays.columns:
        users = sorted({user for user in data.train.column("user") if user})
        ages = pa.table({"age": np.arange(len(users)) % 50 + 18.0})
        data.items.users = Users(users, np.ones(len(users)), ages)
    return data


@pytest.fixture
def data(request, data_of):
    """The small data set of the model that the test runs over."""
    return data_of(row_of(request.node).name)


@pytest.fixture(scope="session")
def large_shop():
    """Enough of a shop to learn its law."""
    return trs.synthetic_sessions(items=100, sessions=12_000, seed=5)


@pytest.fixture(scope="session")
def another_shop():
    return trs.synthetic_sessions(items=150, sessions=800, seed=9)


@pytest.fixture(scope="session")
def noisy_shop(tmp_path_factory):
    """Sessions of items that are sampled uniformly and independently, with content that says nothing."""
    folder = tmp_path_factory.mktemp("noise")
    rng = np.random.default_rng(0)
    sessions, length = 3000, 5
    table = pa.table(
        {
            "session": np.repeat(np.arange(sessions), length),
            "user": np.repeat(np.arange(sessions) % 700, length),
            "item": [f"i{number}" for number in rng.integers(0, 200, sessions * length)],
            "time": 1_700_000_000 + np.arange(sessions * length) * 120,
        }
    )
    content = {
        "item": [f"i{number}" for number in range(200)],
        "title": [f"w{a} w{b}" for a, b in rng.integers(0, 40, (200, 2))],
        "price": rng.random(200),
        "category": [f"c{number}" for number in rng.integers(0, 9, 200)],
    }
    trs.prepare(table, folder / "data", test_span="20%", validation_span="0d", items=content)
    return trs.load(folder / "data")


@pytest.fixture(scope="session")
def ceiling_of(data_of):
    """(name, k, kind) -> the best recall@k that the law of a data set allows on its test split."""

    @functools.cache
    def ceiling(name, k=20, kind=""):
        data = data_of(name, kind)
        return evaluation.ceiling(data.info["shop"], data.test, (k,)).metrics[f"recall@{k}"]

    return ceiling


# Collection ----------------------------------------------------------------------------------------------------------


def row_of(item):
    """The row that a test runs over; a test of what all models share is run with GRU4Rec."""
    params = item.callspec.params if hasattr(item, "callspec") else {}
    return TABLE[next((params[argument] for argument in OVER if argument in params), "gru4rec")]


def pytest_generate_tests(metafunc):
    for argument in OVER.keys() & set(metafunc.fixturenames):
        metafunc.parametrize(argument, [row.name for row in TABLE.values() if OVER[argument](row)])


@pytest.hookimpl(tryfirst=True)  # before slow tests are left out
def pytest_collection_modifyitems(items):
    """Sorts the tests by model, so that each is fitted and exported once and the test processes share out models."""
    order, selected = list(TABLE), selection.selected()
    here = [index for index, item in enumerate(items) if item.path.parent == Path(__file__).parent]
    tests = sorted((items[index] for index in here), key=lambda item: order.index(row_of(item).name))
    for index, item in zip(here, tests, strict=True):
        items[index] = item
        row = row_of(item)
        large = row.cost == "large" and item.get_closest_marker("long")
        shared = row.name not in selection.KINDS and item.get_closest_marker("shared")
        if row.name not in selected or large or shared:
            item.add_marker(pytest.mark.slow)
        for promise in item.iter_markers("notyet"):
            if row.name in names_of(promise):
                item.add_marker(pytest.mark.xfail(strict=True, **promise.kwargs))


def names_of(notyet):
    """The rows that `@pytest.mark.notyet("name", ..., reason="...")` names."""
    unknown = set(notyet.args) - set(TABLE)
    if unknown or not notyet.args or not notyet.kwargs.get("reason"):
        raise pytest.UsageError(f"notyet{notyet.args}: must be names of rows in descriptors.py, and a reason=")
    return notyet.args
