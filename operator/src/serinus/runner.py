"""The running operator: its parts put together, and begun anew where a watch has lost its place."""

import asyncio
import functools
import logging
import secrets
import socket
import time
from collections.abc import Coroutine
from datetime import UTC, datetime
from typing import Any, Final

import kopf
from kubernetes import client

from serinus.adapters.events import EventRecorder
from serinus.adapters.kube import KubernetesApi, WriteLimit
from serinus.adapters.lease import LeaderElection
from serinus.adapters.mounted_credentials import MountedCredentials
from serinus.adapters.prometheus import PrometheusMetrics
from serinus.adapters.watches import WatchLog
from serinus.api.units import parse_duration
from serinus.config import Settings
from serinus.controller import Controller
from serinus.core.health import Vitals, ailments
from serinus.endpoints import Endpoints
from serinus.handlers import WATCHED, build_registry
from serinus.reconciler import Reconciler
from serinus.telemetry import Readings, Snapshot

logger: Final = logging.getLogger(__name__)

_BEGIN_ANEW_SECONDS: Final = 5.0
_CANCEL_AGAIN_SECONDS: Final = 7.0
"""kopf itself gives what is still running five seconds before it cancels it."""


class Operator:
    """One replica of the operator."""

    def __init__(self, settings: Settings, api_client: client.ApiClient) -> None:
        self._settings = settings
        self._election = _election(settings, api_client)
        limit = WriteLimit(settings.limits.writes_per_second, settings.limits.burst)
        api = KubernetesApi(api_client, self._may_write, limit)
        clock = functools.partial(datetime.now, UTC)
        self._reconciler = Reconciler(api, _metrics(settings), EventRecorder(api), settings, clock)
        self._leads = self._election is None
        self._begin()

    async def run(self, port: int) -> None:
        """Work until the process is told to end, and answer on `port` how that goes. Raises OSError if it is taken."""
        Snapshot(self._readings).register()
        endpoints = Endpoints(port, self._ailments, self._is_ready)
        await endpoints.open()
        self._stand_for_election()
        try:
            while await self._watch():
                self._begin()
        finally:
            if self._election is not None:
                await asyncio.to_thread(self._election.stop)
            await endpoints.close()

    def _begin(self) -> None:
        """Nothing is known yet of what is in the cluster."""
        self._controller = Controller(self._reconciler, self._settings.workers)
        self._controller.lead(self._leads)
        self._place_lost = asyncio.Event()
        self._ready = asyncio.Event()
        self._watches = WatchLog(time.monotonic, WATCHED, self._lose_place)

    async def _watch(self) -> bool:
        """Watch and work; whether to begin anew, since that ended other than by a signal."""
        registry = build_registry(
            self._controller,
            self._watches,
            inactivity_seconds=parse_duration(self._settings.watch_inactivity_timeout).total_seconds(),
            has_gateway=self._settings.gateway is not None,
            has_cluster_rights=not self._settings.watch_namespaces,
        )
        watches = kopf.operator(
            registry=registry,
            standalone=True,
            clusterwide=not self._settings.watch_namespaces,
            namespaces=self._settings.watch_namespaces,
            ready_flag=self._ready,
            stop_flag=self._place_lost,
        )
        try:
            try:
                await _run_to_its_end(watches, self._controller.stopping)
            finally:
                await self._controller.stop()
        except Exception:
            logger.exception("the watches ended; they begin anew in %.0f s", _BEGIN_ANEW_SECONDS)
            await asyncio.sleep(_BEGIN_ANEW_SECONDS)
            return True
        return self._place_lost.is_set()

    def _lose_place(self, resource: str) -> None:
        logger.warning("the watch of %s lost its place: all begin anew, so that no deletion is missed", resource)
        self._place_lost.set()

    def _stand_for_election(self) -> None:
        if self._election is not None:
            loop = asyncio.get_running_loop()
            self._election.start(lambda leads: loop.call_soon_threadsafe(self._lead, leads))

    def _lead(self, leads: bool) -> None:
        self._leads = leads
        self._controller.lead(leads)

    def _may_write(self) -> bool:
        return self._election is None or self._election.leads()

    def _is_ready(self) -> bool:
        return self._ready.is_set()

    def _readings(self) -> Readings:
        controller = self._controller
        return Readings(controller.oldest_key(), self._watches.ages(), controller.services())

    def _ailments(self) -> tuple[str, ...]:
        return ailments(
            Vitals(
                workers_alive=self._controller.is_healthy(),
                election_alive=self._election is None or self._election.is_alive(),
                waiting=self._controller.oldest_key(),
                since_progress=self._controller.since_progress(),
                watch_ages=self._watches.ages(),
                since_answer=self._watches.since_answer(),
            )
        )


async def _run_to_its_end(watches: Coroutine[Any, Any, None], ending: asyncio.Event) -> None:
    """Run kopf, and see that it ends once it has begun to. Raises what it fails with.

    It cancels each of its tasks once and then waits for them without limit. But a watch that waits for an answer
    when it is cancelled may take that for a pause, and go on to wait for credentials that nobody brings any more.
    """
    others = asyncio.all_tasks()
    running = asyncio.create_task(watches)
    signal = asyncio.create_task(ending.wait())
    await asyncio.wait({running, signal}, return_when=asyncio.FIRST_COMPLETED)
    signal.cancel()
    while not (await asyncio.wait({running}, timeout=_CANCEL_AGAIN_SECONDS))[0]:
        for task in asyncio.all_tasks() - others - {running}:
            task.cancel()
    running.result()


def _metrics(settings: Settings) -> PrometheusMetrics:
    folder = settings.prometheus.credentials_folder
    return PrometheusMetrics(
        settings.prometheus.url,
        scrape_interval=parse_duration(settings.prometheus.scrape_interval),
        timeout=parse_duration(settings.prometheus.timeout),
        namespace_label=settings.prometheus.namespace_label,
        credentials=MountedCredentials(folder) if folder else None,
    )


def _election(settings: Settings, api_client: client.ApiClient) -> LeaderElection | None:
    if settings.lease is None:
        return None
    # Unlike the monotonic clock, this one goes on while the machine sleeps.
    monotonic = functools.partial(time.clock_gettime, time.CLOCK_BOOTTIME)
    candidate = f"{socket.gethostname()}_{secrets.token_hex(4)}"
    lease = settings.lease
    return LeaderElection(KubernetesApi(api_client), lease.namespace, lease.name, candidate, monotonic)
