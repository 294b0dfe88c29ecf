"""Packages whose names are imported on first use, so that a wrong path is reported before TensorFlow is imported."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec


def lazy(package: str, names: dict[str, str]) -> tuple[Callable, Callable]:
    """Returns the `__getattr__` and `__dir__` of a package.

    Args:
        package: its name.
        names: public name -> the module of the package that defines it, without the package's name.
    """

    def get(name: str):
        if name in names:
            return getattr(import_module(f"{package}.{names[name]}"), name)
        if not name.startswith("_") and find_spec(f"{package}.{name}"):
            return import_module(f"{package}.{name}")
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return get, lambda: list(names)
