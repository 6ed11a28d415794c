"""The operator as a good citizen: it leaves the user's object alone, writes nothing twice, survives being killed."""

import json
import time

from serinus.api.status import InferenceServiceStatus, Phase
from tests.cluster import Cluster, installation
from tests.cluster.inference_service import InferenceServiceHandle, Manifest, condition
from tests.cluster.outage import outage
from tests.cluster.traffic import Exchange, flowing
from tests.e2e.expectations import QUIET_SECONDS, RATE, assert_nothing_lost, deploy, wait_promoted, within
from tests.e2e.manifests import SERVICE, canary, digits

CHILDREN = "deployments,services,hpa,pdb,controllerrevisions"


def test_second_reconcile_writes_nothing(service: InferenceServiceHandle) -> None:
    deploy(service, digits("1", autoscaling={"minReplicas": 1, "maxReplicas": 2}))
    service.wait_until(
        lambda status: condition(status, "ScalingActive")[0] == "True", "the autoscaler has its first metrics", 120
    )
    time.sleep(QUIET_SECONDS)
    before = _own_writes(service)
    _restart_operator(service)
    # A label of the user's is news of the object, and nothing to do.
    service.cluster.kubectl("label", "infsvc", SERVICE, "-n", service.namespace, "team=vision")
    time.sleep(QUIET_SECONDS)
    assert _own_writes(service) == before


def test_no_annotations_or_finalizers_on_the_users_object(service: InferenceServiceHandle) -> None:
    deploy(service, digits("1", replicas=1))
    metadata = service.read()["metadata"]
    assert set(metadata["annotations"]) == {"kubectl.kubernetes.io/last-applied-configuration"}
    assert not metadata.get("finalizers")
    assert not metadata.get("labels")
    own = [entry for entry in metadata["managedFields"] if entry["manager"] == "serinus"]
    assert [entry["subresource"] for entry in own] == ["status"]


def test_children_gone_after_delete(service: InferenceServiceHandle) -> None:
    deploy(service, digits("1", autoscaling={"minReplicas": 1, "maxReplicas": 2}))
    kinds = {child["kind"] for child in service.children(CHILDREN)}
    expected = {"Deployment", "Service", "HorizontalPodAutoscaler", "PodDisruptionBudget", "ControllerRevision"}
    assert kinds == expected
    service.delete()
    _wait_until_childless(service)


def test_delete_with_operator_absent_leaves_nothing_stuck(service: InferenceServiceHandle) -> None:
    deploy(service, digits("1"))
    service.apply(digits("2"))
    service.wait_until(lambda status: status.canary is not None, "a rollout has begun", 60)
    with outage(service.cluster, installation.NAMESPACE, installation.RELEASE):
        service.delete()
        _wait_until_childless(service)


def test_operator_killed_in_mid_canary_finishes_it(service: InferenceServiceHandle, exchanges: list[Exchange]) -> None:
    deploy(service, digits("1"))
    with flowing(service.cluster, service.namespace, SERVICE, exchanges, RATE) as traffic:
        service.apply(digits("2", canary=canary(33, 50)))
        before = service.wait_until(_has_been_judged, "the canary has been judged once", 90)
        _kill_operator(service)
        after = wait_promoted(service, "2")
        totals = traffic.stop()
    assert_nothing_lost(totals)
    assert before.analysis is not None
    assert after.analysis is not None
    assert after.analysis.ticks > before.analysis.ticks
    for check_before, check_after in zip(before.analysis.checks, after.analysis.checks, strict=True):
        assert check_after.canary.requests > check_before.canary.requests
    reasons = [reason for reason, _ in service.events_until("Promoted")]
    assert sorted(reasons) == sorted(
        ["Deployed", "CanaryStarted", "StepStarted", "StepPassed", "StepStarted", "Promoting", "Promoted"]
    )


def test_another_operator_takes_over_when_the_leader_is_killed(service: InferenceServiceHandle) -> None:
    cluster = service.cluster
    leader = _leader(cluster)
    cluster.kubectl("delete", "pod", "-n", installation.NAMESPACE, leader, "--grace-period=0", "--force")
    deploy(service, digits("1", replicas=1))
    assert _leader(cluster) != leader


def test_upgrade_of_the_operator_restarts_no_model_pod(service: InferenceServiceHandle) -> None:
    deploy(service, digits("1"))
    before = service.pod_uids()
    # Another image for servers is what an upgrade brings; this one does not even exist.
    with installation.upgraded(service.cluster, {"server.image.tag": "next"}):
        service.cluster.kubectl("label", "infsvc", SERVICE, "-n", service.namespace, "seen-by=the-next-operator")
        time.sleep(QUIET_SECONDS)
        assert service.pod_uids() == before


def _wait_until_childless(service: InferenceServiceHandle) -> None:
    within(60, lambda: not service.children(), "all children are gone")


def _has_been_judged(status: InferenceServiceStatus) -> bool:
    return status.rollout.phase is Phase.PROGRESSING and status.analysis is not None and status.analysis.ticks > 0


def _own_writes(service: InferenceServiceHandle) -> dict[tuple[str, str], list[Manifest]]:
    """What the operator has written to each child and to the service, and when, as the API server notes it."""
    objects = [service.read(), *service.children(CHILDREN)]
    return {
        (one["kind"], one["metadata"]["name"]): [
            entry for entry in _managed_fields(service, one) if entry["manager"] == "serinus"
        ]
        for one in objects
    }


def _managed_fields(service: InferenceServiceHandle, manifest: Manifest) -> list[Manifest]:
    shown = service.cluster.kubectl(
        "get", manifest["kind"], manifest["metadata"]["name"], "-n", service.namespace,
        "-o", "json", "--show-managed-fields",
    )  # fmt: skip
    found: list[Manifest] = json.loads(shown)["metadata"]["managedFields"]
    return found


def _leader(cluster: Cluster) -> str:
    """The pod whose operator works."""
    shown = cluster.kubectl("get", "lease", "-n", installation.NAMESPACE, installation.RELEASE, "-o", "json")
    holder: str = json.loads(shown)["spec"]["holderIdentity"]
    return holder.rpartition("_")[0]


def _restart_operator(service: InferenceServiceHandle) -> None:
    kubectl = service.cluster.kubectl
    deployment = f"deployment/{installation.RELEASE}"
    kubectl("rollout", "restart", "-n", installation.NAMESPACE, deployment)
    kubectl("rollout", "status", "-n", installation.NAMESPACE, deployment, "--timeout=60s")


def _kill_operator(service: InferenceServiceHandle) -> None:
    """Kill all of the operator's processes without a chance to say goodbye."""
    service.cluster.kubectl(
        "delete", "pod", "-n", installation.NAMESPACE, "-l", "app.kubernetes.io/component=operator",
        "--grace-period=0", "--force",
    )  # fmt: skip
