"""What keeps pods from coming up, in the words of the scheduler, the API server and the autoscaler."""

from typing import Any

import pytest

from serinus.core.hindrance import Autoscaler, Hindrance, autoscaler_of, hindrance_of_deployment, hindrance_of_pod
from serinus.core.names import REVISION_LABEL
from serinus.core.observe import Children, observe
from serinus.core.projection import slim_child, slim_pod

UID = "11111111-0000-0000-0000-000000000000"
TIMES = {"lastProbeTime": None, "lastTransitionTime": "2026-03-01T03:00:00Z"}


def condition(kind: str, status: str, reason: str, message: str) -> dict[str, Any]:
    return {"type": kind, "status": status, "reason": reason, "message": message, **TIMES}


def pod(
    *conditions: dict[str, Any], name: str = "fraud-aaa-x", deleted: bool = False, claim: str | None = None
) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "risk", "labels": {REVISION_LABEL: "aaa"}}
    metadata |= {"deletionTimestamp": "t"} if deleted else {}
    source = {"emptyDir": {}} if claim is None else {"persistentVolumeClaim": {"claimName": claim, "readOnly": True}}
    spec = {"volumes": [{"name": "model", **source}, {"name": "tmp", "emptyDir": {}}]}
    return slim_pod(
        {"metadata": metadata, "spec": spec, "status": {"phase": "Pending", "conditions": list(conditions)}}
    )


def child(kind: str, *conditions: dict[str, Any]) -> dict[str, Any]:
    name = "fraud-aaa" if kind == "Deployment" else "fraud"
    metadata = {
        "name": name,
        "namespace": "risk",
        "labels": {REVISION_LABEL: "aaa"} if kind == "Deployment" else {},
        "ownerReferences": [{"uid": UID, "controller": True}],
    }
    spec: dict[str, Any] = {"template": {}, "replicas": 2}
    status = {"conditions": list(conditions)}
    return slim_child({"apiVersion": "v", "kind": kind, "metadata": metadata, "spec": spec, "status": status})


NO_ROOM = "0/3 nodes are available: 1 node(s) had untolerated taint(s), 2 Insufficient cpu. preemption: not helpful."
NO_CLAIM = '0/1 nodes are available: persistentvolumeclaim "shared-cache" not found. not found'
UNBOUND_CLAIM = "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims. not found"
UNSCHEDULABLE = condition("PodScheduled", "False", "Unschedulable", NO_ROOM)

PODS = {
    "without_a_room": (pod(UNSCHEDULABLE), "Unschedulable", NO_ROOM, "ask for less in spec.resources.requests"),
    "without_its_claim": (
        pod(condition("PodScheduled", "False", "Unschedulable", NO_CLAIM)),
        "Unschedulable",
        'persistentvolumeclaim "shared-cache" not found',
        "those whose admission policy adds it",
    ),
    "without_a_volume_for_its_claim": (
        pod(condition("PodScheduled", "False", "Unschedulable", UNBOUND_CLAIM)),
        "Unschedulable",
        "unbound immediate PersistentVolumeClaims",
        "those whose admission policy adds it",
    ),
    "gated": (
        pod(condition("PodScheduled", "False", "SchedulingGated", "Scheduling is blocked due to non-empty gates")),
        "SchedulingGated",
        "non-empty gates",
        "once its spec.schedulingGates are lifted",
    ),
    "failed_by_the_scheduler": (
        pod(condition("PodScheduled", "False", "SchedulerError", 'nodeinfo not found for node name "a"')),
        "SchedulerError",
        "nodeinfo not found",
        "ask those who run it",
    ),
    "on_a_node": (pod({"type": "PodScheduled", "status": "True", **TIMES}), None, "", ""),
    "not_looked_at_yet": (pod(), None, "", ""),
    "on_a_node_and_not_ready": (
        pod(
            {"type": "PodScheduled", "status": "True", **TIMES},
            condition("Ready", "False", "ContainersNotReady", "containers with unready status: [server]"),
        ),
        None,
        "",
        "",
    ),
}


@pytest.mark.parametrize(("found", "reason", "words", "advice"), PODS.values(), ids=PODS.keys())
def test_pods_without_a_node(found: dict[str, Any], reason: str | None, words: str, advice: str) -> None:
    hindrance = hindrance_of_pod(found)
    if reason is None:
        assert hindrance is None
        return
    assert hindrance is not None
    assert (hindrance.subject, hindrance.reason) == ("Pod fraud-aaa-x", reason)
    assert words in hindrance.message
    assert advice in hindrance.advice


CLAIMS = {
    "not_there": (
        'persistentvolumeclaim "models" not found. not found',
        "ClaimNotFound",
        "Create the PersistentVolumeClaim models, or correct spec.model.uri",
    ),
    "of_an_admission_policy_not_there": (
        'persistentvolumeclaim "shared-cache" not found. not found',
        "Unschedulable",
        "those whose admission policy adds it",
    ),
    "going": (
        'persistentvolumeclaim "models" is being deleted. not found',
        "ClaimBeingDeleted",
        "have the model on another claim",
    ),
    "lost": (
        'persistentvolumeclaim "models" bound to non-existent persistentvolume "pv-1"',
        "ClaimLost",
        "The volume of the PersistentVolumeClaim models is gone",
    ),
    "lost_while_scheduling": (
        "1 node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s).",
        "ClaimLost",
        "The volume of the PersistentVolumeClaim models is gone",
    ),
    "not_bound": (
        "pod has unbound immediate PersistentVolumeClaims. not found",
        "ClaimNotBound",
        "`kubectl describe pvc -n risk models` says why: no StorageClass",
    ),
    "without_a_volume": (
        "1 node(s) didn't find available persistent volumes to bind. preemption: not helpful",
        "ClaimNotBound",
        "`kubectl describe pvc -n risk models` says why",
    ),
    "for_one_pod": (
        "1 node(s) unavailable due to PersistentVolumeClaim with ReadWriteOncePod access mode already in-use by "
        "another pod.",
        "ClaimInUse",
        "one for many, ReadOnlyMany or ReadWriteMany",
    ),
    "on_other_nodes": (
        "1 Insufficient cpu, 2 node(s) didn't match PersistentVolume's node affinity.",
        "ClaimOnOtherNodes",
        "a claim that more nodes reach, ReadOnlyMany or ReadWriteMany",
    ),
    "on_other_nodes_in_older_words": (
        "1 Insufficient cpu, 2 node(s) had volume node affinity conflict.",
        "ClaimOnOtherNodes",
        "a claim that more nodes reach",
    ),
    "well_but_no_room": ("3 Insufficient cpu.", "Unschedulable", "ask for less in spec.resources.requests"),
}


@pytest.mark.parametrize(("words", "reason", "advice"), CLAIMS.values(), ids=CLAIMS.keys())
def test_pods_whose_model_is_on_a_claim(words: str, reason: str, advice: str) -> None:
    message = f"0/3 nodes are available: {words}"
    hindrance = hindrance_of_pod(pod(condition("PodScheduled", "False", "Unschedulable", message), claim="models"))
    assert hindrance is not None
    assert (hindrance.subject, hindrance.reason, hindrance.message) == ("Pod fraud-aaa-x", reason, message)
    assert advice in hindrance.advice
    assert "{" not in hindrance.advice


def test_a_claim_that_was_not_bound_in_time() -> None:
    """The scheduler had a node, and gave the volume up."""
    message = 'running PreBind plugin "VolumeBinding": binding volumes: context deadline exceeded'
    hindrance = hindrance_of_pod(pod(condition("PodScheduled", "False", "SchedulerError", message), claim="models"))
    assert hindrance is not None
    assert hindrance.reason == "ClaimNotBound"


def refused(message: str, reason: str = "FailedCreate") -> dict[str, Any]:
    return child("Deployment", condition("ReplicaFailure", "True", reason, message))


FORBIDDEN = 'pods "fraud-aaa-5d-x2k" is forbidden: '
DEPLOYMENTS = {
    "quota_full": (
        refused(f"{FORBIDDEN}exceeded quota: team, requested: limits.cpu=1, used: limits.cpu=8, limited: limits.cpu=8"),
        "QuotaExceeded",
        "exceeded quota: team, requested: limits.cpu=1",
        "Have the ResourceQuota of the namespace raised",
    ),
    "pod_security": (
        refused(f'{FORBIDDEN}violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false'),
        "PodSecurityViolation",
        'violates PodSecurity "restricted:latest"',
        "the namespace's labels or an admission policy ask for more",
    ),
    "no_service_account": (
        refused(f'{FORBIDDEN}error looking up service account risk/default: serviceaccount "default" not found'),
        "ServiceAccountMissing",
        'serviceaccount "default" not found',
        "create it again",
    ),
    "namespace_going": (
        refused(f"{FORBIDDEN}unable to create new content in namespace risk because it is being terminated"),
        "NamespaceTerminating",
        "because it is being terminated",
        "Nothing is created in a namespace that is going",
    ),
    "a_webhook": (
        refused('admission webhook "policy.example" denied the request: no owner label'),
        "FailedCreate",
        "no owner label",
        "ask those who set the rules of the namespace",
    ),
}


@pytest.mark.parametrize(("found", "reason", "words", "advice"), DEPLOYMENTS.values(), ids=DEPLOYMENTS.keys())
def test_pods_that_are_not_created(found: dict[str, Any], reason: str, words: str, advice: str) -> None:
    hindrance = hindrance_of_deployment(found)
    assert hindrance is not None
    assert (hindrance.subject, hindrance.reason) == ("Deployment fraud-aaa", reason)
    assert words in hindrance.message
    assert advice in hindrance.advice


@pytest.mark.parametrize(
    "found",
    [
        child("Deployment"),
        child("Deployment", condition("Available", "False", "MinimumReplicasUnavailable", "no minimum availability")),
        child("Deployment", condition("Progressing", "False", "ProgressDeadlineExceeded", "has timed out")),
        child("Deployment", condition("ReplicaFailure", "False", "", "")),
    ],
)
def test_deployments_whose_pods_are_created(found: dict[str, Any]) -> None:
    assert hindrance_of_deployment(found) is None


ABLE = condition("AbleToScale", "True", "SucceededGetScale", "the HPA controller was able to get the target's scale")
NO_METRICS = condition(
    "ScalingActive",
    "False",
    "FailedGetResourceMetric",
    "the HPA was unable to compute the replica count: failed to get cpu utilization: unable to get metrics for "
    "resource cpu: unable to fetch metrics from resource metrics API: the server could not find the requested resource",
)
AUTOSCALERS = {
    "new": ((), None, False, ""),
    "not_asked_for_metrics_yet": ((ABLE,), None, False, ""),
    "well": (
        (ABLE, condition("ScalingActive", "True", "ValidMetricFound", "the HPA was able to calculate a replica count")),
        None,
        True,
        "",
    ),
    "without_metrics": ((ABLE, NO_METRICS), "FailedGetResourceMetric", True, "metrics-server"),
    "without_a_metrics_adapter": (
        (ABLE, condition("ScalingActive", "False", "FailedGetPodsMetric", "unable to get metric")),
        "FailedGetPodsMetric",
        True,
        "ask the platform team for a metrics adapter",
    ),
    "without_a_target": (
        (condition("AbleToScale", "False", "FailedGetScale", 'deployments.apps "fraud-aaa" not found'),),
        "FailedGetScale",
        True,
        "cannot read the Deployment",
    ),
    "that_may_not_write": (
        (condition("AbleToScale", "False", "FailedUpdateScale", "forbidden"),),
        "FailedUpdateScale",
        True,
        "cannot write to the Deployment",
    ),
}


@pytest.mark.parametrize(("said", "reason", "known", "advice"), AUTOSCALERS.values(), ids=AUTOSCALERS.keys())
def test_autoscalers(said: tuple[dict[str, Any], ...], reason: str | None, known: bool, advice: str) -> None:
    autoscaler = autoscaler_of(child("HorizontalPodAutoscaler", *said))
    assert autoscaler.is_known or reason is None
    assert reason is not None or autoscaler == Autoscaler(is_known=known)
    if reason is not None:
        assert autoscaler.fault is not None
        assert (autoscaler.fault.subject, autoscaler.fault.reason) == ("HorizontalPodAutoscaler fraud", reason)
        assert advice in autoscaler.fault.advice


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        pytest.param([], None, id="it has not looked yet"),
        pytest.param(["Resource", "Pods"], None, id="both"),
        pytest.param(
            ["Resource", ""],
            "HorizontalPodAutoscaler fraud: FailedGetPodsMetric: it has no value of serinus_in_flight_requests, so "
            "that it adds pods by its other target, and takes none away. spec.autoscaling.targets.inFlightRequests "
            "needs the metric serinus_in_flight_requests under custom.metrics.k8s.io: ask the platform team for a "
            "metrics adapter, such as prometheus-adapter; or leave it out.",
            id="no metrics adapter",
        ),
        pytest.param(
            ["", "Pods"],
            "HorizontalPodAutoscaler fraud: FailedGetResourceMetric: it has no value of the CPU use of the pods, so "
            "that it adds pods by its other target, and takes none away. CPU use is known where metrics-server runs "
            "and pods are ready: `kubectl top pods` shows whether it is.",
            id="no metrics-server",
        ),
        pytest.param(["", ""], None, id="neither, which its conditions tell"),
    ],
)
def test_autoscalers_that_have_one_of_two_metrics(found: list[str], expected: str | None) -> None:
    active = condition("ScalingActive", "True", "ValidMetricFound", "")
    autoscaler = child("HorizontalPodAutoscaler", ABLE, active)
    autoscaler["spec"] = {"metrics": [{"type": "Resource"}, {"type": "Pods"}]}
    autoscaler["status"]["currentMetrics"] = [{"type": kind} for kind in found]
    fault = autoscaler_of(autoscaler).fault
    assert (str(fault) if fault else None) == expected


SYNC_FAILED = condition(
    "DisruptionAllowed", "False", "SyncFailed", "jobs.batch does not implement the scale subresource"
)
TOO_FEW = condition("DisruptionAllowed", "False", "InsufficientPods", "")
ENOUGH = condition("DisruptionAllowed", "True", "SufficientPods", "")


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        pytest.param((), None, id="new"),
        pytest.param((ENOUGH,), None, id="enough pods are ready"),
        pytest.param((TOO_FEW,), None, id="too few pods are ready"),
        pytest.param(
            (SYNC_FAILED,),
            "PodDisruptionBudget fraud: SyncFailed: jobs.batch does not implement the scale subresource. Until that is "
            "put right no pod of the service can be evicted, so that drains of its nodes wait. Take its labels off "
            "pods that it did not make: kubectl get pods -n risk -l serinus.dev/inferenceservice=fraud",
            id="it cannot be worked out",
        ),
    ],
)
def test_disruption_budgets(said: tuple[dict[str, Any], ...], expected: str | None) -> None:
    found = observe(UID, Children(disruption_budgets=(child("PodDisruptionBudget", *said),)))
    assert (str(found.eviction_hindrance) if found.eviction_hindrance else None) == expected
    foreign = observe("other", Children(disruption_budgets=(child("PodDisruptionBudget", *said),)))
    assert foreign.eviction_hindrance is None


def test_a_message_says_cause_object_and_next_step() -> None:
    assert str(Hindrance("Pod fraud-x", "Unschedulable", "0/1 nodes are available.", "Add nodes.")) == (
        "Pod fraud-x: Unschedulable: 0/1 nodes are available. Add nodes."
    )


@pytest.mark.parametrize(
    ("children", "subject"),
    [
        pytest.param(Children(pods=(pod(UNSCHEDULABLE),)), "Pod fraud-aaa-x", id="the pod"),
        pytest.param(
            Children(pods=(pod(UNSCHEDULABLE, name="fraud-b"), pod(UNSCHEDULABLE, name="fraud-a"))),
            "Pod fraud-a",
            id="the first of several pods",
        ),
        pytest.param(
            Children(pods=(pod(UNSCHEDULABLE),), deployments=(refused(f"{FORBIDDEN}exceeded quota: q"),)),
            "Deployment fraud-aaa",
            id="pods that are not even created first",
        ),
        pytest.param(Children(pods=(pod(UNSCHEDULABLE, deleted=True),)), None, id="not a pod that is going"),
        pytest.param(Children(pods=(pod(),)), None, id="nothing"),
    ],
)
def test_what_holds_a_revision_up(children: Children, subject: str | None) -> None:
    hindrance = observe(UID, children).hindrances.get("aaa")
    assert (hindrance.subject if hindrance else None) == subject


def test_only_the_services_own_autoscaler_counts() -> None:
    autoscaler = child("HorizontalPodAutoscaler", ABLE, NO_METRICS)
    assert observe(UID, Children(autoscalers=(autoscaler,))).autoscaler == autoscaler_of(autoscaler)
    assert observe("other", Children(autoscalers=(autoscaler,))).autoscaler is None
    labelled = {**autoscaler, "metadata": {**autoscaler["metadata"], "labels": {REVISION_LABEL: "b0b"}}}
    assert observe(UID, Children(autoscalers=(labelled,))).autoscaler is None, "that of a canary"
