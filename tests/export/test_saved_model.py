import numpy as np
import pytest
import tensorflow as tf

import tfrecsession as trs
from tfrecsession import InputError
from tfrecsession.sessions.vocabulary import Items

STRANGE = ["007", "7", "čaj ☕", "שלום", "a b", '"quoted"', "[UNK]", "0", "tab\there", " lead", "back\\slash"]


@pytest.mark.parametrize("ids", [STRANGE, [*STRANGE, "line\nfeed", "carriage\rreturn"]], ids=["file", "no file"])
def test_ids_of_any_kind_come_back_as_they_were(tmp_path, ids):
    items = Items(ids, np.arange(len(ids), 0, -1))
    model = trs.models.GRU4Rec(items, units=[4], negatives=trs.negatives.Popularity(8))
    path = model.export(tmp_path / "1", k=len(ids))
    histories = [[item] for item in ids]
    answered, scores = trs.export.ask(path, histories)
    expected = model.recommend(histories, k=len(ids))
    assert answered.tolist() == expected.items.tolist()
    np.testing.assert_allclose(scores, expected.scores, rtol=1e-6)
    assert set(answered[0]) == set(ids)
    assert bool(list((path / "assets").glob("*"))) == ("line\nfeed" not in ids)


def test_only_what_an_answer_reads_is_saved(tmp_path):
    """Neither the optimizer's state nor the sampler's tables: the export is about as large as table and biases."""
    items = Items((f"i{number}" for number in range(20_000)), np.ones(20_000))
    model = trs.models.GRU4Rec(items, units=[16], negatives=trs.negatives.Popularity(8))
    path = model.export(tmp_path / "1")
    size = sum(file.stat().st_size for file in (path / "variables").iterdir())
    assert size < 1.2 * 20_000 * (16 + 1 + 2) * 4  # vectors, biases, counts of 8 bytes


def test_the_newest_version_answers(tmp_path):
    for version in (2, 10, 9):
        (tmp_path / str(version)).mkdir()
        (tmp_path / str(version) / "saved_model.pb").touch()
    (tmp_path / "12").mkdir()  # empty: an export under way
    assert trs.export.newest_version(tmp_path).name == "10"
    assert trs.export.newest_version(tmp_path / "2").name == "2"
    with pytest.raises(InputError, match="no SavedModel"):
        trs.export.newest_version(tmp_path / "12")


def test_a_batch_of_many_shapes_is_one_trace(tmp_path, shop):
    model = trs.models.GRU4Rec(shop.items, units=[4], negatives=trs.negatives.Popularity(8))
    served = tf.saved_model.load(str(model.export(tmp_path / "1", k=3))).signatures["serving_default"]
    for rows, steps in ((1, 1), (2, 7), (5, 100)):
        assert served(items=tf.fill((rows, steps), shop.items.ids[0]))["items"].shape == (rows, 3)
