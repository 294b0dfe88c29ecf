"""Malformed HTTP requests by seed: `rest(seed)`."""

from __future__ import annotations

import gzip
import json
import random
import zlib
from dataclasses import dataclass

from tests.serving.malformed_json import BODIES, MOST_BYTES, items


@dataclass
class Rest:
    """Attributes:
    kind: name of the malformation.
    data: bytes that are sent through the socket.
    incomplete: whether data ends too early, so that the server may also close the connection.
    bodiless: whether the answer has no body by the rules of HTTP.
    """

    kind: str
    data: bytes
    incomplete: bool = False
    bodiless: bool = False


def request(body: bytes, path="/v1/models/gru4rec:predict", method="POST", headers=(), length=None) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: x", f"Content-Length: {len(body) if length is None else length}"]
    return "\r\n".join([*lines, *headers, "", ""]).encode("utf-8", "surrogateescape") + body


def good_body(r) -> bytes:
    return json.dumps({"instances": items(r)}).encode()


def body(r) -> Rest:
    make = r.choice(BODIES)
    content = make(r)
    model, content = content if isinstance(content, tuple) else ("gru4rec", content)
    if isinstance(content, bytes):
        data = content
    else:
        data = json.dumps(content, ensure_ascii=r.random() < 0.5 or content is None).encode("utf-8", "surrogatepass")
    version = r.choice(["", "", "/versions/1"])
    return Rest(make.__name__, request(data, f"/v1/models/{model}{version}:predict"))


def path(r) -> Rest:
    tricks = [
        "..", "%2e%2e", "../..", "..%2f..%2fetc%2fpasswd", "%00", "gru4rec%00", "gru4rec%2f1",
        "a" * r.randrange(100, 8000),
        "gru4rec/../gru4rec", "gru4rec//versions/1", "gru4rec/versions/", "gru4rec/versions/0", "gru4rec/versions/-1",
        "gru4rec/versions/1.0", "gru4rec/versions/+1", "gru4rec/versions/\u0661",
        "gru4rec/versions/99999999999999999999",
        "gru4rec/versions/01", "gru4rec/labels/stable", "GRU4REC", "gru4rec ", "%67ru4rec%", "%ff%fe", "%zz", "~", ".",
        "",
        "gru4rec;x", "gru4rec%0d%0aX:1", "gru4rec/versions/1/versions/1", "'; drop", "\u05d0", "%F0%9F%98%80", "*",
    ]  # fmt: skip
    where = r.choice(["/v1/models/{}:predict", "/v1/models/{}:predict", "/v1/models/{}:classify", "/v2/models/{}",
                      "/v1/{}", "/{}", "//v1/models/{}:predict", "/v1/models/{}:predict/metadata"])  # fmt: skip
    whole = where.format(r.choice(tricks))
    if whole in ("/", "/v1/models/gru4rec/versions/01:predict"):
        whole = "/v1"
    return Rest("path", request(good_body(r), whole.replace(" ", "%20")))


def long_path(r) -> Rest:
    return Rest("long_path", request(good_body(r), "/v1/models/" + "a" * r.randrange(8200, 100_000) + ":predict"))


def method(r) -> Rest:
    name = r.choice(["GET", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE", "PROPFIND", "post", "G\0T", "\u00e9"])
    where = r.choice(["/v1/models/gru4rec:predict", "/v1/models/gru4rec:classify", "/v1/models/gru4rec:regress"])
    return Rest("method", request(good_body(r), where, name), bodiless=name == "HEAD")


def status_method(r) -> Rest:
    where = r.choice(
        ["/v1/models/gru4rec", "/v1/models/gru4rec/metadata", "/v1/models/gru4rec/versions/1", "/metrics", "/healthz"]
    )
    return Rest("status_method", request(good_body(r), where, r.choice(["POST", "PUT", "DELETE", "PATCH"])))


def truncated(r) -> Rest:
    whole = request(good_body(r))
    return Rest("truncated", whole[: r.randrange(1, len(whole))], incomplete=True)


def short_length(r) -> Rest:
    data = good_body(r)
    return Rest("short_length", request(data, length=r.randrange(len(data))))


def bad_length(r) -> Rest:
    length = r.choice(["-1", "abc", "1e3", "0x10", "", "5, 6", "5\r\nContent-Length: 6", "+5", "1 1", "\u0665"])
    return Rest("bad_length", request(good_body(r), length=length))


def large(r) -> Rest:
    """Announces a length that is too large, or sends too many chunks."""
    if r.random() < 0.8:
        length = r.choice([MOST_BYTES + 1, 10**9, 10**12, 2**63 - 1, 2**64, 10**30])
        return Rest("large", request(good_body(r), length=length))
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    return Rest(
        "large",
        request(b"", headers=["Transfer-Encoding: chunked"]).replace(b"Content-Length: 0\r\n", b"") + chunk * 80,
    )


def chunks(r) -> Rest:
    data = r.choice(
        [b"zz\r\nabc\r\n0\r\n\r\n", b"-5\r\nabc", b"ffffffffffffffffff\r\na", b"3\r\nabcdef\r\n0\r\n\r\n", b"\r\n\r\n"]
    )
    start = request(b"", headers=["Transfer-Encoding: chunked"]).replace(b"Content-Length: 0\r\n", b"")
    return Rest("chunks", start + data, incomplete=True)


def smuggled(r) -> Rest:
    how = r.choice(["chunked", "chunked, chunked", "gzip, chunked", "identity", "xchunked"])
    return Rest("smuggled", request(b"0\r\n\r\n" + good_body(r), headers=[f"Transfer-Encoding: {how}"]))


def encoded(r) -> Rest:
    """Has a wrong Content-Encoding, or decompresses to a size above the limit."""
    kind = r.choice(["gzip", "deflate", "br", "zstd"])
    data = r.choice([good_body(r), r.randbytes(100), b"", gzip.compress(good_body(r))[:-12]])
    if r.random() < 0.3:
        kind, pack = r.choice([("gzip", gzip.compress), ("deflate", zlib.compress)])
        data = pack(b'{"instances":[["' + b"a" * (20 << 20), 6)
    return Rest("encoded", request(data, headers=[f"Content-Encoding: {kind}"]), incomplete=True)


def headers(r) -> Rest:
    lines = r.choice(
        [
            [f"X: {'a' * r.randrange(9000, 60_000)}"], [f"X{n}: y" for n in range(r.randrange(200, 2000))],
            ["No colon"],
            ["X: a\0b"], [" X: folded"], [": no name"], ["X\u00e9: y"], ["Host: a", "Host: b"], ["X Y: z"], ["X: a\rb"],
        ]
    )  # fmt: skip
    return Rest("headers", request(b'{"instances": 3}', headers=lines))


def expectation(r) -> Rest:
    return Rest(
        "expectation", request(b'{"instances": 3}', headers=[f"Expect: {r.choice(['x', '200-ok', '101-continue'])}"])
    )


def noise(r) -> Rest:
    data = r.randbytes(r.choice([1, 10, 1000, 50_000]))
    if r.random() < 0.3:
        data = (
            r.choice([b"\x16\x03\x01\x02\x00\x01", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n"])
            + data
        )
    return Rest("noise", data, incomplete=True)


HTTP = [path, path, long_path, method, status_method, truncated, short_length, bad_length, large, chunks, smuggled,
        encoded, headers, expectation, noise]  # fmt: skip


def rest(seed: int) -> Rest:
    r = random.Random(seed)
    return body(r) if r.random() < 0.6 else r.choice(HTTP)(r)
