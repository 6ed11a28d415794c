"""Plain requests to the API server, for what the tests themselves read and write."""

import json
from http import HTTPStatus
from typing import Any, Final

from kubernetes import client

from serinus.adapters.kube import object_path
from serinus.api import crd
from serinus.api.v1beta1 import GROUP, PLURAL
from tests.cluster.control_plane import ControlPlane
from tests.contract.manifests import Manifest

MERGE: Final = "application/merge-patch+json"
STRATEGIC: Final = "application/strategic-merge-patch+json"
"""A merge patch that merges lists by the name of their entries."""
JSON_PATCH: Final = "application/json-patch+json"


class RefusedError(Exception):
    """The API server refused a request; the message is its own."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def send(
    api: client.ApiClient,
    method: str,
    path: str,
    body: Any = None,  # noqa: ANN401 - a patch may be a list
    query: dict[str, str] | None = None,
    content_type: str = "application/json",
    accept: str = "application/json",
) -> Manifest:
    """Make one request and return the answer. Raises RefusedError."""
    headers = {"Accept": accept, "Content-Type": content_type}
    verb, url, headers, _, _ = api.param_serialize(
        method, path, query_params=list((query or {}).items()), header_params=headers, auth_settings=["BearerToken"]
    )
    response = api.call_api(verb, url, headers, body)
    answer: Manifest = json.loads(response.read())
    if response.status >= HTTPStatus.BAD_REQUEST:
        raise RefusedError(response.status, answer["message"])
    return answer


def create(api: client.ApiClient, manifest: Manifest) -> Manifest:
    """Create an object as another client than the operator would."""
    path = object_path(manifest).rpartition("/")[0]
    return send(api, "POST", path, manifest, {"fieldManager": "somebody", "fieldValidation": "Strict"})


def read(api: client.ApiClient, manifest: Manifest) -> Manifest:
    """The object of the kind and the name of `manifest`, as it is now."""
    return send(api, "GET", object_path(manifest))


def patch(
    api: client.ApiClient,
    manifest: Manifest,
    body: Any,  # noqa: ANN401 - a patch may be a list
    *,
    content_type: str = MERGE,
    part: str = "",
) -> Manifest:
    """Change an object, or with `part` a subresource of it, as another client than the operator would."""
    path = f"{object_path(manifest)}/{part}" if part else object_path(manifest)
    return send(api, "PATCH", path, body, {"fieldManager": "somebody"}, content_type)


def delete(api: client.ApiClient, manifest: Manifest) -> Manifest:
    """Delete an object, and not what it owns: nobody collects garbage here."""
    return send(api, "DELETE", object_path(manifest))


def install_crd(server: ControlPlane) -> None:
    """Give the API server the CustomResourceDefinition."""
    server.kubectl("apply", "-f", str(crd.GENERATED_FILES[0]))
    server.kubectl("wait", "--for=condition=Established", "--timeout=30s", f"crd/{PLURAL}.{GROUP}")
