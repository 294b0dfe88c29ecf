"""What the server says no with: a gRPC status code, and the HTTP code that TensorFlow Serving gives for it."""

from __future__ import annotations

import tensorflow as tf

HTTP = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "OUT_OF_RANGE": 400,
    "NOT_FOUND": 404,
    "RESOURCE_EXHAUSTED": 429,
    "INTERNAL": 500,
    "UNIMPLEMENTED": 501,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}


class Refusal(Exception):
    """A request that gets no answer.

    Args:
        code: the name of a gRPC status code, such as "NOT_FOUND".
        message: one line for the client.
    """

    def __init__(self, code: str, message: str):
        super().__init__(message)
        self.code = code
        self.message = message

    @property
    def http(self) -> int:
        return HTTP[self.code]


def refusal_of(error: tf.errors.OpError) -> Refusal:
    """What a graph raised, as TensorFlow Serving passes it on: its code and the first line of its message."""
    code = {number: name for name, number in vars(tf.errors).items() if name.isupper()}.get(error.error_code)
    lines = (error.message or "").strip().splitlines()
    return Refusal(code if code in HTTP else "INTERNAL", lines[0] if lines else type(error).__name__)
