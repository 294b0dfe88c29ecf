"""Session-based recommendation for Keras 3 and TensorFlow.

    import tfrecsession as trs

    data = trs.load("clicks/")
    model = trs.models.GRU4Rec(data.items, units=[100])

Nothing heavy is imported before it is used. `keras.models.load_model` knows our classes where Keras was imported before
this package, or once `trs.models` was looked at.
"""

import os
import sys
from importlib import import_module

from tfrecsession.errors import InputError
from tfrecsession.version import __version__

_FOLDERS = [
    "events",
    "sessions",
    "batches",
    "layers",
    "losses",
    "negatives",
    "metrics",
    "optimizers",
    "recommender",
    "models",
    "training",
    "evaluation",
    "export",
    "serving",
    "presets",
]
_NAMES = {
    "Context": "tfrecsession.sessions.context",
    "prepare": "tfrecsession.sessions.prepare",
    "describe": "tfrecsession.sessions.describe",
    "load": "tfrecsession.batches",
    "synthetic_sessions": "tfrecsession.batches",
}

__all__ = ["InputError", "__version__", *_FOLDERS, *_NAMES]


def __getattr__(name):
    if name in _FOLDERS:
        return import_module(f"tfrecsession.{name}")
    if name in _NAMES:
        return getattr(import_module(_NAMES[name]), name)
    raise AttributeError(f"module 'tfrecsession' has no attribute {name!r}")


def __dir__():
    return __all__


def _quiet_without_gpu():
    """Hides TensorFlow's start-up lines where there is no GPU: they are errors about the one it did not find.

    A user's own TF_CPP_MIN_LOG_LEVEL wins, and a TensorFlow that was imported before is left alone.
    """
    if "tensorflow" not in sys.modules and not os.path.exists("/dev/nvidia0"):
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def _register_with_keras():
    """Imports the models where Keras is imported already, so that `keras.models.load_model` finds the classes."""
    if "keras" in sys.modules:
        import_module("tfrecsession.models")


_quiet_without_gpu()
_register_with_keras()
