"""Translation of messages from Python's arguments, `test_span='10%'`, to options, `--test-span 10%`."""

from __future__ import annotations

import argparse
import ast
import re
import shlex

OTHER_NAMES = {"settings": "--set", "grow_from": "--from", "strategy": "--workers"}  # of Python, in every command
TEXT = r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\""
INNER = rf"[\[({{](?:{TEXT}|[^\[\](){{}}'\"])*[\])}}]"
LIST = rf"[\[({{](?:{TEXT}|{INNER}|[^\[\](){{}}'\"])*[\])}}]"
WORD = r"[^\s,;:()'\"\[\]{}]*[^\s,;:()'\"\[\]{}.]"
# A quoted text, such as a cell of the log, is not searched; nor are settings that belong to another option.
ARGUMENT = re.compile(
    rf"(?P<other>(?<!\w)(?:{TEXT})(?!\w)|--(?:set|preset|spark-conf) \S+)"
    rf"|(?<![\w./-])(?P<name>[a-z]+(?:_[a-z]+)*)=(?P<value>{TEXT}|{LIST}|{WORD})?"
)
PREPARE = re.compile(r"\bprepare\b")  # "prepare the log with user=COLUMN": an option of `prepare`, in any command


def in_options(text: str, command: argparse.ArgumentParser, prepare: argparse.ArgumentParser) -> str:
    """Returns a message with the options of `command` in place of arguments; other words stay as they are.

    Examples:
        >>> parser = argparse.ArgumentParser()
        >>> _ = parser.add_argument("--test-span"), parser.add_argument("--overwrite", action="store_true")
        >>> in_options("test_span='a week': must be a share or overwrite=True, column=1", parser, parser)
        "--test-span 'a week': must be a share or --overwrite, column=1"
    """
    known, known_after = _options(command), _options(prepare)
    after = PREPARE.search(text)

    def option(match: re.Match) -> str:
        if match["other"]:
            return match[0]
        found = known.get(match["name"])
        if found is None and after and match.start() > after.start():
            found = known_after.get(match["name"])
        return match[0] if found is None else _written(*found, match["value"])

    return ARGUMENT.sub(option, text)


def _options(parser: argparse.ArgumentParser) -> dict[str, tuple[str, bool]]:
    """Returns, by the names of arguments, the options of a command and whether they take a value."""
    options = {}
    for action in parser._actions:
        named = [name for name in action.option_strings if name.startswith("--")]
        if named:
            options[action.dest] = options[named[0][2:].replace("-", "_")] = named[0], action.nargs != 0
    options |= {name: (option, True) for name, option in OTHER_NAMES.items() if option[2:] in options}
    return options


def _written(option: str, takes_value: bool, text: str | None) -> str:
    if text is None or not takes_value:
        return option
    try:
        value = ast.literal_eval(text)
    except (SyntaxError, ValueError):  # a word such as COLUMN or 10%
        return f"{option} {text}"
    if isinstance(value, dict):
        return " ".join(f"{option} {_quoted(f'{key}={entry}')}" for key, entry in value.items())
    if isinstance(value, list | tuple):
        value = ",".join(map(str, value))
    return f"{option} {_quoted(str(value))}"


def _quoted(text: str) -> str:
    """Quotes a word for a shell, where it needs quotes."""
    if "'" in text and not set(text) & set('"$`\\!\n'):
        return f'"{text}"'
    return shlex.quote(text)
