"""Lists that a log has shown: what a ranker reads of them, learns from them, and refuses."""

import keras
import numpy as np
import pyarrow as pa
import pytest

import tfrecsession as trs
from tfrecsession import InputError
from tfrecsession.models.ranking.examples import make_examples
from tfrecsession.sessions.prepare import prepare

LIST = 6


def log(sessions=150, items=12, seed=0):
    """Sessions that look at two items, then click the cheapest of those of a list that they looked at."""
    rng, rows = np.random.default_rng(seed), []
    for session in range(sessions):
        looked = rng.choice(items, 2, replace=False)
        shown = rng.permutation(np.concatenate([looked, rng.choice(np.setdiff1d(np.arange(items), looked), LIST - 2)]))
        prices = rng.integers(50, 150, LIST)
        clicked = min((price, item) for item, price in zip(shown, prices, strict=True) if item in looked)[1]
        texts = "|".join(f"h{item}" for item in shown), "|".join(map(str, prices))
        for step, (item, lists) in enumerate([(looked[0], (None, None)), (looked[1], (None, None)), (clicked, texts)]):
            rows.append((f"s{session}", 1_600_000_000 + session * 600 + step * 10, f"h{item}", *lists))
    return pa.table(dict(zip(("session", "time", "item", "shown", "prices"), zip(*rows, strict=True), strict=True)))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shown") / "data"
    names = {"item": "item", "time": "time", "session": "session", "context": ["shown", "prices"]}
    prepare(log(), folder, **names, test_span="20%", validation_span="10%", min_item_support=1)
    return trs.load(folder)


def made(data, **more):
    keras.utils.set_random_seed(1)
    settings = {"crosses": ["seen", "place"], "listed": ["prices"], "dim": 4, "hidden": [16], "buckets": 100}
    return trs.models.WideAndDeep(data.items, **{**settings, **more})


def test_the_lists_are_those_of_the_log(data):
    ranker = made(data)
    found = make_examples(ranker, data.test, "shown", None, 0, None, None, 0)
    shown = [text for text in data.test.column("shown") if text]
    prices = [text for text in data.test.column("prices") if text]
    assert len(found) == found.events == len(shown) == len(data.test)
    items = sorted("|".join(row) for row in data.items.decode(found.ids).tolist())
    assert items == sorted(shown)
    listed = sorted("|".join(str(int(price)) for price in row) for row in found.lists["listed.prices"])
    assert listed == sorted(prices)
    assert (found.lists["place"] == np.arange(1, LIST + 1)).all()
    clicked = sorted(data.items.decode(found.ids[np.arange(len(found)), found.label]).tolist())
    assert clicked == sorted(data.items.decode(data.test.values[2::3]).tolist())


def test_learns_what_lists_teach(data):
    ranker = made(data)
    ranker.fit(data.train, shown="shown", epochs=25, rows=16)
    ranks = ranker.shown_ranks(data.test, "shown")
    assert len(ranks) == len(data.test) and ranks.min() >= 1 and ranks.max() <= LIST
    by_place = make_examples(ranker, data.test, "shown", None, 0, None, None, 0).label + 1
    assert (1 / ranks).mean() > 0.7 > (1 / by_place).mean()
    history, candidates = [["h1", "h2"]], [["h5", "h1", "h3", "h2"]]
    cheap, dear = (
        ranker.rank(history, candidates, listed={"prices": [[60, price, 60, 100]]})[0] for price in (60, 140)
    )
    assert cheap[1] > dear[1] and cheap.argmax() in (1, 3)


def test_refuses_lists_that_do_not_fit(data):
    with pytest.raises(InputError, match="listed='price': must be a column of the log"):
        made(data, listed=["price"]).fit(data.train, shown="shown")
    with pytest.raises(InputError, match="listed='prices': event 1 has 3 values, must have 2"):
        sessions = data.train.only(np.arange(len(data.train)) == 0)
        columns = {name: sessions.column(name) for name in sessions.arrays.columns}
        columns["shown"], columns["prices"] = (np.array([None, text, None], object) for text in ("h1|h2", "1|2|3"))
        sessions.arrays = type(sessions.arrays)(sessions.items, sessions.values, sessions.offsets, columns)
        made(data).fit(sessions, shown="shown")
    with pytest.raises(InputError, match=r"listed\['prices'\]: must have a number for each candidate"):
        made(data).rank([["h1"]], [["h2", "h3"]], listed={"prices": [[1]]})
