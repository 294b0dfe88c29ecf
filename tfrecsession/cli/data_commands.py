"""prepare, describe."""

from __future__ import annotations

import inspect

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from tfrecsession.cli.output import console, write_json
from tfrecsession.errors import InputError


def prepare_command(commands, every):
    command = commands.add_parser("prepare", parents=[every], help="a click log -> a prepared data set")
    command.add_argument(
        "source",
        help="CSV, TSV, JSON Lines, Parquet (file or folder), .txt, u.data, ratings.dat, tfds:NAME, synthetic:...",
    )
    command.add_argument("--out", required=True, metavar="DIR", help="the data set to make")
    columns = command.add_argument_group("columns of the log (found by their usual names where not said)")
    for part in ("item", "time", "session", "user"):
        columns.add_argument(f"--{part}", metavar="COLUMN")
    columns.add_argument("--event", metavar="COLUMN", help="event type (view, cart, ...)")
    columns.add_argument("--context", metavar="A,B", default="", help="further columns to keep per event")
    reading = command.add_argument_group("reading")
    reading.add_argument("--format", help="where the file's name does not say it")
    reading.add_argument("--time-unit", choices=["s", "ms", "us", "ns"], help="of integer times; detected otherwise")
    reading.add_argument(
        "--drop-bad-rows", action="store_true", help="drop rows without item, session or readable time"
    )
    reading.add_argument("--keep-duplicates", action="store_true", help="keep rows that are equal in all parts")
    cleaning = command.add_argument_group("sessions")
    cleaning.add_argument("--gap", metavar="30m", help="cut sessions where a user was idle for so long")
    cleaning.add_argument("--drop-repeats", action="store_true", help="keep one of consecutive events on one item")
    cleaning.add_argument(
        "--min-item-support", type=int, metavar="N", help="events an item needs (5; 1 with --test-input)"
    )
    cleaning.add_argument("--min-session-length", type=int, metavar="N", help="events a session needs (2)")
    cleaning.add_argument(
        "--one-pass", action="store_true", help="apply the two filters once, not to their fixed point"
    )
    split = command.add_argument_group("split by time")
    split.add_argument("--test-span", metavar="1d", help="the end of the log that is test: 12h, 1d, or a share (10%%)")
    split.add_argument("--validation-span", metavar="1d", help="the span before it; 0d: none")
    split.add_argument("--split-by", choices=["start", "end"], default="start", help="of a session")
    split.add_argument("--test-input", metavar="FILE", help="a test split made by someone else, taken as it is")
    split.add_argument(
        "--unknown-items",
        choices=["drop", "keep"],
        help="of validation and test (drop; with --test-input keep: as it is)",
    )
    engine = command.add_argument_group("engine")
    engine.add_argument(
        "--engine", default="duckdb", metavar="duckdb|spark", help="spark: for logs that outgrow one machine"
    )
    engine.add_argument("--spark-master", metavar="URL", help="spark://host:7077, yarn, k8s://..., local[4] (local[*])")
    engine.add_argument(
        "--spark-conf", action="append", metavar="KEY=VALUE", help="a setting of Spark; may be said repeatedly"
    )
    engine.add_argument("--memory", default="4GB", help="what the engine may hold before it spills to disk")
    engine.add_argument("--overwrite", action="store_true", help="replace an earlier data set")
    command.set_defaults(run=prepare)


def prepare(options) -> None:
    from tfrecsession.sessions.describe import render
    from tfrecsession.sessions.prepare import prepare as make

    known = set(inspect.signature(make).parameters) - {"source", "out", "context", "spark_conf", "spark"}
    said = {name: value for name, value in vars(options).items() if name in known and value is not None}
    context = tuple(name.strip() for name in options.context.split(",") if name.strip())
    if options.spark_conf:
        said["spark_conf"] = dict(_setting(text) for text in options.spark_conf)
    screen = console(options.json)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=screen, transient=True) as bar:
        task = bar.add_task("reading", total=None)

        def progress(step: str, done: float | None = None) -> None:
            bar.update(task, description=step, total=None if done is None else 1.0, completed=done or 0.0)

        info = make(options.source, options.out, context=context, progress=progress, **said)
    screen.print(render(info))
    write_json(info, options.json)


def _setting(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise InputError(f"--spark-conf {text}: write it as KEY=VALUE, as spark.executor.memory=8g")
    return name, value


def describe_command(commands, every):
    command = commands.add_parser("describe", parents=[every], help="what is in a prepared data set")
    command.add_argument("data", metavar="DIR", help="what `tfrecsession prepare` made")
    command.set_defaults(run=describe)


def describe(options) -> None:
    from tfrecsession.sessions.describe import describe as look
    from tfrecsession.sessions.describe import render

    found = look(options.data)
    console(options.json).print(render(found))
    write_json(found, options.json)


COMMANDS = [prepare_command, describe_command]
