"""The command `update-counts`."""

from __future__ import annotations

from tfrecsession.cli.output import console, write_json


def update_counts_command(commands, common):
    command = commands.add_parser(
        "update-counts",
        parents=[common],
        help="bring an exported model with a trend up to date with newer events",
        description="Add the events of a newer log to the item counts of an exported model with a trend, and write its "
        "next version. Nothing is trained. Events that are counted already are left out.",
    )
    command.add_argument("saved_model", metavar="DIR", help="a model's folder, or one version of it")
    command.add_argument(
        "--events", required=True, metavar="LOG", help="the newer log, in any form that `prepare` reads"
    )
    for part, text in (("item", "item id"), ("time", "time of the event"), ("session", "session id")):
        command.add_argument(f"--{part}", metavar="COLUMN", help=f"{text} (default: found by its usual name)")
    command.add_argument("--where", metavar="SQL", help="read only these rows")
    command.add_argument("--format", help="file format (default: from the file name)")
    command.add_argument("--drop-bad-rows", action="store_true", help="drop rows without item or readable time")
    command.add_argument(
        "--in-place",
        action="store_true",
        help="replace the file of counts of this version instead of writing the next one",
    )
    command.set_defaults(run=update_counts)


def update_counts(options) -> None:
    from tfrecsession.events import Columns
    from tfrecsession.export.versions import newest_version

    newest_version(options.saved_model)
    columns = Columns(options.item, options.time, options.session, where=options.where)

    from tfrecsession.export.trend_counts import update_counts  # TensorFlow, after all checks
    from tfrecsession.sessions.spans import iso

    reading = {"format": options.format, "drop_bad_rows": options.drop_bad_rows}
    found = update_counts(options.saved_model, options.events, columns, in_place=options.in_place, **reading)
    left_out = [
        f"{count:,} {what}"
        for count, what in ((found.earlier, "counted before"), (found.unknown, "on items that the model does not know"))
        if count
    ]
    more = f"; left out: {' and '.join(left_out)}" if left_out else ""
    line = f"{found.path}: {found.added:,} events added, counts until {iso(found.until)}{more}"
    console(options.json).print(line, markup=False, soft_wrap=True)
    result = {"path": str(found.path), "added": found.added, "earlier": found.earlier, "unknown": found.unknown}
    write_json({**result, "until": iso(found.until)}, options.json)


COMMANDS = [update_counts_command]
