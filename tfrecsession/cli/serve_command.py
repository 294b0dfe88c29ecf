"""The command `serve`."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading

from tfrecsession.cli.output import console, write_json
from tfrecsession.errors import InputError


def serve_command(commands, common):
    command = commands.add_parser(
        "serve",
        parents=[common],
        help="serve a folder of SavedModels through TensorFlow Serving's API",
        description="Serve a folder of SavedModels through TensorFlow Serving's REST and gRPC API, with a page to try "
        "the models. There is no authentication.",
    )
    command.add_argument("folder", metavar="DIR", help="folder of NAME/VERSION; new versions are loaded while it runs")
    for api, port in (("rest", 8501), ("grpc", 8500)):
        command.add_argument(
            f"--{api}-port", type=int, default=port, metavar="PORT", help=f"0: any free port (default: {port})"
        )
    command.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen at; 0.0.0.0 lets all other machines connect (default: 127.0.0.1)",
    )
    command.add_argument(
        "--poll", type=float, default=1.0, metavar="SECONDS", help="time between checks for new versions (default: 1)"
    )
    command.add_argument(
        "--processes",
        type=int,
        default=1,
        metavar="N",
        help="processes that share the ports and the models' tables (default: 1)",
    )
    command.add_argument(
        "--threads",
        type=int,
        metavar="N",
        help="number of concurrent model calls of all processes (default: one per core)",
    )
    command.add_argument(
        "--max-batch",
        type=int,
        default=64,
        metavar="ROWS",
        help="rows of requests that are joined into one call; 1 joins none (default: 64)",
    )
    command.add_argument(
        "--max-rows", type=int, default=1024, metavar="ROWS", help="rows of one request (default: 1024)"
    )
    command.add_argument(
        "--max-queue",
        type=int,
        default=1000,
        metavar="REQUESTS",
        help="waiting requests, further ones get a 503 (default: 1000)",
    )
    command.add_argument(
        "--max-request", type=int, default=4 * 2**20, metavar="BYTES", help="size of one request (default: 4 MiB)"
    )
    command.set_defaults(run=serve)


def serve(options) -> None:
    for name in ("rest_port", "grpc_port"):
        if not 0 <= getattr(options, name) < 65536:
            raise InputError(f"--{name.replace('_', '-')} {getattr(options, name)}: must be a number from 0 to 65535")
    for name in ("poll", "processes", "threads", "max_batch", "max_rows", "max_queue", "max_request"):
        if getattr(options, name) is not None and not getattr(options, name) > 0:
            raise InputError(f"--{name.replace('_', '-')} {getattr(options, name)}: must be a number above 0")
    from tfrecsession.serving.served_folder import checked_folder

    checked_folder(options.folder)

    from tfrecsession import serving  # TensorFlow, after all checks

    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    logging.getLogger("tfrecsession.serving").setLevel(logging.INFO)
    stop = threading.Event()
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, lambda *_: stop.set())
    arguments = {
        "rest_port": options.rest_port,
        "grpc_port": options.grpc_port,
        "host": options.host,
        "poll_seconds": options.poll,
        "threads": options.threads,
        "most_rows": options.max_batch,
        "most_waiting": options.max_queue,
        "most_asked": options.max_rows,
        "most_bytes": options.max_request,
    }
    server = _several(options, arguments) if options.processes > 1 else serving.Server(options.folder, **arguments)
    with server:
        screen = console(options.json)
        screen.print(f"Page to try the models: {server.url}/", markup=False)
        screen.print(f"REST {server.url}/v1/models/NAME, gRPC {server.grpc_address}; stop with Ctrl-C", markup=False)
        write_json({"rest": server.url, "grpc": server.grpc_address}, options.json)
        sys.stdout.flush()
        stop.wait()
        screen.print("stopping: requests in progress are still answered")


def _several(options, arguments: dict):
    """Returns the processes of `--processes`, among which the threads are divided."""
    from tfrecsession.serving.processes import Processes, warn_of_more_than_cores

    warn_of_more_than_cores(options.processes)
    threads = options.threads or os.cpu_count() or 1
    return Processes(options.folder, options.processes, **arguments | {"threads": max(1, threads // options.processes)})


COMMANDS = [serve_command]
