"""Slim copies of Kubernetes objects: what decisions read, and nothing else, so that memory stays small."""

import json
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any, Final

from serinus.core.names import COMMAND_ANNOTATION, MODEL_VOLUME
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

_FAULTS: Final = frozenset(
    {
        ("ReplicaFailure", "True"),
        ("PodScheduled", "False"),
        ("AbleToScale", "False"),
        ("ScalingActive", "False"),
        ("DisruptionAllowed", "False"),
    }
)
"""Conditions and the status in which they tell of a fault."""


def packed(manifest: Manifest) -> bytes:
    """The object as it is kept: a tenth of the memory of what it is made of."""
    return json.dumps(manifest, separators=(",", ":")).encode()


def unpacked(kept: bytes) -> Manifest:
    """The object again, which is the caller's own."""
    manifest: Manifest = json.loads(kept)
    return manifest


def slim_service(body: Mapping[str, Any]) -> Manifest:
    """An InferenceService: all but foreign annotations and managed fields."""
    command = body["metadata"].get("annotations", {}).get(COMMAND_ANNOTATION)
    slim = {"apiVersion": body["apiVersion"], "kind": body["kind"], "metadata": _metadata(body)}
    if command is not None:
        slim["metadata"]["annotations"] = {COMMAND_ANNOTATION: command}
    return slim | {part: dict(body[part]) for part in ("spec", "status") if part in body}


def slim_child(body: Mapping[str, Any]) -> Manifest:
    """A child that the operator applies: what it is compared by, and what its status says that decisions read."""
    slim = {"apiVersion": body["apiVersion"], "kind": body["kind"], "metadata": _metadata(body)}
    slim |= {part: body[part] for part in ("spec", "data", "revision") if part in body}
    status = _status_of_child(body["kind"], body.get("status", {}))
    return slim | ({"status": status} if status else {})


def _status_of_child(kind: str, status: Mapping[str, Any]) -> Manifest:
    match kind:
        case "Deployment":
            return {"readyReplicas": status.get("readyReplicas", 0)} | _conditions(status, {"ReplicaFailure"})
        case "HTTPRoute":
            return {"parents": status.get("parents", [])}
        case "HorizontalPodAutoscaler":
            metrics = [{"type": metric.get("type", "")} for metric in status.get("currentMetrics") or ()]
            found = {"currentMetrics": metrics} if metrics else {}
            return _conditions(status, {"AbleToScale", "ScalingActive"}) | found
        case "PodDisruptionBudget":
            return _conditions(status, {"DisruptionAllowed"}, only_faults=True)
    return {}


def slim_pod(body: Mapping[str, Any]) -> Manifest:
    """A pod: whose it is, how its containers fare, why it has no node, and what its model is on."""
    status = body.get("status", {})
    containers = {
        part: [_container(container) for container in status.get(part, ())]
        for part in ("initContainerStatuses", "containerStatuses")
    }
    fate = _conditions(status, {"PodScheduled"}, only_faults=True)
    slim = {"kind": "Pod", "metadata": _metadata(body), "status": containers | fate}
    held = [volume for volume in body.get("spec", {}).get("volumes", ()) if _holds_the_model(volume)]
    return slim | ({"spec": {"volumes": held}} if held else {})


def _holds_the_model(volume: Mapping[str, Any]) -> bool:
    return volume["name"] == MODEL_VOLUME and not volume.keys().isdisjoint(("persistentVolumeClaim", "image"))


def _conditions(status: Mapping[str, Any], kinds: AbstractSet[str], *, only_faults: bool = False) -> Manifest:
    """The conditions of these types; their words only where something is wrong. Nothing where there are none."""
    said = []
    for condition in status.get("conditions", ()):
        wrong = (condition.get("type"), condition.get("status")) in _FAULTS
        if condition.get("type") in kinds and (wrong or not only_faults):
            keys = ("type", "status", "reason", "message") if wrong else ("type", "status")
            said.append({key: condition[key] for key in keys if key in condition})
    return {"conditions": said} if said else {}


def _metadata(body: Mapping[str, Any]) -> Manifest:
    metadata = body["metadata"]
    return {key: metadata[key] for key in _METADATA if key in metadata}


def _container(container: Mapping[str, Any]) -> Manifest:
    return {key: container[key] for key in ("name", "ready", "state", "lastState") if key in container}
