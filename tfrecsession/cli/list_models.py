"""The command `models`."""

from __future__ import annotations

import inspect
import re

from rich.table import Table
from rich.text import Text

from tfrecsession.cli import declared_models
from tfrecsession.cli.output import console, write_json
from tfrecsession.recommender.settings import defaults_of_class, space_of_class


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
    for column in ("setting", "default", "searched by tune"):
        table.add_column(column)
    for name, default in defaults.items():
        ranges = space.get(name, ())
        searched = "\n".join(map(_in_words, ranges if isinstance(ranges, tuple) else [ranges]))
        table.add_row(Text(name), Text(str(default)), Text(searched))
    screen.print(table)
    write_json({"model": options.model, "settings": defaults}, options.json)


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
