"""Session-based recommendation for Keras 3 and TensorFlow.

    import tfrecsession as trs

    data = trs.load("clicks/")
    model = trs.models.GRU4Rec(data.items, units=[100])

Nothing heavy is imported before it is used. `keras.models.load_model` knows our classes whichever of Keras and this
package was imported first.
"""

import os
import sys
from importlib import import_module

from tfrecsession.errors import InputError
from tfrecsession.keras_registration import register_with_keras
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


_quiet_without_gpu()
register_with_keras()
