"""Writes to the Kubernetes API through the official client, and the few reads that no watch gives."""

import json
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Final

from kubernetes import client

from serinus.api.v1beta1 import GROUP, PLURAL, VERSION
from serinus.core.names import FIELD_MANAGER
from serinus.ports import ApiConflictError, ApiRefusedError, Manifest, NotLeadingError

_TIMEOUT_SECONDS: Final = 30.0

_PLURALS: Final[Mapping[str, str]] = {
    "ControllerRevision": "controllerrevisions",
    "Deployment": "deployments",
    "Event": "events",
    "HorizontalPodAutoscaler": "horizontalpodautoscalers",
    "PodDisruptionBudget": "poddisruptionbudgets",
    "Service": "services",
    "InferenceService": PLURAL,
    "Lease": "leases",
}

_REFUSALS: Final = frozenset(
    {
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.FORBIDDEN,
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        HTTPStatus.UNPROCESSABLE_ENTITY,
    }
)


class ApiUnavailableError(Exception):
    """The API server did not do what was asked, for a reason that may pass."""


def _always() -> bool:
    return True


class KubernetesApi:
    """`ports.Kube` on the official client. Safe to use from several threads."""

    def __init__(self, api_client: client.ApiClient, may_write: Callable[[], bool] = _always) -> None:
        """`may_write` is asked right before each write is sent; where it says no, NotLeadingError is raised."""
        self._client = api_client
        self._may_write = may_write

    def apply(self, manifest: Manifest, *, force: bool) -> Manifest:
        """See `ports.Kube.apply`."""
        query = [("fieldManager", FIELD_MANAGER), ("force", str(force).lower())]
        return self._request("PATCH", object_path(manifest), manifest, query, "application/apply-patch+yaml")

    def scale(self, namespace: str, name: str, replicas: int) -> None:
        """See `ports.Kube.scale`."""
        path = f"/apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale"
        body = {"spec": {"replicas": replicas}}
        self._request("PATCH", path, body, [("fieldManager", FIELD_MANAGER)], "application/merge-patch+json")

    def delete(self, manifest: Manifest) -> None:
        """See `ports.Kube.delete`."""
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Background",
            "preconditions": {"uid": manifest["metadata"]["uid"]},
        }
        try:
            self._request("DELETE", object_path(manifest), options, [], "application/json")
        except NotFoundError:
            return

    def write_status(self, manifest: Manifest, status: Manifest) -> Manifest:
        """See `ports.Kube.write_status`."""
        metadata = manifest["metadata"]
        body = {
            "apiVersion": f"{GROUP}/{VERSION}",
            "kind": "InferenceService",
            "metadata": {key: metadata[key] for key in ("name", "namespace", "uid", "resourceVersion")},
            "spec": manifest["spec"],
            "status": status,
        }
        path = f"{object_path(body)}/status"
        return self._request("PUT", path, body, [("fieldManager", FIELD_MANAGER)], "application/json")

    def create(self, manifest: Manifest, timeout_seconds: float = _TIMEOUT_SECONDS) -> Manifest:
        """Create an object that may be there only once, such as an event."""
        path = object_path(manifest).rpartition("/")[0]
        query = [("fieldManager", FIELD_MANAGER)]
        return self._request("POST", path, manifest, query, "application/json", timeout_seconds)

    def get(self, manifest: Manifest, timeout_seconds: float = _TIMEOUT_SECONDS) -> Manifest:
        """The object with the kind, namespace and name of `manifest`. Raises NotFoundError."""
        return self._request("GET", object_path(manifest), None, [], "application/json", timeout_seconds)

    def replace(self, manifest: Manifest, timeout_seconds: float = _TIMEOUT_SECONDS) -> Manifest:
        """Replace the object, if it is still at the resourceVersion of `manifest`."""
        query = [("fieldManager", FIELD_MANAGER)]
        return self._request("PUT", object_path(manifest), manifest, query, "application/json", timeout_seconds)

    def _request(
        self,
        method: str,
        path: str,
        body: Manifest | None,
        query: list[tuple[str, str]],
        content_type: str,
        timeout_seconds: float = _TIMEOUT_SECONDS,
    ) -> Manifest:
        call = self._client.param_serialize(
            method=method,
            resource_path=path,
            query_params=query,
            header_params={"Accept": "application/json", "Content-Type": content_type},
            auth_settings=["BearerToken"],
        )
        verb, url, headers, _, _ = call
        text: Any = json.dumps(body) if content_type.endswith("yaml") else body
        if method != "GET" and not self._may_write():
            raise NotLeadingError(f"{method} {path} was not sent: another replica leads")
        response = self._client.call_api(verb, url, headers, text, None, _request_timeout=timeout_seconds)
        answer: Manifest = json.loads(response.read() or b"{}")
        if response.status >= HTTPStatus.BAD_REQUEST:
            raise _error(response.status, f"{method} {path}: {answer.get('message', response.reason)}")
        return answer


class NotFoundError(ApiUnavailableError):
    """The object is not there (any more)."""


def object_path(manifest: Manifest) -> str:
    """Path of the object on the API server."""
    version = manifest["apiVersion"]
    root = f"/apis/{version}" if "/" in version else f"/api/{version}"
    metadata = manifest["metadata"]
    return f"{root}/namespaces/{metadata['namespace']}/{_PLURALS[manifest['kind']]}/{metadata['name']}"


def _error(status: int, message: str) -> Exception:
    if status == HTTPStatus.CONFLICT:
        return ApiConflictError(message)
    if status == HTTPStatus.NOT_FOUND:
        return NotFoundError(message)
    if status in _REFUSALS:
        return ApiRefusedError(message)
    return ApiUnavailableError(f"status {status}: {message}")
