"""Large variables in files that several processes map."""

import logging
import shutil

import numpy as np
import pytest
import tensorflow as tf

from tfrecsession.serving import shared_tables
from tfrecsession.serving.model_folder import ModelFolder, files_of
from tfrecsession.serving.shared_tables import SharedTables

ROWS = np.arange(300_000, dtype=np.float32).reshape(3000, 100)


class Counter(tf.Module):
    """Two large tables, a small one, and a large one that is counted in."""

    def __init__(self):
        self.table = tf.Variable(ROWS)
        self.half = tf.Variable(tf.cast(np.tile(ROWS / 1000, (2, 1)), tf.bfloat16))
        self.few = tf.Variable([1.0, 2.0])
        self.counts = tf.Variable(tf.zeros([400_000], tf.int64))

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.int32, name="rows")])
    def serve(self, rows):
        self.counts.scatter_add(tf.IndexedSlices(tf.ones_like(rows, tf.int64), rows))
        counts = tf.gather(self.counts, rows)
        found = {"table": tf.gather(self.table, rows), "half": tf.gather(self.half, rows), "counts": counts}
        return found | {"few": tf.gather(self.few, rows % 2)}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "counter" / "1"
    model = Counter()
    tf.saved_model.save(model, str(path), signatures={"serving_default": model.serve})
    return path


def loaded(saved, folder):
    return SharedTables(folder).load("counter", 1, saved, files_of(saved))


def answer(loaded, *rows) -> dict:
    found = loaded.signatures["serving_default"](rows=tf.constant(rows))
    return {name: value.numpy() for name, value in found.items()}


def test_answers_equal_those_without_sharing(saved, tmp_path):
    plain, shared = tf.saved_model.load(str(saved), tags=["serve"]), loaded(saved, tmp_path)
    expected, found = answer(plain, 0, 7, 2999), answer(shared, 0, 7, 2999)
    for name in ("table", "half", "few", "counts"):
        np.testing.assert_array_equal(found[name], expected[name])
    np.testing.assert_array_equal(found["table"], ROWS[[0, 7, 2999]])


def test_files_hold_the_large_variables_once(saved, tmp_path):
    first = loaded(saved, tmp_path)
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    sizes = sorted(path.stat().st_size for path in files if path.is_file())
    assert sizes == [0, 1_200_000, 1_200_000, 3_200_000]  # the table, its half as bfloat16, and the counts
    second = loaded(saved, tmp_path)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == files
    np.testing.assert_array_equal(answer(second, 5)["table"], answer(first, 5)["table"])


def test_the_files_are_what_is_read(saved, tmp_path):
    """Not a copy of them: a change of the file shows in a loaded model that has not written to it."""
    found = loaded(saved, tmp_path)
    for path in tmp_path.rglob("*"):
        if path.is_file() and path.stat().st_size == 1_200_000:
            array = np.memmap(path, np.uint8, "r+")
            array[:] = 0
            array.flush()
    assert not answer(found, 5)["table"].any() and not answer(found, 5)["half"].any()


def test_what_a_process_counts_is_its_own(saved, tmp_path):
    first, second = loaded(saved, tmp_path), loaded(saved, tmp_path)
    assert [answer(first, 9)["counts"].tolist() for _ in range(3)] == [[1], [2], [3]]
    assert answer(second, 9)["counts"].tolist() == [1]
    assert answer(loaded(saved, tmp_path), 9)["counts"].tolist() == [1]


def test_rewritten_files_are_another_version(saved, tmp_path):
    copy = tmp_path / "models" / "counter" / "1"
    shutil.copytree(saved, copy)
    tables = tmp_path / "tables"
    loaded(copy, tables)
    other = Counter()
    other.table.assign(ROWS + 1)
    shutil.rmtree(copy)
    tf.saved_model.save(other, str(copy), signatures={"serving_default": other.serve})
    np.testing.assert_array_equal(answer(loaded(copy, tables), 3)["table"], ROWS[[3]] + 1)
    assert len([*(tables / "counter" / "1").iterdir()]) == 1  # the older files are gone


def test_a_version_that_is_gone_leaves_no_files(saved, tmp_path):
    models, tables = tmp_path / "models", tmp_path / "tables"
    shutil.copytree(saved, models / "counter" / "1")
    tables.mkdir()
    folder = ModelFolder(models, SharedTables(tables))
    folder.look()
    folder.look()
    kept = folder.find("counter")
    assert [*tables.rglob("whole")]
    shutil.rmtree(models / "counter" / "1")
    folder.look()
    assert not [*tables.rglob("whole")]
    rows = kept.signatures["serving_default"]({"rows": np.array([4], np.int32)})["table"]
    np.testing.assert_array_equal(rows, ROWS[[4]])  # requests in progress go on


def test_a_writer_that_died_is_followed_by_another(saved, tmp_path):
    loaded(saved, tmp_path)
    next(tmp_path.rglob("whole")).unlink()
    for path in tmp_path.rglob("*"):
        if path.is_file():
            path.write_bytes(b"half of it")
    np.testing.assert_array_equal(answer(loaded(saved, tmp_path), 3)["table"], ROWS[[3]])


def test_without_a_folder_each_process_holds_its_own(saved, tmp_path, caplog):
    caplog.set_level(logging.WARNING, "tfrecsession.serving")
    (tmp_path / "taken").write_text("a file")
    found = loaded(saved, tmp_path / "taken")
    np.testing.assert_array_equal(answer(found, 3)["table"], ROWS[[3]])
    assert "tables cannot be shared (Not a directory), each process holds its own" in caplog.text


def test_a_checkpoint_of_other_things_is_loaded_without_sharing(tmp_path):
    class Table(tf.Module):
        def __init__(self):
            self.table = tf.lookup.experimental.DenseHashTable(tf.int64, tf.int64, -1, -2, -3)
            self.large = tf.Variable(ROWS)

        @tf.function(input_signature=[tf.TensorSpec((None,), tf.int64, name="rows")])
        def serve(self, rows):
            return {"table": self.table.lookup(rows)}

    model = Table()
    model.table.insert([5], [55])
    tf.saved_model.save(model, str(tmp_path / "1"), signatures={"serving_default": model.serve})
    found = SharedTables(tmp_path / "tables").load("table", 1, tmp_path / "1", files_of(tmp_path / "1"))
    assert answer_of(found, 5) == [55] and not (tmp_path / "tables").exists()


def answer_of(found, row: int) -> list[int]:
    return found.signatures["serving_default"](rows=tf.constant([row], tf.int64))["table"].numpy().tolist()


def test_variables_in_lists_and_dicts(tmp_path):
    class Nested(tf.Module):
        def __init__(self):
            self.parts = [{"table": tf.Variable(ROWS * factor)} for factor in (1, 2)]

        @tf.function(input_signature=[tf.TensorSpec((None,), tf.int32, name="rows")])
        def serve(self, rows):
            return {str(number): tf.gather(part["table"], rows) for number, part in enumerate(self.parts)}

    model = Nested()
    tf.saved_model.save(model, str(tmp_path / "1"), signatures={"serving_default": model.serve})
    found = SharedTables(tmp_path / "tables").load("nested", 1, tmp_path / "1", files_of(tmp_path / "1"))
    for number, factor in (("0", 1), ("1", 2)):
        np.testing.assert_array_equal(answer(found, 7)[number], ROWS[[7]] * factor)
    assert len([*(tmp_path / "tables").rglob("*")]) == 3 + 3  # three folders, two tables and `whole`


def test_a_variable_that_is_not_found_ends_sharing(saved, tmp_path, monkeypatch):
    monkeypatch.setattr(shared_tables, "variables_of", lambda loaded, objects: [])
    np.testing.assert_array_equal(answer(loaded(saved, tmp_path), 5)["table"], ROWS[[5]])


def test_exports_of_this_package(exports, monkeypatch, tmp_path):
    """All their variables mapped, the smallest too: the same answers."""
    monkeypatch.setattr(shared_tables, "LEAST_BYTES", 1)
    plain, shared = ModelFolder(exports), ModelFolder(exports, SharedTables(tmp_path))
    for folder in (plain, shared):
        folder.look()
        folder.look()
    history = {"items": np.array([[b"item-3", b"item-1"]], object)}
    for name in ("popularity", "gru4rec"):
        expected, found = (folder.find(name).signature("serving_default")(history) for folder in (plain, shared))
        np.testing.assert_array_equal(found["items"], expected["items"])
        np.testing.assert_array_equal(found["scores"], expected["scores"])
