"""Requests in context give the answers of the export, by REST and gRPC."""

import datetime

import numpy as np
import pytest

import tfrecsession as trs
from tfrecsession import InputError

START = 1_700_000_000


@pytest.fixture(scope="module")
def folder(shop, tmp_path_factory):
    """A folder of two models: gru4rec reads no context, in_context does."""
    folder = tmp_path_factory.mktemp("in_context")
    model = trs.models.GRU4Rec(shop.items, units=[8], negatives=trs.negatives.Popularity(8))
    model.export(folder / "gru4rec" / "1", k=5)
    context = {"context": ["gap", "hour"], "request": ["hour"]}
    model = trs.models.GRU4Rec(shop.items, units=[8], negatives=trs.negatives.Popularity(8), **context)
    for weight in model.trainable_variables:  # C and A begin with zeros
        weight.assign(np.random.default_rng(len(weight.shape)).normal(size=weight.shape))
    model.export(folder / "in_context" / "1", k=5)
    return folder


@pytest.fixture(scope="module")
def server(folder):
    with trs.serving.Server(folder, rest_port=0, grpc_port=0) as running:
        yield running


@pytest.fixture(params=["rest", "grpc"])
def client(request, server):
    return trs.serving.Client(server.url if request.param == "rest" else f"grpc://{server.grpc_address}")


@pytest.mark.slow
def test_answers_with_without_and_with_partly_missing_context(client, folder, shop):
    ids = shop.items.ids.tolist()
    histories = [ids[:3], [], [ids[9], "no-such-item"]]
    moment = datetime.datetime.fromtimestamp(START, datetime.UTC)
    time = [[START, None, START + 90], [], [moment, START + 4]]
    given = [
        {},
        {"context": {"time": time}, "request": {"hour": [3, 4, 5]}},
        {"context": {"hour": [[1, 2, None], [], [23, 0]], "time": time}, "request": {"time": [START, None, START]}},
        {"request": {"hour": [None, None, 7]}},
    ]
    scores = []
    for context in given:
        items, expected = trs.export.ask(folder / "in_context", histories, **context)
        answer = client.recommend("in_context", histories, **context)
        assert answer.items.tolist() == items.tolist()
        np.testing.assert_allclose(answer.scores, expected, rtol=1e-5)
        scores.append(answer.scores[2])
    assert len({tuple(row) for row in np.round(scores, 4).tolist()}) == len(given)
    best = client.recommend("in_context", histories, **given[1]).items
    left = client.recommend("in_context", histories, exclude=[best[0, :1].tolist(), [], []], **given[1]).items
    assert left[0, :4].tolist() == best[0, 1:].tolist() and left[1:].tolist() == best[1:].tolist()


def test_bad_context_is_named(client, shop):
    history = [shop.items.ids[:2].tolist()]
    for context, message in (
        ({"context": {"device": [["a", "b"]]}}, "context: 'device' must be one that the model reads: gap, hour, time"),
        ({"context": {"hour": [[1]]}}, r"context\['hour'\]\[0\]: has 1 values, must have 2"),
        ({"request": {"hour": [1, 2]}}, "a value for each of the 1 histories"),
        ({"request": {"hour": [99]}}, "request_hour: is out of range"),
        ({"context": {"gap": [["soon", 1]]}}, "context_gap: must hold numbers"),
    ):
        with pytest.raises(InputError, match=message):
            client.recommend("in_context", history, **context)
    with pytest.raises(InputError, match="context: must be left out: gru4rec reads no context"):
        client.recommend("gru4rec", history, request={"hour": [3]})
