"""When pods are replaced and when not: never while spec.suspend holds a service, and all when spec.restartedAt asks."""

import time

from serinus.api.status import InferenceServiceStatus, Phase
from tests.cluster.inference_service import InferenceServiceHandle, condition
from tests.cluster.traffic import Exchange, flowing
from tests.e2e.expectations import (
    HIGH_RATE,
    LEAVING_SECONDS,
    QUIET_SECONDS,
    assert_nothing_lost,
    deploy,
    is_being_judged,
    wait_promoted,
)
from tests.e2e.manifests import canary, digits


def test_suspended_in_mid_canary_it_stands_still_and_then_goes_on(
    service: InferenceServiceHandle, exchanges: list[Exchange]
) -> None:
    deploy(service, digits("1"))
    rollout = digits("2", canary=canary(33, 50))
    with flowing(service.cluster, service.namespace, service.name, exchanges, HIGH_RATE) as traffic:
        service.apply(rollout)
        before = service.wait_until(is_being_judged, "version 2 is being judged", 60)
        service.apply({**rollout, "spec": {**rollout["spec"], "suspend": True}})
        service.wait_until(_is_suspended, "it says that it is suspended", 30)
        pods = service.pod_uids()
        # Another version and more pods are asked for, and a child is deleted: all that has to wait.
        service.apply(digits("1", replicas=4, suspend=True))
        service.cluster.kubectl("delete", "pdb", "-n", service.namespace, service.name)
        time.sleep(QUIET_SECONDS)
        held = service.status()
        assert service.pod_uids() == pods
        assert service.children("pdb") == []
        assert held.rollout.weight == before.rollout.weight
        assert held.rollout.phase is Phase.PROGRESSING
        assert condition(held, "Ready")[:2] == ("True", "Serving")
        assert "To go on, set it to false." in condition(held, "Suspended")[2]
        assert condition(held, "Reconciling") == ("", "", "")
        service.apply(rollout)
        after = wait_promoted(service, "2")
        time.sleep(LEAVING_SECONDS)
        totals = traffic.stop()
    assert_nothing_lost(totals)
    assert condition(after, "Suspended") == ("", "", "")
    assert [one["metadata"]["name"] for one in service.children("pdb")] == [service.name]
    reasons = [reason for reason, _ in service.events_until("Promoted")]
    assert reasons == [
        "Deployed", "CanaryStarted", "StepStarted", "Suspended", "Resumed", "StepPassed", "StepStarted", "Promoting",
        "Promoted",
    ]  # fmt: skip


def test_restarted_at_renews_all_pods_through_the_canary(
    service: InferenceServiceHandle, exchanges: list[Exchange]
) -> None:
    first = deploy(service, digits("1"))
    assert first.stable is not None
    pods = service.pod_uids()
    with flowing(service.cluster, service.namespace, service.name, exchanges, HIGH_RATE) as traffic:
        service.apply(digits("1", restartedAt="2026-11-24T08:00:00Z"))
        judged = service.wait_until(is_being_judged, "the new pods are being judged", 60)
        assert judged.canary is not None
        assert pods < service.pod_uids()
        after = wait_promoted(service, "1")
        time.sleep(LEAVING_SECONDS)
        totals = traffic.stop()
    assert_nothing_lost(totals)
    assert after.stable is not None
    assert after.stable.revision == judged.canary.revision != first.stable.revision
    assert after.replicas == "2/2"
    assert not pods & service.pod_uids()
    service.apply(digits("1", restartedAt="2026-11-24T08:00:00Z"))
    time.sleep(QUIET_SECONDS)
    assert service.status().rollout.reason == "Promoted", "the same time asks for nothing new"


def _is_suspended(status: InferenceServiceStatus) -> bool:
    return condition(status, "Suspended")[0] == "True"
