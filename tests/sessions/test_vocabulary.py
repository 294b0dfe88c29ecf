import numpy as np
import pyarrow as pa
import pytest

from tfrecsession.sessions.vocabulary import Items

ITEMS = Items(["b", "7", "日本"], [5, 3, 1])


def test_ids_begin_after_padding_and_unknown():
    assert (len(ITEMS), ITEMS.size) == (3, 5)
    encoded = ITEMS.encode(["b", "", "other", 7, np.int64(7), "日本"])
    assert encoded.tolist() == [2, 0, 1, 3, 3, 4] and encoded.dtype == np.int32
    assert ITEMS.encode([]).shape == (0,)


def test_decode_keeps_the_shape():
    decoded = ITEMS.decode([[0, 1, 2], [4, 3, 2]])
    assert decoded.tolist() == [["", "", "b"], ["日本", "7", "b"]] and decoded.dtype == object
    for unknown in ([5], [-1]):
        with pytest.raises(IndexError):
            ITEMS.decode(unknown)


def test_fingerprint_identifies_items_and_their_order():
    assert ITEMS.fingerprint == Items(["b", "7", "日本"], [9, 9, 9]).fingerprint
    others = (["7", "b", "日本"], ["b7", "日本"], ["b", "7日", "本"], ["b", "7"])
    assert len({ITEMS.fingerprint, *(Items(ids, [1] * len(ids)).fingerprint for ids in others)}) == 5
    assert len(ITEMS.fingerprint) == 16


def test_items_survive_a_file(tmp_path):
    ITEMS.write(tmp_path / "items.parquet")
    again = Items.read(tmp_path / "items.parquet")
    assert again.fingerprint == ITEMS.fingerprint and again.counts.tolist() == [5, 3, 1]


def test_counts_must_fit():
    with pytest.raises(ValueError, match="2 items with 1 counts"):
        Items(["a", "b"], [1])


def test_a_catalogue_that_extends_another():
    longer = Items([*ITEMS.ids, "new"], [5, 3, 1, 0])
    assert longer.holds(ITEMS) and ITEMS.holds(ITEMS) and not ITEMS.holds(longer)
    assert not longer.holds(Items(["7", "b"], [1, 1]))
    known = Items(ITEMS.ids, ITEMS.counts, pa.table({"title": ["B", None, "Japan"]}))
    assert known.content_of(ITEMS) is known.content and ITEMS.content_of(longer) is None
    assert known.content_of(longer)["title"].to_pylist() == ["B", None, "Japan", None]
