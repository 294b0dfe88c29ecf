"""A small local server that speaks TensorFlow Serving's API, and a client for both.

It serves the signatures of any SavedModel. What works against it is meant to work against TensorFlow Serving.
"""

from importlib import import_module

from tfrecsession.errors import InputError

_NAMES = {
    "Client": "tfrecsession.serving.client",
    "Recommendations": "tfrecsession.serving.client",
    "Server": "tfrecsession.serving.server",
}

__all__ = list(_NAMES)


def __getattr__(name):
    if name in _NAMES:  # looked up late: whoever wants one of these does not pay for the libraries of the others
        try:
            return getattr(import_module(_NAMES[name]), name)
        except ModuleNotFoundError as error:
            raise InputError(f"{error.name} is not installed: pip install 'tfrecsession[serving]'") from None
    raise AttributeError(f"module 'tfrecsession.serving' has no attribute {name!r}")
