"""Prometheus is taken away in the middle of a rollout and comes back."""

import time

from tests.cluster.cluster import Cluster
from tests.cluster.inference_service import InferenceServiceHandle, condition
from tests.cluster.outage import outage
from tests.cluster.traffic import Exchange, flowing
from tests.e2e.expectations import RATE, assert_nothing_lost, deploy, is_being_judged, wait_promoted
from tests.e2e.manifests import SERVICE, canary, digits

HELD_SECONDS = 30
"""How long Prometheus is away at least: longer than the step of a rollout that would pass."""


def test_prometheus_down_holds_then_resumes(
    cluster: Cluster, service: InferenceServiceHandle, exchanges: list[Exchange]
) -> None:
    deploy(service, digits("1"))
    with flowing(cluster, service.namespace, SERVICE, exchanges, RATE) as traffic:
        service.apply(digits("2", canary=canary(33, seconds=20)))
        judged = service.wait_until(is_being_judged, "version 2 is being judged", 60)
        with outage(cluster, "monitoring", "prometheus"):
            blind = service.wait_until(
                lambda status: condition(status, "MetricsAvailable")[0] == "False", "it says that it is blind", 60
            )
            time.sleep(HELD_SECONDS)
            held = service.status()
        after = wait_promoted(service, "2")
        totals = traffic.stop()
    assert_nothing_lost(totals)
    _, reason, message = condition(blind, "MetricsAvailable")
    assert reason == "QueryFailed"
    assert "The rollout holds its weight until the metrics are back." in message
    assert is_being_judged(held), held.rollout
    assert held.rollout.weight.desired == judged.rollout.weight.desired == 33
    assert held.replicas == judged.replicas == "3/3"
    assert (held.rollout.metrics_missing_since, held.analysis) == (blind.rollout.metrics_missing_since, blind.analysis)
    assert condition(after, "MetricsAvailable")[0] == "True"
    assert after.rollout.metrics_missing_since is None
    reasons = [reason for reason, _ in service.events_until("Promoted")]
    assert reasons == ["Deployed", "CanaryStarted", "StepStarted", "Promoting", "Promoted"], "no pause, no roll-back"
