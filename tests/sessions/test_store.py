import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tfrecsession.errors import InputError
from tfrecsession.sessions.prepare import prepare
from tfrecsession.sessions.store import SessionArrays, read_prepared
from tfrecsession.sessions.vocabulary import Items

START = 1_700_000_000


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """s0: a b, s1: b a, s2: a a; the last is test."""
    out = tmp_path_factory.mktemp("store") / "prepared"
    log = pa.table(
        {
            "session": ["s0", "s0", "s1", "s1", "s2", "s2"],
            "user": ["u", "u", None, None, "u", "u"],
            "item": list("abbaaa"),
            "time": [START + day * 86_400 + step for day in (0, 1, 5) for step in (0, 7)],
            "size": pa.array([1, None, 3, 4, 5, 6], pa.int32()),
            "place": ["x", "y", None, "x", "x", "x"],
        }
    )
    prepare(log, out, min_item_support=1, validation_span="0d", context=["size", "place"])
    return out


@pytest.fixture
def copy(prepared, tmp_path):
    return shutil.copytree(prepared, tmp_path / "copy")


def test_flat_arrays_with_offsets(prepared):
    data = read_prepared(prepared)
    assert data.items.ids.tolist() == ["a", "b"]
    assert (
        data.fingerprint
        == data.info["fingerprint"]
        == json.loads((prepared / "dataset.json").read_text())["fingerprint"]
    )
    assert data.train.values.tolist() == [2, 3, 3, 2] and data.train.values.dtype == np.int32
    assert data.train.offsets.tolist() == [0, 2, 4] and data.train.offsets.dtype == np.int64
    assert (len(data.train), data.train.events) == (2, 4)
    assert (len(data.test), data.test.events, data.test.values.tolist()) == (1, 2, [2, 2])
    assert (len(data.validation), data.validation.offsets.tolist(), data.validation.values.tolist()) == (0, [0], [])
    assert data.train.values is data.train.values


def test_columns_are_loaded_on_request(prepared):
    train = read_prepared(prepared).train
    assert train.columns == ("session", "user", "start", "times", "size", "place")
    assert train.column("session").tolist() == ["s0", "s1"]
    assert train.column("user").tolist() == ["u", None]
    days = np.array([START, START + 86_400], "datetime64[s]")
    np.testing.assert_array_equal(train.column("start"), days)
    assert train.column("start").dtype == np.dtype("datetime64[us]")
    assert train.column("times").tolist() == [(START + second) * 10**6 for second in (0, 7, 86_400, 86_407)]
    np.testing.assert_array_equal(train.column("size"), [1, np.nan, 3, 4])
    assert train.column("place").tolist() == ["x", "y", None, "x"]
    assert train.column("place") is train.column("place")
    assert read_prepared(prepared).validation.column("place").tolist() == []
    with pytest.raises(InputError, match="no column 'color'; they have session, user, start, times, size, place"):
        train.column("color")


def test_arrays_in_memory_have_the_same_interface():
    items = Items(["a"], [3])
    sessions = SessionArrays(items, [2, 2, 2], [0, 2, 3], {"user": np.array(["u", "v"])})
    assert (len(sessions), sessions.events, sessions.columns) == (2, 3, ("user",))
    assert sessions.values.dtype == np.int32 and sessions.column("user").tolist() == ["u", "v"]


def damage_json(folder):
    (folder / "dataset.json").write_text("{")


def later_format(folder):
    info = json.loads((folder / "dataset.json").read_text())
    (folder / "dataset.json").write_text(json.dumps(info | {"format": 99}))


def truncate(folder):
    part = folder / "train" / "part-00000.parquet"
    part.write_bytes(part.read_bytes()[:-9])


def other_part(folder):
    shutil.copy(folder / "test" / "part-00000.parquet", folder / "train" / "part-00000.parquet")


def fewer_items(folder):
    pq.write_table(pq.read_table(folder / "items.parquet").slice(1), folder / "items.parquet")


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (shutil.rmtree, "no such folder"),
        (lambda folder: (folder / "dataset.json").unlink(), "not a prepared data set, it has no dataset.json"),
        (damage_json, "dataset.json: cannot be read"),
        (later_format, "has format 99, and this version reads 1"),
        (lambda folder: (folder / "train" / "part-00000.parquet").unlink(), "part-00000.parquet: is missing"),
        (lambda folder: shutil.rmtree(folder / "validation"), "part-00000.parquet: is missing"),
        (truncate, "part-00000.parquet: is damaged"),
        (other_part, "1 sessions instead of 2"),
        (lambda folder: (folder / "items.parquet").unlink(), "items.parquet: is missing"),
        (fewer_items, "1 items instead of 2"),
    ],
)
def test_an_incomplete_folder_is_rejected(damage, expected, copy):
    damage(copy)
    with pytest.raises(InputError, match=expected) as error:
        read_prepared(copy)
    assert "\n" not in str(error.value) and str(copy) in str(error.value)


def test_damage_inside_a_part_is_found_when_it_is_read(copy):
    part = copy / "train" / "part-00000.parquet"
    content = bytearray(part.read_bytes())
    content[4 : len(content) // 2] = bytes(len(content) // 2 - 4)
    part.write_bytes(bytes(content))
    with pytest.raises(InputError, match=r"is damaged|instead of"):
        read_prepared(copy).train.values  # noqa: B018 - reading is the point
