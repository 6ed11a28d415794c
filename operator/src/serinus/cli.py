"""The command line: `serinus run`."""

import argparse
import asyncio
import logging
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import kopf
from kubernetes import client
from kubernetes import config as kubernetes_config

from serinus.adapters.events import EventRecorder
from serinus.adapters.kube import KubernetesApi
from serinus.adapters.prometheus import PrometheusMetrics
from serinus.api.units import parse_duration
from serinus.config import ConfigurationError, Settings, load
from serinus.controller import Controller
from serinus.endpoints import Endpoints
from serinus.handlers import build_registry
from serinus.reconciler import Reconciler

_USAGE_ERROR: Final = 2


def main() -> int:
    """Run the command line; the exit status is 2 for a configuration that cannot be used."""
    parser = argparse.ArgumentParser(prog="serinus", description="The Serinus operator.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="run the operator against the cluster of the pod or of the kubeconfig")
    run.add_argument("--config", type=Path, required=True, help="the settings, a YAML file")
    run.add_argument("--port", type=int, default=8080, help="port of /metrics, /healthz and /readyz")
    arguments = parser.parse_args()
    try:
        settings = load(arguments.config)
    except ConfigurationError as error:
        print(f"serinus: {error}", file=sys.stderr)  # noqa: T201 - there is no log yet
        return _USAGE_ERROR
    kopf.configure(log_format=kopf.LogFormat.JSON)
    logging.getLogger("kopf").setLevel(logging.WARNING)
    asyncio.run(_run(settings, arguments.port))
    return 0


async def _run(settings: Settings, port: int) -> None:
    api = KubernetesApi(_api_client(settings.workers))
    metrics = PrometheusMetrics(
        settings.prometheus.url,
        scrape_interval=parse_duration(settings.prometheus.scrape_interval),
        timeout=parse_duration(settings.prometheus.timeout),
        namespace_label=settings.prometheus.namespace_label,
    )
    reconciler = Reconciler(api, metrics, EventRecorder(api), settings, lambda: datetime.now(UTC))
    controller = Controller(reconciler, settings.workers)
    ready = asyncio.Event()
    endpoints = Endpoints(port, controller.is_healthy, ready.is_set)
    await kopf.operator(
        registry=build_registry(controller, endpoints.open, endpoints.close),
        standalone=True,
        clusterwide=not settings.watch_namespaces,
        namespaces=settings.watch_namespaces,
        ready_flag=ready,
    )


def _api_client(workers: int) -> client.ApiClient:
    """The client of the pod's own cluster, else of the kubeconfig; with a connection for each worker."""
    configuration = client.Configuration()
    try:
        kubernetes_config.load_incluster_config(client_configuration=configuration)
    except kubernetes_config.ConfigException:
        kubernetes_config.load_kube_config(client_configuration=configuration)
    configuration.connection_pool_maxsize = workers
    return client.ApiClient(configuration)


if __name__ == "__main__":
    sys.exit(main())
