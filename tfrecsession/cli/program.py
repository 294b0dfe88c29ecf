"""The program `tfrecsession`: its commands and exit codes."""

from __future__ import annotations

import argparse
import difflib
import os
import sys
from collections.abc import Sequence

from tfrecsession.cli.argument_names import in_options
from tfrecsession.cli.output import check_json
from tfrecsession.errors import InputError, WorkerLost
from tfrecsession.staging import said
from tfrecsession.version import __version__

BAD_INPUT = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code. Invalid input prints one line to stderr and returns 2."""
    options, rest = parser().parse_known_args(arguments)
    if rest and not getattr(options, "takes_the_rest", False):
        print(f"error: {_refusal(options.command, rest[0])}", file=sys.stderr)
        return BAD_INPUT
    options.rest = rest  # `demo` passes them to `prepare`
    options.run_command = main  # `demo` runs the other commands
    options.in_options = with_options  # `prepare` and `describe` print notes
    options.arguments = list(sys.argv[1:] if arguments is None else arguments)  # `train` passes them to its workers
    try:
        check_json(options.json)
        return options.run(options) or 0
    except InputError as error:
        if options.debug:
            raise
        print(f"error: {command_line_text(error, options.command)}", file=sys.stderr)
        return BAD_INPUT
    except WorkerLost as error:
        if options.debug:
            raise
        print(f"error: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader of the output has gone, as in `tfrecsession models | head -3`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        if options.debug:
            raise
        where = f"{error.filename}: " if error.filename else ""
        print(f"error: {where}{said(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        kept = options.kept(options) if hasattr(options, "kept") else None
        kept = f"{kept}, run the same command again to continue" if kept else "no partial output was kept"
        print(f"interrupted; {kept}", file=sys.stderr)
        return 130


def _refusal(command: str, word: str) -> str:
    """Returns the line that refuses an argument which a command does not have, and names what may be meant."""
    commands = _commands()
    option = word.partition("=")[0]
    if not option.startswith("-"):
        return f"{command}: no argument {word!r} is expected; see `tfrecsession {command} --help`"
    line, options = f"{command}: has no option {option}", commands[command]._option_string_actions
    near = difflib.get_close_matches(option, options, 1, cutoff=0.7)
    others = [name for name, each in commands.items() if option in each._option_string_actions]
    if near:
        return f"{line}: is {near[0]} meant?"
    setting = f"--set {option.lstrip('-').replace('-', '_')}=VALUE"
    hint = f"; a setting of a model is {setting}" if "--set" in options else ""
    others = f", it is one of {', '.join(others)}" if others else ""
    return f"{line}{others}{hint}; see `tfrecsession {command} --help`"


def command_line_text(error: InputError, command: str) -> str:
    """Returns the message of an error with the options of a command in place of Python's arguments."""
    return error.command_line or with_options(str(error), command)


def with_options(text: str, command: str) -> str:
    """Returns a message with the options of a command in place of Python's arguments."""
    commands = _commands()
    return in_options(text, commands[command], commands["prepare"])


def _commands() -> dict[str, argparse.ArgumentParser]:
    (commands,) = (action for action in parser()._actions if isinstance(action, argparse._SubParsersAction))
    return commands.choices


def parser() -> argparse.ArgumentParser:
    from tfrecsession.cli import (
        add_items_command,
        audit_command,
        blend_commands,
        compare_commands,
        completion_command,
        counts_command,
        data_commands,
        demo,
        export_command,
        list_models,
        pipeline_command,
        presets_command,
        recommend_command,
        run_commands,
        serve_command,
        tune_commands,
    )

    top = argparse.ArgumentParser(
        prog="tfrecsession",
        description="Session-based recommendation, from click log to served recommendations. "
        "See `tfrecsession COMMAND --help` for the options of a command.",
    )
    top.add_argument("--version", action="version", version=f"tfrecsession {__version__}")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", dest="command", required=True)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--debug", action="store_true", help="show the traceback of an error")
    common.add_argument("--json", metavar="FILE", help="also write the result as JSON to FILE ('-': standard output)")
    groups = (
        data_commands,
        list_models,
        presets_command,
        run_commands,
        export_command,
        recommend_command,
        audit_command,
        add_items_command,
        tune_commands,
        compare_commands,
        blend_commands,
        pipeline_command,
        counts_command,
        serve_command,
        completion_command,
        demo,
    )
    for add in (command for group in groups for command in group.COMMANDS):
        add(commands, common)
    return top
