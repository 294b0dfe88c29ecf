"""Tests of report.html: a self-contained page with the content of results.json that browsers open without errors."""

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest

from tfrecsession import InputError
from tfrecsession.evaluation import read_results, write_report
from tfrecsession.evaluation.report import html, wording

VOID = {"meta", "link", "br", "hr", "img", "input"}
CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)


class Page(HTMLParser):
    """The elements of a page as (tag, attributes, text); checks that they nest."""

    def __init__(self, text):
        super().__init__()
        self.open, self.elements = [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.elements.append([tag, dict(attributes), ""])
        if tag not in VOID:
            self.open.append(self.elements[-1])

    def handle_startendtag(self, tag, attributes):
        self.elements.append([tag, dict(attributes), ""])

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag
        if tag in ("th", "td"):
            self.handle_data(" ")

    def handle_data(self, text):
        for element in self.open:
            element[2] += text

    def all(self, tag, **attributes):
        return [each for each in self.elements if each[0] == tag and attributes.items() <= each[1].items()]

    def texts(self, tag):
        return [" ".join(text.split()) for _, _, text in self.all(tag)]


@pytest.fixture(scope="module")
def text(by_hand):
    return html.render(by_hand)


def test_order_of_sections(text):
    heads = Page(text).texts("h2")
    assert heads == [
        "Data and protocol",
        "Quality and cost",
        "MRR@20 against time",
        "Recall@20 by position in the session",
        "Recall@20 by popularity of the target",
        "Coverage and popularity bias",
        "Recall@20 of returning and of fresh items",
        "Further slices",
        "Settings of each model",
    ]


def test_the_page_is_self_contained(text):
    read = Page(text)
    assert not read.all("script") and not read.all("img") and not read.all("iframe")
    for _, attributes, _ in read.elements:
        for name in ("href", "src", "srcset", "data"):
            assert attributes.get(name, "#").startswith(("#", "data:")), attributes
        assert not any(name.startswith("on") for name in attributes)
    for reference in re.findall(r"url\(([^)]*)\)|@import", text):
        assert reference.startswith("#")
    assert "http" not in text and len(text) < 400_000


def test_names_from_users_are_escaped(text):
    assert "<script" not in text and "<b>" not in text and "last <5>" not in text
    assert "last &lt;5&gt; &amp; co" in text and "clicks &lt;1&gt;.csv" in text


def test_ids_are_unique_and_every_reference_exists(text):
    read = Page(text)
    ids = [attributes["id"] for _, attributes, _ in read.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    used = re.findall(r'(?:href="|url\(|aria-labelledby=")#?([\w-]+)', text)
    assert {name for name in used if name != "data"} <= set(ids)


def test_the_table_has_the_numbers_the_intervals_and_the_marks(text):
    rows = {row.split()[0]: row for row in Page(text).texts("tr") if "MB" in row or "kB" in row}
    assert list(rows) == ["gru4rec", "item_knn", "last", "popularity"]  # the best first
    assert "0.2500 0.242–0.258" in rows["gru4rec"] and "*" not in rows["gru4rec"]
    assert "0.2000* 0.194–0.206" in rows["item_knn"] and "0.4400*" in rows["item_knn"]
    assert "0.1975=" in rows["last"] and "24.5 s" in rows["gru4rec"] and "130 ms" in rows["item_knn"]
    assert "6,049" in rows["gru4rec"] and "p99 2.1 ms" in rows["item_knn"] and "318 MB" in rows["gru4rec"]
    assert "– eval. 45.4 MB" in rows["popularity"]
    best = [
        " ".join(text.split()) for tag, attributes, text in Page(text).elements if "best" in attributes.get("class", "")
    ]
    assert best[:3] == ["0.2500 0.242–0.258", "0.5500 0.533–0.567", "0.3100 0.301–0.319"]


def test_a_slice_without_events_is_empty_and_not_zero(text):
    (row,) = [row for row in Page(text).texts("tr") if row.startswith("21+")]
    assert row == "21+ 0 – – – –"
    (row,) = [row for row in Page(text).texts("tr") if row.startswith("new")]
    assert row == "new 0 – – – –"


def test_tables_and_charts_are_accessible(text):
    read = Page(text)
    charts = read.all("svg")
    assert len(charts) == 10 and all(
        attributes["role"] == "img" and attributes["aria-label"] for _, attributes, _ in charts
    )
    assert all(attributes.get("scope") for _, attributes, _ in read.all("th"))
    assert len(read.all("h1")) == 1 and read.all("html")[0][1]["lang"] == "en"
    assert read.all("meta", name="viewport")


def test_charts_take_their_colours_from_the_page(text):
    drawings = "".join(re.findall(r"<svg.*?</svg>", text, flags=re.S))
    assert not re.search(r"#[0-9a-f]{6}\b", drawings)
    used = set(re.findall(r"var\(--([\w-]+)\)", text))
    light, dark = text.split("prefers-color-scheme: dark")[0], text.split("prefers-color-scheme: dark")[1]
    for name in used - {"sans", "mono"}:
        assert f"--{name}:" in light and f"--{name}:" in dark
    assert "<text" in drawings and "item_knn</text>" in drawings


def test_findings(results):
    rows = sorted(results["models"], key=lambda row: -row["metrics"]["mrr@20"])
    sentences = wording.findings(results, rows, 20)
    scored = "MRR@20 0.2500 (95%: 0.242 to 0.258), Recall@20 0.5500 (95%: 0.533 to 0.567)"
    assert sentences[0] == f"gru4rec ranks the next item best: {scored}."
    assert sentences[1] == "last <5> & co is not significantly different from it on these sessions."
    p_value = "p\N{NO-BREAK SPACE}<\N{NO-BREAK SPACE}0.001"
    interval = f"the 95% interval of the difference is 0.045 to 0.055, {p_value}"
    assert sentences[2] == f"item_knn comes next, 0.0500 lower (20%); {interval}."
    faster = "fits 188 times faster (130 ms instead of 24.5 s)"
    assert sentences[3] == f"item_knn reaches 80% of the MRR of gru4rec and {faster}."
    highest = "The highest expected MRR@20 on this synthetic shop is 0.3250"
    assert sentences[4] == f"{highest}; gru4rec reaches 77% of it."


def test_more_models_than_colours(results):
    for number in range(9):
        results["models"].append({**results["models"][0], "model": f"further_{number}"})
    text = html.render(results)
    assert "13 models compared" in text and "Thin grey lines are the other 7 models" in text


def test_results_without_slices_intervals_and_tests(results):
    results["pairs"] = []
    for row in results["models"]:
        row["slices"], row["intervals"] = {}, {}
    read = Page(html.render(results))
    assert len(read.all("svg")) == 4  # costs and bias
    assert read.texts("section")[3].endswith("These results have no data for this section.")


def test_one_model_alone(results):
    results["models"], results["pairs"], results["bounds"] = results["models"][:1], [], []
    assert "popularity evaluated" in html.render(results)


def test_the_same_results_give_the_same_page(results, text):
    assert html.render(json.loads(json.dumps(results))) == text


def test_read_results_and_write_report(results, tmp_path):
    (tmp_path / "results.json").write_text(json.dumps(results))
    found, file = read_results(tmp_path)
    assert found == results and file == tmp_path / "results.json"
    assert write_report(found, tmp_path / "report.html").read_text().startswith("<!DOCTYPE html>")
    assert {path.name for path in tmp_path.iterdir()} == {"results.json", "report.html"}


@pytest.mark.parametrize(
    ("content", "message"),
    [("{", "not JSON"), ("[]", "must hold the results"), ('{"models": []}', "again")],
)
def test_invalid_results(tmp_path, content, message):
    (tmp_path / "results.json").write_text(content)
    with pytest.raises(InputError, match=message):
        read_results(tmp_path)
    with pytest.raises(InputError, match="no results.json"):
        read_results(tmp_path / "nowhere")


@pytest.mark.parametrize("module", ["matplotlib", "jinja2"])
def test_a_missing_library_is_named(results, monkeypatch, module):
    import sys

    for name in [name for name in sys.modules if name == module or name.startswith(f"{module}.")]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(InputError, match=f"pip install {module}"):
        html.render(results)


# In a browser --------------------------------------------------------------------------------------------------------


def browse(profile, address, *options):
    """Opens a page in headless Chromium; returns its DOM and the console messages."""
    words = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--dump-dom"]
    words += [f"--user-data-dir={profile}", "--host-resolver-rules=MAP * ~NOTFOUND", *options, address]
    done = subprocess.run([CHROMIUM, *words], capture_output=True, text=True, timeout=120)
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


@pytest.fixture
def written(text, tmp_path):
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed (Debian: apt-get install chromium)")
    (tmp_path / "report.html").write_text(text)
    return tmp_path / "report.html"


def test_it_opens_in_a_browser_without_errors(written, tmp_path):
    dom, complaints = browse(tmp_path / "profile", written.as_uri())
    assert not complaints
    assert "Quality and cost" in dom and dom.count("<svg") == 10


@pytest.mark.parametrize("width", [320, 375, 1280])
def test_the_page_never_scrolls_sideways(written, tmp_path, width):
    """Measures the page in a frame of the given width; only tables may scroll, inside themselves."""
    frame = tmp_path / "frame.html"
    frame.write_text(
        f'<iframe id="page" src="report.html" style="width:{width}px;height:800px;border:0"></iframe><p id="said"></p>'
        "<script>window.onload = () => { const root = document.getElementById('page').contentDocument.documentElement;"
        "const drawn = [...root.querySelectorAll('svg')].filter(each => each.getBoundingClientRect().width > 0).length;"
        "document.getElementById('said').textContent = `${root.scrollWidth} wide, ${drawn} drawn`; }</script>"
    )
    dom, complaints = browse(tmp_path / "profile", frame.as_uri(), "--allow-file-access-from-files")
    assert not complaints
    found = re.search(r'id="said">(\d+) wide, (\d+) drawn', dom)
    assert int(found[1]) <= width and int(found[2]) == 5  # each chart in the one shape that fits
