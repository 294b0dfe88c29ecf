"""The demo page in Debian's headless Chromium."""

import os
import re
import shutil

import numpy as np
import pytest
import requests
from playwright.sync_api import expect, sync_playwright

import tfrecsession as trs
from tfrecsession.sessions.vocabulary import Items

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync"]
EVIL = "<img src=x onerror=document.title='owned'>"
EVIL_TITLE = "<script>document.title='owned'</script><b>bold</b>"
IMAGE = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>'


@pytest.fixture(scope="module")  # not session scope: Playwright keeps an event loop running in this thread
def browser():
    path = shutil.which("chromium")
    if path is None:
        why = "Chromium is not installed: apt-get install chromium"
        (pytest.fail if os.environ.get("TFRECSESSION_BROWSER") == "required" else pytest.skip)(why)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def visit(browser):
    """Opens the page at a URL; at the end no other host was requested and nothing was written to the console."""
    requested, console, contexts = [], [], []

    def opened(url, **options):
        contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        page.set_default_timeout(15_000)
        page.on("request", lambda request: requested.append(request.url))
        page.on("console", lambda message: console.append(message.text))
        page.on("pageerror", lambda error: console.append(str(error)))
        page.console = console
        page.goto(url)
        opened.url = url
        return page

    yield opened
    for context in contexts:
        context.close()
    assert console == []
    assert [url for url in requested if not url.startswith((opened.url, "http://images.test/"))] == []


def column(page, name):
    return page.get_by_role("region", name=name, exact=True)


def ids(part):
    return part.locator(".id").all_inner_texts()


def predicted(server, name, history):
    """Returns the answer of `:predict`, with scores rounded as on the page."""
    answer = requests.post(
        f"{server.url}/v1/models/{name}:predict", json={"inputs": {"items": [history or [""]]}}
    ).json()
    items, scores = (answer["outputs"][key][0] for key in ("items", "scores"))
    return items, [float(f"{score:.3e}") for score in scores]


def shows(page, server, name, history):
    items, scores = predicted(server, name, history)
    expect(column(page, name).locator(".id")).to_have_text(items)
    shown = column(page, name).locator(".numbers").evaluate_all("all => all.map(one => one.childNodes[1].textContent)")
    assert [float(score) for score in shown] == pytest.approx(scores, rel=6e-4)


def choose(page, text):
    page.get_by_role("combobox", name="Add an item").fill(text)
    page.get_by_role("option").first.click()


def test_a_session_click_by_click_in_two_models(visit, server, shop):
    page = visit(server.url)
    for name in ("gru4rec", "popularity"):
        shows(page, server, name, [])
    first = shop.items.ids[42]
    title = shop.items.content["title"][42].as_py()
    choose(page, f"{title.upper()} {first}")  # titles repeat
    history = [first]
    for index in (0, 2, 1):
        for name in ("gru4rec", "popularity"):
            shows(page, server, name, history)
        before = ids(column(page, "gru4rec"))
        history.append(before[index])
        column(page, "gru4rec").locator(".add").nth(index).click()
        expect(page.locator("#session .id")).to_have_text(history)
        shows(page, server, "gru4rec", history)
        moves = column(page, "gru4rec").locator(".move").all_inner_texts()
        for now, (item, move) in enumerate(zip(ids(column(page, "gru4rec")), moves, strict=True)):
            was = before.index(item) if item in before else None
            steps = None if was is None else was - now
            assert move == ("new" if steps is None else f"▲ {steps}" if steps > 0 else f"▼ {-steps}" if steps else "")
    expect(column(page, "popularity").locator(".changes")).to_have_text("no change")
    expect(column(page, "gru4rec").locator(".times")).to_have_text(
        re.compile(r"^round trip \d+\.\d ms, server \d+\.\d ms$")
    )
    page.get_by_role("button", name="Remove event 2").click()
    del history[1]
    expect(page.locator("#session .id")).to_have_text(history)
    shows(page, server, "gru4rec", history)
    page.get_by_role("button", name="Start again").click()
    expect(page.locator("#session li")).to_have_count(0)
    shows(page, server, "gru4rec", [])
    page.get_by_label("popularity", exact=False).first.uncheck()
    expect(page.locator(".column")).to_have_count(1)


def test_by_keyboard_alone(visit, server, shop):
    page = visit(server.url)
    shows(page, server, "gru4rec", [])
    page.keyboard.press("/")  # the most popular items are offered
    expect(page.get_by_role("option")).to_have_count(20)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    chosen = page.get_by_role("combobox").get_attribute("aria-activedescendant")
    expect(page.locator(f"#{chosen} .id")).to_have_text(shop.items.ids[1])
    page.keyboard.press("Enter")
    expect(page.get_by_role("listbox")).to_be_hidden()
    page.keyboard.type("item")
    expect(page.get_by_role("option").first).to_be_visible()
    page.get_by_role("combobox").fill(shop.items.ids[7])
    page.keyboard.press("Enter")  # before the results arrive: adds this text, not a result of "item"
    expect(page.locator("#session .id")).to_have_text(shop.items.ids[[1, 7]].tolist())
    history = shop.items.ids[[1, 7]].tolist()
    shows(page, server, "gru4rec", history)
    page.locator("#answers button").nth(3).focus()
    history.append(ids(column(page, "gru4rec"))[3])
    page.keyboard.press("Enter")
    shows(page, server, "gru4rec", history)
    assert page.evaluate("[...document.querySelectorAll('#answers button')].indexOf(document.activeElement)") == 3
    page.keyboard.press("/")
    page.keyboard.type("nothing has this text")
    page.keyboard.press("Escape")
    expect(page.get_by_role("listbox")).to_be_hidden()
    page.locator(".remove").last.focus()
    page.keyboard.press("Enter")
    expect(page.locator(".remove").last).to_be_focused()
    shows(page, server, "gru4rec", history[:2])


def test_labels_for_screen_readers(visit, server):
    page = visit(server.url)
    choose(page, "item")
    page.get_by_role("combobox").fill("item")
    expect(page.get_by_role("option").first).to_be_visible()
    nameless = page.evaluate("""() => [...document.querySelectorAll("input")].filter(one => !one.labels.length).length
        + [...document.querySelectorAll("button")].filter(one => !(one.ariaLabel || one.innerText).trim()).length
        + [...document.querySelectorAll("img:not([alt])")].length""")
    assert nameless == 0
    assert page.evaluate("document.documentElement.lang") == "en" and page.locator("h1").count() == 1
    assert page.locator("[id]").evaluate_all("all => new Set(all.map(one => one.id)).size == all.length")
    nowhere = page.evaluate("""() => ["aria-controls", "aria-labelledby", "aria-describedby", "aria-activedescendant"]
        .flatMap(name => [...document.querySelectorAll(`[${name}]`)].map(one => one.getAttribute(name)))
        .filter(id => !document.getElementById(id))""")
    assert nowhere == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast_and_fit_on_a_phone(visit, server, scheme):
    page = visit(server.url, viewport={"width": 360, "height": 740}, color_scheme=scheme)
    choose(page, "item")
    expect(page.locator(".column")).to_have_count(2)
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    contrast = page.evaluate("""() => {
        const light = (colour) => {
            const [r, g, b] = colour.match(/[\\d.]+/g).map(one => one / 255)
                .map(one => one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4);
            return 0.2126 * r + 0.7152 * g + 0.0722 * b;
        };
        const between = (colour, ground) => {
            const [low, high] = [light(colour), light(ground)].sort((a, b) => a - b);
            return (high + 0.05) / (low + 0.05);
        };
        const paper = getComputedStyle(document.querySelector(".column")).backgroundColor;
        const ground = getComputedStyle(document.body).backgroundColor;
        const ink = [document.body, ...document.querySelectorAll(".quiet, .id, .rank, .times, #restart")];
        const colours = ink.map(one => getComputedStyle(one).color);
        return Math.min(...colours.flatMap(colour => [between(colour, paper), between(colour, ground)]));
    }""")
    assert contrast >= 4.5  # WCAG 2.2, AA


@pytest.fixture(scope="module")
def foreign(shop, tmp_path_factory):
    """A folder with a model whose items have HTML as ids and titles."""
    folder = tmp_path_factory.mktemp("foreign")
    items = Items([EVIL, "b&amp;", '"><svg onload=alert(1)>', "x"], [4, 3, 2, 1])
    images = ["http://images.test/1.svg", "javascript:document.title='owned'", None, "data:image/svg+xml,<svg/>"]
    content = {"item": items.ids.tolist(), "title": [EVIL_TITLE, None, EVIL, "x"], "image": images}
    trs.models.Popularity(items).export(folder / "<img src=x> b" / "1", k=4, content=content)
    (folder / "<b>broken" / "1").mkdir(parents=True)
    (folder / "<b>broken" / "1" / "saved_model.pb").write_text("no SavedModel")
    return folder


def test_foreign_text_stays_text(visit, foreign):
    image_headers = []
    with trs.serving.Server(foreign, rest_port=0, grpc_port=None) as server:
        page = visit("about:blank")
        visit.url = server.url

        def image(route):
            image_headers.append(route.request.headers)
            route.fulfill(body=IMAGE, content_type="image/svg+xml")

        page.route("http://images.test/**", image)
        page.goto(server.url)
        answers = column(page, "<img src=x> b")
        shown = [EVIL, "b&amp;", '"><svg onload=alert(1)>', "x"]
        expect(answers.locator(".id")).to_have_text(shown)
        expect(answers.locator(".title")).to_have_text([EVIL_TITLE, EVIL, "x"])
        answers.locator(".add").nth(2).click()
        choose(page, "<script")
        expect(page.locator("#session .id")).to_have_text([shown[2], EVIL])
        choose(page, EVIL + "2")  # as typed
        expect(page.locator("#session li")).to_have_count(3)
        expect(page.get_by_label("<b>broken")).to_be_disabled()
        expect(answers.locator("img")).to_have_attribute("src", "http://images.test/1.svg")
        assert page.locator("img:not([alt])").count() == 0
        assert page.locator("#answers b, #answers script, svg, i, [onerror]").count() == 0
        assert page.title() == "tfrecsession: try the models"
        # The policy also forbids what the page itself never does.
        assert "TrustedHTML" in page.evaluate(
            "() => { try { document.body.innerHTML = 'x' } catch (e) { return e.message } }"
        )
        assert all("referer" not in headers for headers in image_headers) and image_headers
    page.console[:] = [text for text in page.console if "TrustedHTML" not in text]


@pytest.mark.slow
def test_errors_are_shown_in_the_column_of_their_model(visit, exports, tmp_path):
    for name in ("gru4rec", "popularity"):
        shutil.copytree(exports / name / "1", tmp_path / "models" / name / "1")
    server = trs.serving.Server(tmp_path / "models", rest_port=0, grpc_port=None, poll_seconds=0.05).start()
    page = visit(server.url)
    shows(page, server, "gru4rec", [])
    shutil.rmtree(tmp_path / "models" / "gru4rec")
    error = column(page, "gru4rec").get_by_role("alert")
    expect(error).to_have_text("404: Servable not found for request: Latest(gru4rec)")  # without a click
    expect(column(page, "gru4rec").locator("li")).to_have_count(0)
    shows(page, server, "popularity", [])
    page.route(
        "**/v1/models/popularity:predict", lambda route: route.fulfill(status=503, body='{"error": "queue is full"}')
    )
    column(page, "popularity").locator(".add").first.click()
    expect(column(page, "popularity").get_by_role("alert")).to_have_text("503: queue is full")
    page.unroute("**/v1/models/popularity:predict")
    server.stop()
    page.get_by_role("button", name="Remove event 1").click()
    expect(column(page, "popularity").get_by_role("alert")).to_have_text("The server does not answer. Is it running?")
    expect(page.locator("#server")).to_have_text("The server does not answer. Is it running?")
    page.console[:] = [
        text for text in page.console if "Failed to load resource" not in text
    ]  # logged by the browser itself


@pytest.mark.slow
def test_context_changes_the_answers(visit, tmp_path):
    """The fields come from the export's description; each event keeps the values it was added with."""
    shop = trs.synthetic_sessions(items=40, sessions=200, seed=1, context=True)
    shop.items.context_log.sessions.values[0] = 0  # as in a log with events without an item
    context = {"context": ["device", "hour"], "request": ["device"]}
    model = trs.models.GRU4Rec(shop.items, units=[8], negatives=trs.negatives.Popularity(8), **context)
    for number, weight in enumerate(model.trainable_variables):
        weight.assign(np.random.default_rng(number).normal(size=weight.shape))
    model.export(tmp_path / "models" / "in_context" / "1", k=5)
    device = model.context.columns["device"].values[0]
    first, second = shop.items.ids[4], shop.items.ids[7]

    def expected(items, context, request):
        return model.recommend([items], k=5, context=context, request=request).items[0].tolist()

    with trs.serving.Server(tmp_path / "models", rest_port=0, grpc_port=0, poll_seconds=0.1) as server:
        page = visit(server.url)
        shown = column(page, "in_context").locator(".id")
        shows(page, server, "in_context", [])
        assert page.locator("#values-context_device option").evaluate_all("all => all.map(one => one.value)") == list(
            model.context.columns["device"].values
        )
        fields = page.get_by_role("region", name="Context of the next event")
        fields.get_by_label("device").fill(device)
        choose(page, first)
        expect(page.locator("#session small")).to_have_text([f"device {device}"])
        expect(shown).to_have_text(expected([first], {"device": [[device]]}, None))
        fields.get_by_label("device").fill("")
        fields.get_by_label("hour").fill("23")
        choose(page, second)
        of_events = {"device": [[device, None]], "hour": [[None, 23]]}
        expect(shown).to_have_text(expected([first, second], of_events, None))
        asked = page.get_by_role("region", name="Context of the request")
        asked.get_by_label("device").fill(device)
        asked.get_by_label("device").press("Enter")
        expect(shown).to_have_text(expected([first, second], of_events, {"device": [device]}))
        page.get_by_role("button", name="Add an event without an item").click()
        of_events = {"device": [[device, None, None]], "hour": [[None, 23, 23]]}
        expect(shown).to_have_text(expected([first, second, None], of_events, {"device": [device]}))
        page.get_by_role("button", name="Remove event 1").click()
        of_events = {"hour": [[23, 23]]}
        expect(shown).to_have_text(expected([second, None], of_events, {"device": [device]}))
        fields.get_by_label("hour").fill("25")
        choose(page, first)
        expect(column(page, "in_context").get_by_role("alert")).to_contain_text("context_hour: is out of range")
        page.console.clear()  # the browser logs the status 400


def test_reasons_stand_below_the_items_of_an_export_that_has_them(visit, shop, tmp_path):
    model = trs.models.GRU4Rec(shop.items, units=[8], content=["price", "category"])
    for number, weight in enumerate(model.trainable_variables):
        weight.assign(np.random.default_rng(number).normal(size=weight.shape))
    model.fitted = True
    model.export(tmp_path / "models" / "explained" / "1", k=3, reasons=2)
    first, second = shop.items.ids[4], shop.items.ids[7]
    with trs.serving.Server(tmp_path / "models", rest_port=0, grpc_port=0, poll_seconds=0.1) as server:
        page = visit(server.url)
        choose(page, first)
        choose(page, second)
        found = model.explain([[first, second]], k=3, reasons=2)
        titles = dict(zip(shop.items.ids, shop.items.content["title"].to_pylist(), strict=True))
        causes = [[titles[event] for event in events if event] for events in found.because[0]]
        for cause, (name, *_) in zip(causes, found.strongest()[0], strict=True):
            cause += [name.replace("item/", "its ")] if name else []
        expected = [f"because of {', '.join(cause)}" for cause in causes]
        assert any(text.endswith(("its price", "its category")) for text in expected)
        expect(column(page, "explained").locator(".because")).to_have_text(expected)
