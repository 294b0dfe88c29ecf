"""A small local server with TensorFlow Serving's API, and a client for both.

The server answers the signatures of any SavedModel. Requests that it answers should also work with TensorFlow Serving.
"""

from importlib import import_module

from tfrecsession.errors import InputError

_NAMES = {
    "Client": "tfrecsession.serving.client",
    "Explanations": "tfrecsession.recommender.served_reasons",
    "Recommendations": "tfrecsession.serving.client",
    "Server": "tfrecsession.serving.server",
}

__all__ = list(_NAMES)


def __getattr__(name):
    if name in _NAMES:  # imported on first use: the client does not need the libraries of the server
        try:
            return getattr(import_module(_NAMES[name]), name)
        except ModuleNotFoundError as error:
            raise InputError(f"{error.name} is not installed: pip install 'tfrecsession[serving]'") from None
    raise AttributeError(f"module 'tfrecsession.serving' has no attribute {name!r}")
