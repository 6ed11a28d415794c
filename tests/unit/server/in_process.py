"""A server's HTTP side inside the test process: model after model in milliseconds, without the probe's process."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvloop

from serinus_server.access_log import AccessLog, AccessLogMode
from serinus_server.admission import Admission
from serinus_server.batching import off
from serinus_server.board import Board
from serinus_server.executor import Executor
from serinus_server.http_server import HttpServer
from serinus_server.infer_handler import InferHandler
from serinus_server.inference import Inference
from serinus_server.loading import load, look_at
from serinus_server.log import JsonLog
from serinus_server.metrics import Metrics, counters_needed
from serinus_server.model import Model
from serinus_server.model_files import ModelFile
from serinus_server.readiness import Readiness
from serinus_server.routes import Router
from serinus_server.settings import ServeSettings


def load_model(path: Path) -> Model:
    """Load as the server does, first looking at the file.

    Raises FatalError.
    """
    return load([look_at(ModelFile(path.parent, path.name))], "m", "1", intra_op_threads=1)


class InProcess:
    """An event loop of its own, on a thread."""

    def __init__(self) -> None:
        self._loop = uvloop.new_event_loop()
        self._log = JsonLog()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    @contextmanager
    def serving(self, model: Model) -> Iterator[int]:
        """Serve a model; gives the port."""
        server, port = asyncio.run_coroutine_threadsafe(self._start(model), self._loop).result(20)
        try:
            yield port
        finally:
            asyncio.run_coroutine_threadsafe(_stop(server), self._loop).result(20)

    def close(self) -> None:
        """End the loop."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(20)
        self._loop.close()
        self._log.close()

    async def _start(self, model: Model) -> tuple[HttpServer, int]:
        settings = serve_settings()
        board = Board(counters_needed())
        readiness, metrics = Readiness(board), Metrics("m", "", "1", board=board)
        access_log = AccessLog(self._log, settings.access_log, "m", "1")
        inference = Inference(readiness, Admission(8, 1 << 30), metrics, settings.request_timeout)
        router = Router("m", "1", InferHandler(inference, access_log, "1"), readiness, metrics, access_log)
        readiness.ready(model, Executor(model, None, off("not here"), 1, metrics))
        server = HttpServer(settings, settings.http_port, router)
        return server, await server.start()


async def _stop(server: HttpServer) -> None:
    server.stop_accepting()
    await server.finish(5)


def serve_settings() -> ServeSettings:
    """What `InProcess` serves by."""
    return ServeSettings(
        model_path=Path(),
        pipeline={},
        model_name="m",
        model_version="1",
        host="127.0.0.1",
        http_port=0,
        grpc_port=None,
        request_timeout=30,
        max_body_size=1 << 30,
        max_in_flight=8,
        max_in_flight_bytes=1 << 30,
        drain_delay=0,
        keep_alive_timeout=60,
        max_connection_age=60,
        intra_op_threads=1,
        workers=1,
        warm_up=False,
        batching=False,
        access_log=AccessLogMode.OFF,
        inferenceservice="m",
        revision="",
    )
