"""Malformed bodies of requests: functions of a seeded `random.Random`, in `BODIES`.

They return bytes, or a value to be written as JSON, for the model gru4rec of `tests/serving/conftest.py` (versions 1
and 2, 8 units). A pair has the name of another model in front: hrnn, whose user states have a width of 4.
"""

from __future__ import annotations

import base64
import json
import random

STATE, USER_STATE = 9, 4  # widths
MOST_BYTES, MOST_ROWS = 4 * 2**20, 1024  # the server's defaults


def junk(r: random.Random, depth: int = 2):
    """Returns a JSON value that is neither a string nor a list of strings."""
    simple = [None, True, False, 0, -1, 7, 1.5, -0.0, 2**63, -(2**70), 1e308, float("nan"), float("inf"), {}, {"a": 1}]
    if depth and r.random() < 0.3:
        return [junk(r, depth - 1) for _ in range(r.randrange(1, 4))]
    return r.choice(simple)


def text(r: random.Random, longest: int = 20) -> str:
    alphabet = "abc_-0 /\\.:%\"'\u00e9\u2028\u05d0\U0001f600\x7f\x01"
    return "".join(r.choice(alphabet) for _ in range(r.randrange(1, longest)))


def items(r: random.Random, rows: int | None = None, events: int | None = None) -> list:
    rows, events = rows or r.randrange(1, 4), events or r.randrange(1, 5)
    return [[f"item-{r.randrange(50)}" for _ in range(events)] for _ in range(rows)]


def wrong_types(r):
    rows = items(r)
    rows[r.randrange(len(rows))][r.randrange(len(rows[0]))] = junk(r)
    return {r.choice(["instances", "inputs"]): rows}


def wrong_containers(r):
    key = r.choice(["instances", "inputs"])
    values = [
        None,
        3,
        "item-1",
        True,
        1.5,
        [],
        {},
        ["item-1"],
        [[]] * 0,
        [None],
        [3],
        [{}],
        [[["item-1"]]],
        [{"items": 3}],
    ]
    return {key: r.choice(values)}


def wrong_whole(r):
    return r.choice(
        [None, 3, "instances", True, [], [[]], items(r), {}, {"Instances": items(r)}, {"signature_name": ""}]
    )


def both(r):
    return {"instances": items(r), "inputs": items(r)}


def ragged(r):
    rows = items(r, rows=r.randrange(2, 6))
    rows[r.randrange(len(rows))] += ["item-1"] * r.randrange(1, 4)
    return {r.choice(["instances", "inputs"]): rows}


def half_nested(r):
    rows = items(r, rows=3)
    rows[r.randrange(3)] = r.choice(["item-1", None, [["item-1"]], 3])
    return {"instances": rows}


def too_many_rows(r):
    return {r.choice(["instances", "inputs"]): [["item-1"]] * r.randrange(MOST_ROWS + 1, 20_000)}


def too_deep(r):
    value = "item-1"
    for _ in range(r.randrange(3, 50)):
        value = [value]
    return {r.choice(["instances", "inputs"]): value}


def much_too_deep(r):
    opening = r.choice([b"[", b'{"a":', b'{"instances":['])
    return opening * r.randrange(1000, 200_000)


def bad_utf8(r):
    body = bytearray(json.dumps({"instances": items(r)}).encode())
    index = body.index(b"item") + r.randrange(4)
    body[index : index + 1] = r.choice([b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xf8\x88\x80\x80\x80", b"\xc0\xaf"])
    return bytes(body)


def other_encoding(r):
    return json.dumps({"instances": items(r)}).encode(r.choice(["utf-16", "utf-16-le", "utf-32", "utf-8-sig"]))


def surrogate(r):
    return {"instances": [[r.choice(["\ud800", "a\udfff", "\udc00\ud800"])]]}


def bad_number(r):
    return (
        b'{"signature_name":"advance","inputs":{"items":["a"],"state":[['
        + r.choice([b"1" * 5000, b"0x10", b"1e", b"--1", b".5", b"1_000", b"+1", b"nan", b"inf", b"01"])
        + b",0,0,0,0,0,0,0,0]]}}"
    )


def state(r):
    """Has a state of the wrong width, or with a value that is not a finite number."""
    values = [0.0] * STATE
    if r.random() < 0.4:
        values = [0.0] * r.choice([0, 1, STATE - 1, STATE + 1, 1000])
    else:
        values[r.randrange(STATE)] = r.choice(
            [float("nan"), float("inf"), -float("inf"), 1e300, "0.5", None, [0.0], {}]
        )
    if r.random() < 0.5:
        return {"signature_name": "advance", "instances": [{"items": "item-1", "state": values}]}
    return {"signature_name": "advance", "inputs": {"items": ["item-1"], "state": [values]}}


def user_state(r):
    values = [0.0] * USER_STATE
    if r.random() < 0.4:
        values = [0.0] * r.choice([0, 1, USER_STATE + 1])
    else:
        values[r.randrange(USER_STATE)] = r.choice([float("nan"), -float("inf"), 1e300, "x", True])
    name = r.choice(["with_user", "advance_user", "start_session"])
    inputs = {"user_state": [values], **({} if name == "start_session" else {"items": [["item-1"]]})}
    return "hrnn", {"signature_name": name, "inputs": inputs}


def sessions(r):
    """Has sessions that differ in shape from `items`, or are not int32."""
    rows = r.choice([[[1]], [[1, 2, 3]], [1, 2], [[1, 2], [1, 2]], [[2**31, 1]], [[1.5, 2]], [["1", "2"]], [[None, 1]]])
    return "hrnn", {"signature_name": "with_sessions", "inputs": {"items": [["item-1", "item-2"]], "sessions": rows}}


def unlike_rows(r):
    """Has inputs with different numbers of rows."""
    sizes = r.choice([(1, 2, 1), (2, 1, 2), (3, 3, 1), (1, 1, 0), (0, 1, 1), (2, 2, 3)])
    names = ("items", "exclude", "only")
    inputs = {name: items(r, size, 2) if size else [] for name, size in zip(names, sizes, strict=True)}
    return {"signature_name": "recommend_filtered", "inputs": inputs}


def missing_input(r):
    inputs = {"items": items(r, 1), "exclude": [[""]], "only": [[""]]}
    del inputs[r.choice(list(inputs))]
    return {"signature_name": "recommend_filtered", "inputs": inputs}


def unknown_input(r):
    name = r.choice(["k", "item", "Items", "items ", "", text(r), "__proto__"])
    value = r.choice([-1, 0, 10**9, [[""]], None])
    if r.random() < 0.5:
        return {"inputs": {"items": items(r, 1), name: value}}
    return {"instances": [{"items": ["item-1"], name: value}]}


def unknown_key(r):
    return {
        "instances": items(r),
        r.choice(["k", "top_k", "signature", "model", text(r)]): r.choice([-1, "x", None, []]),
    }


def unknown_signature(r):
    names = [
        text(r),
        "Serving_Default",
        "../serving_default",
        "__saved_model_init_op",
        "a" * 10**6,
        3,
        None,
        [],
        {},
        "\0",
    ]
    return {"signature_name": r.choice(names), "instances": items(r)}


def long_id(r):
    return {"instances": [[r.choice(["a", "\u05d0", "\\"]) * 2 ** r.randrange(17, 20)]]}


def bad_b64(r):
    wrong = [3, None, "?", "x", "YQ", "YQ=", "Y Q==", "\u00e9", [], {}]
    item = r.choice([{"b64": r.choice(wrong)}, {"b64": "YQ==", "x": 1}, {"B64": "YQ=="}, {"b64": {"b64": "YQ=="}}, {}])
    return {"instances": r.choice([[[item]], [item], [["item-1", item]]])}


def long_b64(r):
    return {"instances": [[{"b64": base64.b64encode(b"a" * 2 ** r.randrange(17, 20)).decode()}]]}


def twice(r):
    rows = json.dumps(items(r))
    return r.choice(
        [
            f'{{"instances":{rows},"instances":{rows}}}',
            f'{{"signature_name":"","signature_name":"x","instances":{rows}}}',
            f'{{"inputs":{{"items":{rows},"items":{rows}}}}}',
            '{"instances":[{"items":["a"],"items":["b"]}]}',
        ]
    ).encode()


def not_json(r):
    good = json.dumps({"instances": items(r)})
    return r.choice(
        [
            good + r.choice(["x", "{}", ",", "\0", good]),
            good[: r.randrange(len(good))],
            good.replace('"', "'"),
            good.replace("]]", ",]]"),
            good.replace("item", "it\nem"),
            good.replace("item", "\\x41"),
            "/* */" + good,
            "instances=item-1",
            "<instances/>",
            " " * r.randrange(1, 100_000),
        ]
    ).encode()


def noise_body(r):
    return r.randbytes(r.choice([1, 10, 1000, 100_000]))


BODIES = [
    wrong_types, wrong_containers, wrong_whole, both, ragged, half_nested, too_many_rows, too_deep,
    much_too_deep, bad_utf8, other_encoding, surrogate, bad_number, state, user_state, sessions, unlike_rows,
    missing_input, unknown_input, unknown_key, unknown_signature, long_id, bad_b64, long_b64, twice, not_json,
    noise_body,
]  # fmt: skip
