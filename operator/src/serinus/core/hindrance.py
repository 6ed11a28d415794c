"""What keeps pods from coming up though no container of theirs has failed: it may pass without a change of the spec."""

from dataclasses import dataclass
from typing import Final

from serinus.core import names
from serinus.ports import Manifest


@dataclass(frozen=True, slots=True)
class Hindrance:
    """The cause in one word and in the words of whoever found it, the object that it befell, and what to do."""

    subject: str
    """Kind and name, such as `Pod fraud-x`."""
    reason: str
    message: str
    advice: str

    def __str__(self) -> str:
        return f"{self.subject}: {self.reason}: {self.message.rstrip('.')}. {self.advice}"


_NO_NODE_ADVICE: Final = {
    "Unschedulable": (
        "The scheduler goes on trying: ask for less in spec.resources.requests, or have nodes with room added."
    ),
    "SchedulingGated": "It is scheduled once its spec.schedulingGates are lifted, by whoever puts them on pods here.",
}
_UNBOUND_ADVICE: Final = (
    "No volume is bound to the PersistentVolumeClaim {claim}; `kubectl describe pvc -n {namespace} {claim}` says why: "
    "no StorageClass, no volume that fits, or a provisioner that fails."
)
_OTHER_NODES_ADVICE: Final = (
    "The volume of the PersistentVolumeClaim {claim} is on some nodes alone, and they have no room: make some, or have "
    "the model on a claim that more nodes reach, ReadOnlyMany or ReadWriteMany."
)
_NO_CLAIM_ADVICE: Final = (
    "The volume is no part of the service: ask those whose admission policy adds it to its pods for the claim."
)
CLAIM_FAULTS: Final = (
    (
        'persistentvolumeclaim "{claim}" not found',
        "ClaimNotFound",
        "Create the PersistentVolumeClaim {claim}, or correct spec.model.uri; once it is there the pods start.",
    ),
    (
        'persistentvolumeclaim "{claim}" is being deleted',
        "ClaimBeingDeleted",
        "It goes as soon as no pod uses it: have the model on another claim, and name that in spec.model.uri.",
    ),
    (
        "bound to non-existent",
        "ClaimLost",
        "The volume of the PersistentVolumeClaim {claim} is gone: have the model on another claim.",
    ),
    ("unbound immediate PersistentVolumeClaims", "ClaimNotBound", _UNBOUND_ADVICE),
    ("didn't find available persistent volumes to bind", "ClaimNotBound", _UNBOUND_ADVICE),
    ("binding volumes:", "ClaimNotBound", _UNBOUND_ADVICE),
    (
        "access mode already in-use by another pod",
        "ClaimInUse",
        "The PersistentVolumeClaim {claim} is for one pod at a time: have the model on one for many, ReadOnlyMany or "
        "ReadWriteMany.",
    ),
    ("PersistentVolume's node affinity", "ClaimOnOtherNodes", _OTHER_NODES_ADVICE),
    ("volume node affinity conflict", "ClaimOnOtherNodes", _OTHER_NODES_ADVICE),
)
"""What the scheduler says of the claim that the model is on, the word for it, and what to do."""

_OTHER_NO_NODE_ADVICE: Final = "The scheduler goes on trying; ask those who run it."

_REFUSALS: Final = (
    ("because it is being terminated", "NamespaceTerminating", "Nothing is created in a namespace that is going."),
    (
        "exceeded quota",
        "QuotaExceeded",
        "Have the ResourceQuota of the namespace raised, or ask for less in spec.resources or spec.autoscaling.",
    ),
    (
        "violates PodSecurity",
        "PodSecurityViolation",
        "The pods keep to the level restricted; the namespace's labels or an admission policy ask for more.",
    ),
    (
        "error looking up service account",
        "ServiceAccountMissing",
        "The pods use the ServiceAccount default of the namespace; create it again.",
    ),
)
"""What the API server says to a pod that it refuses, the word for it, and what to do."""

_OTHER_REFUSAL_ADVICE: Final = "The API server refuses the pods; ask those who set the rules of the namespace."


def hindrance_of_pod(pod: Manifest) -> Hindrance | None:
    """Why `pod` has no node; None for one that has, or that no scheduler has looked at yet."""
    for condition in pod.get("status", {}).get("conditions", ()):
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            message = condition.get("message", "it has no node")
            reason, advice = _fault_of_claim(pod, message) or _no_node(condition, message)
            return Hindrance(f"Pod {pod['metadata']['name']}", reason, message, advice)
    return None


def _fault_of_claim(pod: Manifest, message: str) -> tuple[str, str] | None:
    """What is wrong with the claim that the model of `pod` is on, and what to do, if that is why it has no node."""
    volumes = pod.get("spec", {}).get("volumes", ())
    claims = [volume["persistentVolumeClaim"]["claimName"] for volume in volumes if "persistentVolumeClaim" in volume]
    if not claims:
        return None
    [claim] = claims
    for words, reason, advice in CLAIM_FAULTS:
        if words.format(claim=claim) in message:
            return reason, advice.format(claim=claim, namespace=pod["metadata"]["namespace"])
    return None


def _no_node(condition: Manifest, message: str) -> tuple[str, str]:
    reason = condition.get("reason", "Unschedulable")
    if "persistentvolumeclaim" in message.lower():
        return reason, _NO_CLAIM_ADVICE
    return reason, _NO_NODE_ADVICE.get(reason, _OTHER_NO_NODE_ADVICE)


def hindrance_of_deployment(deployment: Manifest) -> Hindrance | None:
    """Why pods of `deployment` are not even created: quota, Pod Security, a ServiceAccount that is not there."""
    for condition in deployment.get("status", {}).get("conditions", ()):
        if condition["type"] == "ReplicaFailure" and condition["status"] == "True":
            message = condition.get("message", "")
            known = ((reason, advice) for words, reason, advice in _REFUSALS if words in message)
            reason, advice = next(known, (condition.get("reason", "FailedCreate"), _OTHER_REFUSAL_ADVICE))
            return Hindrance(f"Deployment {deployment['metadata']['name']}", reason, message, advice)
    return None


def hindrance_of_budget(budget: Manifest) -> Hindrance | None:
    """Why no pod may be evicted for as long as `budget` stands as it is.

    None where that only takes more ready pods, as it does while some are being replaced.
    """
    metadata = budget["metadata"]
    for condition in budget.get("status", {}).get("conditions", ()):
        if condition["type"] == "DisruptionAllowed" and condition.get("reason") == "SyncFailed":
            advice = (
                "Until that is put right no pod of the service can be evicted, so that drains of its nodes wait. Take "
                "its labels off pods that it did not make: "
                f"kubectl get pods -n {metadata['namespace']} -l {names.SERVICE_LABEL}={metadata['name']}"
            )
            subject = f"PodDisruptionBudget {metadata['name']}"
            return Hindrance(subject, "SyncFailed", condition.get("message", ""), advice)
    return None


@dataclass(frozen=True, slots=True)
class Autoscaler:
    """What a HorizontalPodAutoscaler says of itself."""

    fault: Hindrance | None = None
    """Why it does not scale."""
    is_known: bool = True
    """Whether it has said anything yet."""


_NO_SCALING: Final = "The number of pods stays as it is. "
_NO_ADAPTER_ADVICE: Final = (
    "spec.autoscaling.targets.inFlightRequests needs the metric serinus_in_flight_requests under "
    "custom.metrics.k8s.io: ask the platform team for a metrics adapter, such as prometheus-adapter; or leave it out."
)
_AUTOSCALER_ADVICE: Final = (
    ("FailedGetScale", "The autoscaler cannot read the Deployment; see `kubectl describe hpa`."),
    ("FailedGetPodsMetric", _NO_ADAPTER_ADVICE),
    ("FailedUpdateScale", "The autoscaler cannot write to the Deployment; see `kubectl describe hpa`."),
)
_NO_METRICS_ADVICE: Final = (
    "CPU use is known where metrics-server runs and pods are ready: `kubectl top pods` shows whether it is."
)

_TARGETS: Final = {
    "Resource": ("FailedGetResourceMetric", "the CPU use of the pods", _NO_METRICS_ADVICE),
    "Pods": ("FailedGetPodsMetric", "serinus_in_flight_requests", _NO_ADAPTER_ADVICE),
}
"""By the type of a target: the reason that the autoscaler gives where it has no value for any, and what to do."""


def autoscaler_of(autoscaler: Manifest) -> Autoscaler:
    """Whether `autoscaler` scales, by its conditions AbleToScale and ScalingActive and by the metrics that it has."""
    said = {one["type"]: one for one in autoscaler.get("status", {}).get("conditions", ())}
    subject = f"HorizontalPodAutoscaler {autoscaler['metadata']['name']}"
    for name in ("AbleToScale", "ScalingActive"):
        condition = said.get(name)
        if condition is not None and condition["status"] == "False":
            reason = condition.get("reason", name)
            advice = _NO_SCALING + dict(_AUTOSCALER_ADVICE).get(reason, _NO_METRICS_ADVICE)
            return Autoscaler(Hindrance(subject, reason, condition.get("message", ""), advice))
    missing = _missing_metrics(autoscaler)
    if missing:
        reason, name, advice = _TARGETS[missing[0]]
        message = f"it has no value of {name}, so that it adds pods by its other target, and takes none away"
        return Autoscaler(Hindrance(subject, reason, message, advice))
    return Autoscaler(is_known="ScalingActive" in said)


def _missing_metrics(autoscaler: Manifest) -> list[str]:
    """The types of targets that it found no value for when it last looked, while it found one for another.

    It calls itself active then.
    """
    found = [metric["type"] for metric in autoscaler.get("status", {}).get("currentMetrics", ())]
    wanted = [metric["type"] for metric in autoscaler.get("spec", {}).get("metrics", ())]
    return [kind for kind in wanted if kind not in found] if any(found) else []
