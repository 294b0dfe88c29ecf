"""The commands `prepare` and `describe`."""

from __future__ import annotations

import inspect
from contextlib import ExitStack

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from tfrecsession.cli.output import console, write_json
from tfrecsession.cli.progress import ProgressLines
from tfrecsession.errors import InputError


def prepare_command(commands, common):
    command = commands.add_parser(
        "prepare",
        parents=[common],
        help="turn a click log into a prepared data set",
        description="Turn a click log into a prepared data set: read it, build and filter sessions, split by time.",
    )
    command.add_argument(
        "source",
        metavar="SOURCE",
        help="the log: CSV, TSV, JSON Lines or Parquet (a file, a folder, or a pattern as 'parts/*.csv'), .txt, "
        "u.data, ratings.dat, tfds:NAME, synthetic:...",
    )
    command.add_argument("--out", required=True, metavar="DIR", help="folder of the data set to create")
    command.add_argument("--overwrite", action="store_true", help="replace an existing data set")
    columns = command.add_argument_group("columns of the log", "Found by their usual names by default.")
    for part, text in (
        ("item", "item id"),
        ("time", "time of the event; none: the log has no times"),
        ("session", "session id"),
    ):
        columns.add_argument(f"--{part}", metavar="COLUMN", help=text)
    columns.add_argument("--user", metavar="COLUMN", help="user id")
    columns.add_argument("--event", metavar="COLUMN", help="event type (view, cart, ...)")
    columns.add_argument(
        "--order", metavar="COLUMN", help="column that orders events of equal time (default: the order of the rows)"
    )
    columns.add_argument("--context", metavar="A,B", default="", help="further columns to keep for each event")
    reading = command.add_argument_group("reading")
    reading.add_argument("--format", help="file format (default: from the file name)")
    reading.add_argument("--where", metavar="SQL", help='read only these rows, e.g. "quantity > 0" (DuckDB\'s SQL)')
    reading.add_argument(
        "--columns",
        metavar="A,B",
        help="columns of a CSV or TSV file without a header, e.g. session,time,item,category",
    )
    reading.add_argument("--encoding", help="encoding of text files, e.g. latin-1, cp1252 (default: UTF-8)")
    reading.add_argument(
        "--time-format",
        metavar="FORMAT",
        help='form of times that are texts, e.g. "%%m/%%d/%%Y %%I:%%M:%%S %%p" (default: ISO 8601)',
    )
    reading.add_argument(
        "--time-unit", choices=["s", "ms", "us", "ns"], help="unit of integer times (default: detected)"
    )
    reading.add_argument(
        "--time-zone",
        metavar="ZONE",
        help="time zone of the hour, weekday and month that models read, e.g. Europe/Berlin (default: UTC)",
    )
    reading.add_argument(
        "--drop-bad-rows", action="store_true", help="drop rows without item, session or readable time"
    )
    reading.add_argument(
        "--keep-duplicates", action="store_true", help="keep rows with equal session, user, item, time and event"
    )
    reading.add_argument(
        "--null-values",
        metavar="A,B",
        help="ids that stand for no user, session or item; '' for none (default: NA, NULL, nan, None, \\N, ...)",
    )
    reading.add_argument(
        "--quote",
        metavar="CHAR|none",
        help='mark of quoted fields of CSV and TSV; none: the file has no quotes (default: ")',
    )
    reading.add_argument(
        "--itemless",
        choices=["keep", "drop"],
        help="events without an item, such as searches: keep them as steps that models with context read, or drop them "
        "(default: they are bad rows)",
    )
    items = command.add_argument_group("content of the items", "They need --items.")
    items.add_argument("--items", metavar="TABLE", help="table of items: CSV, TSV, JSON Lines or Parquet")
    items.add_argument("--items-key", metavar="COLUMN", help="its column of item ids (default: that of the log)")
    items.add_argument(
        "--content",
        metavar="A,B:KIND",
        help="columns to keep; KIND is category, list, words, number, vector, characters, image or audio (default: all "
        "columns, with the kinds found)",
    )
    items.add_argument("--items-columns", metavar="A,B", help="columns of a text file without a header")
    items.add_argument("--items-encoding", metavar="NAME", help="encoding of a text file (default: UTF-8)")
    items.add_argument(
        "--unseen-items",
        metavar="leave|add",
        help="add items without an event in training to the catalogue, for models that read content (default: leave)",
    )
    users = command.add_argument_group("features of the users", "They need --users.")
    users.add_argument("--users", metavar="TABLE", help="table of users: CSV, TSV, JSON Lines or Parquet")
    users.add_argument("--users-key", metavar="COLUMN", help="its column of user ids (default: that of the log)")
    users.add_argument(
        "--user-content", metavar="A,B:KIND", help="columns to keep, e.g. age,country, as --content (default: all)"
    )
    users.add_argument("--users-columns", metavar="A,B", help="columns of a text file without a header")
    users.add_argument("--users-encoding", metavar="NAME", help="encoding of a text file (default: UTF-8)")
    cleaning = command.add_argument_group("sessions")
    cleaning.add_argument(
        "--gap",
        metavar="DURATION",
        help="start a new session after a pause of this length, e.g. 30m (default: 30m in a log without sessions)",
    )
    cleaning.add_argument(
        "--drop-repeats", action="store_true", help="keep the first of consecutive events with the same item"
    )
    cleaning.add_argument(
        "--min-item-support",
        type=int,
        metavar="N",
        help="drop items with fewer events (default: 5; 1 with --test-input)",
    )
    cleaning.add_argument(
        "--min-session-length", type=int, metavar="N", help="drop sessions with fewer events (default: 2)"
    )
    cleaning.add_argument(
        "--max-session-length",
        type=int,
        metavar="N",
        help="keep only the newest N events of longer sessions (default: all)",
    )
    cleaning.add_argument(
        "--one-pass", action="store_true", help="apply these two filters once (default: until nothing changes)"
    )
    split = command.add_argument_group("split by time, or by users")
    split.add_argument(
        "--test-span",
        metavar="SPAN",
        help="length of the test split at the end of the log: 12h, 1d, or a share such as 10%% (default: 1d); with "
        "--hold-out users a share of the users (default: 10%%)",
    )
    split.add_argument(
        "--validation-span",
        metavar="SPAN",
        help="length of the validation split before it; 0d: none (default: 1d; none with --test-input)",
    )
    split.add_argument(
        "--split-by",
        choices=["start", "end"],
        default="start",
        help="split sessions by the time of their start or end (default: start)",
    )
    split.add_argument("--test-input", metavar="FILE", help="log of an existing test split, used without filters")
    split.add_argument(
        "--hold-out",
        metavar="users|last-session",
        help="split by users instead of by time: all sessions of some users are test, or the last session of each user",
    )
    split.add_argument(
        "--unknown-items",
        choices=["drop", "keep"],
        help="items of validation and test that are not in train (default: drop; keep with --test-input)",
    )
    engine = command.add_argument_group("engine")
    engine.add_argument(
        "--engine",
        default="duckdb",
        metavar="duckdb|spark",
        help="spark is for logs too large for one machine (default: duckdb)",
    )
    engine.add_argument(
        "--spark-master",
        metavar="URL",
        help="spark://host:7077, yarn, k8s://..., local[4], or sc://host:15002 of Spark Connect (default: local[*])",
    )
    engine.add_argument("--spark-conf", action="append", metavar="KEY=VALUE", help="a Spark setting; repeatable")
    engine.add_argument(
        "--memory",
        default="4GB",
        metavar="SIZE",
        help="memory that the engine may use before it spills to disk (default: 4GB)",
    )
    command.set_defaults(run=prepare)


def prepare(options) -> None:
    from tfrecsession.sessions.describe import render
    from tfrecsession.sessions.prepare import prepare as make

    known = set(inspect.signature(make).parameters) - {"source", "out", "context", "columns", "spark_conf", "spark"}
    given = {name: value for name, value in vars(options).items() if name in known and value is not None}
    context = tuple(name.strip() for name in options.context.split(",") if name.strip())
    if options.columns is not None:
        given["columns"] = [name.strip() for name in options.columns.split(",")]
    for name in ("content", "items_columns", "user_content", "users_columns"):
        if name in given:
            given[name] = [part.strip() for part in given[name].split(",") if part.strip()]
    if options.spark_conf:
        given["spark_conf"] = dict(_setting(text) for text in options.spark_conf)
    screen = console(options.json)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with ExitStack() as stack:
        if screen.is_terminal:
            bar = stack.enter_context(Progress(*columns, console=screen, transient=True))
            task = bar.add_task("reading", total=None)

            def progress(step: str, done: float | None = None) -> None:
                bar.update(task, description=step, total=None if done is None else 1.0, completed=done or 0.0)
        else:
            progress = stack.enter_context(ProgressLines("reading")).update

        info = make(options.source, options.out, context=context, progress=progress, **given)
    info = _with_options(info, options)
    screen.print(render(info))
    write_json(info, options.json)


def _with_options(info: dict, options) -> dict:
    """Returns the description of a data set with the options of `prepare` in its notes, in place of arguments."""
    return {**info, "notes": [options.in_options(note, "prepare") for note in info["notes"]]}


def _setting(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise InputError(f"--spark-conf {text}: must be KEY=VALUE, e.g. spark.executor.memory=8g")
    return name, value


def describe_command(commands, common):
    text = "show the contents of a prepared data set"
    command = commands.add_parser("describe", parents=[common], help=text, description=f"{text.capitalize()}.")
    command.add_argument("data", metavar="DIR", help="data set made by `tfrecsession prepare`")
    command.set_defaults(run=describe)


def describe(options) -> None:
    from tfrecsession.sessions.describe import describe as look
    from tfrecsession.sessions.describe import render

    info = _with_options(look(options.data), options)
    console(options.json).print(render(info))
    write_json(info, options.json)


COMMANDS = [prepare_command, describe_command]
