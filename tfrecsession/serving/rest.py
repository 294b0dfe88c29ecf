"""TensorFlow Serving's REST API (https://www.tensorflow.org/tfx/serving/api_rest)."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time

from aiohttp import web
from google.protobuf import json_format

from tfrecsession.serving.demo_page import add_page
from tfrecsession.serving.json_tensors import answer_of, arrays_of, parse
from tfrecsession.serving.refusal import Refusal

log = logging.getLogger("tfrecsession.serving")
MODEL = re.compile(r"/v1/models/([^/:]+)(?:/versions/([0-9]{1,18}))?(:predict|/metadata)?")
LARGE = 100_000  # bytes; larger JSON is parsed in a thread, so that it does not block the event loop


def application(models, batcher, meters, most_bytes: int) -> web.Application:
    """Returns the application for a ModelFolder, a Batcher and Meters; larger requests are refused (413)."""

    async def model(request: web.Request) -> web.Response:
        found = MODEL.fullmatch(request.path)
        verb = {None: "GET", "/metadata": "GET", ":predict": "POST"}.get(found and found[3])
        if not found or request.method != verb:
            raise Refusal("INVALID_ARGUMENT", f"Malformed request: {request.method} {request.path[:200]}")
        number = int(found[2]) if found[2] else None
        if found[3] == ":predict":
            return await predict(request, found[1], number)
        if found[3] == "/metadata":
            return web.json_response(metadata(models.find(found[1], number)), dumps=_pretty)
        statuses = [status(version) for version in models.states(found[1], number)]
        return web.json_response({"model_version_status": statuses}, dumps=_pretty)

    async def predict(request: web.Request, name: str, number: int | None) -> web.Response:
        if (request.content_length or 0) > most_bytes:
            raise web.HTTPRequestEntityTooLarge(most_bytes, request.content_length)
        body = await request.read()
        version = models.find(name, number)

        def read():
            content = parse(body)
            signature = version.signature(content.get("signature_name", ""))
            return "instances" in content, signature, arrays_of(content, signature)

        by_row, signature, arrays = await asyncio.to_thread(read) if len(body) > LARGE else read()
        answers = await batcher.answer(signature, arrays)
        return web.json_response(answer_of(answers, by_row))

    async def health(request: web.Request) -> web.Response:
        ready = [version for version in models.all_states() if version.state == "AVAILABLE"]
        return web.Response(text="ok\n" if ready else "no model is available\n", status=200 if ready else 503)

    async def metrics(request: web.Request) -> web.Response:
        meters.waiting.set(batcher.waiting)
        return web.Response(body=meters.text(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    @web.middleware
    async def errors(request: web.Request, handler) -> web.StreamResponse:
        started = time.perf_counter()
        try:
            response = await handler(request)
        except Refusal as refusal:
            response = error(refusal.http, refusal.message)
        except web.HTTPRequestEntityTooLarge:
            response = error(413, f"the request is larger than {most_bytes:,} bytes")
        except web.HTTPException as other:  # raised by aiohttp: no such page, no such method
            response = error(other.status, f"{other.reason}: {request.method} {request.path[:200]}")
        except (web.RequestPayloadError, ConnectionError):
            response = error(400, "the body ends too early, or its encoding does not match its headers")
            response.force_close()
        except Exception:
            log.exception("%s %s", request.method, request.path)
            response = error(500, "internal error, see the server's log")
        seconds = time.perf_counter() - started
        if found := MODEL.fullmatch(request.path):
            meters.count(found[1], "rest", str(response.status), seconds)
            response.headers["Server-Timing"] = f"total;dur={1000 * seconds:.2f}"  # ms, for browsers
        return response

    app = web.Application(middlewares=[errors], client_max_size=most_bytes)
    app.router.add_route("*", "/v1/{rest:.*}", model)
    app.router.add_get("/healthz", health)
    app.router.add_get("/metrics", metrics)
    app.router.add_get("/monitoring/prometheus/metrics", metrics)  # TensorFlow Serving's path
    add_page(app, models)
    return app


class Http(web.RequestHandler):
    """A connection. Malformed HTTP is refused in TensorFlow Serving's format and not logged as a server error."""

    def __init__(self, manager, *, loop):
        super().__init__(manager, loop=loop, access_log=None)

    def handle_error(self, request, status=500, exc=None, message=None):
        if status >= 500:
            return super().handle_error(request, status, exc, message)
        response = error(status, f"Malformed request: {(message or 'not HTTP').partition(chr(10))[0][:200]}")
        response.force_close()
        return response

    def log_exception(self, *args, **kw):
        if not isinstance(
            kw.get("exc_info"), web.RequestPayloadError
        ):  # raised after the answer, by the rest of the body
            super().log_exception(*args, **kw)

    async def finish_response(self, request, resp, start_time):
        if isinstance(resp, web.HTTPException):  # raised before the application was called
            resp = error(resp.status, resp.reason)
        return await super().finish_response(request, resp, start_time)


def error(code: int, message: str) -> web.Response:
    return web.json_response({"error": message}, status=code)


def status(version) -> dict:
    """Returns a version's entry in the answer to `GET /v1/models/NAME`."""
    result = {"error_code": "UNKNOWN" if version.error else "OK", "error_message": version.error}
    return {"version": str(version.number), "state": version.state, "status": result}


def metadata(version) -> dict:
    """Returns the answer to `GET .../metadata`: the SavedModel's signatures as their protos' JSON."""
    signatures = {
        name: json_format.MessageToDict(
            signature, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
        )
        for name, signature in version.signature_def.items()
    }
    spec = {"name": version.name, "signature_name": "", "version": str(version.number)}
    return {"model_spec": spec, "metadata": {"signature_def": {"signature_def": signatures}}}


def _pretty(content) -> str:
    return json.dumps(content, indent=1) + "\n"
