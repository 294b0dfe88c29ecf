"""The vocabulary of many items, in arrays: the same answers as those of hash tables."""

import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfrecsession as trs
from tests.export.strings import strings, text
from tfrecsession.export import vocabulary_tables
from tfrecsession.export.compact_vocabulary import HashedIds, PackedNames
from tfrecsession.export.vocabulary_tables import lookup_tables
from tfrecsession.sessions.vocabulary import Items

IDS = {
    "letters": ["b", "a", "", "item-17", "with space", "b\n", "\0", "a" * 300],
    "latin": ["ä", "ÿ", "a", ""],
    "basic": ["日本", "ä", "Ā", "a"],
    "beyond": ["🎵", "日", "a", "🎵🎵x"],
}


@pytest.mark.parametrize("ids", IDS.values(), ids=IDS)
def test_ids_and_indexes(ids):
    ids = np.array(ids, object)
    to_index, to_item = HashedIds(ids), PackedNames(ids)
    assert to_index.lookup(tf.constant(ids.tolist())).numpy().tolist() == list(range(len(ids)))
    assert text(to_item.lookup(tf.range(len(ids), dtype=tf.int64)[None])) == [ids.tolist()]
    asked = tf.constant([["no such", ids[0]], [f"{ids[0]} ", "B"]])
    assert to_index.lookup(asked).numpy().tolist() == [[-1, 0], [-1, -1]]
    beside = tf.constant([[-2, -1], [len(ids), 1]], tf.int64)
    assert text(to_item.lookup(beside)) == [["", ""], ["", ids[1]]]
    assert to_index.lookup(tf.zeros((0, 3), tf.string)).shape == (0, 3)


def test_all_of_many():
    rng = np.random.default_rng(0)
    ids = np.array([f"{number:x}" for number in rng.permutation(50_000)], object)
    to_index, to_item = HashedIds(ids), PackedNames(ids)
    np.testing.assert_array_equal(to_index.lookup(tf.constant(ids.tolist())), np.arange(len(ids)))
    assert text(to_item.lookup(tf.range(len(ids), dtype=tf.int64)[None])) == [ids.tolist()]
    assert (to_index.lookup(tf.constant([f"no{id}" for id in ids])).numpy() == -1).all()


@pytest.mark.parametrize("id", ["\ufffe", "\ufdd0", "\U0001ffff"])
def test_ids_that_are_not_characters_stay_in_hash_tables(id, tmp_path, monkeypatch):
    monkeypatch.setattr(vocabulary_tables, "MANY", 0)
    to_index, to_item = lookup_tables(np.array(["a", id], object), tmp_path)
    assert isinstance(to_index, tf.lookup.StaticHashTable)
    assert to_index.lookup(tf.constant([id])).numpy() == [1]
    assert text(to_item.lookup(tf.constant([[1]], tf.int64))) == [[id]]


def test_an_export_answers_the_same(tmp_path, monkeypatch):
    keras.utils.set_random_seed(0)
    ids = [f"é {number}" for number in range(300)]
    model = trs.models.GRU4Rec(Items(ids, np.arange(300, 0, -1)), units=[8], negatives=trs.negatives.Popularity(8))
    model.fitted = True
    model.export(tmp_path / "tables" / "1", k=5)
    monkeypatch.setattr(vocabulary_tables, "MANY", 300)
    model.export(tmp_path / "arrays" / "1", k=5)
    assert (tmp_path / "arrays/1/assets/vocabulary.txt").read_text(encoding="utf-8").splitlines() == ids
    shutil.move(tmp_path / "arrays", tmp_path / "moved")
    rows = strings([[ids[3], "unknown", ids[250]], [], ["unknown"], [ids[0]]])
    filters = {"exclude": strings([ids[:9], [], ["unknown"], []]), "only": strings([[], ids[5:8], [], ids[200:]])}
    answers = []
    for name in ("tables", "moved"):
        signatures = tf.saved_model.load(str(tmp_path / name / "1")).signatures
        asked = [
            signatures["serving_default"](items=rows),
            signatures["recommend_filtered"](items=rows, **filters),
            signatures["similar_items"](items=strings([[ids[7]]])[0]),
        ]
        answers.append([(text(answer["items"]), answer["scores"].numpy().tolist()) for answer in asked])
    assert answers[0] == answers[1]
    assert "" not in answers[1][0][0][0]


def test_the_arrays_take_a_seventh_of_the_hash_tables():
    ids = np.array([f"item-{number}" for number in range(1000)], object)
    arrays = [*HashedIds(ids).variables, *PackedNames(ids).variables]
    assert sum(np.prod(array.shape) * array.dtype.size for array in arrays) < 190 * len(ids) / 7
