"""Whole rollouts: real pods, real models, real traffic, judged from a real Prometheus."""

import time

import requests

from examples.digits.train import Model
from serinus.api.status import Phase, Verdict
from tests.cluster.cluster import Cluster
from tests.cluster.inference_service import InferenceServiceHandle, condition
from tests.cluster.traffic import Exchange, flowing
from tests.e2e.expectations import (
    HIGH_RATE,
    LEAVING_SECONDS,
    RATE,
    assert_nothing_lost,
    deploy,
    is_being_judged,
    wait_promoted,
    wait_rolled_back,
)
from tests.e2e.manifests import SERVICE, canary, digits


def test_first_deployment_has_no_canary(
    cluster: Cluster, service: InferenceServiceHandle, exchanges: list[Exchange]
) -> None:
    service.apply(digits("1"))
    cluster.kubectl(
        "wait", "infsvc", SERVICE, "-n", service.namespace, "--for=condition=Ready", "--timeout=60s"
    )  # fmt: skip
    status = service.wait_until(lambda status: status.rollout.phase is Phase.STABLE, "it serves", 60)
    assert status.canary is None
    assert status.replicas == "2/2"
    assert condition(status, "Reconciling") == ("", "", "")
    assert {reason for reason, _ in service.events_until("Deployed")} == {"Deployed"}
    with cluster.port_forward(service.namespace, SERVICE, 80) as url:
        reply = requests.post(f"{url}/v2/models/{SERVICE}/infer", data=exchanges[0].body, timeout=10)
    assert reply.status_code == 200
    assert reply.json()["model_version"] == "1"


def test_good_version_promoted(
    service: InferenceServiceHandle, models: dict[str, Model], exchanges: list[Exchange]
) -> None:
    deploy(service, digits("1"))
    with flowing(service.cluster, service.namespace, SERVICE, exchanges, RATE) as traffic:
        service.apply(digits("2"))
        status = wait_promoted(service, "2")
        time.sleep(LEAVING_SECONDS)
        totals = traffic.stop()
    assert_nothing_lost(totals)
    assert status.analysis is not None
    assert status.analysis.verdict is Verdict.PASS
    judged = {check.check: check.canary.requests for check in status.analysis.checks}
    assert min(judged["errors"], judged["latency-p95"]) >= 50
    reasons = [reason for reason, _ in service.events_until("Promoted")]
    assert reasons == ["Deployed", "CanaryStarted", "StepStarted", "Promoting", "Promoted"]
    for version in ("1", "2"):
        accuracy = totals.of(version).accuracy
        assert accuracy is not None
        assert abs(accuracy - models[version].accuracy) < 0.05, version


def test_slow_version_rolled_back(service: InferenceServiceHandle, exchanges: list[Exchange]) -> None:
    deploy(service, digits("2"))
    with flowing(service.cluster, service.namespace, SERVICE, exchanges, RATE) as traffic:
        service.apply(digits("3", canary=canary(33)))
        status = wait_rolled_back(service, "3")
        time.sleep(LEAVING_SECONDS)
        totals = traffic.stop()
    assert_nothing_lost(totals, but_errors_of="3")
    assert status.rollout.reason == "HighLatency"
    assert status.stable is not None
    assert status.stable.version == "2"
    assert condition(status, "Ready")[:2] == ("True", "Serving")
    state, reason, message = condition(status, "RolloutHealthy")
    assert (state, reason) == ("False", "HighLatency")
    assert "P95 <= 100ms" in message


def test_failing_version_rolled_back(
    service: InferenceServiceHandle, models: dict[str, Model], exchanges: list[Exchange]
) -> None:
    deploy(service, digits("2"))
    with flowing(service.cluster, service.namespace, SERVICE, exchanges, RATE) as traffic:
        service.apply(digits("4"))
        status = wait_rolled_back(service, "4")
        served_by_canary = traffic.totals.of("4").replies
        time.sleep(LEAVING_SECONDS)
        totals = traffic.stop()
    assert_nothing_lost(totals, but_errors_of="4")
    assert totals.of("4").failed > 0
    assert totals.of("4").replies - served_by_canary < 2 * RATE, "it kept getting requests after it was rolled back"
    assert status.rollout.reason == "HighErrorRate"
    assert "errors <= 1%" in condition(status, "RolloutHealthy")[2]
    assert [reason for reason, _ in service.events_until("RolledBack")][-2:] == ["RollingBack", "RolledBack"]


def test_no_request_lost_across_promotion_and_rollback(
    service: InferenceServiceHandle, exchanges: list[Exchange]
) -> None:
    deploy(service, digits("1", replicas=3))
    with flowing(service.cluster, service.namespace, SERVICE, exchanges, HIGH_RATE) as traffic:
        service.apply(digits("2", replicas=3, canary=canary(25, 50)))
        judged = service.wait_until(is_being_judged, "version 2 is being judged", 60)
        assert judged.canary is not None
        service.command("abort", judged.canary.revision, "first")
        assert wait_rolled_back(service, "2").rollout.reason == "Aborted"
        service.command("retry", judged.canary.revision, "second")
        wait_promoted(service, "2")
        service.apply(digits("4", replicas=3))
        wait_rolled_back(service, "4")
        service.apply(digits("2", replicas=3))
        service.wait_until(lambda status: status.rollout.phase is Phase.STABLE, "the rejected spec is gone", 30)
        time.sleep(LEAVING_SECONDS)
        totals = traffic.stop()
    assert_nothing_lost(totals, but_errors_of="4")
    assert totals.of("1").replies > 0
    assert totals.of("2").replies > totals.of("4").replies > 0


def test_hpa_replicas_untouched_across_promotion(service: InferenceServiceHandle, exchanges: list[Exchange]) -> None:
    # So little CPU is enough that the traffic of the test makes the autoscaler ask for the most.
    scaling = {"minReplicas": 1, "maxReplicas": 3, "targets": {"cpuUtilizationPercent": 2}}
    deploy(service, digits("1", autoscaling=scaling))
    with flowing(service.cluster, service.namespace, SERVICE, exchanges, RATE):
        service.wait_until(
            lambda status: status.stable is not None and status.stable.ready_replicas == 3, "it is scaled to 3", 120
        )
        service.apply(digits("2", autoscaling=scaling))
        fewest = _fewest_replicas_until_promoted(service)
    assert fewest == 3
    deployments = service.children("deployments")
    assert [deployment["spec"]["replicas"] for deployment in deployments] == [3]
    (autoscaler,) = service.children("hpa")
    assert autoscaler["spec"]["scaleTargetRef"]["name"] == deployments[0]["metadata"]["name"]
    assert (autoscaler["spec"]["minReplicas"], autoscaler["spec"]["maxReplicas"]) == (1, 3)


def _fewest_replicas_until_promoted(service: InferenceServiceHandle) -> int:
    """The fewest pods that the stable revision was scaled to at any time of the rollout."""
    fewest: list[int] = []

    def promoted_version_2() -> bool:
        status = service.status()
        if status.stable is not None:
            name = f"{SERVICE}-{status.stable.revision}"
            replicas = {one["metadata"]["name"]: one["spec"]["replicas"] for one in service.children("deployments")}
            fewest.append(replicas.get(name, fewest[-1] if fewest else 0))
        return status.rollout.phase is Phase.STABLE and status.stable is not None and status.stable.version == "2"

    deadline = time.monotonic() + 180
    while not promoted_version_2():
        assert time.monotonic() < deadline, service.status().rollout
        time.sleep(0.5)
    return min(fewest)
