"""Names, settings and documentation of the models, read from their source files without importing TensorFlow.

A declared class has the docstring, the class attributes and the constructor's signature of the real one, and stands
for it in `inspect.signature`, `inspect.getdoc` and `recommender.settings`. What cannot be read this way is left to the
real classes: `declared_models` then imports them, which takes seconds and gives the same answers.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import inspect
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from tfrecsession.errors import InputError
from tfrecsession.recommender.settings import checked_name, defaults_of_class, settings_of_class
from tfrecsession.recommender.training_values import check_training

REGISTRY = "tfrecsession.models"
RECOMMENDER = "tfrecsession.recommender"
LIGHT = ("tfrecsession.errors", *(f"{RECOMMENDER}.{name}" for name in ("arguments", "learning", "search_space")))
CLASSES = "tfrecsession.recommender.", "tfrecsession.models."  # modules whose classes are read, others are not needed
BASE = {
    "learning": None,
    "search_space": {},
    "log_defaults": {},
    "weighs_events": False,
}  # of a class that declares none
CHECKS = "_checks"  # attribute of a declared class
CHECKED_BY = ("check_whole", "check_number", "check_choice", "checked_widths")
Base = type("Base", (), BASE)  # one for all, so that it comes last where classes are mixed


@cache
def declared_models() -> Mapping[str, type]:
    """Returns model name -> declared class, in the order of `tfrecsession.models.MODELS`."""
    try:
        return _declared()
    except Exception:  # a form of source that is not understood here
        return import_module(REGISTRY).MODELS


def settings_of(model: str, *given: dict) -> dict:
    """Returns what `tfrecsession.training.settings_of` returns, and raises its InputErrors."""
    found = settings_of_class(model, declared(model), *given)[0]
    check_values(model, found)
    return found


def chosen_settings(model: str, given: dict, data) -> tuple[dict, dict]:
    """Returns what `tfrecsession.training.recipe.chosen_settings` returns."""
    found, defaults = settings_of_class(model, declared(model), given, log=data.statistics)
    check_values(model, found)
    return found, defaults


def check_values(model: str, settings: dict) -> None:
    """Checks the values of settings as the constructor of the model and its training will do.

    Raises:
        InputError: a value of another type, out of its range, or not one of the choices.
    """
    cls = declared(model)
    check_training(model, cls, settings)
    for each in cls.__mro__:
        for name, check, scope in vars(each).get(CHECKS, ()):
            if name in settings:
                eval(check, scope, {name: settings[name]})


def epochs_setting(model: str, epochs: int | None) -> dict:
    """Returns the setting of `--epochs`; InputError for a model that does not train in epochs."""
    if epochs is not None and "epochs" not in settings_of(model):
        raise InputError(f"--epochs {epochs}: {model} does not train in epochs: leave it out")
    return {} if epochs is None else {"epochs": epochs}


def defaults_of(model: str) -> dict:
    """Returns what `tfrecsession.training.recipe.defaults_of` returns."""
    return defaults_of_class(declared(model))


def declared(model: str) -> type:
    """Returns the declared class of a model; InputError lists the known names, nearest first."""
    models = declared_models()
    return models[checked_name(model, models)]


def _declared() -> dict[str, type]:
    names = _declarations(REGISTRY)
    tree = _parsed(REGISTRY)
    (registry,) = (node.value for node in tree.body if isinstance(node, ast.Assign) and _target(node) == "MODELS")
    models = {ast.literal_eval(key): names[value.id] for key, value in zip(registry.keys, registry.values, strict=True)}
    for model in models.values():
        defaults_of_class(model), inspect.getdoc(model).strip()  # raises where something has not been read
    return models


@cache
def _declarations(module: str) -> dict:
    """Returns the classes and constants of a module, as far as they can be evaluated without its heavy imports."""
    if module in LIGHT:
        return vars(import_module(module))
    names: dict = {}
    if module.endswith("_defaults"):  # plain functions of the log's statistics
        exec(compile(_parsed(module), module, "exec"), names)
        return names
    for node in _parsed(module).body:
        if isinstance(node, ast.ImportFrom) and (node.module in LIGHT or f"{node.module}.".startswith(CLASSES)):
            imported = _declarations(node.module)
            names |= {alias.asname or alias.name: imported.get(alias.name) for alias in node.names}
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            _assign(node, names)
        elif isinstance(node, ast.FunctionDef):  # a declaration may call it, as a default that follows the log does
            with contextlib.suppress(NameError):  # raised by a decorator or a default that needs the heavy imports
                exec(compile(ast.Module([_annotated_by_nothing(node)], []), module, "exec"), names)
        elif isinstance(node, ast.ClassDef):
            names[node.name] = _class(node, names, module)
    return names


def _class(node: ast.ClassDef, names: dict, module: str) -> type:
    bases = [names.get(ast.unparse(base)) for base in node.bases]
    bases = tuple(base for base in bases if isinstance(base, type)) or (Base,)
    body = {"__doc__": ast.get_docstring(node), "__module__": module}
    for part in node.body:
        if isinstance(part, ast.Assign) or isinstance(part, ast.AnnAssign) and part.value is not None:
            _assign(part, names, body)
        elif isinstance(part, ast.FunctionDef) and part.name == "__init__":
            body[CHECKS] = list(_checks(part, names, module))
            stub = ast.Module([_signature(part)], [])
            exec(compile(ast.fix_missing_locations(stub), module, "exec"), dict(names), body)
    return type(node.name, bases, body)


def _checks(function: ast.FunctionDef, names: dict, module: str):
    """Yields the checks of single arguments with which a constructor begins: name, expression, and what it needs."""
    for part in function.body:
        call = part.value if isinstance(part, ast.Expr | ast.Assign) else None
        if not (isinstance(call, ast.Call) and ast.unparse(call.func) in CHECKED_BY and len(call.args) > 1):
            continue
        name = call.args[1]
        known = {other for other, value in names.items() if value is not None}
        if isinstance(name, ast.Name) and _free_names(call) - {name.id} <= known:
            yield name.id, compile(ast.Expression(call), module, "eval"), dict(names)


def _annotated_by_nothing(function: ast.FunctionDef) -> ast.FunctionDef:
    """Removes the annotations of a function, which may need the heavy imports."""
    function.returns = None
    for argument in ast.walk(function.args):
        if isinstance(argument, ast.arg):
            argument.annotation = None
    return function


def _signature(function: ast.FunctionDef) -> ast.FunctionDef:
    """Returns a function with the arguments of this one, without annotations, that does nothing."""
    _annotated_by_nothing(function)
    return ast.FunctionDef(function.name, function.args, [ast.Pass()], [], type_params=[])


def _assign(node: ast.Assign | ast.AnnAssign, names: dict, into: dict | None = None) -> None:
    """Evaluates an assignment, where the names in it are known."""
    scope = {**names, **(into or {})}
    target = _target(node)
    (names if into is None else into).pop(target, None)
    used = _free_names(node.value)
    if used <= scope.keys() and all(scope[name] is not None for name in used):
        value = eval(compile(ast.Expression(node.value), target, "eval"), scope)
        (names if into is None else into)[target] = value
    elif into is None and isinstance(node.value, ast.Dict):  # a table of choices: its names are enough
        keys = [key.value for key in node.value.keys if isinstance(key, ast.Constant)]
        if len(keys) == len(node.value.keys):
            names[target] = dict.fromkeys(keys)
    elif target in BASE:
        raise InputError(f"{target}: cannot be read without its imports")


def _free_names(expression: ast.expr) -> set[str]:
    """Returns the names that must be known to evaluate an expression: no builtins, no variables of its own."""
    names = [part for part in ast.walk(expression) if isinstance(part, ast.Name)]
    own = {name.id for name in names if isinstance(name.ctx, ast.Store)}  # of comprehensions
    own |= {part.arg for part in ast.walk(expression) if isinstance(part, ast.arg)}  # of lambdas
    return {name.id for name in names} - own - set(dir(builtins))


def _target(node: ast.Assign | ast.AnnAssign) -> str:
    target = node.targets[0] if isinstance(node, ast.Assign) else node.target
    return ast.unparse(target)


@cache
def _parsed(module: str) -> ast.Module:
    parent, _, name = module.rpartition(".")
    folder = Path(find_spec("tfrecsession").origin).parent.joinpath(*parent.split(".")[1:])
    file = folder / name / "__init__.py"
    return ast.parse((file if file.is_file() else folder / f"{name}.py").read_text(encoding="utf-8"))
