"""The page to try models in a browser, and the little that it asks beyond TensorFlow Serving's API."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from importlib.resources import files

from aiohttp import web

from tfrecsession.serving.item_search import ItemSearch
from tfrecsession.serving.refusal import Refusal

SCRIPTS = ("items.js", "answers.js", "search.js")  # one module, in this order
MOST_ITEMS = 1000  # named in one request
LONGEST = 200  # characters of a search
LIMIT = 20  # items found, where the request does not say how many; at most MOST_ITEMS


def add_page(app: web.Application, models) -> None:
    """Add the page and its endpoints to the server's application, for the models of a ModelFolder.

    GET /                                  the page, without anything from elsewhere but the images of the data
    GET /page/models                       {"models": [{"name", "version", "state", "error", "model", "k"}, ...]}
    GET /page/items?q=TEXT&limit=20        {"items": [{"item", "title", "image"}, ...]}, of `model=NAME`
    POST /page/names {"items": ["a", ...]}  the same of these items, as far as they are known
    """
    html, policy = page()
    search = ItemSearch(models)
    turn = asyncio.Lock()  # one search at a time: those that wait take no thread from the API

    async def searched(*asked) -> web.Response:
        async with turn:
            return answer({"items": await asyncio.to_thread(*asked)})

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
            raise Refusal("INVALID_ARGUMENT", f"limit: say a whole number from 1 to {MOST_ITEMS}")
        chosen = request.query.getall("model", names())
        return await searched(search.search, newest(chosen), text, int(limit))

    async def named(request: web.Request) -> web.Response:
        try:
            wanted = json.loads(await request.read())["items"]
            fits = isinstance(wanted, list) and all(isinstance(item, str) for item in wanted)
            "".join(wanted).encode()  # no lone surrogates
        except (ValueError, TypeError, KeyError, RecursionError):
            fits = False
        if not fits or len(wanted) > MOST_ITEMS:
            raise Refusal("INVALID_ARGUMENT", f'say {{"items": [...]}}, a list of at most {MOST_ITEMS} strings')
        return await searched(search.named, newest(names()), wanted)

    def names() -> list[str]:
        return sorted({version.name for version in models.all_states()})

    def newest(chosen: list[str]) -> list:
        """The versions that answer for these models, as far as there are any."""
        ready = {version.name for version in models.all_states() if version.state == "AVAILABLE"}
        return [models.find(name) for name in chosen if name in ready]

    app.router.add_get("/", index)
    app.router.add_get("/page/icon.svg", icon)
    app.router.add_get("/page/models", listed)
    app.router.add_get("/page/items", items)
    app.router.add_post("/page/names", named)


def page() -> tuple[str, str]:
    """The HTML with its style and script in it, and a Content-Security-Policy that lets in these two and no other."""
    style, script = file("page.css").decode(), "\n".join(file(name).decode() for name in SCRIPTS)
    html = file("page.html").decode().replace("/* page.css */", style).replace("/* scripts */", script)
    policy = (
        "default-src 'none'; connect-src 'self'; img-src 'self' http: https:; "
        f"style-src {digest(style)}; script-src {digest(script)}; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"  # no text becomes HTML or code, not even by mistake
    )
    return html, policy


def described(models, name: str) -> dict:
    """A model as the page lists it: the version that answers, or the highest with the reason why it does not."""
    states = models.states(name)
    version = next((one for one in states if one.state == "AVAILABLE"), states[0])
    return {
        "name": name,
        "version": version.number,
        "state": version.state,
        "error": version.error,
        "model": str(version.card.get("model", "SavedModel")),
        "k": version.card.get("k"),
    }


def answer(content: dict) -> web.Response:
    return web.json_response(content, headers={"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"})


def digest(text: str) -> str:
    """A source of a Content-Security-Policy: the element with exactly this text."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def file(name: str) -> bytes:
    return (files("tfrecsession.serving") / "demo_page_files" / name).read_bytes()
