"""The command `add-items`."""

from __future__ import annotations

from tfrecsession.cli.output import console, write_json
from tfrecsession.cli.progress import lines_where_piped
from tfrecsession.errors import InputError


def add_items_command(commands, common):
    command = commands.add_parser(
        "add-items",
        parents=[common],
        help="add new items to an exported model, by their content",
        description="Write the next version of an exported model, with the new items of a table: their vectors follow "
        "from their content. Nothing is trained, and no data set is needed.",
    )
    command.add_argument("saved_model", metavar="DIR", help="folder of an exported model that reads content")
    command.add_argument("--items", required=True, metavar="TABLE", help="table of items, as for `prepare --items`")
    command.add_argument("--items-key", metavar="COLUMN", help="its column of item ids (default: item or item_id)")
    command.add_argument("--items-columns", metavar="A,B", help="columns of a text file without a header")
    command.add_argument("--items-encoding", metavar="NAME", help="encoding of a text file (default: UTF-8)")
    command.add_argument("--version", type=int, metavar="N", help="version to write (default: the next one)")
    command.add_argument("--overwrite", action="store_true", help="replace that version")
    command.set_defaults(run=add_items)


def add_items(options) -> None:
    if options.version is not None and options.version < 1:
        raise InputError(f"--version {options.version}: must be a whole number from 1")
    from tfrecsession.export.versions import check_adds_items, newest_version

    check_adds_items(newest_version(options.saved_model))  # before TensorFlow is imported
    columns = None
    if options.items_columns is not None:
        columns = [name.strip() for name in options.items_columns.split(",")]

    from tfrecsession import export

    screen = console(options.json)
    with lines_where_piped(screen, "adding items"):
        path, added = export.add_items(
            options.saved_model,
            options.items,
            key=options.items_key,
            columns=columns,
            encoding=options.items_encoding,
            version=options.version,
            overwrite=options.overwrite,
        )
    shown = ", ".join(added[:3]) + (", ..." if len(added) > 3 else "")
    screen.print(f"{path}: {len(added):,} new items ({shown})", markup=False)
    write_json({"path": str(path), "version": int(path.name), "added": len(added)}, options.json)


COMMANDS = [add_items_command]
