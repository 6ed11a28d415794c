"""A simulated service: pods come as they are wanted, requests flow where the Service points, time passes on demand."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any, TypedDict, Unpack

from serinus.api.status import Phase, Stage
from serinus.api.units import parse_duration
from serinus.api.v1beta1 import InferenceServiceSpec
from serinus.core import canary, schedule
from serinus.core.command import Command, InvalidCommand, Verb
from serinus.core.desired import stable_replicas, wanted_canary_replicas
from serinus.core.hindrance import Hindrance
from serinus.core.observe import Observed, PodFailure, Route, Workload
from serinus.core.revision import Revision, revision_of
from serinus.core.situation import Situation, Transition
from serinus.core.traffic import TrafficMode, route_weights, service_target, traffic_mode
from serinus.ports import MetricsSample, MetricsUnavailableError, RevisionSample

START = datetime(2026, 3, 1, 3, 0, tzinfo=UTC)
SERVICE = "digits -n vision"

POLICY: dict[str, Any] = {
    "steps": [{"weightPercent": 20, "duration": "2m"}, {"weightPercent": 50, "duration": "5m"}],
    "analysis": {"interval": "30s", "latency": [{"percentile": 95, "threshold": "100ms"}], "minRequests": 100},
    "deadline": "1h",
}


class Wish(TypedDict, total=False):
    """What a spec asks for beside a version; the fields of spec.canary are named as there."""

    replicas: int
    most: int
    memory: str
    steps: list[dict[str, Any]]
    promotion: str
    deadline: str
    rollbackWindow: dict[str, Any]
    traffic: dict[str, Any]
    minRequests: int
    onInsufficientTraffic: str


def spec_of(version: str, **wish: Unpack[Wish]) -> InferenceServiceSpec:
    """The spec of a version."""
    given: dict[str, Any] = dict(wish)
    policy = {
        key: given[key] for key in ("steps", "promotion", "deadline", "rollbackWindow", "traffic") if key in given
    }
    analysis = {key: given[key] for key in ("minRequests", "onInsufficientTraffic") if key in given}
    return InferenceServiceSpec.model_validate(
        {
            "model": {"uri": f"s3://models/fraud/{version}/model.onnx", "version": version},
            "resources": {"limits": {"cpu": "1", "memory": given.get("memory", "512Mi")}},
            "autoscaling": {"minReplicas": given.get("replicas", 4), "maxReplicas": given.get("most")},
            "canary": POLICY | policy | {"analysis": POLICY["analysis"] | analysis},
        }
    )


@dataclass
class Traffic:
    """The requests of the clients, and how each version answers them."""

    per_minute: int = 1200
    failing: dict[str, float] = field(default_factory=dict)
    slow: dict[str, float] = field(default_factory=dict)

    def sample(self, version: str, share: float, window: timedelta) -> RevisionSample:
        requests = round(self.per_minute * share * window / timedelta(minutes=1))
        errors = round(requests * self.failing.get(version, 0))
        timed = requests - errors
        slow = round(timed * self.slow.get(version, 0))
        return RevisionSample(requests, errors, timed, {95: slow}, {95: 0.02} if timed else {})


class World:
    """One service, its operator and its cluster. Every visit checks what holds of all visits."""

    def __init__(self, spec: InferenceServiceSpec, *, has_gateway: bool = False) -> None:
        self.spec = spec
        self.has_gateway = has_gateway
        self.now = START
        self.traffic = Traffic()
        self.metrics_work = True
        self.annotation: Command | InvalidCommand | None = None
        self.state = canary.first_state(revision_of(spec), self.now)
        self.pods: dict[str, Workload] = {}
        self.selected: str | None = None
        self.route: Route | None = None
        self.failures: dict[str, PodFailure] = {}
        self.hindrances: dict[str, Hindrance] = {}
        self.unready: dict[str, int] = {}
        self.told: list[Transition] = []
        self.phases: list[Phase] = []
        self.weights: list[int] = []
        self._versions: dict[str, str] = {}
        self._commands = 0

    # What happens in the world.

    def ask(self, spec: InferenceServiceSpec) -> None:
        self.spec = spec

    def command(self, verb: str, revision: str | None = None) -> None:
        self._commands += 1
        subject = self.state.canary or revision_of(self.spec)
        self.annotation = Command(f"c{self._commands}", Verb(verb), revision or subject.name)

    def break_pods(self, version: str, reason: str, message: str) -> None:
        """From now on, no pod of `version` serves."""
        self.failures[version] = PodFailure("fraud-x", "server", reason, message)

    def leave_no_room(self, version: str) -> None:
        """From now on, no node has room for a pod of `version`."""
        self.unready[version] = 1000
        self.hindrances[version] = Hindrance("Pod fraud-x", "Unschedulable", "0/3 nodes are available", "Add nodes.")

    def make_room(self, version: str) -> None:
        """Nodes were added."""
        del self.unready[version], self.hindrances[version]

    def scale(self, version: str, replicas: int) -> None:
        """What an autoscaler does."""
        name = next(name for name, other in self._versions.items() if other == version)
        self.pods[name] = Workload(replicas, self.pods[name].ready)
        self._pods_follow()

    # What the operator does.

    def visit(self) -> None:
        """One visit: decide, then make the world match."""
        self._pods_follow()
        situation = self._situation()
        before = copy.deepcopy(situation.observed)
        decision = canary.step(situation)
        assert situation.observed == before, "a decision changed what it was made from"
        assert canary.step(situation) == decision
        self.state = decision.state
        self.told += decision.transitions
        self.phases.append(self.state.rollout.phase)
        self._carry_out(situation.observed)
        self._pods_follow()
        self._check()

    def settle(self) -> None:
        """Visit until nothing changes any more without time passing."""
        for _ in range(20):
            before = (self.state, dict(self.pods), self.selected)
            self.visit()
            if before == (self.state, self.pods, self.selected):
                return
        raise AssertionError(f"does not come to rest: {self.state.rollout}")

    def run(self, duration: timedelta) -> None:
        """Let time pass, with a visit whenever one is due."""
        end = self.now + duration
        self.settle()
        while (wait := schedule.next_visit(self.state, self.now)) is not None and self.now + wait <= end:
            self.now += wait
            self.settle()
        self.now = end
        self.settle()

    def run_until(self, phase: Phase, reason: str | None = None, within: str = "3h") -> None:
        """Let time pass until the rollout is in `phase`."""
        end = self.now + parse_duration(within)
        self.settle()
        while self.state.rollout.phase is not phase or reason not in (None, self.state.rollout.reason):
            wait = schedule.next_visit(self.state, self.now)
            assert wait is not None, f"nothing is due any more: {self.state.rollout}"
            assert self.now + wait <= end, f"not {phase} within {within}: {self.state.rollout}"
            self.now += wait
            self.settle()

    # What can be seen.

    @property
    def path(self) -> list[str]:
        """The phases gone through."""
        return [phase.value for phase, _ in groupby(self.phases)]

    @property
    def events(self) -> list[str]:
        return [transition.reason for transition in self.told]

    def observed(self) -> Observed:
        names = {version: name for name, version in self._versions.items()}
        failures = {names[version]: failure for version, failure in self.failures.items() if version in names}
        return Observed(
            workloads=dict(self.pods),
            failures={name: failure for name, failure in failures.items() if name in self.pods},
            hindrances={names[version]: one for version, one in self.hindrances.items() if version in names},
            traffic_to=self.selected,
            route=self.route,
        )

    @property
    def mode(self) -> TrafficMode:
        return traffic_mode(self.state.rollout.policy or self.spec.canary, has_gateway=self.has_gateway)

    def share(self, revision: Revision) -> float:
        """The part of the requests that reaches the pods of `revision`."""
        if self.route is not None:
            return self.route.weights.get(revision.name, 0) / 100
        serving = {name: pods.ready for name, pods in self.pods.items() if self.selected in (None, name)}
        return serving.get(revision.name, 0) / max(1, sum(serving.values()))

    def wants(self, revision: Revision | None) -> int:
        return self.pods[revision.name].replicas if revision and revision.name in self.pods else 0

    # How it works.

    def _situation(self) -> Situation:
        asked = revision_of(self.spec)
        for revision in (asked, self.state.stable):
            self._versions.setdefault(revision.name, revision.version)
        look = self._look() if schedule.look_is_due(self.state, self.now) else None
        return Situation(
            self.spec,
            asked,
            self.state,
            self.observed(),
            self.now,
            look,
            self.annotation,
            service=SERVICE,
            has_gateway=self.has_gateway,
        )

    def _look(self) -> MetricsSample | MetricsUnavailableError:
        if not self.metrics_work:
            return MetricsUnavailableError("Prometheus cannot be asked: connection refused.")
        assert self.state.canary is not None
        analysis = self.state.analysis
        since = analysis.last_tick_at if analysis else None
        window = self.now - since if since else timedelta(seconds=60)
        samples: Mapping[str, RevisionSample] = {
            revision.name: self.traffic.sample(revision.version, self.share(revision), window)
            for revision in (self.state.stable, self.state.canary)
        }
        return MetricsSample(self.now, samples)

    def _carry_out(self, observed: Observed) -> None:
        state = self.state
        self.selected = service_target(state, self.mode)
        if self.mode is TrafficMode.GATEWAY_API:
            self.route = Route(route_weights(state), accepted=True)
        wanted = {state.stable.name: stable_replicas(self.spec, state, observed, self.mode)}
        if state.canary is not None:
            present = observed.replicas(state.canary.name)
            rolling_back = state.rollout.phase is Phase.ROLLING_BACK
            wanted[state.canary.name] = (
                present if rolling_back else wanted_canary_replicas(self.spec, state, observed, self.mode)
            )
        self.pods = {name: Workload(replicas, 0) for name, replicas in wanted.items()}

    def _pods_follow(self) -> None:
        for name, pods in self.pods.items():
            version = self._versions.get(name, "")
            ready = 0 if version in self.failures else pods.replicas - self.unready.get(version, 0)
            self.pods[name] = Workload(pods.replicas, max(0, ready))

    def _check(self) -> None:
        state, rollout = self.state, self.state.rollout
        assert 0 <= rollout.weight.desired <= 100
        assert 0 <= rollout.weight.applied <= 100
        self.weights.append(rollout.weight.desired)
        in_rollout = rollout.phase not in (Phase.INITIALIZING, Phase.STABLE, Phase.ROLLED_BACK)
        assert (state.canary is not None) == in_rollout
        if state.canary is not None:
            assert self.wants(state.stable) >= rollout.baseline_replicas, "stable shrank below where it began"
            assert rollout.message
            assert rollout.reason
        if self.selected is not None and self.selected != state.stable.name:
            assert rollout.phase is Phase.PROMOTING
            assert rollout.stage in (Stage.SHIFT_TRAFFIC, Stage.BAKE)
        if self.route is not None:
            assert sum(self.route.weights.values()) == 100
            assert all(self.pods[name].replicas for name, weight in self.route.weights.items() if weight)


def deployed(spec: InferenceServiceSpec, *, has_gateway: bool = False) -> World:
    """A service whose first version serves."""
    world = World(spec, has_gateway=has_gateway)
    world.run_until(Phase.STABLE)
    world.told.clear()
    world.phases.clear()
    world.weights.clear()
    return world
