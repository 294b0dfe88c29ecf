"""The rules of the house, counted over the source: circles, families, class checks, batches, model files."""

import ast
from pathlib import Path

import pytest

import tfrecsession
from tfrecsession import recommender
from tfrecsession.models import MODELS

PACKAGE = Path(tfrecsession.__file__).parent
FILES = {file.relative_to(PACKAGE): ast.parse(file.read_text()) for file in sorted(PACKAGE.rglob("*.py"))}
MODEL_CLASSES = {cls.__name__ for cls in MODELS.values()}
CONTRACT = {name for name in recommender.__all__ if name[0].isupper() and name not in ("Choice", "Float", "Int")}
# Named exceptions, each with its reason.
CONCRETE_MODELS = {("evaluation/compared_model.py", "Popularity")}  # warms up shared state before a comparison
MODEL_NAMES = ("model", "self.model", "cls", "built", "loaded", "old", "grown")
CLASS_CHECKS = {("training/checkpoint.py", "Recommender")}  # any Keras model may have a checkpoint


def name_of(path):
    """The dotted name of a module, from its path below the package."""
    parts = ["tfrecsession", *path.with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(tree):
    """(module, name) of everything that a file imports of this package, wherever in it; name None: a whole module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names if alias.name.startswith("tfrecsession."))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "tfrecsession":
            yield from ((node.module, alias.name) for alias in node.names)


def imported_modules(tree):
    for module, name in imports(tree):
        whole = f"{module}.{name}"
        yield whole if whole in MODULES else module


MODULES = {name_of(path) for path in FILES}
GRAPH = {name_of(path): set(imported_modules(tree)) & MODULES for path, tree in FILES.items()}


def circles(graph):
    """The sets of modules that import each other, by Tarjan's algorithm."""
    index, low, stack, found = {}, {}, [], []

    def visit(node):
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in graph[node]:
            if other not in index:
                visit(other)
            if other in stack:
                low[node] = min(low[node], low[other])
        if low[node] == index[node]:
            circle = [stack.pop()]
            while circle[-1] != node:
                circle.append(stack.pop())
            found.append(circle)

    for node in graph:
        if node not in index:
            visit(node)
    return [sorted(circle) for circle in found if len(circle) > 1]


def test_a_circle_is_found():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c"]]


def test_no_modules_import_each_other():
    assert circles(GRAPH) == []


def test_families_import_nothing_from_each_other():
    for path, tree in FILES.items():
        if path.parts[0] == "models" and len(path.parts) == 3:
            for module, _ in imports(tree):
                parts = module.split(".")
                assert parts[1] != "models" or parts[2:3] == [path.parts[1]], f"{path} imports {module}"


def test_nothing_outside_models_imports_a_concrete_model():
    for path, tree in FILES.items():
        if path.parts[0] == "models":
            continue
        for module, name in imports(tree):
            concrete = module.startswith("tfrecsession.models.") or (
                module == "tfrecsession.models" and name in MODEL_CLASSES
            )
            assert not concrete or (str(path), name) in CONCRETE_MODELS, f"{path} imports {name} of {module}"


def class_checks(tree):
    """Names of model classes in `isinstance` and `issubclass`, and probes of a model by `getattr` or `hasattr`."""
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
            continue
        arguments = [ast.unparse(argument) for argument in node.args]
        if node.func.id in ("isinstance", "issubclass"):
            named = {part.id for part in ast.walk(node.args[1]) if isinstance(part, ast.Name)}
            yield from named & (MODEL_CLASSES | CONTRACT)
        elif node.func.id in ("getattr", "hasattr") and arguments[0] in (
            "model",
            "self.model",
            "cls",
            "built",
            "loaded",
        ):
            yield f"{node.func.id}({arguments[0]}, {arguments[1]})"


def test_models_are_asked_for_what_they_can_do_not_for_their_class():
    found = {
        (str(path), check)
        for path, tree in FILES.items()
        if path.parts[0] not in ("models", "recommender")
        for check in class_checks(tree)
    }
    assert found == CLASS_CHECKS and len(CLASS_CHECKS) <= 3


def test_batches_are_made_in_one_place():
    for path, tree in FILES.items():
        if str(path) == "batches/batch.py":
            continue
        for node in ast.walk(tree):
            keys = set()
            if isinstance(node, ast.Dict):
                keys = {key.value for key in node.keys if isinstance(key, ast.Constant)}
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "dict":
                keys = {keyword.arg for keyword in node.keywords}
            assert not {"items", "position"} <= keys, f"{path}:{node.lineno} makes a batch, use batches/batch.py"


@pytest.mark.parametrize("name", MODELS)
def test_a_model_is_one_file_that_reads_top_to_bottom(name):
    module = Path(*MODELS[name].__module__.split(".")[1:]).with_suffix(".py")
    text = (PACKAGE / module).read_text()
    assert len(text.splitlines()) <= 300
    assert "locals()" not in text


def test_one_package_name_for_keras():
    for path, tree in FILES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("register_keras_serializable"):
                assert ast.unparse(node.keywords[0].value) == "'tfrecsession'", path
