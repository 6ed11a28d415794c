"""`serve` from start to end: listen, load beside the probes, answer, drain."""

import asyncio
import contextlib
import gc
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import uvloop

from serinus_server import __version__
from serinus_server.access_log import AccessLog
from serinus_server.admission import Admission
from serinus_server.batching import Batching, measure, off
from serinus_server.cgroup import available_cpus
from serinus_server.drain import drain
from serinus_server.encode import NotRepresentableError, encode
from serinus_server.executor import Executor
from serinus_server.http_server import HttpServer
from serinus_server.infer_handler import InferHandler
from serinus_server.infer_request import InferRequest
from serinus_server.inference import Inference
from serinus_server.loading import load
from serinus_server.log import JsonLog
from serinus_server.metrics import Metrics
from serinus_server.model import Model
from serinus_server.model_files import find_model_files
from serinus_server.mounts import Mounts
from serinus_server.pipeline import Pipeline
from serinus_server.probe import examine
from serinus_server.readiness import Readiness
from serinus_server.routes import Router
from serinus_server.settings import ServeSettings
from serinus_server.warm_up import WarmUp, warm_up

if TYPE_CHECKING:
    from serinus_server.grpc_api.server import GrpcServer

_FINISH_MARGIN_SECONDS: Final = 5.0
_GC_THRESHOLDS: Final = (20_000, 20, 20)


def serve(settings: ServeSettings, log: JsonLog) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises FatalError if the model cannot be served, OSError if the port cannot be had.
    """
    uvloop.run(_Service(settings, log).run())


class _Service:
    """The parts of one server, wired."""

    def __init__(self, settings: ServeSettings, log: JsonLog) -> None:
        self._settings = settings
        self._log = log
        self._readiness = Readiness()
        served = (settings.inferenceservice, settings.revision, settings.model_version)
        self._metrics = Metrics(*served, stages=settings.pipeline)
        access_log = AccessLog(log, settings.access_log, settings.model_name, settings.model_version)
        admission = Admission(settings.max_in_flight, settings.max_in_flight_bytes)
        self._access_log = access_log
        self._mounts = Mounts(settings, self._metrics, log)
        gate, audit = self._mounts.gate, self._mounts.audit
        self._inference = Inference(self._readiness, admission, self._metrics, settings.request_timeout, gate, audit)
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

    async def run(self) -> None:
        """Listen, become ready, and stay until a signal."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._unexpected)
        asked_to_stop: asyncio.Future[signal.Signals] = loop.create_future()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, _on_signal, asked_to_stop, number)
        await self._mounts.load()
        server = HttpServer(self._settings, self._router, self._mounts.certificate)
        self._mounts.on_certificate(server.use_certificate)
        port = await server.start()
        asked = self._settings.grpc_port
        grpc_port = None if asked is None else await self._start_grpc(asked)
        self._log.event(
            "listening", host=self._settings.host, port=port, grpc_port=grpc_port, server_version=__version__
        )
        watching = self._mounts.watch()
        with ThreadPoolExecutor(1, "load") as loader:
            loading = loop.run_in_executor(loader, self._load)
            waiting: set[asyncio.Future[Any]] = {loading, asked_to_stop}
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if asked_to_stop.done():
                self._log.event("stopped before the model was loaded")
                self._log.close()
                os._exit(0)  # a load cannot be stopped halfway
            await self._become_ready(*loading.result())
        number = await asked_to_stop
        if watching is not None:
            watching.cancel()
        # Ctrl-C is a person who waits; nothing routes to this server then.
        delay = self._settings.drain_delay if number is signal.SIGTERM else 0.0
        timeout = self._settings.request_timeout + _FINISH_MARGIN_SECONDS
        await drain(server, self._grpc_server, self._readiness, self._log, delay=delay, timeout=timeout)
        if self._mounts.audit is not None:
            await asyncio.to_thread(self._mounts.audit.close)

    def _load(self) -> tuple[Model, WarmUp | None, Batching]:
        """Runs on a thread of its own, so that probes are answered meanwhile."""
        settings = self._settings
        started = time.perf_counter()
        files = find_model_files(settings.model_path, settings.pipeline)
        for file in files:
            self._log.event("loading", path=str(file.path), bytes=file.path.stat().st_size, stage=file.stage)
        examined = examine(files, warm_up=settings.warm_up)
        name, version = settings.model_name, settings.model_version
        model = load(examined, name, version, intra_op_threads=settings.intra_op_threads)
        warmed = warm_up(model.session, model.signature) if settings.warm_up else None
        batching = off("there was no warm-up" if warmed is None else "by --batching")
        if warmed:
            _first_inference(model, warmed)
            if settings.batching:
                batching = measure(model.session, model.signature, warmed)
        self._log.event("loaded", seconds=round(time.perf_counter() - started, 3), digest=model.digest)
        return model, warmed, batching

    async def _start_grpc(self, port: int) -> int:
        """Listen for gRPC, too; loaded only then, as it takes memory and time."""
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # its own log is not JSON
        from serinus_server.grpc_api.server import GrpcServer  # noqa: PLC0415
        from serinus_server.grpc_api.service import InferenceService  # noqa: PLC0415

        name, version = self._settings.model_name, self._settings.model_version
        gate = self._mounts.gate
        access = gate.access if gate else None
        service = InferenceService(name, version, self._inference, self._readiness, self._access_log, access)
        self._grpc_server = GrpcServer(self._settings, port, service, lambda: self._mounts.certificate)
        return await self._grpc_server.start()

    async def _become_ready(self, model: Model, warmed: WarmUp | None, batching: Batching) -> None:
        if isinstance(model.session, Pipeline):
            model = replace(model, session=model.session.observed(self._metrics.stage_ran))
        threads = max(1, available_cpus() // self._settings.intra_op_threads)
        executor = Executor(model, warmed, batching, threads, self._metrics)
        self._metrics.model_loaded(model.digest, model.load_seconds)
        # What is there now stays: the collector need not look at it again, and seldom at the rest.
        gc.freeze()
        gc.set_threshold(*_GC_THRESHOLDS)
        self._readiness.ready(model, executor)
        if self._grpc_server is not None:
            await self._grpc_server.become_ready()
        self._log.event(
            "ready",
            model=model.name,
            version=model.version,
            digest=model.digest,
            run_seconds=round(warmed.run_seconds, 6) if warmed else None,
            execution="inline" if executor.runs_inline else f"{threads} threads",
            batching=batching.explanation,
            intra_op_threads=self._settings.intra_op_threads,
            load_seconds=round(model.load_seconds, 3),
            left_out_outputs=dict(model.signature.unsupported_outputs),
        )

    def _unexpected(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        self._log.event(context.get("message", "unexpected error"), level="error", error=repr(error))


def _first_inference(model: Model, warmed: WarmUp) -> None:
    """Through run and encode, as a request goes."""
    request = InferRequest("warm-up", warmed.feeds, list(model.signature.outputs))
    with contextlib.suppress(NotRepresentableError):  # made-up inputs may well give NaN
        encode(model, request, model.run(warmed.feeds, request.outputs))


def _on_signal(asked_to_stop: "asyncio.Future[signal.Signals]", number: signal.Signals) -> None:
    if asked_to_stop.done():
        os._exit(128 + number)  # asked twice: leave at once
    asked_to_stop.set_result(number)
