"""Saved, loaded and exported, a model gives the answers it gave before."""

import json
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.framework import op_def_registry

from tests.conformance.descriptors import TABLE
from tfrecsession import InputError
from tfrecsession.rules import rule_texts


def histories_of(data):
    ids = data.items.ids
    return [[ids[3], ids[15], ids[3]], [ids[40]], [], ["no-such-item"], ["no-such-item", ids[7]]]


def test_keras_file_round_trip(name, fitted, data, tmp_path):
    model = fitted(name)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    before, after = (m.recommend(histories_of(data), k=10) for m in (model, loaded))
    assert before.items.tolist() == after.items.tolist()
    np.testing.assert_array_equal(before.scores, after.scores)
    assert loaded.get_config() == model.get_config()
    assert loaded.items.fingerprint == data.items.fingerprint
    assert loaded.get_compile_config() == model.get_compile_config()


@pytest.mark.shared
def test_preset_round_trip(name, fitted, data, tmp_path):
    model = fitted(name)
    loaded = type(model).from_preset(model.save_to_preset(tmp_path / "preset"))
    before, after = (m.recommend(histories_of(data), k=10) for m in (model, loaded))
    assert before.items.tolist() == after.items.tolist()
    np.testing.assert_allclose(before.scores, after.scores, rtol=0, atol=1e-6)
    assert loaded.items.fingerprint == data.items.fingerprint and loaded.get_config() == model.get_config()


@pytest.mark.parametrize(
    "first",
    [
        "import keras, tfrecsession",
        pytest.param("import tfrecsession as trs, keras; trs.models", marks=pytest.mark.slow),
    ],
)
def test_a_process_that_only_loads(first, fitted, data, tmp_path):
    fitted("gru4rec").save(tmp_path / "model.keras")
    code = (
        f"{first}; print(keras.models.load_model({str(tmp_path / 'model.keras')!r}).recommend([[]], k=1).items[0, 0])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split()[-1] == data.items.ids[0]


def test_training_goes_on_after_loading(neural, fitted, data, tmp_path):
    model = fitted(neural)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert int(loaded.optimizer.iterations.value) == int(model.optimizer.iterations.value) > 0
    batches = loaded.training_batches(data.train, TABLE[neural].settings_with(), seed=0)
    loaded.fit(batches, epochs=1, verbose=0)


@pytest.mark.shared
@pytest.mark.parametrize("exclude_seen", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_the_export_answers_as_the_model_does_in_tensorflow_alone(
    name, fitted, exported, tensorflow_alone, data, exclude_seen
):
    histories = histories_of(data)
    padded = [[*["", ""][: 3 - len(h)], *h, *[""] * (4 - len(h) - len(["", ""][: 3 - len(h)]))] for h in histories]
    ((items, scores),) = tensorflow_alone(exported(name, exclude_seen), "serving_default", [padded])
    expected = fitted(name).recommend(histories, k=10, exclude_seen=exclude_seen)
    assert items == expected.items.tolist()
    np.testing.assert_allclose(scores, expected.scores, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
@pytest.mark.long
def test_the_export_answers_under_rules_as_the_model_does(name, fitted, exported, tensorflow_alone, data):
    model, histories = fitted(name), histories_of(data)
    rules = {"popularity": 0.3, "pin": {data.items.ids[9]: 2}}
    if "model" in model.known_rules(10)["similar"]:
        rules["diversity"] = 0.2
    texts = rule_texts(rules, len(histories), model.known_rules(10))
    padded = [[*h, *[""] * (4 - len(h))] for h in histories]
    nothing = [[""]] * len(histories)
    inputs = {"items": padded, "rules": texts, "exclude": nothing, "only": nothing}
    ((items, scores),) = tensorflow_alone(exported(name), "recommend_with_rules", [inputs])
    expected = model.recommend(histories, k=10, rules=rules)
    assert items == expected.items.tolist() and {row[1] for row in items} == {data.items.ids[9]}
    np.testing.assert_allclose(scores, expected.scores, rtol=1e-4, atol=1e-5)


@pytest.mark.shared
def test_the_export_holds_core_ops_only(name, exported):
    path = exported(name)
    proto = saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes()).meta_graphs[0]
    asked = {name: ops_of(proto, signature) for name, signature in proto.signature_def.items() if name[0] != "_"}
    assert {"serving_default", "recommend_filtered"} <= set(asked)
    whole = set().union(*(graph_ops(proto.graph_def)[0], *asked.values()))  # restoring, too
    assert all(op_def_registry.get(op) is not None for op in whole)
    assert not {op for op in whole if "Cudnn" in op or "PyFunc" in op}
    for name, ops in asked.items():  # what was walked through is what answers
        outputs = set(proto.signature_def[name].outputs)
        assert ("LookupTableFindV2" in ops) == (not {name} & {"start_session", "finish_session"}), (name, outputs)
        assert "TopKV2" in ops or "items" not in outputs
    card = json.loads((path / "assets.extra" / "tfrecsession.json").read_text())
    assert card["k"] == 10 and card["vocabulary"]


def graph_ops(graph):
    """The ops of a graph and its library that are no functions of that library, and the functions by name."""
    functions = {function.signature.name: function.node_def for function in graph.library.function}
    nodes = [node for some in (graph.node, *functions.values()) for node in some]
    return {node.op for node in nodes} - set(functions), functions


def ops_of(proto, signature) -> set[str]:
    """The ops that a signature of a MetaGraphDef can run, through all functions that it calls."""
    _, functions = graph_ops(proto.graph_def)
    of_graph = {node.name: node for node in proto.graph_def.node}
    left, seen, ops = [of_graph[tensor.name.split(":")[0]] for tensor in signature.outputs.values()], set(), set()
    while left:
        node = left.pop()
        called = {node.op, *(f.name for attr in node.attr.values() for f in (attr.func, *attr.list.func))}
        for name in (called & set(functions)) - seen:
            seen.add(name)
            left += functions[name]
        ops |= {node.op} - set(functions)
        if node is of_graph.get(node.name):
            before = {name.lstrip("^").split(":")[0] for name in node.input} - seen
            seen |= before
            left += [of_graph[name] for name in before]
    return ops


@pytest.mark.shared
def test_an_export_of_no_history_at_all(name, exported, data):
    ask = tf.saved_model.load(str(exported(name))).signatures["serving_default"]
    for rows in (0, 2):
        answer = ask(items=tf.zeros((rows, 0), tf.string))
        assert answer["items"].shape == (rows, 10)
        assert all(row == [item.encode() for item in data.items.ids[:10]] for row in answer["items"].numpy().tolist())


def test_a_taken_path_is_refused(fitted, tmp_path):
    """Where every export is written, so that one model stands for all."""
    model = fitted("gru4rec")
    model.export(tmp_path / "1", k=3)
    with pytest.raises(InputError, match="overwrite=True"):
        model.export(tmp_path / "1", k=3)
    model.export(tmp_path / "1", k=4, overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1"]


def test_k_beyond_the_catalogue_leaves_nothing_behind(name, fitted, tmp_path):
    with pytest.raises(InputError, match="catalogue"):
        fitted(name).export(tmp_path / "1", k=10**6)
    assert not list(tmp_path.iterdir())
