"""The server: REST and gRPC for one folder of models, in one process."""

from __future__ import annotations

import asyncio
import os
import threading

from aiohttp import web

from tfrecsession.errors import InputError
from tfrecsession.serving.batcher import Batcher
from tfrecsession.serving.grpc_api import grpc_server
from tfrecsession.serving.meters import Meters
from tfrecsession.serving.model_folder import ModelFolder
from tfrecsession.serving.rest import Http, application
from tfrecsession.serving.shared_tables import SharedTables

BACKLOG = 1024  # pending connections; a client beyond them retries after a second
GRACE_SECONDS = 10  # for the requests in progress when the server is stopped


class Server:
    """A server of `folder/NAME/VERSION/saved_model.pb` with TensorFlow Serving's API.

    It runs in its own threads until it is stopped:

        with trs.serving.Server("saved_models", rest_port=0) as server:
            requests.post(f"{server.url}/v1/models/gru4rec:predict", json={"instances": [["item-1"]]})

    Args:
        folder: the folder of models; new versions are loaded while the server runs.
        rest_port, grpc_port: 0 takes any free port, None disables that API.
        host: the address to listen at. There is no authentication; do not expose it to untrusted networks.
        poll_seconds: time between two checks of the folder.
        threads: number of concurrent model calls; None: one per core.
        most_rows, most_waiting, most_asked: see `Batcher`.
        most_bytes: maximum size of a request.
        reuse_port, tables: share the ports, and the models' tables in this folder, with other processes, see
            `tfrecsession serve --processes`.

    Attributes:
        url, grpc_address: its addresses, such as "http://127.0.0.1:8501" and "127.0.0.1:8500".
        models: the ModelFolder.

    Raises:
        InputError: the folder does not exist or is that of a single model, or a port is taken.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        *,
        rest_port: int | None = 8501,
        grpc_port: int | None = 8500,
        host: str = "127.0.0.1",
        poll_seconds: float = 1.0,
        threads: int | None = None,
        most_rows: int = 64,
        most_waiting: int = 1000,
        most_asked: int = 1024,
        most_bytes: int = 4 * 2**20,
        reuse_port: bool = False,
        tables: str | os.PathLike | None = None,
    ):
        self.models = ModelFolder(folder, None if tables is None else SharedTables(tables))
        self.meters = Meters(self.models)
        self.rest_port, self.grpc_port, self.host = rest_port, grpc_port, host
        self.poll_seconds, self.most_bytes, self.reuse_port = poll_seconds, most_bytes, reuse_port
        threads = threads or os.cpu_count() or 1
        self.batcher = Batcher(threads, most_rows, most_waiting, most_asked, self.meters.joined.observe)
        self.url = self.grpc_address = None
        self._stop = threading.Event()
        self._failure: Exception | None = None

    def start(self) -> Server:
        """Loads the models in the folder, then listens."""
        self.models.look()
        self._stop.wait(min(self.poll_seconds, 0.2))  # versions are loaded if a second check sees no change
        self.models.look()
        listening = threading.Event()
        self._threads = [
            threading.Thread(target=self._serve, args=[listening], name="serving"),
            threading.Thread(target=self.models.watch, args=[self._stop, self.poll_seconds], name="watching"),
        ]
        for thread in self._threads:
            thread.start()
        listening.wait()
        if self._failure:
            self.stop()
            raise self._failure
        return self

    def stop(self) -> None:
        """Refuses new requests, answers those in progress, and returns."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self.batcher.close()

    def __enter__(self) -> Server:
        return self.start()

    def __exit__(self, *_) -> None:
        self.stop()

    def _serve(self, listening: threading.Event) -> None:
        try:
            asyncio.run(self._listen(listening))
        except Exception as error:
            self._failure = error
        finally:
            listening.set()

    async def _listen(self, listening: threading.Event) -> None:
        closing = []
        try:
            if self.rest_port is not None:
                closing.append(await self._listen_rest())
            if self.grpc_port is not None:
                closing.append(await self._listen_grpc())
            listening.set()
            while not self._stop.is_set():
                await asyncio.sleep(0.05)
        finally:
            await asyncio.gather(*(close() for close in closing))
            await self.batcher.idle()

    async def _listen_rest(self):
        """Listens; returns a function that closes the API."""
        app = application(self.models, self.batcher, self.meters, self.most_bytes)
        runner = web.AppRunner(app, shutdown_timeout=GRACE_SECONDS)
        await runner.setup()
        loop = asyncio.get_running_loop()
        try:
            listener = await loop.create_server(
                lambda: Http(runner.server, loop=loop),
                self.host,
                self.rest_port,
                backlog=BACKLOG,
                reuse_port=self.reuse_port or None,
            )
        except OSError as error:
            await runner.cleanup()
            raise self._taken("rest_port", self.rest_port, error.strerror) from None
        self.url = f"http://{self._at(listener.sockets[0].getsockname()[1])}"

        async def close():
            listener.close()
            await runner.cleanup()

        return close

    async def _listen_grpc(self):
        server = grpc_server(self.models, self.batcher, self.meters, self.most_bytes, self.reuse_port)
        try:
            port = server.add_insecure_port(self._at(self.grpc_port))
        except RuntimeError as error:
            raise self._taken("grpc_port", self.grpc_port, str(error)) from None
        await server.start()
        self.grpc_address = self._at(port)
        return lambda: server.stop(GRACE_SECONDS)

    def _at(self, port: int) -> str:
        return f"[{self.host}]:{port}" if ":" in self.host else f"{self.host}:{port}"

    def _taken(self, argument: str, port: int, why: str) -> InputError:
        return InputError(f"{argument}={port} at {self.host}: cannot listen there ({why}); choose another port")
