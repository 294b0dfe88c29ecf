"""Errors whose message is meant for the user."""


class InputError(ValueError):
    """Invalid input from the user.

    The message is one line: it names the file, column, row or argument and says what to do. The command line prints
    it without a traceback (`--debug` shows one) and exits with code 2.
    """


class WorkerLost(RuntimeError):
    """Another worker of the same training has gone or cannot be reached; the message says what to do."""
