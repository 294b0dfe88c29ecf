"""`add-items`: the next version of an export, with items that training never saw."""

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

import tfrecsession as trs
from tfrecsession.cli import main
from tfrecsession.errors import InputError
from tfrecsession.sessions.item_columns import Tensor

HISTORIES = [[f"item-{n}"] for n in range(12)]


@pytest.fixture(scope="module")
def model():
    data = trs.synthetic_sessions(items=40, sessions=200, seed=3)
    vectors = np.random.default_rng(0).normal(size=(len(data.items), 3)).astype(np.float32)
    data.items.tensors = {"vector": Tensor("vector", vectors, np.ones(len(vectors), bool))}
    model = trs.models.GRU4Rec(data.items, content=["title", "price", "vector"], units=[8])
    model.compile(trs.optimizers.LazyAdagrad(0.1), trs.losses.CrossEntropy(logq=1.0), [trs.metrics.Recall(20)])
    model.fit(data.train.batches(rows=8, steps=16), epochs=1, verbose=0)
    return model


@pytest.fixture(scope="module")
def table(model):
    titles = model.items.content["title"].to_pylist()
    return pd.DataFrame(
        {
            "item": ["new-1", "item-3", "new-2"],
            "title": [titles[0], titles[1], "words never seen"],
            "price": [9.5, 1.0, None],
            "vector": [[0.1, 0.2, 0.3], [0.0, 0.0, 0.0], None],
        }
    )


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved") / "gru4rec"
    model.export(folder / "1", k=10, exclude_seen=True, about={"note": "kept"}, reasons=2)
    return folder


@pytest.fixture(scope="module")
def added(exported, table):
    return trs.export.add_items(exported, table)


@pytest.mark.slow
def test_in_python(model, table):
    larger = trs.training.add_items(model, table)
    assert larger.items.ids.tolist() == [*model.items.ids, "new-1", "new-2"]
    assert larger.items.counts[-2:].tolist() == [0, 0]
    vectors = larger.item_vectors().numpy()
    np.testing.assert_array_equal(vectors[: model.size], model.item_vectors().numpy())
    encoder = larger.output_items.encoder
    columns = model.content.columns
    content = columns[0].encode(["words never seen"]) | columns[1].encode([None])
    content = {key: tf.constant(value) for key, value in content.items()}
    content |= {"vector": tf.zeros([1, 3]), "vector/present": tf.zeros([1])}
    unknown = model.output_items.items.table.numpy()[1]
    np.testing.assert_allclose(vectors[-1], unknown + encoder(content)[0], rtol=1e-5, atol=1e-6)
    before, after = model.recommend(HISTORIES, k=10), larger.recommend(HISTORIES, k=10)
    assert not np.array_equal(larger.recommend([["new-1"]], k=5).scores, larger.recommend([["new-2"]], k=5).scores)
    reasons = larger.explain([["item-1"]], [["new-1", "new-2", "item-3"]]).features
    assert (reasons["item/price"][0] != 0).tolist() == [True, False, True]  # new-2 has none
    old = [row for row in range(12) if not set(after.items[row]) & {"new-1", "new-2"}]
    assert old
    assert (before.items[old] == after.items[old]).all()


def test_the_next_version(exported, added):
    path, items = added
    assert path == exported / "2"
    assert items == ["new-1", "new-2"]
    card = json.loads((path / "assets.extra" / "tfrecsession.json").read_text())
    assert (card["items"], card["k"], card["exclude_seen"], card["note"]) == (len_of(exported) + 2, 10, True, "kept")
    shown = pq.read_table(path / "assets.extra" / "items.parquet")
    assert shown["item"].to_pylist()[-2:] == ["new-1", "new-2"]
    assert shown["title"].to_pylist()[-1] == "words never seen"
    answer = trs.export.ask(exported, [["new-1"], ["new-2"], ["nowhere"]])  # the newest version
    assert not np.array_equal(answer[1][0], answer[1][1])
    assert "new-1" not in answer[0][0]  # exclude_seen
    assert list(trs.export.explain(exported, [["new-1"]]).features) == ["item/title", "item/price"]


def len_of(exported):
    return json.loads((exported / "1" / "assets.extra" / "tfrecsession.json").read_text())["items"]


def test_old_answers_stay_to_the_bit(exported, added):
    before, after = (trs.export.ask(exported / version, HISTORIES) for version in "12")
    entered = [bool({"new-1", "new-2"} & set(row)) for row in after[0]]
    assert not all(entered)
    for row, has_new in enumerate(entered):
        if not has_new:
            assert (before[0][row] == after[0][row]).all()
            assert (before[1][row] == after[1][row]).all()


def test_versions_are_added_to_again(exported, added, tmp_path, capsys):
    lines = '{"sku": "new-3", "title": "words", "price": 2, "vector": [1, 2, 3]}\n'
    (tmp_path / "items.jsonl").write_text(lines)
    table = str(tmp_path / "items.jsonl")
    result = str(tmp_path / "result.json")
    assert main(["add-items", str(exported), "--items", table, "--items-key", "sku", "--json", result]) == 0
    assert json.loads((tmp_path / "result.json").read_text()) == {
        "path": str(exported / "3"),
        "version": 3,
        "added": 1,
    }
    assert trs.export.ask(exported, [["new-3"]])[0].shape == (1, 10)
    assert main(["add-items", str(exported), "--items", table, "--items-key", "sku"]) != 0
    assert "no item of its 1 is new to the model" in capsys.readouterr().err


def test_tables_that_do_not_fit(model, table):
    for change, message in (
        (table.drop(columns="price"), "content='price': no such column; there are: title, vector"),
        (table.assign(price=["cheap"] * 3), "item 'new-1': price='cheap' is no number"),
        (table.assign(vector=[[1.0]] * 3), "vector holds vectors of 1 numbers, in training they had 3"),
        (table[1:2], "DataFrame: no item of its 1 is new to the model"),
    ):
        with pytest.raises(InputError, match=message):
            trs.training.add_items(model, change)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"x": ["red"], "n": [1.0]}, None),
        ({"x": ["501"], "n": [1.0]}, None),  # a new value, perhaps
        (
            {"x": [501], "n": [1.0]},
            "x holds '501' for item 'new-0', and no value that it held in training, such as",
        ),
        ({"x": ["1", "2", "3"], "n": [1.0] * 3}, "x holds '1' for item 'new-0'.*did the column change its kind"),
        ({"x": [True], "n": [1.0]}, "x holds 'true' for item 'new-0'"),
        ({"x": [["red"]], "n": [1.0]}, "x=.'red'. is no category .a list."),
        ({"x": ["red"], "n": [True]}, "n=True is no number .a truth value."),
        (
            {"x": ["red"], "n": [[1.0]]},
            "n=.1.0. is no number.*correct it, as the model was trained on a column of kind",
        ),
    ],
)
def test_columns_that_change_their_kind(table, message):
    from tfrecsession.sessions.content_columns import ContentColumns
    from tfrecsession.sessions.item_table import read_item_table
    from tfrecsession.sessions.vocabulary import Items

    items = Items(["a", "b"], [2, 1])
    items.content = pa.table({"x": ["red", "blue"], "n": [1.0, 2.0]})
    columns = ContentColumns.learn(items, ["x:category", "n"])
    table = read_item_table({"item": [f"new-{n}" for n in range(len(table["x"]))], **table}, "item")
    if message is None:
        assert columns.encode_contents(table)[0]["x"].shape == (1, 1)
    else:
        with pytest.raises(InputError, match=message):
            columns.encode_contents(table)


def test_models_without_content(tmp_path):
    data = trs.synthetic_sessions(items=30, sessions=100, seed=1)
    model = trs.models.Popularity(data.items)
    with pytest.raises(InputError, match="this Popularity reads none"):
        trs.training.add_items(model, {"item": ["x"]})
    model.fit(data.train)
    model.export(tmp_path / "1", k=3)
    with pytest.raises(InputError, match="its model reads no content, so new items have no vectors"):
        trs.export.add_items(tmp_path, {"item": ["x"]})


@pytest.mark.slow
def test_an_index_of_clusters_holds_the_new_items(model, table, tmp_path):
    model.export(tmp_path / "gru4rec" / "1", k=5, index="ivf", target_recall=0.9)
    path, added = trs.export.add_items(tmp_path / "gru4rec", table)
    card = json.loads((path / "assets.extra" / "tfrecsession.json").read_text())
    assert card["index"] == "ivf" and card["index_settings"]["target_recall"] == 0.9
    assert card["items"] == len(model.items) + 2 and added == ["new-1", "new-2"]
    answer = tf.saved_model.load(str(path)).signatures["recommend_filtered"]
    items = answer(items=tf.constant([["item-1"]]), exclude=tf.constant([[""]]), only=tf.constant([["new-2", "new-1"]]))
    assert set(items["items"].numpy()[0]) == {b"new-1", b"new-2", b""}
