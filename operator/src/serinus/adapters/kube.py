"""Writes to the Kubernetes API through the official client, and the few reads that no watch gives."""

import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from kubernetes import client

from serinus import telemetry
from serinus.api.v1beta1 import GROUP, PLURAL, VERSION
from serinus.core.api_request import resource_of, verb_of
from serinus.core.field_ownership import handed_to_apply
from serinus.core.matching import matches
from serinus.core.names import FIELD_MANAGER, SERVICE_LABEL
from serinus.core.token_bucket import TokenBucket
from serinus.ports import (
    ApiConflictError,
    ApiRefusedError,
    ApiUnavailableError,
    Manifest,
    NamespaceTerminatingError,
    NotLeadingError,
)

_TIMEOUT_SECONDS: Final = 30.0

_PLURALS: Final[Mapping[str, str]] = {
    "ConfigMap": "configmaps",
    "ControllerRevision": "controllerrevisions",
    "Deployment": "deployments",
    "Event": "events",
    "HTTPRoute": "httproutes",
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


_UNSAFE_IN_YAML: Final = re.compile(r"[^\x20-\x7e]")

_BUSY: Final = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})

_LONGEST_RETRY_AFTER: Final = 60.0
"""Seconds. What a server or a proxy asks for beyond is not believed."""


def _always() -> bool:
    return True


class WriteLimit:
    """Holds writes up, from whichever thread, so that no more than a rate are sent, and none that the server does not
    want now.
    """

    def __init__(self, per_second: float, burst: int) -> None:
        self._bucket = TokenBucket(per_second, burst, time.monotonic())
        self._lock = threading.Lock()

    def wait(self) -> None:
        """Wait until a write may be sent. Raises ApiUnavailableError at once if the server has asked for patience."""
        with self._lock:
            now = time.monotonic()
            held = self._bucket.held(now)
            seconds = 0.0 if held else self._bucket.take(now)
        if held:
            raise ApiUnavailableError("the API server has asked for patience", held)
        if seconds:
            telemetry.API_THROTTLED_SECONDS.inc(seconds)
            time.sleep(seconds)

    def hold(self, seconds: float) -> None:
        """Send nothing for so long."""
        with self._lock:
            self._bucket.hold(time.monotonic(), seconds)


class KubernetesApi:
    """`ports.Kube` on the official client. Safe to use from several threads."""

    def __init__(
        self,
        api_client: client.ApiClient,
        may_write: Callable[[], bool] = _always,
        limit: WriteLimit | None = None,
    ) -> None:
        """`may_write` is asked right before each write is sent; where it says no, NotLeadingError is raised."""
        self._client = api_client
        self._may_write = may_write
        self._limit = limit

    def apply(self, manifest: Manifest, *, force: bool, replicas: int | None = None) -> Manifest:
        """See `ports.Kube.apply`.

        Server-side apply alone would make an object of that name ours wherever it says nothing to the contrary.
        """
        if not force:
            with suppress(ApiConflictError):
                return self._make(manifest if replicas is None else _scaled(manifest, replicas))
            current = self.get(manifest)
            _require_own(manifest, current)
            if matches(manifest, current):
                return current
        return self._overwrite(manifest)

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

    def merge(self, manifest: Manifest) -> Manifest:
        """Change what `manifest` says of the object that it names. Raises NotFoundError."""
        query = [("fieldManager", FIELD_MANAGER)]
        return self._request("PATCH", object_path(manifest), manifest, query, "application/merge-patch+json")

    def get(self, manifest: Manifest, timeout_seconds: float = _TIMEOUT_SECONDS) -> Manifest:
        """The object with the kind, namespace and name of `manifest`. Raises NotFoundError."""
        return self._request("GET", object_path(manifest), None, [], "application/json", timeout_seconds)

    def replace(self, manifest: Manifest, timeout_seconds: float = _TIMEOUT_SECONDS) -> Manifest:
        """Replace the object, if it is still at the resourceVersion of `manifest`."""
        query = [("fieldManager", FIELD_MANAGER)]
        return self._request("PUT", object_path(manifest), manifest, query, "application/json", timeout_seconds)

    def _overwrite(self, manifest: Manifest) -> Manifest:
        """Apply over what others have changed, and have added to lists: server-side apply leaves that in, or trips."""
        try:
            applied = self._take_over(manifest, self._apply(manifest))
        except ApiRefusedError:
            applied = None
        if applied is not None and matches(manifest, applied):
            return applied
        query = [("fieldManager", FIELD_MANAGER)]
        self._request("PATCH", object_path(manifest), manifest, query, "application/merge-patch+json")
        return self._apply(manifest)

    def _make(self, manifest: Manifest) -> Manifest:
        """Make an object that is not there. Raises ApiConflictError where one of that name is."""
        path = object_path(manifest).rpartition("/")[0]
        # The data of a ControllerRevision is compared byte for byte. As YAML the API server writes it anew in its own
        # way, as it does with an apply; JSON would be kept as it came, and no apply would get through any more.
        content_type = "application/yaml" if manifest["kind"] == "ControllerRevision" else "application/json"
        return self._request("POST", path, manifest, [("fieldManager", FIELD_MANAGER)], content_type)

    def _take_over(self, manifest: Manifest, applied: Manifest) -> Manifest:
        """Have the apply own what the creation of the object has set, the first time that it is applied."""
        owned = handed_to_apply(applied["metadata"].get("managedFields", ()), FIELD_MANAGER)
        if owned is None:
            return applied
        patch = [
            {"op": "replace", "path": "/metadata/managedFields", "value": owned},
            {"op": "replace", "path": "/metadata/resourceVersion", "value": applied["metadata"]["resourceVersion"]},
        ]
        query = [("fieldManager", FIELD_MANAGER)]
        self._request("PATCH", object_path(manifest), patch, query, "application/json-patch+json")
        return self._apply(manifest)

    def _apply(self, manifest: Manifest) -> Manifest:
        query = [("fieldManager", FIELD_MANAGER), ("force", "true")]
        return self._request("PATCH", object_path(manifest), manifest, query, "application/apply-patch+yaml")

    def _request(
        self,
        method: str,
        path: str,
        body: Manifest | list[Manifest] | None,
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
        text: Any = _yaml_of(body) if content_type.endswith("yaml") else body
        if method != "GET":
            self._wait_to_write(f"{method} {path}")
        with _counted(verb_of(method, path, applies="apply" in content_type), resource_of(path)) as counted:
            response = self._client.call_api(verb, url, headers, text, None, _request_timeout=timeout_seconds)
            body_read = response.read()
            counted.code = str(response.status)
        if response.status < HTTPStatus.BAD_REQUEST:
            answer: Manifest = json.loads(body_read or b"{}")
            return answer
        retry_after = _retry_after(response)
        if retry_after and self._limit is not None:
            self._limit.hold(retry_after)
        said = _status(body_read)
        message = f"{method} {path}: {said.get('message') or response.reason}"
        raise _error(response.status, message, retry_after, terminating=_is_terminating(said))

    def _wait_to_write(self, what: str) -> None:
        if self._limit is not None:
            self._limit.wait()
        # Asked last of all: while the write waited, another may have begun to lead.
        if not self._may_write():
            raise NotLeadingError(f"{what} was not sent: another replica leads")


class NotFoundError(ApiUnavailableError):
    """The object is not there (any more)."""


def _require_own(manifest: Manifest, current: Manifest) -> None:
    """Pass for an object whose controller is that of `manifest`, or that was left behind without one.

    Raises ApiConflictError, or ApiUnavailableError for one that is garbage and about to be collected.
    """
    [owner] = manifest["metadata"]["ownerReferences"]
    owners = current["metadata"].get("ownerReferences", ())
    controller = next((one for one in owners if one.get("controller")), None)
    if controller is None:
        label = current["metadata"].get("labels", {}).get(SERVICE_LABEL)
        if label != owner["name"]:
            raise ApiConflictError("It does not carry the label of this InferenceService.")
    elif controller["uid"] != owner["uid"]:
        name = f"{manifest['kind']} {manifest['metadata']['name']}"
        if (controller["kind"], controller["name"]) == (owner["kind"], owner["name"]):
            raise ApiUnavailableError(f"{name} belongs to a former {owner['kind']} {owner['name']}, and is to go first")
        raise ApiConflictError(f"Its controller is {controller['kind']} {controller['name']}.")


def _yaml_of(body: object) -> str:
    """JSON is YAML too, but for what YAML would fold or refuse even between quotes, which is escaped."""
    text = json.dumps(body, ensure_ascii=False)
    return _UNSAFE_IN_YAML.sub(lambda match: f"\\U{ord(match[0]):08x}", text)


def _scaled(manifest: Manifest, replicas: int) -> Manifest:
    return manifest | {"spec": manifest["spec"] | {"replicas": replicas}}


def object_path(manifest: Manifest) -> str:
    """Path of the object on the API server."""
    version = manifest["apiVersion"]
    root = f"/apis/{version}" if "/" in version else f"/api/{version}"
    metadata = manifest["metadata"]
    return f"{root}/namespaces/{metadata['namespace']}/{_PLURALS[manifest['kind']]}/{metadata['name']}"


@dataclass
class _Counted:
    code: str = "none"


@contextmanager
def _counted(verb: str, resource: str) -> Iterator[_Counted]:
    """Count a request, and how long it took, by the code that is set within."""
    begun = time.monotonic()
    counted = _Counted()
    try:
        yield counted
    finally:
        telemetry.count_request(verb, resource, counted.code, time.monotonic() - begun)


def _status(body: bytes) -> Manifest:
    """The Status object that the API server answers an error with; empty when the answer is not one of its own."""
    try:
        status = json.loads(body)
    except ValueError:
        return {}
    return status if isinstance(status, dict) else {}


def _is_terminating(status: Manifest) -> bool:
    """Whether the server refuses to create something because the namespace is being deleted."""
    causes = (status.get("details") or {}).get("causes") or ()
    return any(cause.get("reason") == "NamespaceTerminating" for cause in causes)


def _retry_after(response: Any) -> float:  # noqa: ANN401 - the official client is not typed
    """The seconds of a Retry-After header of a server that is busy; 0 without one."""
    if response.status not in _BUSY:
        return 0.0
    try:
        return min(max(float(response.headers.get("Retry-After", 0)), 0.0), _LONGEST_RETRY_AFTER)
    except ValueError:
        return 0.0


def _error(status: int, message: str, retry_after: float, *, terminating: bool) -> Exception:
    if status == HTTPStatus.CONFLICT:
        return ApiConflictError(message)
    if status == HTTPStatus.NOT_FOUND:
        return NotFoundError(message)
    if terminating:
        return NamespaceTerminatingError(message)
    if status in _REFUSALS:
        return ApiRefusedError(message)
    return ApiUnavailableError(f"status {status}: {message}", retry_after)
