"""The reconciler in a namespace of a real API server, with a clock and metrics that the test sets."""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from kubernetes import client

from serinus.adapters.kube import KubernetesApi
from serinus.api.status import InferenceServiceStatus, Phase
from serinus.config import Settings
from serinus.core.names import SERVICE_LABEL
from serinus.core.observe import Children
from serinus.core.projection import slim_child, slim_pod, slim_service
from serinus.ports import MetricsQuery, MetricsSample, RevisionSample
from serinus.reconciler import Reconciler, Result
from tests.contract import api
from tests.contract.manifests import SMALLEST, Manifest, changed

NAME: Final = SMALLEST["metadata"]["name"]
SETTINGS: Final = Settings.model_validate(
    {"server": {"image": "serinus-server:1"}, "prometheus": {"url": "http://127.0.0.1:1"}}
)
MOST_VISITS: Final = 200
SETTLED_WITHIN: Final = 10

_COLLECTIONS: Final[Mapping[str, tuple[str, str]]] = {
    "ConfigMap": ("v1", "configmaps"),
    "Deployment": ("apps/v1", "deployments"),
    "ControllerRevision": ("apps/v1", "controllerrevisions"),
    "Service": ("v1", "services"),
    "HorizontalPodAutoscaler": ("autoscaling/v2", "horizontalpodautoscalers"),
    "PodDisruptionBudget": ("policy/v1", "poddisruptionbudgets"),
    "Pod": ("v1", "pods"),
}


def traffic(requests: int, errors: int = 0) -> RevisionSample:
    """What one look sees of a revision."""
    return RevisionSample(requests=requests, errors=errors, timed=requests - errors)


@dataclass
class ScriptedMetrics:
    """`ports.Metrics` that says what the test wants."""

    canary: RevisionSample = field(default_factory=lambda: traffic(200))
    stable: RevisionSample = field(default_factory=lambda: traffic(1000))
    error: Exception | None = None

    def sample(self, query: MetricsQuery) -> MetricsSample | None:
        """See `ports.Metrics.sample`."""
        if self.error is not None:
            raise self.error
        stable, canary = query.ready_pods
        return MetricsSample(until=query.now, revisions={stable: self.stable, canary: self.canary})


@dataclass
class RecordedEvents:
    """`ports.Recorder` that keeps what it was told."""

    events: list[tuple[str, str, str]] = field(default_factory=list)

    def event(self, manifest: Manifest, severity: str, reason: str, message: str) -> None:  # noqa: ARG002
        """See `ports.Recorder.event`."""
        self.events.append((severity, reason, message))

    @property
    def reasons(self) -> list[str]:
        """The reasons, in order."""
        return [reason for _, reason, _ in self.events]


class RecordingClient(client.ApiClient):  # type: ignore[misc]
    """A client that keeps what it has sent, as `VERB path`."""

    def __init__(self, configuration: client.Configuration) -> None:
        super().__init__(configuration)
        self.requests: list[str] = []

    def call_api(self, method: str, url: str, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - the client's signature
        """Send a request."""
        self.requests.append(f"{method} {url.removeprefix(self.configuration.host).partition('?')[0]}")
        return super().call_api(method, url, *args, **kwargs)


class World:
    """One namespace, and an operator's reconciler that is called by hand."""

    def __init__(self, server: client.ApiClient, namespace: str) -> None:
        self.server = server
        self.namespace = namespace
        self.now = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
        self.metrics = ScriptedMetrics()
        self.recorder = RecordedEvents()
        self.client = RecordingClient(server.configuration)
        self.kube = KubernetesApi(self.client)
        self.reconciler = Reconciler(self.kube, self.metrics, self.recorder, SETTINGS, lambda: self.now)

    # What users do.

    def manifest(self, changes: dict[str, Any] | None = None) -> Manifest:
        """The smallest InferenceService, in this namespace, with changes made."""
        return changed(SMALLEST, {"metadata.namespace": self.namespace, **(changes or {})})

    def create(self, changes: dict[str, Any] | None = None) -> Manifest:
        """Create an InferenceService."""
        return api.create(self.server, self.manifest(changes))

    def edit(self, changes: dict[str, Any], name: str = NAME) -> Manifest:
        """Change values of an InferenceService by dotted path."""
        return api.patch(self.server, self.manifest({"metadata.name": name}), changed({}, changes))

    def service(self, name: str = NAME) -> Manifest:
        """The InferenceService as it is stored."""
        return api.read(self.server, self.manifest({"metadata.name": name}))

    def status(self, name: str = NAME) -> InferenceServiceStatus:
        """Its status."""
        return InferenceServiceStatus.model_validate(self.service(name)["status"])

    def condition(self, kind: str, name: str = NAME) -> Manifest:
        """One of its conditions; empty where it has none of this type."""
        conditions = self.service(name)["status"].get("conditions", [])
        return next((one for one in conditions if one["type"] == kind), {})

    # What the cluster does.

    def objects(self, kind: str, name: str | None = NAME) -> list[Manifest]:
        """The objects of a kind that carry the label of a service; with None all of the namespace."""
        version, plural = _COLLECTIONS[kind]
        root = "apis" if "/" in version else "api"
        query = {"labelSelector": f"{SERVICE_LABEL}={name}"} if name else {}
        found = api.send(self.server, "GET", f"/{root}/{version}/namespaces/{self.namespace}/{plural}", query=query)
        return [{"apiVersion": version, "kind": kind, **one} for one in found["items"]]

    def owned(self, name: str = NAME) -> Iterator[Manifest]:
        """All objects that the operator made for a service."""
        for kind in _COLLECTIONS:
            if kind != "Pod":
                yield from self.objects(kind, name)

    def only(self, kind: str) -> Manifest:
        """The one object of a kind."""
        [found] = self.objects(kind)
        return found

    def children(self, name: str = NAME) -> Children:
        """What the operator's watches would hold."""

        def slim(kind: str) -> tuple[Manifest, ...]:
            return tuple(slim_child(one) for one in self.objects(kind, name))

        return Children(
            config_maps=slim("ConfigMap"),
            deployments=slim("Deployment"),
            controller_revisions=slim("ControllerRevision"),
            services=slim("Service"),
            autoscalers=slim("HorizontalPodAutoscaler"),
            disruption_budgets=slim("PodDisruptionBudget"),
            pods=tuple(slim_pod(one) for one in self.objects("Pod", name)),
        )

    def make_ready(self, name: str = NAME) -> None:
        """Let the pods of all Deployments become ready."""
        for deployment in self.objects("Deployment", name):
            replicas = deployment["spec"]["replicas"]
            if deployment.get("status", {}).get("readyReplicas", 0) != replicas:
                counts = dict.fromkeys(("replicas", "readyReplicas", "availableReplicas", "updatedReplicas"), replicas)
                api.patch(self.server, deployment, {"status": counts}, part="status")

    def versions(self, name: str = NAME) -> dict[str, str]:
        """The resource versions of a service and of all that was made for it."""
        objects = [self.service(name), *self.owned(name)]
        return {f"{one['kind']} {one['metadata']['name']}": one["metadata"]["resourceVersion"] for one in objects}

    # What the operator does.

    def visit(self, name: str = NAME) -> Result:
        """Have the service reconciled once, as it is now. What the reconciler is given is never changed by it."""
        service, children = slim_service(self.service(name)), self.children(name)
        before = copy.deepcopy((service, children))
        try:
            return self.reconciler.reconcile(service, children)
        finally:
            assert (service, children) == before, "the reconciler has changed its input"

    def requests_of_a_visit(self, name: str = NAME) -> list[str]:
        """Have the service reconciled once; what the operator sent meanwhile."""
        before = len(self.client.requests)
        self.visit(name)
        return self.client.requests[before:]

    def settle(self, name: str = NAME) -> None:
        """Have the service reconciled until nothing is left to do at this time."""
        for _ in range(SETTLED_WITHIN):
            if not self.requests_of_a_visit(name):
                return
        raise AssertionError(
            f"after {SETTLED_WITHIN} visits there is still something to do: {self.client.requests[-9:]}"
        )

    def deploy(self, changes: dict[str, Any] | None = None) -> Manifest:
        """Create a service, and let it come to serve."""
        created = self.create(changes)
        name = created["metadata"]["name"]
        self.run_until(Phase.STABLE, name=name)
        return created

    def run_until(self, *phases: Phase, name: str = NAME) -> InferenceServiceStatus:
        """Let time pass and pods become ready, until the rollout is in one of the phases."""
        for _ in range(MOST_VISITS):
            self.make_ready(name)
            before = len(self.client.requests)
            result = self.visit(name)
            status = self.status(name)
            is_still = len(self.client.requests) == before
            if status.rollout.phase in phases and is_still:
                return status
            if is_still:
                assert result.again_after is not None, f"nothing goes on in phase {status.rollout.phase}"
                self.now += max(result.again_after, timedelta(seconds=1))
        raise AssertionError(f"{MOST_VISITS} visits lead to phase {self.status(name).rollout.phase}")
