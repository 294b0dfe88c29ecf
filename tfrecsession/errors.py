"""The one error that a user is meant to read."""


class InputError(ValueError):
    """What the user gave cannot be used.

    The message is one line: it names the file, column, row or argument and says what to do about it. The command
    line prints it as it is and exits with code 2; a traceback is for `--debug`.
    """


class WorkerLost(RuntimeError):
    """Another worker of the same training has gone, or cannot be reached; the text says what to do."""
