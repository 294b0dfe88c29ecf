"""One of the processes of `tfrecsession serve --processes N`: `python -m tfrecsession.serving.worker ARGUMENTS`."""

from __future__ import annotations

import json
import logging
import signal
import sys


def main() -> None:
    """Serves until standard input closes; one line on standard output says that it listens."""
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, signal.SIG_IGN)  # of the whole group: the first process stops the others in order
    from tfrecsession.serving.server import Server

    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    logging.getLogger("tfrecsession.serving").setLevel(logging.INFO)
    with Server(**json.loads(sys.argv[1]), reuse_port=True):
        print("listening", flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
