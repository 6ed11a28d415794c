"""Slim copies hold what decisions read, and nothing else."""

import copy
from typing import Any

import pytest

from serinus.core.projection import slim_child, slim_pod, slim_service

METADATA: dict[str, Any] = {
    "name": "fraud",
    "namespace": "risk",
    "uid": "1",
    "resourceVersion": "7",
    "generation": 2,
    "labels": {"a": "b"},
    "ownerReferences": [{"uid": "0"}],
    "creationTimestamp": "2026-03-01T03:00:00Z",
    "managedFields": [{"manager": "kubectl"}],
    "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}", "argocd.argoproj.io/tracking-id": "x"},
}
SLIM = {key: METADATA[key] for key in METADATA if key not in ("creationTimestamp", "managedFields", "annotations")}


def test_a_service_keeps_its_spec_and_status_and_the_command() -> None:
    body = {
        "apiVersion": "serinus.dev/v1beta1",
        "kind": "InferenceService",
        "metadata": METADATA | {"annotations": METADATA["annotations"] | {"serinus.dev/command": "1:abort:0a"}},
        "spec": {"model": {}},
        "status": {"url": "u"},
    }
    assert slim_service(body) == {
        "apiVersion": "serinus.dev/v1beta1",
        "kind": "InferenceService",
        "metadata": SLIM | {"annotations": {"serinus.dev/command": "1:abort:0a"}},
        "spec": {"model": {}},
        "status": {"url": "u"},
    }


def test_a_service_that_nobody_has_visited() -> None:
    body = {"apiVersion": "v", "kind": "InferenceService", "metadata": {"name": "fraud"}, "spec": {}}
    assert slim_service(body) == body


def test_a_service_that_is_being_deleted() -> None:
    body = {"apiVersion": "v", "kind": "K", "metadata": {"name": "n", "deletionTimestamp": "t"}, "spec": {}}
    assert slim_service(body)["metadata"]["deletionTimestamp"] == "t"


@pytest.mark.parametrize(
    ("status", "ready"), [({"readyReplicas": 3, "conditions": [{}]}, 3), ({"replicas": 1}, 0), (None, 0)]
)
def test_a_deployment_keeps_its_spec_and_its_ready_pods(status: dict[str, Any] | None, ready: int) -> None:
    body: dict[str, Any] = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": METADATA,
        "spec": {"replicas": 4},
    }
    assert slim_child(body | ({"status": status} if status else {})) == body | {
        "metadata": SLIM,
        "status": {"readyReplicas": ready},
    }


def test_a_controller_revision_keeps_what_it_pins() -> None:
    body = {"apiVersion": "apps/v1", "kind": "ControllerRevision", "metadata": METADATA, "data": {"template": {}}}
    assert slim_child(body | {"revision": 3}) == body | {"metadata": SLIM, "revision": 3}


@pytest.mark.parametrize("kind", ["Service", "HorizontalPodAutoscaler", "PodDisruptionBudget"])
def test_other_children_keep_their_spec(kind: str) -> None:
    body = {"apiVersion": "v1", "kind": kind, "metadata": METADATA, "spec": {"a": 1}, "status": {"b": 2}}
    assert slim_child(body) == {"apiVersion": "v1", "kind": kind, "metadata": SLIM, "spec": {"a": 1}}


def test_an_autoscaler_keeps_which_metrics_it_has() -> None:
    metrics = [{"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 7}}}, {"type": ""}]
    body = {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": METADATA}
    slim = slim_child(body | {"status": {"currentMetrics": metrics}})
    assert slim["status"] == {"currentMetrics": [{"type": "Resource"}, {"type": ""}]}


def test_a_pod_keeps_how_its_containers_fare() -> None:
    state = {"name": "server", "ready": False, "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": {}}
    body = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": METADATA,
        "spec": {"containers": [{}]},
        "status": {"podIP": "10.0.0.1", "containerStatuses": [state | {"image": "x", "restartCount": 3}]},
    }
    assert slim_pod(body) == {
        "kind": "Pod",
        "metadata": SLIM,
        "status": {"initContainerStatuses": [], "containerStatuses": [state]},
    }


def test_a_pod_keeps_what_its_model_is_on() -> None:
    model = {"name": "model", "persistentVolumeClaim": {"claimName": "models", "readOnly": True}}
    others = [{"name": "tmp", "emptyDir": {}}, {"name": "cache", "persistentVolumeClaim": {"claimName": "cache"}}]
    body = {"metadata": METADATA, "spec": {"volumes": [*others, model], "nodeName": "a"}}
    assert slim_pod(body)["spec"] == {"volumes": [model]}
    image = {"name": "model", "image": {"reference": "r.io/a:1"}}
    assert slim_pod(body | {"spec": {"volumes": [*others, image]}})["spec"] == {"volumes": [image]}
    assert "spec" not in slim_pod(body | {"spec": {"volumes": [*others, {"name": "model", "emptyDir": {}}]}})


FAULT = {"status": "False", "reason": "R", "message": "M"}


@pytest.mark.parametrize(
    ("kind", "conditions", "kept"),
    [
        ("Deployment", [{"type": "ReplicaFailure", "status": "True"}], [{"type": "ReplicaFailure", "status": "True"}]),
        ("Deployment", [{"type": "Available", "status": "True"}, {"type": "Progressing", "status": "True"}], None),
        (
            "HorizontalPodAutoscaler",
            [{"type": "ScalingActive", **FAULT}, {"type": "ScalingLimited", "status": "True"}],
            [{"type": "ScalingActive", **FAULT}],
        ),
        (
            "HorizontalPodAutoscaler",
            [{"type": "ScalingActive", **FAULT, "status": "True"}],
            [{"type": "ScalingActive", "status": "True"}],
        ),
        ("PodDisruptionBudget", [{"type": "DisruptionAllowed", **FAULT}], [{"type": "DisruptionAllowed", **FAULT}]),
        ("PodDisruptionBudget", [{"type": "DisruptionAllowed", **FAULT, "status": "True"}], None),
        ("Pod", [{"type": "PodScheduled", **FAULT, "status": "True"}], None),
        ("Pod", [{"type": "PodScheduled", **FAULT}, {"type": "Ready", **FAULT}], [{"type": "PodScheduled", **FAULT}]),
    ],
)
def test_conditions_are_kept_where_a_decision_reads_them_and_words_where_something_is_wrong(
    kind: str, conditions: list[dict[str, Any]], kept: list[dict[str, Any]] | None
) -> None:
    timed = [one | {"lastTransitionTime": "2026-03-01T03:00:00Z"} for one in conditions]
    body = {"apiVersion": "v1", "kind": kind, "metadata": METADATA, "spec": {}, "status": {"conditions": timed}}
    slim = slim_pod(body) if kind == "Pod" else slim_child(body)
    assert slim.get("status", {}).get("conditions") == kept


def test_the_original_stays_as_it_is() -> None:
    body = {"apiVersion": "v", "kind": "Deployment", "metadata": METADATA, "spec": {"a": {"b": 1}}, "status": {}}
    before = copy.deepcopy(body)
    for slim in (slim_service, slim_child, slim_pod):
        slim(body)["metadata"]["name"] = "other"
    assert body == before
