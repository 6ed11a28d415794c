"""The observed world of one service: raw objects, read into the few facts that decisions need."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from serinus.core import names
from serinus.core.hindrance import (
    Autoscaler,
    Hindrance,
    autoscaler_of,
    hindrance_of_budget,
    hindrance_of_deployment,
    hindrance_of_pod,
)
from serinus.ports import Manifest

_WAITING_FAILURES: Final = frozenset(
    {
        "CrashLoopBackOff",
        "ImagePullBackOff",
        "ErrImageNeverPull",
        "InvalidImageName",
        "CreateContainerConfigError",
        "CreateContainerError",
        "RunContainerError",
    }
)
"""What the kubelet says of a container that it cannot start and keeps trying."""

_PERMANENT_REASONS: Final = frozenset(
    {
        "InvalidURI",
        "NotFound",
        "AccessDenied",
        "DigestMismatch",
        "TooLarge",
        "NoSpace",
        "ModelNotFound",
        "ModelLoadFailed",
        "WarmUpFailed",
        "InvalidPolicy",
        "InvalidAPIKeys",
        "InvalidCertificate",
        "VolumeNotMounted",
    }
)
"""What our own containers say when they end for a reason that another try will not change."""

_PULL_FAILURES: Final = frozenset({"ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName"})

_ASK_THE_PLATFORM: Final = "The image is the platform's choice: ask its team, with the name of the pod."

_ADVICE: Final[Mapping[str, str]] = {
    "ImagePullBackOff": _ASK_THE_PLATFORM,
    "ErrImageNeverPull": _ASK_THE_PLATFORM,
    "InvalidImageName": _ASK_THE_PLATFORM,
    "CreateContainerConfigError": (
        "See that the Secrets that spec.model.credentials and spec.server.tls name are there, the latter with tls.crt."
    ),
    "AccessDenied": "See that the Secret that spec.model.credentials names holds credentials that may read the model.",
    "NotFound": "Correct spec.model.uri, or put the model there.",
    "InvalidURI": "Correct spec.model.uri.",
    "InvalidAPIKeys": "Correct the Secret of the service's API keys; `serinus-server api-key` makes its lines.",
    "InvalidCertificate": (
        "Put a valid certificate and its key, in PEM, into the Secret that spec.server.tls names: tls.crt and tls.key."
    ),
    "ModelImageNotPulled": (
        "Correct spec.model.uri, or name in spec.model.credentials a Secret of the type kubernetes.io/dockerconfigjson "
        "that may pull it."
    ),
    "ModelImageNotMounted": (
        "The container runtime of the node has to mount images, as containerd 2.1 does: ask the platform team, or have "
        "the model elsewhere than in an image."
    ),
    "VolumeNotMounted": (
        "An API server without image volumes leaves them out; Kubernetes 1.35 has them: ask the platform team, or have "
        "the model elsewhere than in an image."
    ),
    "OOMKilled": "Raise spec.resources.limits.memory.",
}
"""What to do about a failure, by its reason."""

_ADVICE_ON_VOLUMES: Final[Mapping[str, str]] = {
    "AccessDenied": "Let all users read it on the volume, such as by chmod -R a+rX.",
    "InvalidURI": "A link in the volume has to stay within it.",
}
"""What to do about a failure to verify a model on a volume, where that differs."""

_REASON: Final = re.compile(r"[A-Z][A-Za-z0-9]{0,63}")
"""What a condition takes as its reason."""

_CONTAINER_ID: Final = re.compile(' "[0-9a-f]{64}"')
"""What differs between two failures of the same kind, of which a status should not tell as of two."""


@dataclass(frozen=True, slots=True)
class Children:
    """The objects that carry the service's label, as last seen."""

    config_maps: tuple[Manifest, ...] = ()
    deployments: tuple[Manifest, ...] = ()
    controller_revisions: tuple[Manifest, ...] = ()
    services: tuple[Manifest, ...] = ()
    autoscalers: tuple[Manifest, ...] = ()
    disruption_budgets: tuple[Manifest, ...] = ()
    routes: tuple[Manifest, ...] = ()
    pods: tuple[Manifest, ...] = ()


@dataclass(frozen=True, slots=True)
class PodFailure:
    """Why a pod of a revision does not serve."""

    pod: str
    container: str
    reason: str
    message: str

    def __str__(self) -> str:
        """The object, the cause, and what to do where the cause alone does not say it."""
        told = f"Container {self.container} of pod {self.pod}: {self.reason}: {self.message.rstrip('.')}."
        advice = _ADVICE.get(self.reason, "")
        if self.container == "verify":
            advice = _ADVICE_ON_VOLUMES.get(self.reason, advice)
        if self.reason == "CrashLoopBackOff":
            advice = f"See `kubectl logs {self.pod} -c {self.container} --previous`."
        return f"{told} {advice}".rstrip()


@dataclass(frozen=True, slots=True)
class Workload:
    """A revision's Deployment."""

    replicas: int
    ready: int


@dataclass(frozen=True, slots=True)
class Route:
    """The HTTPRoute of a service."""

    weights: Mapping[str, int]
    """By revision."""
    accepted: bool
    """Whether a Gateway has accepted it as it is now."""
    refusal: str = ""
    """Why a Gateway does not, in its own words."""


@dataclass(frozen=True, slots=True)
class Observed:
    """What is there, by revision."""

    workloads: Mapping[str, Workload] = field(default_factory=dict)
    failures: Mapping[str, PodFailure] = field(default_factory=dict)
    """The first failure of each revision that has one."""
    hindrances: Mapping[str, Hindrance] = field(default_factory=dict)
    """What keeps pods of a revision from coming up, of each that something does."""
    autoscaler: Autoscaler | None = None
    eviction_hindrance: Hindrance | None = None
    """Why none of the pods may be evicted."""
    pinned: Mapping[str, Manifest] = field(default_factory=dict)
    """Pod templates kept in ControllerRevisions."""
    running: Mapping[str, Manifest] = field(default_factory=dict)
    """Pod templates of the Deployments, with what the API server and others have added to them."""
    history: Mapping[str, int] = field(default_factory=dict)
    """Number of each revision that has a ControllerRevision; the greatest is the newest."""
    traffic_to: str | None = None
    """The one revision that the Service selects; None while it selects all, or is not there."""
    route: Route | None = None

    def ready(self, revision: str | None) -> int:
        """Ready pods of `revision`."""
        workload = self.workloads.get(revision or "")
        return workload.ready if workload else 0

    def replicas(self, revision: str | None) -> int:
        """Pods that `revision` is scaled to."""
        workload = self.workloads.get(revision or "")
        return workload.replicas if workload else 0


def observe(owner_uid: str, children: Children) -> Observed:
    """Read the facts out of `children`; objects with another owner do not count."""
    deployments = _by_revision(owner_uid, children.deployments)
    revisions = _by_revision(owner_uid, children.controller_revisions)
    budgets = [one for one in children.disruption_budgets if is_owned(one, owner_uid)]
    return Observed(
        workloads={name: _workload(deployment) for name, deployment in deployments.items()},
        failures=_failures(children.pods),
        hindrances=_hindrances(deployments, children.pods),
        autoscaler=next((autoscaler_of(one) for one in children.autoscalers if _scales_stable(one, owner_uid)), None),
        eviction_hindrance=next(filter(None, map(hindrance_of_budget, budgets)), None),
        pinned={name: revision["data"]["template"] for name, revision in revisions.items()},
        running={name: deployment["spec"]["template"] for name, deployment in deployments.items()},
        history={name: revision["revision"] for name, revision in revisions.items()},
        traffic_to=_traffic_to(service for service in children.services if is_owned(service, owner_uid)),
        route=next((_route(route) for route in children.routes if is_owned(route, owner_uid)), None),
    )


def is_owned(manifest: Manifest, owner_uid: str) -> bool:
    """Whether the object's controller is the service with `owner_uid`."""
    owners = manifest["metadata"].get("ownerReferences", ())
    return any(owner.get("controller") and owner["uid"] == owner_uid for owner in owners)


def revision_label(manifest: Manifest) -> str:
    """The revision that an object belongs to; empty for one that belongs to the service as a whole."""
    return str(manifest["metadata"].get("labels", {}).get(names.REVISION_LABEL, ""))


def _scales_stable(autoscaler: Manifest, owner_uid: str) -> bool:
    """Whether it is the service's own autoscaler, and not that of a canary."""
    return is_owned(autoscaler, owner_uid) and not revision_label(autoscaler)


def _by_revision(owner_uid: str, manifests: Iterable[Manifest]) -> dict[str, Manifest]:
    return {revision_label(manifest): manifest for manifest in manifests if is_owned(manifest, owner_uid)}


def _workload(deployment: Manifest) -> Workload:
    status = deployment.get("status", {})
    return Workload(replicas=deployment["spec"].get("replicas", 1), ready=status.get("readyReplicas", 0))


def _traffic_to(services: Iterable[Manifest]) -> str | None:
    for service in services:
        if revision_label(service):
            continue  # of one revision, for a route to send to
        revision = service["spec"].get("selector", {}).get(names.REVISION_LABEL)
        return str(revision) if revision else None
    return None


def _route(route: Manifest) -> Route:
    backends = [backend for rule in route["spec"].get("rules", ()) for backend in rule.get("backendRefs", ())]
    service = route["metadata"]["name"]
    weights = {
        str(backend["name"]).removeprefix(names.workload_name(service, "")): backend.get("weight", 1)
        for backend in backends
    }
    conditions = [
        condition
        for parent in route.get("status", {}).get("parents", ())
        for condition in parent.get("conditions", ())
        if condition.get("observedGeneration") == route["metadata"].get("generation")
    ]
    refusals = [
        f"{condition['reason']}: {condition.get('message', '')}"
        for condition in conditions
        if condition["type"] in ("Accepted", "ResolvedRefs") and condition["status"] != "True"
    ]
    accepted = any(condition["type"] == "Accepted" and condition["status"] == "True" for condition in conditions)
    return Route(weights, accepted and not refusals, "; ".join(refusals))


def _failures(pods: Iterable[Manifest]) -> dict[str, PodFailure]:
    failures: dict[str, PodFailure] = {}
    for pod in _staying(pods):
        failure = pod_failure(pod)
        if failure is not None:
            failures.setdefault(revision_label(pod), failure)
    return failures


def _hindrances(deployments: Mapping[str, Manifest], pods: Iterable[Manifest]) -> dict[str, Hindrance]:
    """Pods that are not created come before pods that wait: there are more of them to come."""
    found: dict[str, Hindrance] = {}
    for revision, deployment in deployments.items():
        hindrance = hindrance_of_deployment(deployment)
        if hindrance is not None:
            found[revision] = hindrance
    for pod in _staying(pods):
        hindrance = hindrance_of_pod(pod)
        if hindrance is not None:
            found.setdefault(revision_label(pod), hindrance)
    return found


def _staying(pods: Iterable[Manifest]) -> list[Manifest]:
    """The pods that are not being deleted, by name."""
    staying = (pod for pod in pods if "deletionTimestamp" not in pod["metadata"])
    return sorted(staying, key=lambda pod: str(pod["metadata"]["name"]))


def pod_failure(pod: Manifest) -> PodFailure | None:
    """Why `pod` does not and will not serve; None for one that serves, or is still on its way."""
    status = pod.get("status", {})
    for container in (*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())):
        failure = _container_failure(str(pod["metadata"]["name"]), container)
        if failure is not None:
            return _of_the_model_image(pod, failure)
    return None


def _of_the_model_image(pod: Manifest, failure: PodFailure) -> PodFailure:
    """The failure, by another word if it is that of the image that the model is in and not of the server's."""
    volumes = pod.get("spec", {}).get("volumes", ())
    images = [volume["image"]["reference"] for volume in volumes if "image" in volume]
    told = f"{failure.reason}: {failure.message}"
    if any(image in failure.message for image in images) and failure.reason in _PULL_FAILURES:
        return replace(failure, reason="ModelImageNotPulled", message=told)
    if images and failure.reason == "CreateContainerError":
        return replace(failure, reason="ModelImageNotMounted", message=told)
    return failure


def _container_failure(pod: str, container: Manifest) -> PodFailure | None:
    state = container.get("state", {})
    if container.get("ready") and "running" in state:
        return None
    waiting = state.get("waiting", {})
    ended = state.get("terminated") or container.get("lastState", {}).get("terminated") or {}
    own_reason, _, own_message = str(ended.get("message", "")).strip().partition(": ")
    told = _REASON.fullmatch(own_reason) is not None and bool(own_message)
    name = str(container["name"])
    if ended.get("exitCode", 0) != 0 and told and own_reason in _PERMANENT_REASONS:
        return PodFailure(pod, name, own_reason, own_message)
    if ended.get("reason") == "OOMKilled":
        return PodFailure(pod, name, "OOMKilled", "killed for using more memory than its limit")
    if waiting.get("reason") not in _WAITING_FAILURES:
        return None
    if waiting["reason"] == "CrashLoopBackOff" and ended:
        reason = own_reason if told else "CrashLoopBackOff"
        last_words = own_message if told else "its log says more"
        return PodFailure(pod, name, reason, f"exits with code {ended.get('exitCode')} again and again: {last_words}")
    return PodFailure(pod, name, waiting["reason"], _CONTAINER_ID.sub("", str(waiting.get("message", ""))))
