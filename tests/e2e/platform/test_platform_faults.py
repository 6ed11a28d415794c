"""A platform that is in the way of a service: it says what is wrong and where, and goes on once that is put right."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from serinus.api.status import InferenceServiceStatus
from tests.cluster import installation
from tests.cluster.inference_service import InferenceServiceHandle, Manifest, condition
from tests.cluster.outage import outage
from tests.e2e.expectations import deploy, is_being_judged, wait_rolled_back
from tests.e2e.manifests import SERVICE, digits, restricted_pod

MENDED_SECONDS = 120
METRICS_SECONDS = 180


def test_quota_full(service: InferenceServiceHandle) -> None:
    deploy(service, digits("1", replicas=1))
    with _existing(service, _quota(pods=1)):
        wait = ("wait", "-n", service.namespace, "resourcequota/full", "--timeout=30s")
        service.cluster.kubectl(*wait, "--for=jsonpath={.status.used.pods}=1")
        service.apply(digits("2", replicas=1))
        held_up = service.wait_until(
            lambda status: condition(status, "Reconciling")[1] == "QuotaExceeded", "the quota is named", 60
        )
        _, _, message = condition(held_up, "Reconciling")
        assert held_up.canary is not None
        assert f"Deployment {SERVICE}-{held_up.canary.revision}: QuotaExceeded" in message
        assert "exceeded quota: full, requested: pods=1, used: pods=1, limited: pods=1" in message
        assert "Have the ResourceQuota of the namespace raised" in message
        assert condition(held_up, "Ready")[:2] == ("True", "Serving")
    service.wait_until(is_being_judged, "the rollout goes on without the quota", MENDED_SECONDS)


def test_image_pull_fails(service: InferenceServiceHandle) -> None:
    deploy(service, digits("1", replicas=1))
    with installation.upgraded(service.cluster, {"server.image.tag": "gone"}):
        service.apply(digits("2", replicas=1))
        status = wait_rolled_back(service, "2")
        assert status.rollout.reason == "ImagePullBackOff"
        _, _, message = condition(status, "RolloutHealthy")
        assert f"Container fetch of pod {SERVICE}-" in message
        assert "localhost/serinus-server:gone" in message
        assert "The image is the platform's choice: ask its team" in message
        assert condition(status, "Ready")[:2] == ("True", "Serving")
    (failed,) = status.rollout.failed_revisions
    service.command("retry", failed.revision, "after-the-image-is-back")
    service.wait_until(is_being_judged, "it is tried again with the image that is there now", MENDED_SECONDS)


def test_metrics_server_gone(service: InferenceServiceHandle) -> None:
    deploy(service, digits("1", autoscaling={"minReplicas": 1, "maxReplicas": 2}))
    service.wait_until(_scales, "the autoscaler has its first metrics", METRICS_SECONDS)
    with outage(service.cluster, "kube-system", "metrics-server"):
        status = service.wait_until(
            lambda status: condition(status, "ScalingActive")[0] == "False", "it is said", METRICS_SECONDS
        )
        _, reason, message = condition(status, "ScalingActive")
        assert reason == "FailedGetResourceMetric"
        assert f"HorizontalPodAutoscaler {SERVICE}: " in message
        assert "`kubectl top pods`" in message
        assert condition(status, "Ready")[:2] == ("True", "Serving")
        assert status.replicas == "1/1"
    service.wait_until(_scales, "the autoscaler has its metrics again", METRICS_SECONDS)


def test_disruption_budget_that_cannot_be_worked_out(service: InferenceServiceHandle) -> None:
    deploy(service, digits("1", replicas=1))
    with _existing(service, _job_with_the_labels_of_the_service()):
        status = service.wait_until(lambda status: condition(status, "EvictionsBlocked")[0] == "True", "it is said", 60)
        _, reason, message = condition(status, "EvictionsBlocked")
        assert reason == "SyncFailed"
        assert f"PodDisruptionBudget {SERVICE}: SyncFailed: jobs.batch does not implement the scale" in message
        assert f"kubectl get pods -n {service.namespace} -l serinus.dev/inferenceservice={SERVICE}" in message
        assert condition(status, "Ready")[:2] == ("True", "Serving")
    service.wait_until(lambda status: condition(status, "EvictionsBlocked")[0] == "", "it is put right", 60)


def _scales(status: InferenceServiceStatus) -> bool:
    return condition(status, "ScalingActive")[0] == "True"


def _quota(pods: int) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "full"},
        "spec": {"hard": {"pods": str(pods)}},
    }


def _job_with_the_labels_of_the_service() -> Manifest:
    """A Job whose pod the disruption budget counts, and that has no number of pods to count it by."""
    pod = {**restricted_pod("other"), "restartPolicy": "Never", "nodeSelector": {"no-such": "node"}}
    labels = {"serinus.dev/inferenceservice": SERVICE}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "other"},
        "spec": {"template": {"metadata": {"labels": labels}, "spec": pod}},
    }


@contextmanager
def _existing(service: InferenceServiceHandle, manifest: Mapping[str, Any]) -> Iterator[None]:
    """The object is there until the block ends."""
    service.apply(manifest)
    yield
    name = f"{manifest['kind'].lower()}/{manifest['metadata']['name']}"
    service.cluster.kubectl("delete", "-n", service.namespace, name, "--cascade=foreground", "--timeout=60s")
