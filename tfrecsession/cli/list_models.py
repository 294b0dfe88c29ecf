"""The command `models`."""

from __future__ import annotations

import inspect
import re

from rich.table import Table
from rich.text import Text

from tfrecsession.cli import declared_models
from tfrecsession.cli.output import console, write_json
from tfrecsession.recommender.settings import MEANINGS, defaults_of_class, space_of_class


def models_command(commands, common):
    command = commands.add_parser(
        "models",
        parents=[common],
        help="list the models, or show one model's settings",
        description="List all models, or show the documentation and settings of one.",
    )
    command.add_argument("model", nargs="?", metavar="MODEL", help="model to show, e.g. gru4rec (default: list all)")
    command.set_defaults(run=models)


def models(options) -> None:
    known = declared_models.declared_models()
    screen = console(options.json)
    if options.model is None:
        summaries = {name: _summary(model) for name, model in known.items()}
        table = Table(title="Models, by their name for --model", title_justify="left")
        table.add_column("model", no_wrap=True)
        table.add_column("description")
        for name, summary in summaries.items():
            table.add_row(Text(name), Text(summary))
        screen.print(table)
        write_json(summaries, options.json)
        return
    model = declared_models.declared(options.model)
    defaults, space = defaults_of_class(model), space_of_class(model)
    screen.print(Text(inspect.getdoc(model).replace("`", "")))
    table = Table(title="\nSettings for --set KEY=VALUE", title_justify="left")
    for column in ("setting", "default", "what it is", "searched by tune"):
        table.add_column(column, no_wrap=column == "setting")
    meanings = meanings_of(model)
    for name, default in defaults.items():
        ranges = space.get(name, ())
        searched = "\n".join(map(_in_words, ranges if isinstance(ranges, tuple) else [ranges]))
        table.add_row(Text(name), Text(str(default)), Text(meanings[name]), Text(searched))
    screen.print(table)
    write_json({"model": options.model, "settings": defaults}, options.json)


def meanings_of(model: type) -> dict[str, str]:
    """Returns what each setting of a model class is: the first sentence of its docstring, or its entry of MEANINGS."""
    texts, references = {}, {}
    for cls in reversed(model.__mro__):
        for name, text in _arguments(cls.__doc__ or "").items():
            (references if text.startswith("see ") else texts)[name] = text
    found = {**references, **MEANINGS, **texts, "negatives": MEANINGS["negatives"]}  # a number here, else a sampler
    return {name: re.split(r"(?<=\S\S)\.\s|\.$", found.get(name, ""))[0] for name in defaults_of_class(model)}


def _arguments(doc: str) -> dict[str, str]:
    """Returns argument -> its text, from the section Args of a docstring."""
    found, names = {}, []
    for line in inspect.cleandoc(doc).partition("Args:\n")[2].splitlines():
        if line and not line.startswith(" "):
            break
        if entry := re.match(r" {4}(\w[\w, ]*): (.*)$", line):
            names = entry[1].split(", ")
            found |= dict.fromkeys(names, entry[2])
        else:
            found |= {name: f"{found[name]} {line.strip()}" for name in names if line.strip()}
    return {name: text.replace("`", "") for name, text in found.items()}


def _summary(model: type) -> str:
    """Returns the first sentence of the class docstring, without the paper in parentheses."""
    paragraph = inspect.getdoc(model).partition("\n\n")[0].replace("\n", " ").replace("`", "")
    without_paper = re.sub(r"\s+\([^()]*\)", "", paragraph)
    return re.split(r"(?<=\S)\.(?:\s|$)", without_paper)[0]


def _in_words(search_range) -> str:
    """Formats a range of `tune` as `32 to 256 (lanes: None)`."""
    options = getattr(search_range, "options", None)
    values = _either(options) if options else f"{search_range.low} to {search_range.high}"
    when = ", ".join(f"{name}: {_either(v if isinstance(v, tuple) else [v])}" for name, v in search_range.when.items())
    return f"{values} ({when})" if when else values


def _either(values) -> str:
    return " or ".join(map(str, values))


COMMANDS = [models_command]
