"""Wide & Deep: its formula in NumPy, what it learns, what it refuses."""

import keras
import numpy as np
import pytest

import tfrecsession as trs
from tfrecsession import InputError
from tfrecsession.layers.hashed_crosses import PRIME

HISTORY, DEVICES = ["item-1", "nothing", "item-5", "item-3"], ["phone", "phone", "desktop", "phone"]
CANDIDATES = ["item-4", "item-5", "item-3", "unheard", "item-9"]


@pytest.fixture(scope="module")
def ranker(data, first):
    keras.utils.set_random_seed(0)
    made = trs.models.WideAndDeep(
        data.items,
        scores_of={"markov": first},
        crosses=["item", "last*item", ["context.device", "item.category"], "place*last.price*item.title"],
        context=["device"],
        content=["category", "price", "title"],
        window=4,
        dim=4,
        hidden=[6, 5],
        buckets=300,
        quantiles=5,
    )
    made.fit(data.validation, candidates=first, n=15, epochs=4, rows=16)
    return made


def hashed(codes, number, buckets):
    """The row of a cross, in Python's own integers."""
    value = number + 1
    for code in codes:
        product = ((value ^ code) * PRIME) % (1 << 64)
        product -= (1 << 64) if product >= 1 << 63 else 0
        value = product ^ (product >> 29)
    return number * buckets + value % buckets


def quantile(edges, value):
    return 0 if np.isnan(value) else 2 + int((np.float32(value) >= edges).sum())


def test_equals_its_formula_in_numpy(ranker, data, first):
    """Codes, crosses and network are computed again from the log, the item table and the weights."""
    edges = dict(zip(ranker.features.numbers, ranker.features.quantiles.edges.numpy(), strict=True))
    content = {name: np.pad(rows, [(2, 0), (0, 0)]) for name, rows in ranker.content.encode(data.items.content).items()}
    ids, items = data.items.encode(CANDIDATES), data.items.encode(HISTORY)
    window = [int(item) for item in items[::-1] if item > 1]
    answer = first.recommend([[item for item in HISTORY if item != "nothing"]], k=len(data.items))
    scores = dict(zip(answer.items[0], answer.scores[0].astype(float), strict=True))
    of_member = np.array([scores.get(item, np.nan) for item in CANDIDATES])
    of_member = (of_member - np.nanmean(of_member)) / np.nanstd(of_member)
    popularity = np.log1p(np.concatenate([[0, 0], data.items.counts]))
    table, vectors = ranker.wide_crosses.table.numpy().astype(float), ranker.embeddings
    layers = (ranker.of_query, ranker.of_candidate, *ranker.deep, ranker.last)
    of_query, of_candidate, deep, last = (
        [weight.numpy().astype(float) for weight in layer.weights] for layer in layers
    )

    def content_of(side, item):
        price = content["price"][item]
        category, title = ([int(code) for code in content[name][item]] for name in ("category", "title"))
        price = [quantile(edges[f"{side}.price"], price[0] if price[2] else np.nan)]
        return {f"{side}.category": category, f"{side}.price": price, f"{side}.title": title}

    def embedded(name, codes):
        rows = vectors.table.numpy()[[vectors.first[vectors.shared.get(name, name)] + code for code in codes if code]]
        return rows.mean(axis=0) if len(rows) else np.zeros(vectors.dim)

    def feature(code):
        return [(code - 2) / 4, 0.0] if code else [0.0, 1.0]

    def inputs(codes):
        return [feature(values[0]) if name in edges else embedded(name, values) for name, values in codes.items()]

    device = 2 + ranker.own_context.columns["device"].values.index("phone")
    query = {"last": [window[0]], "length": [quantile(edges["length"], len(window))], "context.device": [device]}
    query |= content_of("last", window[0])
    history = np.mean([embedded("last", [item]) for item in window], axis=0)
    found = ranker.rank([HISTORY], [CANDIDATES], {"device": [DEVICES]})[0]
    for column, (item, score) in enumerate(zip(ids.tolist(), found, strict=True)):
        own = {"item": [item], "seen": [3 + window.index(item) if item in window else 2]}
        numbers = {"popularity": popularity[item], "place": column + 1, "score.markov": of_member[column]}
        own |= {name: [quantile(edges[name], number)] for name, number in numbers.items()}
        own |= content_of("item", item)
        exact = np.nan_to_num([-np.log(column + 1), of_member[column]])
        codes = query | own
        wide = np.concatenate([feature(own[name][0]) for name in ranker.wide_numbers]) @ ranker.number_weights.numpy()
        wide += exact @ ranker.exact_weights.numpy()
        for number, cross in enumerate(ranker.crosses):
            combinations = [[]]
            for name in cross:
                combinations = [[*before, code] for before in combinations for code in codes[name] if code]
            wide += sum(table[hashed(combination, number, 300)] for combination in combinations)
        hidden = np.concatenate([*inputs(query), history]) @ of_query[0] + of_query[1]
        hidden = np.maximum(hidden + np.concatenate([*inputs(own), exact]) @ of_candidate[0], 0)
        hidden = np.maximum(hidden @ deep[0] + deep[1], 0)
        assert score == pytest.approx(float((wide + hidden @ last[0] + last[1])[0]), abs=1e-5)


def test_begins_in_the_order_of_the_list(data, first):
    ranker = trs.models.WideAndDeep(data.items, scores_of=[first], dim=4, hidden=[6, 5], buckets=300)
    for candidates in (CANDIDATES, CANDIDATES[::-1]):
        scores = ranker.rank([HISTORY], [candidates])[0]
        np.testing.assert_allclose(scores, -np.log(1 + np.arange(len(candidates))), atol=1e-6)


def test_learns(ranker):
    assert ranker.history.history["loss"][-1] < 0.9 * ranker.history.history["loss"][0]
    assert 0 < len(ranker.examples) <= ranker.examples.events
    crosses = ranker.wide_crosses.summary_of_crosses()
    assert [row["cross"] for row in crosses][:2] == ["item", "last*item"]
    assert all(0 < row["weights"] <= row["seen"] <= 300 for row in crosses)
    assert set(ranker.optimizer.optimizers) == {"deep", "wide"}
    assert ranker.optimizer.group(ranker.wide_crosses.table) == "wide"


def test_a_saved_ranker_answers_alike(ranker, tmp_path):
    ranker.save(tmp_path / "ranker.keras")
    loaded = keras.models.load_model(tmp_path / "ranker.keras")
    given = [HISTORY, ["item-7"]], [CANDIDATES, ["item-1", "item-2"]], {"device": [DEVICES, ["phone"]]}
    for one, other in zip(ranker.rank(*given), loaded.rank(*given), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    again = ranker.of(ranker.members)
    np.testing.assert_allclose(again.rank(*given)[0], ranker.rank(*given)[0], atol=1e-6)


def test_vectors_of_a_model_are_inputs_of_the_deep_part(data):
    factors = trs.models.ALS(data.items, factors=5, sweeps=1)
    factors.fit(data.train)
    settings = {"scores_of": [factors], "crosses": ["item"], "dim": 4, "hidden": [6], "buckets": 10}
    plain, reading = (trs.models.WideAndDeep(data.items, vectors=vectors, **settings) for vectors in (False, True))
    for layer in ("of_query", "of_candidate"):
        widths = [getattr(ranker, layer).kernel.shape[0] for ranker in (plain, reading)]
        assert widths[1] - widths[0] == 5
    kernel = np.zeros(reading.of_query.kernel.shape, "float32")
    kernel[-5:, :5] = np.eye(5)  # the network sees the vector of the history alone, and is 1 if it is above 0
    reading.of_query.kernel.assign(kernel)
    reading.of_candidate.kernel.assign(np.zeros(reading.of_candidate.kernel.shape))
    reading.last.kernel.assign(np.ones((6, 1)))
    found = reading.rank([["item-1", "item-4"]], [["item-2"]])[0]
    vector = factors.query_vectors(data.items.encode(["item-1", "item-4"])[None]).numpy()[0]
    assert found[0] == pytest.approx(np.maximum(vector[:5], 0).sum(), abs=1e-5)


def test_refuses(data, first, ranker):
    def made(**arguments):
        return trs.models.WideAndDeep(data.items, dim=2, hidden=[2], buckets=10, **arguments)

    with pytest.raises(InputError, match=r"crosses: 'item.colour' must be one of .*; did you mean"):
        made(crosses=["last*item.colour"], content=["category"])
    with pytest.raises(InputError, match=r"crosses: 'context.device' must be one of last, length, item"):
        made(crosses=["context.device*item"])
    with pytest.raises(InputError, match="must have a column of the candidate"):
        made(crosses=["last*length"])
    with pytest.raises(InputError, match="scores_of.*other data.*one data set"):
        other = trs.models.Popularity(trs.synthetic_sessions(items=30, sessions=60, seed=2).items)
        made(scores_of=[other])
    with pytest.raises(InputError, match="shown, candidates: one of them"):
        ranker.fit(data.validation)
    with pytest.raises(InputError, match="shown='impressions': must be a column of the log"):
        ranker.fit(data.validation, shown="impressions")
    with pytest.raises(InputError, match="candidates: must be a list of items for each of the 1 histories"):
        ranker.rank([HISTORY], [])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"crosses": 3}, "crosses=3: must be a list of crosses"),
        ({"crosses": [3]}, "crosses=3: must be names of columns joined by"),
        ({"crosses": [["item", ["seen"]]]}, r"crosses: \['seen'\] must be one of"),
        ({"crosses": ["item*item"]}, "crosses: 'item[*]item' must name each column once"),
        ({"listed": 3}, "listed=3: must be a list of names"),
        ({"listed": [3]}, "listed=.* must be a list of names"),
        ({"scores_of": 3}, "scores_of=3: must be fitted models"),
        ({"scores_of": "gru4rec"}, "scores_of='gru4rec': must be fitted models"),
        ({"vectors": "no"}, "vectors='no': must be one of False, True"),
    ],
)
def test_refuses_arguments_of_other_types(data, arguments, message):
    with pytest.raises(InputError, match=message):
        trs.models.WideAndDeep(data.items, dim=2, hidden=[2], buckets=10, **arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"negatives": 0}, "negatives=0: must be a whole number, at least 1, or None"),
        ({"events": -5}, "events=-5: must be a whole number"),
        ({"epochs": 0}, "epochs=0: must be a whole number"),
        ({"rows": 0}, "rows=0: must be a whole number"),
        ({"n": 2.5}, "n=2.5: must be a whole number"),
        ({"seed": "x"}, "seed='x': must be a whole number"),
        ({"candidates": "markov"}, "candidates: must be one of trs.models, fitted, not str"),
    ],
)
def test_fit_refuses_arguments_out_of_range(data, first, ranker, arguments, message):
    with pytest.raises(InputError, match=message):
        ranker.fit(data.validation, **{"candidates": first, **arguments})


def test_a_log_without_columns_has_no_context():
    plain = trs.synthetic_sessions(items=30, sessions=60, seed=2)
    with pytest.raises(InputError, match="'device' must be one of .*; to keep it, prepare the log with"):
        trs.models.WideAndDeep(plain.items, context=["device"])
