"""serve."""

from __future__ import annotations

import logging
import signal
import sys
import threading

from tfrecsession.cli.output import console, write_json
from tfrecsession.errors import InputError


def serve_command(commands, every):
    command = commands.add_parser("serve", parents=[every], help="a folder of SavedModels -> TF Serving's API, locally")
    command.add_argument("folder", metavar="DIR", help="holds NAME/VERSION; new versions are loaded while it runs")
    command.add_argument("--rest-port", type=int, default=8501, help="0: any free one (8501)")
    command.add_argument("--grpc-port", type=int, default=8500, help="0: any free one (8500)")
    command.add_argument("--host", default="127.0.0.1", help="0.0.0.0: also for other machines, all of them")
    command.add_argument("--poll", type=float, default=1.0, metavar="SECONDS", help="between looks for new versions")
    command.add_argument("--threads", type=int, help="calls of models at a time (one per core)")
    command.add_argument("--max-batch", type=int, default=64, metavar="ROWS", help="of requests joined (1: none are)")
    command.add_argument("--max-rows", type=int, default=1024, metavar="ROWS", help="of one request (1024)")
    command.add_argument("--max-queue", type=int, default=1000, metavar="REQUESTS", help="waiting before a 503 (1000)")
    command.add_argument("--max-request", type=int, default=4 * 2**20, metavar="BYTES", help="(4 MiB)")
    command.set_defaults(run=serve)


def serve(options) -> None:
    for name in ("rest_port", "grpc_port"):
        if not 0 <= getattr(options, name) < 65536:
            raise InputError(f"--{name.replace('_', '-')} {getattr(options, name)}: say a number from 0 to 65535")
    for name in ("poll", "threads", "max_batch", "max_rows", "max_queue", "max_request"):
        if getattr(options, name) is not None and not getattr(options, name) > 0:
            raise InputError(f"--{name.replace('_', '-')} {getattr(options, name)}: say a number above 0")
    from tfrecsession import serving

    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    logging.getLogger("tfrecsession.serving").setLevel(logging.INFO)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    server = serving.Server(
        options.folder,
        rest_port=options.rest_port,
        grpc_port=options.grpc_port,
        host=options.host,
        poll_seconds=options.poll,
        threads=options.threads,
        most_rows=options.max_batch,
        most_waiting=options.max_queue,
        most_asked=options.max_rows,
        most_bytes=options.max_request,
    )
    with server:
        screen = console(options.json)
        screen.print(f"A page to try the models: {server.url}/", markup=False)
        screen.print(f"REST {server.url}/v1/models/NAME, gRPC {server.grpc_address}; stop with Ctrl-C", markup=False)
        write_json({"rest": server.url, "grpc": server.grpc_address}, options.json)
        sys.stdout.flush()
        stop.wait()
        screen.print("stopping: requests under way are answered")


COMMANDS = [serve_command]
