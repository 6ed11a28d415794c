"""The command line: `serinus run` and `serinus simulate`."""

import argparse
import asyncio
import sys
from pathlib import Path
from typing import Final

import yaml
from kubernetes import client
from kubernetes import config as kubernetes_config

from serinus import logs
from serinus.config import ConfigurationError, Settings, load
from serinus.runner import Operator
from serinus.simulation.command import add_simulate

_USAGE_ERROR: Final = 2


def main() -> int:
    """Run the command line; the exit status is 2 for a configuration that cannot be used, and without a cluster."""
    parser = argparse.ArgumentParser(prog="serinus", description="The Serinus operator.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="run the operator against the cluster of the pod or of the kubeconfig")
    run.add_argument("--config", type=Path, required=True, help="the settings, a YAML file")
    run.add_argument("--port", type=int, default=8080, help="port of /metrics, /healthz and /readyz")
    run.set_defaults(execute=_run_operator)
    add_simulate(commands)
    arguments = parser.parse_args()
    status: int = arguments.execute(arguments)
    return status


def _run_operator(arguments: argparse.Namespace) -> int:
    try:
        settings = load(arguments.config)
        api_client = _api_client(settings.workers)
    except ConfigurationError as error:
        print(f"serinus: {error}", file=sys.stderr)  # noqa: T201 - there is no log yet
        return _USAGE_ERROR
    logs.configure()
    asyncio.run(_run(settings, api_client, arguments.port))
    return 0


async def _run(settings: Settings, api_client: client.ApiClient, port: int) -> None:
    await Operator(settings, api_client).run(port)


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
