"""Lists under rules: Python, TensorFlow alone, REST, the page and the command line give one answer."""

import json

import numpy as np
import pyarrow as pa
import pytest
import requests
import tensorflow as tf

import tfrecsession as trs
from tfrecsession.cli import main
from tfrecsession.sessions.vocabulary import Items

K = 5
RULES = {
    "filter": {"category": ["shoes", "hats"], "price": {"between": [5, 80]}, "sale": True},
    "popularity": 0.2,
    "boost": [{"where": {"brand": "acme"}, "by": 0.7}],
    "at_most": {"brand": 2},
    "diversity": {"strength": 0.4, "on": "content"},
}


@pytest.fixture(scope="module")
def model():
    random = np.random.default_rng(0)
    content = pa.table(
        {
            "category": random.choice(["shoes", "boots", "hats"], 60),
            "brand": random.choice(["acme", "best", "cool"], 60),
            "price": random.uniform(1, 100, 60),
            "sale": random.random(60) < 0.8,
        }
    )
    items = Items([f"i{item}" for item in range(60)], np.arange(60, 0, -1), content)
    model = trs.models.GRU4Rec(items, units=[8])
    model.fitted = True
    for weight in model.trainable_variables:
        weight.assign(random.normal(size=weight.shape))
    return model


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved_models")
    model.export(folder / "exact" / "1", k=K)
    return folder


@pytest.fixture(scope="module")
def server(folder):
    with trs.serving.Server(folder, rest_port=0, grpc_port=0) as running:
        yield running


HISTORIES = [["i3", "i7"], ["no such item"], ["i50"]]
EACH = [RULES, {"pin": {"i9": 2, "i55": 4}, "diversity": {"strength": 0.5, "method": "dpp"}}, {}]
EXCLUDE = [[], ["i0"], []]


def by_tensorflow(path, rules):
    """Returns the answer of an export in plain TensorFlow."""
    texts = trs.rules.rule_texts(rules, 3)
    width = max(map(len, texts))
    inputs = {
        "items": [["i3", "i7"], ["no such item", ""], ["", "i50"]],
        "rules": [[*row, *[""] * (width - len(row))] for row in texts],
        "exclude": [[""], ["i0"], [""]],
        "only": [[""]] * 3,
    }
    alone = tf.saved_model.load(str(path)).signatures["recommend_with_rules"]
    answer = alone(**{name: tf.constant(value) for name, value in inputs.items()})
    return [[item.decode() for item in row] for row in answer["items"].numpy()], answer["scores"].numpy()


@pytest.mark.filterwarnings("ignore:history")
def test_python_tensorflow_and_rest_give_one_answer(model, folder, server):
    by_rest = trs.serving.Client(server.url).recommend("exact", HISTORIES, rules=EACH, exclude=EXCLUDE)
    assert by_tensorflow(folder / "exact" / "1", EACH)[0] == by_rest.items.tolist()
    assert by_rest.items[1, [1, 3]].tolist() == ["i9", "i55"]
    expected = model.recommend(HISTORIES, k=K, rules=EACH, exclude=EXCLUDE)
    assert by_rest.items.tolist() == expected.items.tolist()
    np.testing.assert_allclose(by_rest.scores, expected.scores, rtol=1e-4)
    assert (by_rest.removed, by_rest.notes) == (expected.removed, expected.notes)
    assert expected.removed[0]["is sale true"] == int((~model.items.content["sale"].to_numpy()).sum())
    assert by_rest.items[2].tolist() == model.recommend([["i50"]], k=K, rules={}).items[0].tolist()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:history")
@pytest.mark.parametrize("index", ["exact-bf16", "exact-int8", "ivf"])
def test_an_index_finds_the_candidates_of_rules(model, tmp_path, index):
    items, scores = by_tensorflow(model.export(tmp_path / "1", k=K, index=index), EACH)
    expected = model.recommend(HISTORIES, k=K, rules=EACH, exclude=EXCLUDE)
    if index == "ivf":  # it scores the candidates by the model's own vectors
        assert items == expected.items.tolist()
    np.testing.assert_allclose(scores, expected.scores, atol=0.1)


def test_contradicting_rules_give_an_empty_list_and_say_so(model):
    rules = {"filter": {"category": "shoes", "price": {"between": [1000, None]}}}
    with pytest.warns(UserWarning, match="history 1: no item: the filters contradict each other or match nothing"):
        answer = model.recommend([["i3"]], k=K, rules=rules)
    assert answer.items[0].tolist() == [""] * K and answer.notes[0].startswith("no item")
    with pytest.warns(UserWarning, match="3 of 5 items: 60 of 60 items .* over the quotas"):
        answer = model.recommend([["i3"]], k=K, rules={"at_most": {"brand": 1}})
    assert sorted(answer.items[0])[:3] == ["", "", min(filter(None, answer.items[0]))]
    with pytest.warns(UserWarning, match="pinned i1 does not pass the filters"):
        rules = {"pin": {"i1": 1}, "filter": {"category": {"not": model.items.content["category"][1].as_py()}}}
        assert "i1" not in model.recommend([["i3"]], k=K, rules=rules).items


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        (
            {"filter": {"colour": "red"}},
            "rules: in colour red: no such column; there are category, brand, price, sale",
        ),
        ({"filter": {"price": "cheap"}}, "`between` is for columns of numbers"),
        ({"pin": {"i99": 1}}, "rules: pin: unknown item: i99"),
        ({"pin": {"i9": 6}}, "out of range: .* pin from 1 to 5"),
        ({"diversity": {"on": "photo"}}, "must compare one of model, content"),
    ],
)
def test_the_server_says_what_is_wrong_with_a_rule(server, rules, message):
    with pytest.raises(trs.InputError, match=message):
        trs.serving.Client(server.url).recommend("exact", [["i3"]], rules=rules)


def test_a_wrong_rule_in_python(model):
    for rules, message in [
        ({"pin": {"i99": 1}}, "'i99' is not in the catalogue"),
        ({"at_most": {"bran": 1}}, "'brand'"),
    ]:
        with pytest.raises(trs.InputError, match=message):
            model.recommend([["i3"]], k=K, rules=rules)


def test_the_page_reads_the_same_rules(server):
    def ask(content):
        return requests.post(f"{server.url}/page/rules", data=content, timeout=10)

    answer = ask(json.dumps({"model": "exact", "rules": RULES})).json()
    assert answer == {"rules": trs.rules.rule_texts(RULES, 1)[0]}
    wrong = ask(json.dumps({"model": "exact", "rules": {"at_most": {"bran": 1}}}))
    assert wrong.status_code == 400 and "did you mean 'brand'" in wrong.json()["error"]
    assert ask("[]").status_code == 400
    models = requests.get(f"{server.url}/page/models", timeout=10).json()["models"]
    assert models[0]["rules"]["columns"]["price"] == "number"


def test_the_command_line_reads_the_same_rules(model, folder, capsys, tmp_path):
    export, out = str(folder / "exact"), tmp_path / "answer.json"
    assert main(["recommend", export, "i3", "i7", "--rules", json.dumps(RULES), "--json", str(out)]) == 0
    answer, expected = json.loads(out.read_text()), model.recommend([["i3", "i7"]], k=K, rules=RULES)
    assert answer["items"] == expected.items[0].tolist() and answer["removed"] == expected.removed[0]
    assert "is sale true: " in capsys.readouterr().out
    assert main(["recommend", export, "i3", "--rules", '{"filtr": {}}']) == 2
    assert "did you mean 'filter'" in capsys.readouterr().err


@pytest.mark.slow
def test_rules_in_context_give_one_answer(tmp_path):
    data = trs.synthetic_sessions(items=30, sessions=60, seed=1, context=True, described=True)
    model = trs.models.GRU4Rec(data.items, units=[4], context=["device"], request=["hour"])
    model.fitted = True
    for weight in model.trainable_variables:
        weight.assign(np.random.default_rng(0).normal(size=weight.shape))
    model.export(tmp_path / "gru" / "1", k=K)
    asked = {"context": {"device": [["phone"], ["desktop"]]}, "request": {"hour": [3, 22]}}
    histories, rules = [["item-1"], ["item-1"]], {"filter": {"price": {"between": [0, 1e6]}}, "diversity": 0.2}
    expected = model.recommend(histories, k=K, rules=rules, **asked)
    items, scores, removed, notes = trs.export.ask(tmp_path / "gru", histories, rules=rules, **asked)
    assert items.tolist() == expected.items.tolist() and items[0].tolist() != items[1].tolist()
    np.testing.assert_allclose(scores, expected.scores, atol=1e-5)
    assert (removed, notes) == (expected.removed, expected.notes)
    with trs.serving.Server(tmp_path, rest_port=0, grpc_port=0) as running:
        answer = trs.serving.Client(running.url).recommend("gru", histories, rules=rules, **asked)
    assert answer.items.tolist() == items.tolist()
    missing = trs.export.ask(tmp_path / "gru", histories, rules=rules)
    assert missing.items.tolist() == model.recommend(histories, k=K, rules=rules).items.tolist()
