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
_NO_CLAIM_ADVICE: Final = (
    "The volume is no part of the service: ask those whose admission policy adds it to its pods for the claim."
)
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
            reason, message = condition.get("reason", "Unschedulable"), condition.get("message", "it has no node")
            for_a_claim = "persistentvolumeclaim" in message.lower()
            advice = _NO_CLAIM_ADVICE if for_a_claim else _NO_NODE_ADVICE.get(reason, _OTHER_NO_NODE_ADVICE)
            return Hindrance(f"Pod {pod['metadata']['name']}", reason, message, advice)
    return None


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
_AUTOSCALER_ADVICE: Final = (
    ("FailedGetScale", "The autoscaler cannot read the Deployment; see `kubectl describe hpa`."),
    (
        "FailedGetPodsMetric",
        "spec.autoscaling.targets.inFlightRequests needs the metric serinus_in_flight_requests under "
        "custom.metrics.k8s.io: ask the platform team for a metrics adapter, such as prometheus-adapter; or leave it "
        "out.",
    ),
    ("FailedUpdateScale", "The autoscaler cannot write to the Deployment; see `kubectl describe hpa`."),
)
_NO_METRICS_ADVICE: Final = (
    "CPU use is known where metrics-server runs and pods are ready: `kubectl top pods` shows whether it is."
)


def autoscaler_of(autoscaler: Manifest) -> Autoscaler:
    """Whether `autoscaler` scales, by its conditions AbleToScale and ScalingActive."""
    said = {one["type"]: one for one in autoscaler.get("status", {}).get("conditions", ())}
    for name in ("AbleToScale", "ScalingActive"):
        condition = said.get(name)
        if condition is not None and condition["status"] == "False":
            reason = condition.get("reason", name)
            advice = _NO_SCALING + dict(_AUTOSCALER_ADVICE).get(reason, _NO_METRICS_ADVICE)
            subject = f"HorizontalPodAutoscaler {autoscaler['metadata']['name']}"
            return Autoscaler(Hindrance(subject, reason, condition.get("message", ""), advice))
    return Autoscaler(is_known="ScalingActive" in said)
