"""The titles and images of an export's items: assets.extra/items.parquet."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import tfrecsession as trs
from tfrecsession import InputError
from tfrecsession.cli import main
from tfrecsession.export.item_table import read_item_table, write_item_table
from tfrecsession.sessions.vocabulary import Items

ITEMS = Items(["b", "a", "c"], [3, 2, 1])


def written(tmp_path, items=ITEMS, content=None):
    write_item_table(items, tmp_path / "items.parquet", content)
    return pq.read_table(tmp_path / "items.parquet").to_pydict()


def test_titles_and_images_in_the_order_of_the_catalogue(tmp_path):
    content = {
        "item": ["a", "b", "stranger"],
        "Product_Name": ["Apple", " Bread \n", "never sold"],
        "image_url": ["javascript:alert(1)", "https://shop.example/b.png", None],
        "price": [1.0, 2.0, 3.0],
    }
    assert written(tmp_path, content=content) == {
        "item": ["b", "a", "c"],
        "title": ["Bread", "Apple", None],
        "image": ["https://shop.example/b.png", None, None],
    }


@pytest.mark.parametrize(
    "image", ["data:image/png;base64,AA", "//shop/b.png", "b.png", "http://a b", "https://" + 2000 * "a"]
)
def test_images_must_be_web_addresses(image, tmp_path):
    assert written(tmp_path, content={"item": ["a"], "title": ["x"], "image": [image]})["image"] == [None] * 3


def test_the_content_of_a_data_set_is_the_default(shop, tmp_path):
    assert written(tmp_path, shop.items)["title"] == shop.items.content["title"].to_pylist()
    trs.models.Popularity(shop.items).export(tmp_path / "popularity" / "1", k=5)
    assert pq.read_table(tmp_path / "popularity" / "1" / "assets.extra" / "items.parquet").column_names == [
        "item",
        "title",
    ]


def test_without_titles_and_images_no_file_is_written(tmp_path):
    write_item_table(ITEMS, tmp_path / "items.parquet")
    write_item_table(Items(["a"], [1], pa.table({"price": [1.0]})), tmp_path / "items.parquet")
    assert not list(tmp_path.iterdir())


def test_a_table_without_titles_and_images_is_an_error_and_leaves_no_export(shop, tmp_path):
    with pytest.raises(
        InputError, match="content: must have a string column with a title .* it has item, title, price"
    ):
        trs.models.Popularity(shop.items).export(
            tmp_path / "model" / "1", k=5, content={"item": ["item-1"], "title": [1], "price": [2.0]}
        )
    with pytest.raises(InputError, match="content: must have a column 'item'"):
        write_item_table(ITEMS, tmp_path / "items.parquet", {"id": ["a"]})
    assert not list(tmp_path.rglob("*.p*"))


def test_item_files(tmp_path):
    (tmp_path / "items.csv").write_text('item_id,title,image\n007,"1984, a\nnovel",\n8,,https://a/8.png\n')
    table = read_item_table(tmp_path / "items.csv").to_pydict()
    assert table == {"item": ["007", "8"], "title": ["1984, a\nnovel", None], "image": [None, "https://a/8.png"]}
    (tmp_path / "items.tsv").write_text("item\tname\n1\tone\n")
    assert read_item_table(tmp_path / "items.tsv").to_pydict() == {"item": ["1"], "name": ["one"]}
    (tmp_path / "semicolons.csv").write_text("item;title\n1;red, blue\n")
    assert read_item_table(tmp_path / "semicolons.csv").to_pydict() == {"item": ["1"], "title": ["red, blue"]}
    assert written(tmp_path, Items(["1"], [1]), str(tmp_path / "items.tsv"))["title"] == ["one"]
    pq.write_table(pa.table({"item": [1, 2], "title": ["x", "y"]}), tmp_path / "items.parquet")
    assert written(tmp_path, Items(["2"], [1]), read_item_table(tmp_path / "items.parquet"))["title"] == ["y"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "sku,title\n1,x\n", "must have a column item or item_id .* it has sku, title"),
        ("a.csv", "", "cannot be read"),
        ("a.parquet", "no such thing", "cannot be read"),
        ("absent.csv", None, "cannot be read"),
    ],
)
def test_invalid_item_files(name, text, message, tmp_path):
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=message):
        read_item_table(tmp_path / name)


@pytest.mark.slow
def test_on_the_command_line(tmp_path):
    data, run, saved = (str(tmp_path / name) for name in ("data", "run", "saved"))
    assert main(["prepare", "synthetic:items=50,sessions=400,seed=1", "--out", data, "--min-item-support", "1"]) == 0
    assert main(["train", data, "--model", "popularity", "--out", run]) == 0
    assert main(["export", run, "--out", saved, "--k", "5"]) == 0  # titles come from the data set, the run has none
    extra = tmp_path / "saved" / "1" / "assets.extra" / "items.parquet"
    written_items, items = pq.read_table(extra), pq.read_table(tmp_path / "data" / "items.parquet")
    assert written_items["item"].to_pylist() == items["item"].to_pylist()
    assert written_items["title"].to_pylist() == items["title"].to_pylist()
    (tmp_path / "items.csv").write_text(f"item,headline\n{items['item'][0]},News\n")
    again = ["export", run, "--out", saved, "--k", "5", "--overwrite"]
    assert main([*again, "--content", str(tmp_path / "items.csv")]) == 0
    assert pq.read_table(extra)["title"][0].as_py() == "News"
    assert main([*again, "--content", str(tmp_path / "none.csv")]) == 2
    (tmp_path / "data").rename(tmp_path / "elsewhere")
    assert main(again) == 0
    assert not extra.exists()
