"""The command line: `serinus run`."""

import argparse
import asyncio
import functools
import logging
import secrets
import socket
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import kopf
import yaml
from kubernetes import client
from kubernetes import config as kubernetes_config

from serinus.adapters.events import EventRecorder
from serinus.adapters.kube import KubernetesApi
from serinus.adapters.lease import LeaderElection
from serinus.adapters.prometheus import PrometheusMetrics
from serinus.api.units import parse_duration
from serinus.config import ConfigurationError, Settings, load
from serinus.controller import Controller
from serinus.endpoints import Endpoints
from serinus.handlers import build_registry
from serinus.reconciler import Reconciler

_USAGE_ERROR: Final = 2


def main() -> int:
    """Run the command line; the exit status is 2 for a configuration that cannot be used, and without a cluster."""
    parser = argparse.ArgumentParser(prog="serinus", description="The Serinus operator.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="run the operator against the cluster of the pod or of the kubeconfig")
    run.add_argument("--config", type=Path, required=True, help="the settings, a YAML file")
    run.add_argument("--port", type=int, default=8080, help="port of /metrics, /healthz and /readyz")
    arguments = parser.parse_args()
    try:
        settings = load(arguments.config)
        api_client = _api_client(settings.workers)
    except ConfigurationError as error:
        print(f"serinus: {error}", file=sys.stderr)  # noqa: T201 - there is no log yet
        return _USAGE_ERROR
    kopf.configure(log_format=kopf.LogFormat.JSON)
    logging.getLogger("kopf").setLevel(logging.WARNING)
    asyncio.run(_run(settings, api_client, arguments.port))
    return 0


async def _run(settings: Settings, api_client: client.ApiClient, port: int) -> None:
    election = _election(settings, api_client)
    api = KubernetesApi(api_client, election.leads) if election else KubernetesApi(api_client)
    metrics = PrometheusMetrics(
        settings.prometheus.url,
        scrape_interval=parse_duration(settings.prometheus.scrape_interval),
        timeout=parse_duration(settings.prometheus.timeout),
        namespace_label=settings.prometheus.namespace_label,
    )
    reconciler = Reconciler(api, metrics, EventRecorder(api), settings, lambda: datetime.now(UTC))
    controller = Controller(reconciler, settings.workers)
    ready = asyncio.Event()
    endpoints = Endpoints(
        port, lambda: controller.is_healthy() and (election is None or election.is_alive()), ready.is_set
    )

    async def begin() -> None:
        await endpoints.open()
        if election is None:
            controller.lead(True)
            return
        loop = asyncio.get_running_loop()
        election.start(lambda leads: loop.call_soon_threadsafe(controller.lead, leads))

    async def end() -> None:
        if election is not None:
            await asyncio.to_thread(election.stop)
        await endpoints.close()

    await kopf.operator(
        registry=build_registry(controller, begin, end),
        standalone=True,
        clusterwide=not settings.watch_namespaces,
        namespaces=settings.watch_namespaces,
        ready_flag=ready,
    )


def _election(settings: Settings, api_client: client.ApiClient) -> LeaderElection | None:
    if settings.lease is None:
        return None
    # Unlike the monotonic clock, this one goes on while the machine sleeps.
    monotonic = functools.partial(time.clock_gettime, time.CLOCK_BOOTTIME)
    candidate = f"{socket.gethostname()}_{secrets.token_hex(4)}"
    lease = settings.lease
    return LeaderElection(KubernetesApi(api_client), lease.namespace, lease.name, candidate, monotonic)


def _api_client(workers: int) -> client.ApiClient:
    """The client of the pod's own cluster, else of the kubeconfig; with a connection for each worker.

    Raises ConfigurationError when there is neither.
    """
    configuration = client.Configuration()
    try:
        kubernetes_config.load_incluster_config(client_configuration=configuration)
    except kubernetes_config.ConfigException:
        try:
            kubernetes_config.load_kube_config(client_configuration=configuration)
        except (kubernetes_config.ConfigException, OSError, TypeError, ValueError, yaml.YAMLError) as error:
            reason = " ".join(str(error).split())
            raise ConfigurationError(
                f"no cluster: this is not a pod with a service account, and the kubeconfig cannot be used: {reason}"
            ) from error
    configuration.connection_pool_maxsize = workers + 1  # and one for the election
    return client.ApiClient(configuration)


if __name__ == "__main__":
    sys.exit(main())
