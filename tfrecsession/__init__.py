"""Session-based recommendation for Keras 3 and TensorFlow.

    import tfrecsession as trs

    data = trs.load("clicks/")
    model = trs.models.GRU4Rec(data.items, units=[100])

Nothing heavy is imported before it is used. `keras.models.load_model` knows our classes whichever of Keras and this
package was imported first.
"""

from importlib import import_module

from tfrecsession.errors import InputError
from tfrecsession.keras_registration import register_with_keras
from tfrecsession.quiet import quiet_start_up
from tfrecsession.version import __version__

_FOLDERS = [
    "events",
    "sessions",
    "batches",
    "layers",
    "rules",
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


quiet_start_up()
register_with_keras()
