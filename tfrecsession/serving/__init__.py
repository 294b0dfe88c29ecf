"""A small local server that speaks TensorFlow Serving's API, and a client for both.

It serves the signatures of any SavedModel. What works against it is meant to work against TensorFlow Serving.
"""

from importlib import import_module

_NAMES = {
    "Client": "tfrecsession.serving.client",
    "Recommendations": "tfrecsession.serving.client",
    "Server": "tfrecsession.serving.server",
}

__all__ = list(_NAMES)


def __getattr__(name):
    if name in _NAMES:  # looked up late: whoever wants one of these does not pay for the libraries of the others
        return getattr(import_module(_NAMES[name]), name)
    raise AttributeError(f"module 'tfrecsession.serving' has no attribute {name!r}")
