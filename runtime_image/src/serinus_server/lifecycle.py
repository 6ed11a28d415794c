"""`serve` from start to end: listen, load beside the probes, perhaps start further workers, answer, drain."""

import asyncio
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import uvloop

from serinus_server import __version__
from serinus_server.board import Board
from serinus_server.cgroup import available_cpus, memory_limit
from serinus_server.executor import is_brief
from serinus_server.log import JsonLog
from serinus_server.metrics import counters_needed
from serinus_server.model import Model
from serinus_server.preparation import Findings, prepare
from serinus_server.service import FINISH_MARGIN_SECONDS, Service
from serinus_server.settings import ServeSettings
from serinus_server.siblings import Siblings
from serinus_server.stop_signal import StopSignal, stop_signal
from serinus_server.worker import Order
from serinus_server.workers import Choice, Situation, choose, most_workers


def serve(settings: ServeSettings, log: JsonLog) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises FatalError if the model cannot be served, OSError if the port cannot be had, WorkerEndedError if another
    worker ended.
    """
    uvloop.run(_Lead(settings, log).run())


class _Lead:
    """The first worker, often the only one: it prepares the model, decides on further ones, and watches them."""

    def __init__(self, settings: ServeSettings, log: JsonLog) -> None:
        self._settings = settings
        self._log = log
        self._cpus = max(1, available_cpus() // settings.intra_op_threads)
        self._capacity = most_workers(settings.workers, self._cpus)
        self._board = Board(counters_needed(settings.pipeline), self._capacity)

    async def run(self) -> None:
        """Listen, become ready, and stay until a signal, or until a worker ends."""
        settings, log = self._settings, self._log
        asked_to_stop = stop_signal()
        service = Service(settings, log, self._board)
        siblings = Siblings(log)
        await service.mounts.load()
        port, grpc_port = await service.listen()
        log.event(
            "listening",
            host=settings.host,
            port=port,
            grpc_port=grpc_port,
            monitoring_port=await service.listen_for_monitoring(),
            server_version=__version__,
        )
        with ThreadPoolExecutor(1, "load") as loader:
            loading = asyncio.get_running_loop().run_in_executor(loader, prepare, settings, log)
            await self._unless_stopped(asked_to_stop, loading)
        model, findings = loading.result()
        choice = choose(settings.workers, self._situation(findings))
        self._board.expect(choice.workers)
        if choice.workers > 1:
            service.share_ports()
            there = replace(settings, http_port=port, grpc_port=grpc_port)
            await self._start(siblings, choice.workers, there, findings)
        becoming_ready = asyncio.ensure_future(service.become_ready(model, findings, choice.workers))
        one_ended = asyncio.ensure_future(siblings.one_ended.wait())
        await self._unless_stopped(asked_to_stop, becoming_ready, one_ended)
        if one_ended.done():
            await siblings.finish(0)
        self._tell_ready(model, findings, choice, await becoming_ready)
        ends: set[asyncio.Future[Any]] = {asked_to_stop, one_ended}
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        number = asked_to_stop.result() if asked_to_stop.done() else signal.SIGTERM
        siblings.stop(number)
        # Ctrl-C is a person who waits; nothing routes to this server then.
        await service.drain(settings.drain_delay if number is signal.SIGTERM else 0.0)
        await siblings.finish(2 * FINISH_MARGIN_SECONDS)

    async def _unless_stopped(self, asked_to_stop: StopSignal, *others: "asyncio.Future[Any]") -> None:
        """Wait for one of the others; end the process if it is asked to stop before."""
        waiting: set[asyncio.Future[Any]] = {asked_to_stop, *others}
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        if asked_to_stop.done():
            self._log.event("stopped before the model was loaded")
            self._log.close()
            os._exit(0)  # a load cannot be stopped halfway

    def _situation(self, findings: Findings) -> Situation:
        memory = memory_limit() or os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        return Situation(
            self._cpus,
            is_brief(findings.warmed),
            resident_bytes=_resident_bytes(),
            memory_bytes=memory * 4 // 5 - self._settings.max_in_flight_bytes,  # a fifth to spare: sessions grow
        )

    async def _start(self, siblings: Siblings, workers: int, settings: ServeSettings, findings: Findings) -> None:
        descriptor = self._board.descriptor
        assert descriptor is not None  # noqa: S101 - as there may be several
        self._log.write_in_turns(descriptor)
        for number in range(1, workers):
            await siblings.start(Order(number, workers, self._capacity, descriptor, settings, findings))

    def _tell_ready(self, model: Model, findings: Findings, choice: Choice, execution: str) -> None:
        self._log.event(
            "ready",
            model=model.name,
            version=model.version,
            digest=model.digest,
            run_seconds=round(findings.warmed.run_seconds, 6) if findings.warmed else None,
            execution=execution,
            workers=choice.workers,
            workers_reason=choice.reason,
            batching=findings.batching.explanation,
            intra_op_threads=self._settings.intra_op_threads,
            load_seconds=round(model.load_seconds, 3),
            left_out_outputs=dict(model.signature.unsupported_outputs),
        )


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
