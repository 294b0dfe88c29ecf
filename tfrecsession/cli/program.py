"""prepare | describe | models | train | tune | evaluate | compare | report | export | recommend | serve | demo."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from tfrecsession.errors import InputError, WorkerLost
from tfrecsession.version import __version__

BAD_INPUT = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code. Bad input is one line on stderr and code 2."""
    options, rest = parser().parse_known_args(arguments)
    if rest and not getattr(options, "takes_the_rest", False):
        parser().error(f"unrecognized arguments: {' '.join(rest)}")
    options.rest = rest  # the demo hands them to prepare
    options.run_command = main  # and runs the other commands
    options.arguments = list(sys.argv[1:] if arguments is None else arguments)  # a training to its workers
    try:
        return options.run(options) or 0
    except InputError as error:
        if options.debug:
            raise
        print(f"error: {error}", file=sys.stderr)
        return BAD_INPUT
    except WorkerLost as error:
        if options.debug:
            raise
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; nothing half-written was kept", file=sys.stderr)
        return 130


def parser() -> argparse.ArgumentParser:
    from tfrecsession.cli import (
        compare_commands,
        data_commands,
        demo,
        list_models,
        run_commands,
        serve_command,
        tune_commands,
    )

    top = argparse.ArgumentParser(prog="tfrecsession", description="From click log to served recommendations.")
    top.add_argument("--version", action="version", version=f"tfrecsession {__version__}")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    every = argparse.ArgumentParser(add_help=False)
    every.add_argument("--debug", action="store_true", help="show the traceback of an error")
    every.add_argument("--json", metavar="FILE", help="write the result for programs ('-': standard output)")
    groups = (data_commands, list_models, run_commands, tune_commands, compare_commands, serve_command, demo)
    for add in (command for group in groups for command in group.COMMANDS):
        add(commands, every)
    return top
