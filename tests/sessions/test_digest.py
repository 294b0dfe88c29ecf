import hashlib
import struct

import pyarrow as pa
import pytest

from tfrecsession.sessions.digest import Digest


def digest(**columns):
    result = Digest()
    for name, column in columns.items():
        for part in column if isinstance(column, list) else [column]:
            result.update(name, part)
    return result.hexdigest()


COLUMNS = [
    pa.array([1, 2, None, 4], pa.int32()),
    pa.array([0.5, None, 2.5, 0.0]),
    pa.array(["a", "", None, "日本"]),
    pa.array([True, False, None, True]),
    pa.array([0, 1, None, 3], pa.timestamp("us", "UTC")),
    pa.array([[1, 2], [], [3], [None]]),
    pa.array([["a", "bc"], [], ["d"], [None]]),
    pa.array([{"x": 1}, {"x": 2}, None, {"x": 3}]),
]


@pytest.mark.parametrize("column", COLUMNS, ids=lambda column: str(column.type))
def test_parts_do_not_matter_but_values_and_their_order_do(column):
    whole = digest(c=column)
    for cut in range(5):
        assert digest(c=[column.slice(0, cut), column.slice(cut)]) == whole
    others = [column.take(pa.array(order)) for order in ([1, 0, 2, 3], [0, 1, 3, 2], [0, 1, 2], [0, 1, 2, 2])]
    assert len({whole, *(digest(c=other) for other in others)}) == 5


def test_names_of_columns_and_borders_of_values_matter():
    column = COLUMNS[0]
    assert digest(a=column) != digest(b=column)
    assert digest(a=column, b=COLUMNS[1]) == digest(b=COLUMNS[1], a=column)
    assert digest(a=pa.array(["ab", "c"])) != digest(a=pa.array(["a", "bc"]))
    assert digest(a=pa.array([[1, 2], [3]])) != digest(a=pa.array([[1], [2, 3]]))
    assert digest(a=pa.array([None, 1])) != digest(a=pa.array([0, 1]))
    assert digest(a=pa.array([[None], []], pa.list_(pa.int8()))) != digest(
        a=pa.array([[], [None]], pa.list_(pa.int8()))
    )


def test_digest_is_the_same_everywhere():
    def sha(content):
        return hashlib.sha256(content).hexdigest()

    streams = {
        "a": struct.pack("<3i", 1, -2, 3),
        "b": "xyé".encode(),
        "b: nulls at": struct.pack("<q", 1),
        "b: text lengths": struct.pack("<3i", 1, 0, 3),
    }
    by_hand = sha("".join(f"{name}={sha(content)}\n" for name, content in streams.items()).encode())
    assert digest(a=pa.array([1, -2, 3], pa.int32()), b=pa.array(["x", None, "yé"])) == by_hand
