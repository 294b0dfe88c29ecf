"""Errors of the server: a gRPC status code, and the HTTP code that TensorFlow Serving maps it to."""

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

MOST_TEXT = 1000  # characters; an assertion may print a whole tensor, and clients choose names


class Refusal(Exception):
    """An error that is returned to the client in place of an answer.

    Args:
        code: the name of a gRPC status code, such as "NOT_FOUND".
        message: one line for the client.
    """

    def __init__(self, code: str, message: str):
        super().__init__(message)
        self.code = code
        self.message = message if len(message) <= MOST_TEXT else f"{message[:MOST_TEXT]} ..."

    @property
    def http(self) -> int:
        return HTTP[self.code]


def refusal_of(error: tf.errors.OpError) -> Refusal:
    """Converts an error of the graph to a Refusal, with the code that TensorFlow Serving passes on."""
    code = {code: name for name, code in vars(tf.errors).items() if name.isupper()}.get(error.error_code)
    return Refusal(code if code in HTTP else "INTERNAL", reason(error))


def reason(error: Exception) -> str:
    """Returns the kernel's own message, without the stack trace and node name that TensorFlow adds in Python."""
    text = str(getattr(error, "message", None) or error).strip()
    text = text.rpartition("<stack traces unavailable>\n")[2].partition("\n\t [[")[0].strip()
    return text[:MOST_TEXT] or type(error).__name__
