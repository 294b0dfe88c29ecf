"""Errors whose message is meant for the user."""


class InputError(ValueError):
    """Invalid input from the user.

    The message is one line: it names the file, column, row or argument and says what to do. Arguments have their names
    in Python, `test_span='10x'`; the command line prints the options instead, `--test-span 10x`, without a traceback
    (`--debug` shows one), and exits with code 2.

    Args:
        message: the line.
        command_line: the line on the command line, where the names of options are not enough, such as for advice to
            call another function.
    """

    def __init__(self, message: str = "", command_line: str | None = None):
        super().__init__(message)
        self.command_line = command_line


class WorkerLost(RuntimeError):
    """Another worker of the same training has gone or cannot be reached; the message says what to do."""
