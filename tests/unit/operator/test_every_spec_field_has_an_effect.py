"""Each field of the spec, and what another value of it changes: a manifest, a decision, or a query."""

import copy
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Final

import pytest
from pydantic import BaseModel

from serinus.api.units import parse_duration
from serinus.api.v1beta1 import InferenceServiceSpec
from serinus.config import GatewaySettings, ServerSettings
from serinus.core.canary import first_state
from serinus.core.desired import desired
from serinus.core.identity import Identity
from serinus.core.observe import Observed
from serinus.core.revision import revision_of
from tests.unit.core import rollouts
from tests.unit.operator.test_reconciler import Bench, deployed

Spec = dict[str, Any]

SERVER: Final = ServerSettings(image="registry.example/serinus-server:1.0")
GATEWAY: Final = GatewaySettings(namespace="infra", name="shared", domain="models.example")
FRAUD: Final = Identity("risk", "fraud", "11111111-0000-0000-0000-000000000000")

BASE: Final[Spec] = {
    "model": {"uri": "s3://models/fraud/1/model.onnx", "version": "1"},
    "resources": {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "2", "memory": "2Gi"}},
    "autoscaling": {"minReplicas": 4},
    "canary": {
        "steps": [{"weightPercent": 20, "duration": "2m"}, {"weightPercent": 50, "duration": "5m"}],
        "analysis": {"interval": "30s", "latency": [{"percentile": 90, "threshold": "100ms"}], "minRequests": 100},
        "deadline": "1h",
    },
}

AUTOSCALED: Final = {"autoscaling.maxReplicas": 8}

PIPELINE: Final = {
    "model.uri": "s3://models/fraud/1/",
    "model.pipeline": [{"name": "preprocess", "file": "preprocess.onnx"}, {"name": "model", "file": "model.onnx"}],
}
TOKENS: Final = {"access.mode": "KubernetesToken"}
AUDIT: Final = {"audit.url": "http://collector.audit.svc/serinus"}
RATE: Final = {"quota.requestsPerSecond": 50}


def changed(spec: Spec, path: str, value: object) -> Spec:
    """A copy of `spec` with another value at a dotted path; in a list it is that of the first entry."""
    whole = copy.deepcopy(spec)
    inner: Any = whole
    *parents, last = path.split(".")
    for name in parents:
        inner = inner.setdefault(name, {})
        inner = inner[0] if isinstance(inner, list) else inner
    inner[last] = value
    return whole


# Where an effect shows.


def manifests(spec: Spec) -> object:
    """The children of a service that is seen for the first time.

    The revision has the same name whatever the spec, since a hash that differs is no effect on what runs.
    """
    read = InferenceServiceSpec.model_validate(spec)
    asked = replace(revision_of(read), name="0123456789")
    state = first_state(asked, rollouts.START)
    return desired(FRAUD, read, asked, state, Observed(), SERVER, GATEWAY)


def restart(spec: Spec) -> object:
    """What becomes of a service that runs the base when it is given `spec`."""
    bench = deployed(**BASE)
    bench.cluster.edit(**spec)
    bench.settle()
    return bench.phase, bench.recorder.reasons


def history(spec: Spec) -> object:
    """The revisions that are kept of many."""
    read = InferenceServiceSpec.model_validate(spec)
    asked = revision_of(read)
    observed = Observed(history={f"{number:x}": number for number in range(1, 50)})
    return desired(FRAUD, read, asked, first_state(asked, rollouts.START), observed, SERVER).kept_revisions


def writes(spec: Spec) -> object:
    """What the first visits write."""
    bench = Bench(**spec)
    bench.settle()
    return bench.cluster.take_calls()


def query(spec: Spec) -> object:
    """The first look at the metrics of a rollout."""
    bench = deployed(**spec)
    bench.cluster.ask("2")
    bench.run_until("Progressing", "Analyzing")
    bench.clock.pass_by(3600)
    bench.settle()
    (look, *_) = bench.metrics.queries
    return look.interval, look.latency_thresholds, sorted(look.ready_pods.values())


def pods(spec: Spec) -> object:
    """The pods of both versions in the first step of a rollout."""
    world = rollouts.deployed(InferenceServiceSpec.model_validate(spec))
    world.ask(InferenceServiceSpec.model_validate(changed(spec, "model.version", "2")))
    world.run(parse_duration("1m"))
    return [world.wants(one) for one in (world.state.stable, world.state.canary)]


@dataclass(frozen=True)
class Rollout:
    """What becomes of a rollout from version 1 to version 2, and back to version 1 in the end where that is asked."""

    requests_per_minute: int = 1200
    failing: dict[str, float] = field(default_factory=dict)
    has_gateway: bool = False
    lasts: str = "2h"
    back: bool = False

    def __call__(self, spec: Spec) -> object:
        world = rollouts.deployed(InferenceServiceSpec.model_validate(spec), has_gateway=self.has_gateway)
        world.traffic.per_minute = self.requests_per_minute
        world.traffic.failing.update(self.failing)
        for version in ("2", "1") if self.back else ("2",):
            world.ask(InferenceServiceSpec.model_validate(changed(spec, "model.version", version)))
            world.run(parse_duration(self.lasts))
        return world.path, world.events, world.state.rollout.reason, world.weights, world.now, world.selected


@dataclass(frozen=True)
class Effect:
    """Where another value shows; `given` are other fields that it depends on."""

    value: object
    shows_in: Callable[[Spec], object]
    other: object = None
    """What it is compared with, if not with the base."""
    given: Spec = field(default_factory=dict)

    def specs(self, path: str) -> tuple[Spec, Spec]:
        base = BASE
        for name, value in self.given.items():
            base = changed(base, name, value)
        before = base if self.other is None else changed(base, path, self.other)
        return before, changed(base, path, self.value)


LENIENT: Final[Spec] = {"canary.analysis.errors": {"threshold": "90%"}}

EFFECTS: Final[dict[str, Effect]] = {
    "model.uri": Effect("s3://models/other/1/model.onnx", manifests),
    "model.version": Effect("2", manifests),
    "model.sha256": Effect("9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", manifests),
    "model.credentials.secretName": Effect("models-s3", manifests),
    "model.pipeline.name": Effect("features", manifests, given=PIPELINE),
    "model.pipeline.file": Effect("features.onnx", manifests, given=PIPELINE),
    "server.protocols": Effect(["REST", "gRPC"], manifests),
    "server.batching": Effect("Off", manifests),
    "server.tls.secretName": Effect("other-tls", manifests, given={"server.tls.secretName": "fraud-tls"}),
    "server.workers": Effect(4, manifests),
    "server.limits.maxBodySize": Effect("1Mi", manifests),
    "server.limits.requestTimeout": Effect("5s", manifests),
    "quota.requestsPerSecond": Effect(50, manifests),
    "quota.burst": Effect(200, manifests, given=RATE),
    "quota.maxConcurrentRequests": Effect(8, manifests),
    "quota.perClient.requestsPerSecond": Effect(5, manifests, given=TOKENS),
    "quota.perClient.burst": Effect(20, manifests, given=TOKENS | {"quota.perClient.requestsPerSecond": 5}),
    "quota.perClient.maxConcurrentRequests": Effect(2, manifests, given=TOKENS),
    "access.mode": Effect("APIKey", manifests),
    "access.allowedUsers": Effect(["system:serviceaccount:shop:web"], manifests, given=TOKENS),
    "access.allowedGroups": Effect(["system:serviceaccounts:shop"], manifests, given=TOKENS),
    "audit.url": Effect("https://collector.example/", manifests, given=AUDIT),
    "audit.sample": Effect("1%", manifests, given=AUDIT),
    "audit.redact": Effect(["face"], manifests, given=AUDIT),
    "audit.maxTensorBytes": Effect(64, manifests, given=AUDIT),
    "resources.requests.cpu": Effect("2", manifests),
    "resources.requests.memory": Effect("2Gi", manifests),
    "resources.limits.cpu": Effect("3", manifests),
    "resources.limits.memory": Effect("3Gi", manifests),
    "autoscaling.minReplicas": Effect(5, manifests),
    "autoscaling.maxReplicas": Effect(9, manifests),
    "autoscaling.targets.cpuUtilizationPercent": Effect(50, manifests, given=AUTOSCALED),
    "autoscaling.targets.inFlightRequests": Effect(4, manifests, given=AUTOSCALED),
    "canary.steps.weightPercent": Effect(30, Rollout(has_gateway=True)),
    "canary.steps.duration": Effect("3m", Rollout(lasts="9m")),
    "canary.analysis.interval": Effect("1m", query),
    "canary.analysis.latency.percentile": Effect(99, query),
    "canary.analysis.latency.threshold": Effect("250ms", query),
    "canary.analysis.errors.threshold": Effect("50%", Rollout(failing={"1": 0.2, "2": 0.2})),
    "canary.analysis.baseline.tolerance": Effect("100", Rollout(failing={"1": 0.01, "2": 0.1}), given=LENIENT),
    "canary.analysis.minRequests": Effect(100_000, Rollout()),
    "canary.analysis.onInsufficientTraffic": Effect("Rollback", Rollout(requests_per_minute=0)),
    "canary.traffic.mode": Effect("Replicas", manifests, other="GatewayAPI"),
    "canary.traffic.precision": Effect(
        "Strict", pods, given={"autoscaling.maxReplicas": 12, "canary.steps.weightPercent": 25}
    ),
    "canary.promotion": Effect("Manual", Rollout()),
    "canary.deadline": Effect("10m", Rollout(requests_per_minute=0)),
    "canary.rollbackWindow.revisions": Effect(1, Rollout(back=True)),
    "revisionHistoryLimit": Effect(3, history),
    "restartedAt": Effect("2026-03-01T03:00:00Z", restart),
    "suspend": Effect(True, writes),
}


def leaves(model: type[BaseModel], path: str = "") -> Iterator[str]:
    """The dotted paths of all fields that hold no fields themselves."""
    for name, info in model.model_fields.items():
        here = f"{path}{info.alias or name}"
        inner = next((one for one in _types(info.annotation) if issubclass(one, BaseModel)), None)
        if inner is None:
            yield here
        else:
            yield from leaves(inner, f"{here}.")


def _types(annotation: object) -> Iterator[type]:
    """The classes that an annotation is made of."""
    if isinstance(annotation, type) and not typing.get_args(annotation):
        yield annotation
    for part in typing.get_args(annotation):
        yield from _types(part)


def test_every_spec_field_is_in_the_table() -> None:
    """One that is new enters with its effect."""
    assert sorted(leaves(InferenceServiceSpec)) == sorted(EFFECTS)


@pytest.mark.parametrize("path", EFFECTS)
def test_every_spec_field_has_an_effect(path: str) -> None:
    effect = EFFECTS[path]
    before, after = effect.specs(path)
    assert effect.shows_in(before) == effect.shows_in(before), "what is compared depends on the spec alone"
    assert effect.shows_in(after) != effect.shows_in(before)
