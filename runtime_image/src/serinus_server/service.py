"""One process that serves: its parts, wired, from listening to the drain."""

import asyncio
import gc
import os
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from serinus_server.access_log import AccessLog
from serinus_server.admission import Admission
from serinus_server.board import Board
from serinus_server.cgroup import available_cpus
from serinus_server.drain import drain
from serinus_server.executor import Executor
from serinus_server.http_server import HttpServer
from serinus_server.infer_handler import InferHandler
from serinus_server.inference import Inference
from serinus_server.log import JsonLog
from serinus_server.metrics import Metrics
from serinus_server.model import Model
from serinus_server.mounts import Mounts
from serinus_server.pipeline import Pipeline
from serinus_server.preparation import Findings
from serinus_server.readiness import Readiness
from serinus_server.routes import MonitoringRoutes, Router
from serinus_server.settings import ServeSettings
from serinus_server.tracing import TracedAccessLog, open_span_export

if TYPE_CHECKING:
    from serinus_server.grpc_api.server import GrpcServer

FINISH_MARGIN_SECONDS: Final = 5.0
_GC_THRESHOLDS: Final = (20_000, 20, 20)
_BEAT_SECONDS: Final = 1.0
_LOOK_SECONDS: Final = 0.02


class Service:
    """The parts of one server process, which may be one of several workers: those on the `board`."""

    def __init__(self, settings: ServeSettings, log: JsonLog, board: Board) -> None:
        self._settings = settings
        self._log = log
        self._board = board
        self._readiness = Readiness(board)
        served = (settings.inferenceservice, settings.revision, settings.model_version)
        self._metrics = Metrics(*served, stages=settings.pipeline, board=board)
        self._span_export = open_span_export(settings, self._metrics, log, os.environ)
        logged = (log, settings.access_log, settings.model_name, settings.model_version)
        access_log = TracedAccessLog(*logged, self._span_export) if self._span_export else AccessLog(*logged)
        self._admission = Admission(settings.max_in_flight, settings.max_in_flight_bytes)
        self._access_log = access_log
        self.mounts = Mounts(settings, self._metrics, log, board.usages)
        gate, audit = self.mounts.gate, self.mounts.audit
        self._inference = Inference(
            self._readiness, self._admission, self._metrics, settings.request_timeout, gate, audit
        )
        infer = InferHandler(self._inference, access_log, settings.model_version)
        self._router = Router(
            settings.model_name,
            settings.model_version,
            infer,
            self._readiness,
            self._metrics,
            access_log,
            gate.access if gate else None,
        )
        self._grpc_server: GrpcServer | None = None
        self._monitoring: HttpServer | None = None
        self._tasks: list[asyncio.Task[None]] = []
        asyncio.get_running_loop().set_exception_handler(self._unexpected)

    async def listen(self, *, joins: bool = False) -> tuple[int, int | None]:
        """Read what is mounted and listen; returns the ports of HTTP and gRPC.

        With `joins` the first worker listens at the same ports already.

        Raises FatalError if what is mounted cannot be used, OSError if a port cannot be had.
        """
        self._server = HttpServer(self._settings, self._settings.http_port, self._router, self.mounts.certificate)
        self.mounts.on_certificate(self._server.use_certificate)
        port = await self._server.start(joins=joins)
        grpc_port = self._settings.grpc_port
        if grpc_port is not None:
            grpc_port = await self._listen_for_grpc(grpc_port, joins=joins)
        watching = self.mounts.watch()
        if watching is not None:
            self._tasks.append(watching)
        return port, grpc_port

    async def listen_for_monitoring(self) -> int | None:
        """Listen for probes and scrapes alone, if that is asked for; returns the port.

        One worker's answers are those of all. Raises OSError if the port cannot be had.
        """
        port = self._settings.monitoring_port
        if port is None:
            return None
        routes = MonitoringRoutes(self._router, self._access_log)
        self._monitoring = HttpServer(self._settings, port, routes)
        return await self._monitoring.start()

    async def _listen_for_grpc(self, port: int, *, joins: bool) -> int:
        """Listen for gRPC, too; loaded only then, as it takes memory and time."""
        from serinus_server.grpc_api.server import GrpcServer  # noqa: PLC0415

        gate = self.mounts.gate
        access = gate.access if gate else None
        server = GrpcServer(self._settings, self._inference, self._readiness, self._access_log, access)
        self.mounts.on_certificate(server.use_certificate)
        self._grpc_server = server
        return await server.start(port, self.mounts.certificate, joins=joins)

    def share_ports(self) -> None:
        """Let other workers listen at the same addresses."""
        self._server.share()
        if self._grpc_server is not None:
            self._grpc_server.share()

    async def become_ready(self, model: Model, findings: Findings, workers: int) -> str:
        """Answer inferences, as one of so many workers, and wait until all do; returns the way of running."""
        if isinstance(model.session, Pipeline):
            model = replace(model, session=model.session.observed(self._metrics.stage_ran))
        self._admission.share(workers)
        threads = max(1, available_cpus() // self._settings.intra_op_threads // workers)
        executor = Executor(model, findings.warmed, findings.batching, threads, self._metrics)
        self._metrics.model_loaded(model.digest, model.load_seconds)
        # What is there now stays: the collector need not look at it again, and seldom at the rest.
        gc.freeze()
        gc.set_threshold(*_GC_THRESHOLDS)
        self._readiness.ready(model, executor)
        if workers > 1:
            self._tasks.append(asyncio.create_task(self._beat()))
        while not (self._board.serving or self._board.draining):
            await asyncio.sleep(_LOOK_SECONDS)
        if self._grpc_server is not None:
            self._grpc_server.become_ready()
        return executor.execution

    async def drain(self, delay: float) -> None:
        """Lose nothing, and end; go on serving for `delay` seconds first."""
        timeout = self._settings.request_timeout + FINISH_MARGIN_SECONDS
        await drain(self._server, self._grpc_server, self._readiness, self._log, delay=delay, timeout=timeout)
        if self._monitoring is not None:
            self._monitoring.stop_accepting()
            await self._monitoring.finish(0)
        for task in self._tasks:
            task.cancel()
        self._board.beat(0)
        closing = [part.close for part in (self.mounts.audit, self._span_export) if part is not None]
        await asyncio.gather(*map(asyncio.to_thread, closing))

    async def _beat(self) -> None:
        while True:
            self._board.beat(time.monotonic())
            await asyncio.sleep(_BEAT_SECONDS)

    def _unexpected(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        self._log.event(context.get("message", "unexpected error"), level="error", error=repr(error))
