"""The calls to the Kubernetes API that the plugin makes, with the user's kubeconfig."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Self

import urllib3
import yaml
from kubernetes import client
from kubernetes import config as kubernetes_config

from serinus.api.v1beta1 import GROUP, PLURAL, VERSION
from serinus.core.names import COMMAND_ANNOTATION
from serinus.kubectl.history import service_selector
from serinus.kubectl.service import Service

_TIMEOUT_SECONDS: Final = 10
_NOT_FOUND: Final = 404


class ClusterError(Exception):
    """What was asked of the cluster did not come to pass; the message says why."""


class Cluster:
    """One namespace of the cluster that the kubeconfig leads to."""

    def __init__(self, api_client: client.ApiClient, namespace: str) -> None:
        self.namespace = namespace
        self._objects = client.CustomObjectsApi(api_client)
        self._apps = client.AppsV1Api(api_client)
        self._api_client = api_client

    @classmethod
    def connect(cls, kubeconfig: Path | None, context: str | None, namespace: str | None) -> Self:
        """Read the kubeconfig, by default kubectl's. Raises ClusterError if it cannot be used."""
        if kubeconfig and not kubeconfig.is_file():
            raise ClusterError(f"the kubeconfig cannot be used: there is no file {kubeconfig}")
        file = str(kubeconfig) if kubeconfig else None
        configuration = client.Configuration()
        try:
            kubernetes_config.load_kube_config(file, context, configuration)
            contexts, current = kubernetes_config.list_kube_config_contexts(file)
        except (kubernetes_config.ConfigException, OSError, TypeError, ValueError, yaml.YAMLError) as error:
            raise ClusterError(f"the kubeconfig cannot be used: {' '.join(str(error).split())}") from error
        configuration.retries = False
        chosen = next((one for one in contexts if one["name"] == context), current)
        default = str(chosen["context"].get("namespace") or "default")
        return cls(client.ApiClient(configuration), namespace or default)

    def service(self, name: str) -> Service:
        """The InferenceService of that name. Raises ClusterError."""
        with _told(f"inferenceservice {name} in namespace {self.namespace}"):
            manifest = self._objects.get_namespaced_custom_object(
                GROUP, VERSION, self.namespace, PLURAL, name, _request_timeout=_TIMEOUT_SECONDS
            )
            return Service.read(manifest)

    def give_command(self, name: str, command: str) -> None:
        """Write a command down for the operator. Raises ClusterError."""
        with _told(f"inferenceservice {name} in namespace {self.namespace}"):
            self._objects.patch_namespaced_custom_object(
                GROUP,
                VERSION,
                self.namespace,
                PLURAL,
                name,
                {"metadata": {"annotations": {COMMAND_ANNOTATION: command}}},
                _content_type="application/merge-patch+json",
                _request_timeout=_TIMEOUT_SECONDS,
            )

    def controller_revisions(self, name: str) -> list[dict[str, Any]]:
        """The ControllerRevisions that carry the service's label. Raises ClusterError."""
        with _told(f"controllerrevisions in namespace {self.namespace}"):
            found = self._apps.list_namespaced_controller_revision(
                self.namespace, label_selector=service_selector(name), _request_timeout=_TIMEOUT_SECONDS
            )
            manifests: list[dict[str, Any]] = self._api_client.sanitize_for_serialization(found)["items"]
            return manifests


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Turn the client's exceptions into ClusterErrors."""
    try:
        yield
    except client.ApiException as error:
        reason = f"{what} is not there" if error.status == _NOT_FOUND else f"{what}: {_server_message(error)}"
        raise ClusterError(reason) from error
    except urllib3.exceptions.HTTPError as error:
        raise ClusterError(f"the API server cannot be reached: {error}") from error


def _server_message(error: client.ApiException) -> str:
    try:
        return str(json.loads(error.body)["message"])
    except (KeyError, TypeError, ValueError):
        return f"{error.status} {error.reason}"
