"""Registration of this package's classes with Keras, whichever of the two is imported first.

`keras.models.load_model` finds classes that were registered when their modules were imported. This package imports
neither Keras nor TensorFlow by itself, so it waits for the import of Keras and then imports its models.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.machinery import ModuleSpec

WAITED_FOR = ("keras", "tensorflow")
PACKAGE = __name__.partition(".")[0]


class Waiting:
    """A finder of `sys.meta_path` that imports the models once Keras is imported.

    It waits until the outermost import of Keras, TensorFlow or this package has ended: within these, modules are not
    complete yet.
    """

    def __init__(self):
        self.running: set[str] = set()

    def find_spec(self, name: str, path=None, target=None) -> ModuleSpec | None:
        """Returns the spec that the other finders find, with a loader that tells when the module is complete."""
        if name not in WAITED_FOR and not name.startswith(f"{PACKAGE}."):
            return None
        finders = (finder for finder in sys.meta_path if finder is not self and hasattr(finder, "find_spec"))
        spec = next(filter(None, (finder.find_spec(name, path, target) for finder in finders)), None)
        if spec is None or spec.loader is None or not hasattr(spec.loader, "exec_module"):
            return spec
        execute = spec.loader.exec_module

        def exec_module(module):
            self.running.add(name)
            try:
                execute(module)
            finally:
                self.running.discard(name)
            self.register()

        spec.loader.exec_module = exec_module
        return spec

    def register(self) -> None:
        """Imports the models if Keras is imported and no import that this class waits for is running."""
        if "keras" in sys.modules and not self.running:
            if self in sys.meta_path:
                sys.meta_path.remove(self)
            import_module(f"{PACKAGE}.models")


def register_with_keras() -> None:
    """Imports the models now if Keras is imported already, otherwise when it will be."""
    if "keras" in sys.modules:
        import_module(f"{PACKAGE}.models")
    else:
        sys.meta_path.insert(0, Waiting())
