"""A cluster in memory: it keeps what is applied, brings pods up, and writes down every call."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from serinus.core.names import REVISION_LABEL
from serinus.core.observe import Children
from serinus.core.projection import slim_child, slim_service
from serinus.ports import (
    ApiConflictError,
    Manifest,
    MetricsQuery,
    MetricsSample,
    MetricsUnavailableError,
    RevisionSample,
)

START = datetime(2026, 3, 1, 3, 0, tzinfo=UTC)
UID = "11111111-0000-0000-0000-000000000000"

Key = tuple[str, str]


def service_of(version: str, uid: str = UID, **spec: Any) -> Manifest:  # noqa: ANN401 - parts of a spec
    """An InferenceService as the API server keeps it."""
    model = {"uri": f"s3://models/fraud/{version}/model.onnx", "version": version}
    return {
        "apiVersion": "serinus.dev/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": "fraud", "namespace": "risk", "uid": uid, "resourceVersion": "1", "generation": 1},
        "spec": {"model": model} | spec,
        "status": {"observedGeneration": -1},
    }


class FakeCluster:
    """`ports.Kube` on a dictionary."""

    def __init__(self, service: Manifest) -> None:
        self.service = service
        self.objects: dict[Key, Manifest] = {}
        self.calls: list[str] = []
        self.failures: dict[str, Exception] = {}
        """Raised in place of the calls that begin so."""
        self.webhook: Callable[[Manifest], None] = lambda _: None
        """Changes what is applied."""
        self.unready: set[str] = set()
        """Versions of which no pod becomes ready."""
        self._version = 1
        self._around: Callable[[], object] = lambda: None

    # ports.Kube

    def apply(self, manifest: Manifest, *, force: bool, replicas: int | None = None) -> Manifest:
        with self._call(f"apply {_told(manifest)}"):
            key = manifest["kind"], manifest["metadata"]["name"]
            present = self.objects.get(key)
            if present is not None and not force:
                raise ApiConflictError(f"{_told(manifest)}: conflict with kubectl")
            merged = _merged(present or {}, manifest)
            self.webhook(merged)
            merged["metadata"].setdefault("uid", f"uid-{key[0]}-{key[1]}")
            merged["metadata"]["resourceVersion"] = self._next_version()
            if manifest["kind"] == "Deployment":
                merged["spec"].setdefault("replicas", replicas or 1)
            self.objects[key] = merged
            return copy.deepcopy(merged)

    def scale(self, namespace: str, name: str, replicas: int) -> None:
        assert namespace == self.service["metadata"]["namespace"]
        with self._call(f"scale {name} to {replicas}"):
            self.objects["Deployment", name]["spec"]["replicas"] = replicas

    def delete(self, manifest: Manifest) -> None:
        with self._call(f"delete {_told(manifest)}"):
            assert manifest["metadata"]["uid"]
            self.objects.pop((manifest["kind"], manifest["metadata"]["name"]), None)

    def write_status(self, manifest: Manifest, status: Manifest) -> Manifest:
        with self._call("status"):
            if manifest["metadata"]["resourceVersion"] != self.service["metadata"]["resourceVersion"]:
                raise ApiConflictError("the object has been modified")
            self.service = copy.deepcopy(self.service) | {"status": copy.deepcopy(status)}
            self.service["metadata"]["resourceVersion"] = self._next_version()
            return copy.deepcopy(self.service)

    # What tests do.

    def edit(self, **parts: Any) -> None:  # noqa: ANN401 - parts of a spec
        """Change the spec, as kubectl would."""
        metadata = self.service["metadata"]
        changed = {"generation": metadata["generation"] + 1, "resourceVersion": self._next_version()}
        self.service = self.service | {"metadata": metadata | changed, "spec": self.service["spec"] | parts}

    def ask(self, version: str) -> None:
        self.edit(model=service_of(version)["spec"]["model"])

    def annotate(self, command: str) -> None:
        metadata = self.service["metadata"]
        annotations = {"annotations": {"serinus.dev/command": command}, "resourceVersion": self._next_version()}
        self.service = self.service | {"metadata": metadata | annotations}

    def bring_up_pods(self) -> None:
        for (kind, _), manifest in self.objects.items():
            if kind == "Deployment":
                version = manifest["metadata"]["labels"]["app.kubernetes.io/version"]
                ready = 0 if version in self.unready else manifest["spec"]["replicas"]
                manifest["status"] = {"readyReplicas": ready}

    def interrupt(self, before: Callable[[], object]) -> None:
        """Have `before` called before and after each write."""
        self._around = before

    def take_calls(self) -> list[str]:
        calls, self.calls = self.calls, []
        return calls

    def children(self) -> Children:
        def having(kind: str) -> tuple[Manifest, ...]:
            return tuple(slim_child(copy.deepcopy(one)) for (of, _), one in self.objects.items() if of == kind)

        return Children(
            config_maps=having("ConfigMap"),
            deployments=having("Deployment"),
            controller_revisions=having("ControllerRevision"),
            services=having("Service"),
            autoscalers=having("HorizontalPodAutoscaler"),
            disruption_budgets=having("PodDisruptionBudget"),
        )

    def seen(self) -> Manifest:
        return slim_service(copy.deepcopy(self.service))

    @property
    def status(self) -> Manifest:
        status: Manifest = self.service["status"]
        return status

    def condition(self, name: str) -> Manifest | None:
        return next((one for one in self.status["conditions"] if one["type"] == name), None)

    def revision_of(self, version: str) -> str:
        """The revision of a version that is deployed."""
        return next(
            str(one["metadata"]["labels"][REVISION_LABEL])
            for (kind, _), one in self.objects.items()
            if kind == "ControllerRevision" and one["metadata"]["labels"]["app.kubernetes.io/version"] == version
        )

    def _next_version(self) -> str:
        self._version += 1
        return str(self._version)

    @contextmanager
    def _call(self, what: str) -> Iterator[None]:
        self._around()
        for start, failure in self.failures.items():
            if what.startswith(start):
                raise failure
        self.calls.append(what)
        yield
        self._around()


def _told(manifest: Manifest) -> str:
    return f"{manifest['kind']} {manifest['metadata']['name']}"


def _merged(present: Manifest, applied: Manifest) -> Manifest:
    """What server-side apply makes of maps; lists are taken as they are."""
    merged = dict(present)
    for key, value in applied.items():
        inner = merged.get(key)
        if isinstance(value, dict) and isinstance(inner, dict) and key != "selector":
            merged[key] = _merged(inner, value)
        else:
            merged[key] = copy.deepcopy(value)
    return merged


class FakeMetrics:
    """`ports.Metrics` that tells what a test set."""

    def __init__(self) -> None:
        self.queries: list[MetricsQuery] = []
        self.failing: dict[str, float] = {}
        """Share of requests that fail, by revision."""
        self.failure: str | None = None

    def sample(self, query: MetricsQuery) -> MetricsSample | None:
        self.queries.append(query)
        if self.failure is not None:
            raise MetricsUnavailableError(self.failure)
        samples = {}
        for revision in query.ready_pods:
            errors = round(600 * self.failing.get(revision, 0))
            samples[revision] = RevisionSample(600, errors, 600 - errors)
        return MetricsSample(query.now, samples)


class FakeRecorder:
    """`ports.Recorder` that keeps what is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str, str]] = []

    def event(self, manifest: Manifest, severity: str, reason: str, message: str) -> None:
        assert manifest["kind"] == "InferenceService"
        self.told.append((severity, reason, message))

    @property
    def reasons(self) -> list[str]:
        return [reason for _, reason, _ in self.told]


class FakeClock:
    """`ports.Clock` that a test sets."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def pass_by(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)
