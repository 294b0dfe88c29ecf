"""`prepare(items=...)`: item tables in every form, their kinds, and the errors of bad ones."""

import gzip
import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tfrecsession.errors import InputError
from tfrecsession.sessions.describe import describe
from tfrecsession.sessions.item_columns import ItemContents, kinds_of
from tfrecsession.sessions.item_table import read_item_table
from tfrecsession.sessions.prepare import prepare
from tfrecsession.sessions.store import read_prepared

SESSIONS = ["ab", "bc", "abc", "ca", "bz", "ad"]  # d and z have one event each
KEEP = {"unknown_items": "keep"}
ITEMS = ("a", "b", "c", "d", "new")


@pytest.fixture
def log():
    rows = [
        (f"s{n}", item, 1_700_000_000 + 1000 * n + m)
        for n, items in enumerate(SESSIONS)
        for m, item in enumerate(items)
    ]
    return pa.table({"session": [r[0] for r in rows], "item": [r[1] for r in rows], "time": [r[2] for r in rows]})


@pytest.fixture
def prepared(log, tmp_path):
    def make(items, **options):
        out = tmp_path / "out"
        info = prepare(
            log, out, min_item_support=1, test_span="10%", validation_span="0d", items=items, **KEEP, **options
        )
        return info, read_prepared(out)

    return make


def read(table, content=None, **options):
    from tfrecsession.sessions.content_kinds import checked_content

    kinds = checked_content(content)
    return ItemContents.of(read_item_table(table, kinds=kinds, **options), kinds or {})


WIDE = {
    "sku": list(ITEMS),
    "title": ["red shoe", "blue shoe", "red hat", None, "green hat"],
    "price": [1.5, 2.0, None, 4.0, 8.0],
    "genres": [["x", "y"], ["y"], [], None, ["x"]],
}


@pytest.mark.parametrize("form", ["csv", "csv.gz", "piped.csv", "tsv", "jsonl", "parquet", "pandas", "arrow", "dict"])
def test_every_form_of_a_table_reads_the_same(form, tmp_path):
    texts = {**WIDE, "genres": ["x|y", "y", None, None, "x"]}
    path = tmp_path / f"items.{form}"
    if form in ("csv", "csv.gz", "piped.csv", "tsv"):
        frame = pd.DataFrame(texts).to_csv(index=False, sep={"tsv": "\t", "piped.csv": "|"}.get(form, ","))
        path.write_bytes(gzip.compress(frame.encode()) if form == "csv.gz" else frame.encode())
    elif form == "jsonl":
        rows = [dict(zip(WIDE, row, strict=True)) for row in zip(*WIDE.values(), strict=True)]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif form == "parquet":
        pq.write_table(pa.table(WIDE), path)
    source = {"pandas": pd.DataFrame(WIDE), "arrow": pa.table(WIDE), "dict": WIDE}.get(form, path)
    contents = read(source, key="sku")
    assert contents.kinds == {"title": "words", "price": "number", "genres": "list"}
    assert contents.items == list(ITEMS)
    assert contents.values["title"] == WIDE["title"]
    assert contents.values["price"] == WIDE["price"]
    assert contents.values["genres"] == [["x", "y"], ["y"], None, None, ["x"]]


def test_the_catalogue_holds_the_content_in_its_own_order(prepared):
    info, data = prepared(pd.DataFrame(WIDE), items_key="sku")
    assert data.items.ids.tolist() == ["b", "a", "c", "z"]  # d has an event in test alone
    assert data.items.content["title"].to_pylist() == ["blue shoe", "red shoe", "red hat", None]
    assert kinds_of(data.items.content) == {"title": "words", "price": "number", "genres": "list"}
    assert info["content"] == {"title": "string", "price": "double", "genres": "list<string>"}
    assert info["item_columns"]["title"] == {
        "kind": "words",
        "coverage": 0.75,
        "distinct": 3,
        "examples": ["blue shoe", "red shoe", "red hat"],
    }
    assert "items: 1 of 4 items of the catalogue have no row in DataFrame" in info["notes"]


def test_unseen_items_are_added_behind_the_catalogue(prepared):
    info, data = prepared(pd.DataFrame(WIDE), items_key="sku", unseen_items="add")
    assert data.items.ids.tolist() == ["b", "a", "c", "z", "d", "new"]
    assert data.items.counts.tolist()[-3:] == [1, 0, 0]
    assert data.items.content["price"].to_pylist() == [2.0, 1.5, None, None, 4.0, 8.0]
    assert data.test.values.tolist() == data.items.encode(["a", "d"]).tolist()  # d is ranked now
    assert next(step for step in info["steps"] if step.get("split") == "train")["items"] == 4


def test_tables_do_not_change_data_sets_without_one(log, tmp_path):
    plain = prepare(log, tmp_path / "plain", min_item_support=1, test_span="10%", validation_span="0d", **KEEP)
    assert "item_columns" not in plain
    assert "tensors" not in plain


def test_long_tables_are_collected(tmp_path):
    (tmp_path / "attributes.txt").write_text("a 0 17\na 1 18\nb 0 17\na 1 18\n")
    found = read(tmp_path / "attributes.txt", ["attribute:list"], key="song", names=["song", "field", "attribute"])
    assert found.values == {"attribute": [["17", "18"], ["17"]]}
    (tmp_path / "tags.dat").write_text("artistID\ttagID\n1\t13\n1\t15\n2\t13\n")
    found = read(tmp_path / "tags.dat", key="artistID")  # a column beside the key: long by itself
    assert found.kinds == {"tagID": "list"}
    assert found.values == {"tagID": [["13", "15"], ["13"]]}
    (tmp_path / "movies.dat").write_text("1::Toy Story (1995)::Animation|Comedy\n2::Heat (1995)::Action|Crime\n")
    found = read(tmp_path / "movies.dat", key="item", names=["item", "title", "genres"])
    assert found.kinds == {"title": "words", "genres": "list"}


def test_a_csv_of_another_delimiter_is_read_by_it(tmp_path):
    (tmp_path / "items.csv").write_text('item|title|price\na|red, shoe|1.5\nb|"blue ""shoe"""|2\n')
    assert read(tmp_path / "items.csv").values["title"] == ["red, shoe", 'blue "shoe"']


def test_vectors_and_images_lie_beside_the_table(prepared, tmp_path):
    Image.new("RGB", (90, 40), (250, 10, 0)).save(tmp_path / "a.png")
    Image.new("L", (4, 4), 128).save(tmp_path / "b.jpg")
    (tmp_path / "c.png").write_bytes(b"no picture")
    table = pa.table({"item": ["a", "b", "c"], "v": [[1.0, 2.0], [3.0, 4.0], None], "p": ["a.png", "b.jpg", "c.png"]})
    pq.write_table(table, tmp_path / "items.parquet")
    info, data = prepared(tmp_path / "items.parquet")
    assert list(data.items.tensors) == ["v", "p"]
    vectors, images = data.items.tensors["v"], data.items.tensors["p"]
    assert isinstance(images.values, np.memmap)
    assert images.values.dtype == np.uint8
    assert vectors.values.tolist() == [[3, 4], [1, 2], [0, 0], [0, 0]]
    assert vectors.present.tolist() == [True, True, False, False]
    assert images.present.tolist() == [True, True, False, False]
    assert images.values[1, 0, 0].tolist() == [250, 10, 0]
    assert abs(int(images.values[0, 5, 5, 1]) - 128) < 3
    assert any("1 images of p cannot be read" in note and "c is not an image" in note for note in info["notes"])
    assert info["item_columns"]["p"]["unreadable"] == 1
    assert describe(tmp_path / "out")["item_columns"]["v"]["shape"] == [2]


def test_images_come_as_bytes_too(tmp_path):
    Image.new("RGB", (2, 2), (1, 2, 3)).save(tmp_path / "a.png")
    found = read(pa.table({"item": ["a"], "p": [(tmp_path / "a.png").read_bytes()]}))
    assert found.kinds == {"p": "image"}
    assert found.tensor("p", [0, -1])[1].tolist() == [True, False]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["1", "2.5", "-3e2"], "number"),
        (["007", "008", "011"], "category"),
        (["x|y", "x", "y|z"], "list"),
        (["a b c", "a d", "e f"], "words"),
        (["Home & Garden"] * 3, "category"),
        ([f"N{n}" for n in range(30)], "characters"),
        (["[0.5, 1.5]", "[0.5, 2]", ""], "vector"),
        (['["x", "y"]', '["z"]', ""], "list"),
    ],
)
def test_kinds_of_text_columns(values, kind, tmp_path):
    frame = pd.DataFrame({"item": [str(n) for n in range(len(values))], "column": values})
    frame.to_csv(tmp_path / "items.csv", index=False)
    assert read(tmp_path / "items.csv").kinds == {"column": kind}


BAD = {
    "no rows": ({"item": [], "x": []}, {}, "dict: has no rows"),
    "no columns": ({"item": ["a"]}, {}, "dict: must have a column beside the key 'item', which tells of the items"),
    "no key": ({"sku": ["a"], "x": [1]}, {}, r"dict: no column of item ids found \(item, item_id\); there are: sku, x"),
    "wrong key": ({"item": ["a"]}, {"key": "sku"}, r"items_key='sku': no such column; there are: item"),
    "wrong column": ({"item": ["a"], "x": [1]}, {"content": ["y"]}, r"content='y': no such column; there are: x"),
    "no item": ({"item": ["a", None], "x": [1, 2]}, {}, r"row 2: item is empty.*drop_bad_rows=True"),
    "contradiction": (
        {"item": ["a", "a"], "x": [1, 2], "y": [1, 1]},
        {},
        r"item 'a' has several rows with different values of x: 1 and 2; keep one row per item",
    ),
    "lengths": (
        {"item": ["a", "b"], "v": [[1.0, 2.0], [1.0]]},
        {},
        r"v holds vectors of different lengths: item 'a' has 2 numbers, item 'b' has 1",
    ),
    "NaN": ({"item": ["a"], "v": [[1.0, float("nan")]]}, {}, r"item 'a': v holds NaN or infinity"),
    "NaN in Parquet": ({"item": ["a"], "v": [[1.0, None]]}, {}, r"item 'a': v holds NaN or infinity"),
    "beyond float32": ({"item": ["a"], "v": [[1e300, 1.5]]}, {}, r"item 'a': v holds NaN or infinity, as float32"),
    "large": ({"item": ["a"], "x": [1e308]}, {}, r"item 'a': x=1e\+308 is no number \(must be finite, and at most"),
    "truth": ({"item": ["a"], "x": [True]}, {"content": ["x:number"]}, r"x=True is no number \(a truth value\)"),
    "objects": ({"item": ["a"], "x": [{"y": 1}]}, {}, r"column x holds objects, such as {'y': 1} of item 'a'"),
    "bytes": ({"item": ["a"], "x": [[b"y"]]}, {}, r"x=\[b'y'\] is no list \(bytes; decode them to texts first\)"),
    "surrogate": ({"item": ["a"], "x": ["\ud83d"]}, {}, r"x='.ud83d' is no category \(holds half of a surrogate pair"),
    "no id": ({"item": [["a"]], "x": [1]}, {}, r"dict: row 1: item holds \['a'\], which is no id"),
    "no files": (
        {"item": ["a"], "x": ["gone.png"]},
        {},
        r"x holds paths, such as 'gone.png', but there are no such files",
    ),
    "mixture": (
        {"item": ["a", "b"], "x": [1, "one"]},
        {},
        r"column x holds values of several kinds: 1 of item 'a' is a number, 'one' of item 'b' a text",
    ),
    "no number": ({"item": ["a"], "x": ["cheap"]}, {"content": ["x:number"]}, r"item 'a': x='cheap' is no number"),
    "kind": ({"item": ["a"], "x": [1]}, {"content": ["x:prose"]}, r"content='x:prose': the kind must be one of"),
    "twice": ({"item": ["a"], "x": [1]}, {"content": ["x", "x:number"]}, r"column 'x' is given twice"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_tables(name):
    table, options, message = BAD[name]
    with pytest.raises(InputError, match=message):
        read(table, **options)


def test_bad_files(tmp_path):
    path = tmp_path / "items.csv"
    with pytest.raises(InputError, match="no such file"):
        read(path)
    path.write_bytes("item,tag\na,caf\xe9\n".encode("latin-1"))
    with pytest.raises(InputError, match="is not UTF-8.*items_encoding='latin-1'"):
        read(path)
    assert read(path, encoding="latin-1").values == {"tag": ["café"]}
    path.write_bytes("item,tag\na,caf\xe9\n".encode("utf-16"))
    with pytest.raises(InputError, match="is not UTF-8.*items_encoding='utf-16'"):
        read(path)
    assert read(path, encoding="utf-16").values == {"tag": ["café"]}
    path.write_text("1,F,1\n2,M,5\n")
    with pytest.raises(InputError, match="its header is 1, F, 1; .* are named by items_columns=NAME,NAME"):
        read(path)
    path.write_text("item,x\na,1\nb,2,3\n")
    with pytest.raises(InputError, match="line 3 has 3 fields instead of 2"):
        read(path)
    path.write_text("item,x\n" + "".join(f"{n},{n}\n" for n in range(20)) + "b,oops\n")
    with pytest.raises(InputError, match="column x holds numbers, but 'oops' for item 'b'"):
        read(path)
    path.write_text("item,x\na," + "long " * 400_000 + "\n")
    assert len(read(path).values["x"][0]) == 10_000  # a text of megabytes is cut
    (tmp_path / "items.jsonl").write_text('{"item": "a"}\n[1]\n')
    with pytest.raises(InputError, match="line 2 holds no JSON object"):
        read(tmp_path / "items.jsonl")
    (tmp_path / "items.jsonl").write_text('{"item": "a", "x": "\\ud83d"}\n')
    with pytest.raises(InputError, match="line 1 holds half of a surrogate pair"):
        read(tmp_path / "items.jsonl")
    (tmp_path / "items.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match="cannot be read as Parquet"):
        read(tmp_path / "items.parquet")
    with pytest.raises(InputError, match="items: must be the path of a table of items"):
        read(17)


def test_a_table_of_unreadable_images_is_refused(prepared, tmp_path):
    for name in "abc":
        (tmp_path / f"{name}.png").write_bytes(b"no picture")
    table = pa.table({"item": ["a", "b", "c"], "p": [str(tmp_path / f"{name}.png") for name in "abc"]})
    with pytest.raises(InputError, match="p: 3 of 3 images cannot be read; the first, of item '.', is not an image"):
        prepared(table)


def test_what_is_joined_or_cut_is_noted(prepared):
    found, _ = prepared({"item": ["a", "a", "b"], "tag": ["x" * 20_000, "y", "z"]})
    notes = [note for note in found["notes"] if "items.csv" not in note]
    assert "items: 1 items have several rows in dict, their values of tag are collected" in notes
    assert "items: 1 texts of tag were cut after 10,000 characters" in notes


def test_arguments_need_a_table(log, tmp_path):
    for option in ({"content": ["x"]}, {"items_key": "x"}, {"unseen_items": "add"}):
        with pytest.raises(InputError, match="needs an item table, given as items=TABLE"):
            prepare(log, tmp_path / "out", **option)
    with pytest.raises(InputError, match="unseen_items='all': choose leave or add"):
        prepare(log, tmp_path / "out", items={"item": ["a"]}, unseen_items="all")


def test_ids_are_read_as_those_of_logs(tmp_path, prepared):
    (tmp_path / "items.csv").write_text("item,x\n17.0,1\n18.0,2\n")
    assert read(tmp_path / "items.csv").items == ["17", "18"]
    (tmp_path / "items.csv").write_text("item,x\n17.0,1\nshoe,2\nNA,3\n")
    assert read(tmp_path / "items.csv", drop_bad_rows=True).items == ["17.0", "shoe"]
    with pytest.raises(InputError, match=r"none of its items \('A', ...\) is in the log \('b', ...\).*items_key="):
        prepared({"item": ["A", "B"], "x": [1, 2]})
