"""The endpoints of the demo page beyond TensorFlow Serving's API, without a browser."""

import base64
import hashlib
import re
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tfrecsession as trs
from tfrecsession.serving import item_search
from tfrecsession.serving.item_search import ItemTable


def folder_of(path, rows):
    (path / "assets.extra").mkdir(parents=True, exist_ok=True)
    columns = {"item": [item for item, _ in rows], "title": [title for _, title in rows]}
    pq.write_table(
        pa.table(columns, pa.schema({"item": pa.string(), "title": pa.string()})), path / item_search.ITEM_TABLE
    )
    return path


def by_hand(rows, text, limit):
    """Searches slowly and plainly: the item with this id, then all that contain every word, in order."""
    words = text.casefold().split()
    exact = [item for item, _ in rows if item == text.strip()]
    matching = [item for item, title in rows if all(word in f"{item}\t{title or ''}".casefold() for word in words)]
    return [*exact, *(item for item in matching if item not in exact)][:limit]


TEXT = st.text("aAbB ßΣς\n1\t", max_size=5)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(st.text("abAB1\nß ", min_size=1, max_size=4), st.none() | TEXT, max_size=12),
    st.text("aAbB ßσ1", max_size=4),
    st.integers(1, 6),
)
def test_a_search_equals_a_plain_scan(tmp_path, monkeypatch, titles, text, limit):
    monkeypatch.setattr(item_search, "BLOCK", 3)
    rows = list(titles.items())
    found = ItemTable(folder_of(tmp_path, rows)).search(text, limit)
    assert [row["item"] for row in found] == by_hand(rows, text, limit)
    assert all(row["title"] == titles[row["item"]] for row in found)


def test_ids_alone_come_from_the_vocabulary(exports, shop):
    table = ItemTable(exports / "gru4rec" / "2")
    assert table.table["item"].to_pylist() == shop.items.ids.tolist()
    assert [row["item"] for row in table.search("", 4)] == shop.items.ids[:4].tolist()  # the most popular


def test_a_model_without_a_vocabulary_has_no_items(tmp_path):
    assert ItemTable(tmp_path).search("a", 5) == ItemTable(tmp_path).named(["a"]) == []


@pytest.fixture(scope="module")
def odd(shop, tmp_path_factory):
    """A server of a model with titles, one with a broken item table, and one with a broken SavedModel."""
    folder = tmp_path_factory.mktemp("odd")
    titles = {
        "item": shop.items.ids[:2].tolist(),
        "title": ["One", "Two"],
        "image": ["https://images.test/1.png", None],
    }
    trs.models.Popularity(shop.items).export(folder / "shop" / "2", k=3, content=titles)
    shutil.copytree(folder / "shop" / "2", folder / "broken" / "1")
    (folder / "broken" / "1" / item_search.ITEM_TABLE).write_text("no Parquet")
    card = folder / "broken" / "1" / "assets.extra" / "tfrecsession.json"
    card.write_text(card.read_text().replace('"vocabulary": "', '"vocabulary": "other'))
    (folder / "failing" / "1").mkdir(parents=True)
    (folder / "failing" / "1" / "saved_model.pb").write_text("no SavedModel")
    with trs.serving.Server(folder, rest_port=0, grpc_port=None, poll_seconds=0.1) as running:
        yield running


@pytest.mark.slow
def test_models_are_listed_with_their_errors(odd, server):
    listed = {model["name"]: model for model in requests.get(f"{odd.url}/page/models").json()["models"]}
    assert list(listed) == ["broken", "failing", "shop"]
    state = {"name": "shop", "version": 2, "state": "AVAILABLE", "error": "", "model": "Popularity", "k": 3}
    rules = listed["shop"].pop("rules")
    assert listed["shop"] == state and rules["columns"]["price"] == "number"
    assert listed["failing"]["state"] == "END" and listed["failing"]["error"]
    two = requests.get(f"{server.url}/page/models").json()["models"]
    assert [(model["name"], model["version"]) for model in two] == [("gru4rec", 2), ("popularity", 1)]  # the newest


def test_items_with_their_titles(odd, shop):
    first, second, third = shop.items.ids[:3].tolist()
    query = {"model": "shop", "q": "ONE"}
    one = {"item": first, "title": "One", "image": "https://images.test/1.png"}
    assert requests.get(f"{odd.url}/page/items", query).json() == {"items": [one]}
    found = requests.get(f"{odd.url}/page/items", {"model": "shop", "limit": 3}).json()["items"]
    assert found == [one, {"item": second, "title": "Two"}, {"item": third}]
    assert len(requests.get(f"{odd.url}/page/items", {"model": "shop"}).json()["items"]) == 20
    assert requests.get(f"{odd.url}/page/items", {"model": "none of ours"}).json() == {"items": []}
    assert requests.get(f"{odd.url}/page/items?model=shop&q=%ff%00%f0").json() == {"items": []}
    assert requests.get(f"{odd.url}/page/items", {"model": "shop", "q": "a " * 10_000}, timeout=10).status_code in (
        200,
        400,
    )


def test_names_of_answers(server, shop):
    ids = [*shop.items.ids[[5, 2]].tolist(), "never seen"]
    answer = requests.post(f"{server.url}/page/names", json={"items": ids}).json()["items"]
    titles = dict(zip(shop.items.ids.tolist(), shop.items.content["title"].to_pylist(), strict=True))
    assert {row["item"]: row["title"] for row in answer} == {item: titles[item] for item in ids[:2]}


@pytest.mark.parametrize("limit", ["0", "-1", "1001", "x", "", "1e3", "٣"])
def test_an_invalid_limit(server, limit):
    answer = requests.get(f"{server.url}/page/items", {"limit": limit})
    assert answer.status_code == 400 and "limit" in answer.json()["error"]


INVALID = [b"", b"[]", b"{}", b"[" * 9999, b"\xff", b'{"items": null}', b'{"items": "a"}', b'{"items": [1]}']
INVALID += [b'{"items": ["\\ud800"]}', b'{"items": [' + b'"a",' * 1000 + b'"a"]}']


@pytest.mark.parametrize("body", INVALID)
def test_an_invalid_request_for_names(server, body):
    answer = requests.post(f"{server.url}/page/names", data=body)
    assert answer.status_code == 400 and '"items"' in answer.json()["error"]


def test_unreadable_items_are_an_error_but_the_model_answers(odd):
    answer = requests.get(f"{odd.url}/page/items", {"model": "broken", "q": "a"})
    assert answer.status_code == 500 and "the items of broken cannot be read" in answer.json()["error"]
    assert requests.post(f"{odd.url}/v1/models/broken:predict", json={"instances": [[""]]}).status_code == 200


def test_the_page_is_one_file_and_its_policy_allows_no_other(server):
    answer = requests.get(f"{server.url}/")
    policy, html = answer.headers["Content-Security-Policy"], answer.text
    assert (
        "default-src 'none'" in policy and "unsafe" not in policy and answer.headers["Referrer-Policy"] == "no-referrer"
    )
    for tag, of in (("style", "style-src"), ("script", "script-src")):
        texts = re.findall(rf"<{tag}[^>]*>(.*?)</{tag}>", html, re.DOTALL)
        assert len(texts) == 1 and len(texts[0]) > 1000
        assert f"{of} 'sha256-{base64.b64encode(hashlib.sha256(texts[0].encode()).digest()).decode()}';" in policy
    assert re.findall(r"""(?:src|href)=["'](?!#)([^"']+)""", html) == ["/page/icon.svg"] * 2
    assert not any(word in html for word in ("innerHTML", "insertAdjacentHTML", "url(", "@import"))
    assert requests.get(f"{server.url}/page/icon.svg").headers["Content-Type"] == "image/svg+xml"


def test_an_answer_has_its_duration(server):
    answer = requests.post(f"{server.url}/v1/models/popularity:predict", json={"instances": [[""]]})
    assert re.fullmatch(r"total;dur=\d+\.\d\d", answer.headers["Server-Timing"])
