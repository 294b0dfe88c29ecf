"""Readers of raw logs, the event table and the synthetic shop. Names load lazily: only the readers need Ibis."""

from importlib import import_module

_NAMES = {
    "Columns": "tfrecsession.events.schema",
    "EventTable": "tfrecsession.events.schema",
    "Shop": "tfrecsession.events.shop.shop",
    "read_events": "tfrecsession.events.readers",
}
__all__ = list(_NAMES)


def __getattr__(name):
    if name in _NAMES:
        return getattr(import_module(_NAMES[name]), name)
    raise AttributeError(f"module 'tfrecsession.events' has no attribute {name!r}")


def __dir__():
    return __all__
