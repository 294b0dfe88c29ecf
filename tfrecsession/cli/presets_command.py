"""The command `presets`."""

from __future__ import annotations

from pathlib import Path

from rich.table import Table
from rich.text import Text

from tfrecsession.cli.output import console, write_json
from tfrecsession.errors import InputError

DEFAULT = "presets"  # a folder that need not exist


def presets_command(commands, common):
    command = commands.add_parser(
        "presets",
        parents=[common],
        help="list the presets: tuned settings, and models with weights",
        description="List the package's presets of settings, for --preset NAME, and presets with weights in folders.",
    )
    command.add_argument(
        "folders",
        nargs="*",
        default=[DEFAULT],
        metavar="DIR",
        help=f"folder with presets made by `export --format preset` (default: {DEFAULT})",
    )
    command.set_defaults(run=presets)


def presets(options) -> None:
    from tfrecsession.presets import names, read

    for given in options.folders:
        if given != DEFAULT and not Path(given).is_dir():
            raise InputError(f"{given}: no such folder; name one with presets, or leave it out")
    screen = console(options.json)
    settings = {name: read(name) for name in names()}
    table = Table(title="Settings, for --preset NAME", title_justify="left")
    for column in ("preset", "model", "recall@20", "data"):
        table.add_column(column, no_wrap=column != "data")
    for name, preset in settings.items():
        said = preset["measured"] or preset.get("reported", {})
        by = "" if preset["measured"] else " (reported)"
        table.add_row(name, preset["model"], _score(said.get("recall@20")) + by, Text(said.get("data", "")))
    screen.print(table)
    with_weights = {str(folder): _summary(folder) for given in options.folders for folder in _folders(Path(given))}
    table = Table(title="\nWith weights, for from_preset(DIR)", title_justify="left")
    for column in ("folder", "model", "items", "recall@20", "data"):
        table.add_column(column)
    for folder, found in with_weights.items():
        score = _score(found["metrics"].get("recall@20")) + (f" ({found['split']})" if found["split"] else "")
        table.add_row(Text(folder), found["model"], f"{found['items']:,}", score, Text(found["data"] or ""))
    if with_weights:
        screen.print(table)
    else:
        hint = "make one with `tfrecsession export RUN --format preset --out presets/NAME`"
        screen.print(f"No presets with weights in {', '.join(options.folders)}: {hint}", markup=False)
    write_json({"settings": settings, "weights": with_weights}, options.json)


def _folders(folder: Path) -> list[Path]:
    """Returns the presets with weights at a path: the folder itself, or the folders in it."""
    from tfrecsession.presets import is_preset

    return [folder] if is_preset(folder) else sorted(filter(is_preset, folder.glob("*")))


def _summary(folder: Path) -> dict:
    from tfrecsession.presets.weights import read_about

    about = read_about(folder)
    scores = about["evaluation"]
    found = {"model": about["model"], "items": about["items"], "data": about["data"].get("source")}
    return found | {"split": scores.get("split"), "metrics": scores.get("metrics", {})}


def _score(value) -> str:
    """Formats one score, or those of several seeds by their mean."""
    if value is None:
        return ""
    return f"{sum(value) / len(value) if isinstance(value, list) else value:.4f}"


COMMANDS = [presets_command]
