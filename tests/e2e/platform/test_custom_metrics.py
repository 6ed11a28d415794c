"""A real metrics adapter: pods are added for the requests in work, and what is missing without it is told."""

import json

from tests.cluster import Cluster, custom_metrics
from tests.cluster.inference_service import InferenceServiceHandle, condition
from tests.cluster.traffic import Exchange, flowing
from tests.e2e.expectations import deploy, within
from tests.e2e.manifests import SERVICE, digits

SLOW = 20
"""So many of the densest images are all slow for version 3: 0.15 s of CPU each."""

RATE = 12.0
"""Requests a second: far more than half a core can answer, so that they wait."""

SCALING = {"minReplicas": 1, "maxReplicas": 2, "targets": {"cpuUtilizationPercent": 100, "inFlightRequests": 1}}
HALF_A_CORE = {"cpu": "500m", "memory": "256Mi"}


def test_pods_are_added_for_the_requests_in_work(
    cluster: Cluster, service: InferenceServiceHandle, exchanges: list[Exchange]
) -> None:
    resources = {"requests": HALF_A_CORE, "limits": HALF_A_CORE}
    deploy(service, digits("3", autoscaling=SCALING, resources=resources))
    blind = service.wait_until(
        lambda status: condition(status, "ScalingActive")[1] == "FailedGetPodsMetric", "it lacks the metric", 90
    )
    assert "ask the platform team for a metrics adapter" in condition(blind, "ScalingActive")[2]
    dense = sorted(exchanges, key=_ink, reverse=True)[:SLOW]
    with custom_metrics.installed(cluster), flowing(cluster, service.namespace, SERVICE, dense, RATE):
        within(120, lambda: "pods metric serinus_in_flight_requests" in _decided_by(service), "requests in work decide")
        status = service.wait_until(
            lambda status: status.stable is not None and status.stable.ready_replicas == 2, "it is scaled to 2", 90
        )
    assert condition(status, "ScalingActive")[0] == "True"


def _decided_by(service: InferenceServiceHandle) -> str:
    """What the autoscaler says of the target that asked for the most pods."""
    (autoscaler,) = service.children("hpa")
    said = {one["type"]: one["message"] for one in autoscaler["status"]["conditions"]}
    return str(said["ScalingActive"])


def _ink(exchange: Exchange) -> float:
    (pixels,) = json.loads(exchange.body)["inputs"]
    return float(sum(pixels["data"]))
