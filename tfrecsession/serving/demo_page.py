"""The demo page, and its endpoints beyond TensorFlow Serving's API."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from importlib.resources import files

from aiohttp import web

from tfrecsession.errors import InputError
from tfrecsession.rules.rules import once, rule_texts
from tfrecsession.serving.item_search import ItemSearch
from tfrecsession.serving.refusal import Refusal

SCRIPTS = ("items.js", "context.js", "rules.js", "answers.js", "search.js")  # one module, in this order
MOST_ITEMS = 1000  # ids in one request for titles
LONGEST = 200  # characters of a search
LIMIT = 20  # default number of items found; a request may ask for up to MOST_ITEMS


def add_page(app: web.Application, models) -> None:
    """Adds the page and its endpoints to the server's application, for the models of a ModelFolder.

    GET /                                  the page; only the images of items come from other hosts
    GET /page/models                       {"models": [{"name", "version", "state", "error", "model", "k"}, ...]},
                                           of a model that reads context also "context", its inputs, and "itemless", of
                                           an export with reasons "reasons"; "rules" is what rules may read
    GET /page/items?q=TEXT&limit=20        {"items": [{"item", "title", "image"}, ...]}, of the models in `model=NAME`
    POST /page/rules {"model": "a", "rules": {...}} the texts of rules, {"rules": [...]}, for `recommend_with_rules`
    POST /page/names {"items": ["a", ...]}  the same for these items; unknown ones are left out
    """
    html, policy = page()
    search = ItemSearch(models)
    turn = asyncio.Lock()  # one search at a time, so that waiting searches take no threads from the API

    async def searched(*call) -> web.Response:
        async with turn:
            return answer({"items": await asyncio.to_thread(*call)})

    async def index(request: web.Request) -> web.Response:
        headers = {
            "Content-Security-Policy": policy,
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "no-cache",
        }
        return web.Response(text=html, content_type="text/html", charset="utf-8", headers=headers)

    async def icon(request: web.Request) -> web.Response:
        return web.Response(body=file("icon.svg"), content_type="image/svg+xml")

    async def listed(request: web.Request) -> web.Response:
        return answer({"models": [described(models, name) for name in names()]})

    async def items(request: web.Request) -> web.Response:
        text = request.query.get("q", "")[:LONGEST]
        limit = request.query.get("limit", str(LIMIT))
        if not (limit.isascii() and limit.isdecimal() and len(limit) < 5 and 0 < int(limit) <= MOST_ITEMS):
            raise Refusal("INVALID_ARGUMENT", f"limit: must be a whole number from 1 to {MOST_ITEMS}")
        chosen = request.query.getall("model", names())
        return await searched(search.search, newest(chosen), text, int(limit))

    async def named(request: web.Request) -> web.Response:
        try:
            wanted = json.loads(await request.read())["items"]
            fits = isinstance(wanted, list) and all(isinstance(item, str) for item in wanted)
            "".join(wanted).encode()  # raises for a lone surrogate
        except (ValueError, TypeError, KeyError, RecursionError):
            fits = False
        if not fits or len(wanted) > MOST_ITEMS:
            raise Refusal(
                "INVALID_ARGUMENT", f'the body must be {{"items": [...]}}, a list of at most {MOST_ITEMS} strings'
            )
        return await searched(search.named, newest(names()), wanted)

    async def rules(request: web.Request) -> web.Response:
        try:
            wanted = json.loads(await request.read(), object_pairs_hook=once)
            name, content = wanted["model"], wanted["rules"]
            if not isinstance(name, str):
                raise TypeError
        except (ValueError, TypeError, KeyError, RecursionError):
            text = 'the body must be {"model": NAME, "rules": {...}}, JSON without a name twice in an object'
            raise Refusal("INVALID_ARGUMENT", text) from None
        card = models.find(name, None).card
        if "rules" not in card:
            raise Refusal("INVALID_ARGUMENT", f"{name[:100]} was exported without rules: export it again")
        try:
            (texts,) = rule_texts(content, 1, card["rules"], card["k"])
        except InputError as error:
            raise Refusal("INVALID_ARGUMENT", str(error)) from None
        return answer({"rules": texts})

    def names() -> list[str]:
        return sorted({version.name for version in models.all_states()})

    def newest(chosen: list[str]) -> list:
        """Returns the newest available version of each model that has one."""
        ready = {version.name for version in models.all_states() if version.state == "AVAILABLE"}
        return [models.find(name) for name in chosen if name in ready]

    app.router.add_get("/", index)
    app.router.add_get("/page/icon.svg", icon)
    app.router.add_get("/page/models", listed)
    app.router.add_get("/page/items", items)
    app.router.add_post("/page/names", named)
    app.router.add_post("/page/rules", rules)


def page() -> tuple[str, str]:
    """Returns the HTML with style and script inlined, and a Content-Security-Policy that allows only these two."""
    style, script = file("page.css").decode(), "\n".join(file(name).decode() for name in SCRIPTS)
    html = file("page.html").decode().replace("/* page.css */", style).replace("/* scripts */", script)
    policy = (
        "default-src 'none'; connect-src 'self'; img-src 'self' http: https:; "
        f"style-src {digest(style)}; script-src {digest(script)}; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"  # text cannot become HTML or code, even by mistake
    )
    return html, policy


def described(models, name: str) -> dict:
    """Returns a model's entry on the page: the version that answers, or else the highest one and its error."""
    states = models.states(name)
    version = next((state for state in states if state.state == "AVAILABLE"), states[0])
    return {
        "name": name,
        "version": version.number,
        "state": version.state,
        "error": version.error,
        "model": str(version.card.get("model", "SavedModel")),
        "k": version.card.get("k"),
        **{name: version.card[name] for name in ("context", "itemless", "reasons", "rules") if version.card.get(name)},
    }


def answer(content: dict) -> web.Response:
    return web.json_response(content, headers={"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"})


def digest(text: str) -> str:
    """Returns the source of a Content-Security-Policy that allows an element with exactly this text."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def file(name: str) -> bytes:
    return (files("tfrecsession.serving") / "demo_page_files" / name).read_bytes()
