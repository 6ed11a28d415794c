"""Slim copies of Kubernetes objects: what decisions read, and nothing else, so that memory stays small."""

from collections.abc import Mapping
from typing import Any, Final

from serinus.core.names import COMMAND_ANNOTATION
from serinus.ports import Manifest

_METADATA: Final = (
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "generation",
    "labels",
    "ownerReferences",
    "deletionTimestamp",
)


def slim_service(body: Mapping[str, Any]) -> Manifest:
    """An InferenceService: all but foreign annotations and managed fields."""
    command = body["metadata"].get("annotations", {}).get(COMMAND_ANNOTATION)
    slim = {"apiVersion": body["apiVersion"], "kind": body["kind"], "metadata": _metadata(body)}
    if command is not None:
        slim["metadata"]["annotations"] = {COMMAND_ANNOTATION: command}
    return slim | {part: dict(body[part]) for part in ("spec", "status") if part in body}


def slim_child(body: Mapping[str, Any]) -> Manifest:
    """A child that the operator applies: what it is compared by, and a Deployment's ready pods."""
    slim = {"apiVersion": body["apiVersion"], "kind": body["kind"], "metadata": _metadata(body)}
    slim |= {part: body[part] for part in ("spec", "data", "revision") if part in body}
    if body["kind"] == "Deployment":
        slim["status"] = {"readyReplicas": body.get("status", {}).get("readyReplicas", 0)}
    if body["kind"] == "HTTPRoute":
        slim["status"] = {"parents": body.get("status", {}).get("parents", [])}
    return slim


def slim_pod(body: Mapping[str, Any]) -> Manifest:
    """A pod: whose it is, and how its containers fare."""
    status = body.get("status", {})
    containers = {
        part: [_container(container) for container in status.get(part, ())]
        for part in ("initContainerStatuses", "containerStatuses")
    }
    return {"kind": "Pod", "metadata": _metadata(body), "status": containers}


def _metadata(body: Mapping[str, Any]) -> Manifest:
    metadata = body["metadata"]
    return {key: metadata[key] for key in _METADATA if key in metadata}


def _container(container: Mapping[str, Any]) -> Manifest:
    return {key: container[key] for key in ("name", "ready", "state", "lastState") if key in container}
