"""models."""

from __future__ import annotations

import inspect
import sys

from rich.table import Table
from rich.text import Text

from tfrecsession.cli.output import console, write_json


def models_command(commands, every):
    command = commands.add_parser("models", parents=[every], help="the models there are, or what one can be told")
    command.add_argument("model", nargs="?", help="gru4rec, ...: its documentation and its settings; none: list all")
    command.set_defaults(run=models)


def models(options) -> None:
    from tfrecsession.models import MODELS
    from tfrecsession.training import recipe

    screen = console(options.json)
    if options.model is None:
        summaries = {name: _summary(model) for name, model in MODELS.items()}
        table = Table(title="Models, by the names that --model takes", title_justify="left")
        table.add_column("model", no_wrap=True)
        table.add_column("what it is")
        for name, summary in summaries.items():
            table.add_row(Text(name), Text(summary))
        screen.print(table)
        write_json(summaries, options.json)
        return
    defaults, space = recipe.defaults_of(options.model), recipe.space_of(options.model)
    screen.print(Text(inspect.getdoc(MODELS[options.model]).replace("`", "")))
    table = Table(title="\nWhat --set KEY=VALUE can say", title_justify="left")
    for column in ("setting", "default", "what tune searches"):
        table.add_column(column)
    for name, default in defaults.items():
        ranges = space.get(name, ())
        searched = "\n".join(map(_in_words, ranges if isinstance(ranges, tuple) else [ranges]))
        table.add_row(Text(name), Text(str(default)), Text(searched))
    screen.print(table)
    write_json({"model": options.model, "settings": defaults}, options.json)


def _summary(model: type) -> str:
    """The first line of the model's file, without the name that it begins with."""
    return sys.modules[model.__module__].__doc__.splitlines()[0].partition(": ")[2]


def _in_words(tried) -> str:
    """A range of `tune`, as 32 to 256 (lanes: None)."""
    options = getattr(tried, "options", None)
    values = _either(options) if options else f"{tried.low} to {tried.high}"
    when = ", ".join(f"{name}: {_either(v if isinstance(v, tuple) else [v])}" for name, v in tried.when.items())
    return f"{values} ({when})" if when else values


def _either(values) -> str:
    return " or ".join(map(str, values))


COMMANDS = [models_command]
