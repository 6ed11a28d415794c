"""What a step of a rollout depends on, and what it gives."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from serinus.api.v1beta1 import Canary, CanaryStep, InferenceServiceSpec
from serinus.core.command import Command, InvalidCommand
from serinus.core.desired import stable_replicas, wanted_canary_replicas
from serinus.core.observe import Observed
from serinus.core.revision import Revision
from serinus.core.state import State
from serinus.core.traffic import TrafficMode, is_shifted, is_strict, traffic_mode
from serinus.ports import MetricsSample, MetricsUnavailableError


@dataclass(frozen=True, slots=True)
class Situation:
    """All that a step depends on."""

    spec: InferenceServiceSpec
    asked: Revision
    """The revision that the spec stands for."""
    state: State
    observed: Observed
    now: datetime
    look: MetricsSample | MetricsUnavailableError | None = None
    """What a look at the metrics gave; None when none was due."""
    command: Command | InvalidCommand | None = None
    service: str = field(kw_only=True)
    """How a person names the service to kubectl, as in `digits -n vision`."""
    has_gateway: bool = field(default=False, kw_only=True)
    """Whether the platform has a Gateway that routes can attach to."""

    @property
    def policy(self) -> Canary:
        """The policy in force: the running rollout's own, else the spec's."""
        return self.state.rollout.policy or self.spec.canary

    @property
    def mode(self) -> TrafficMode:
        """What shares the requests out."""
        return traffic_mode(self.policy, has_gateway=self.has_gateway)

    @property
    def wanted_canary_replicas(self) -> int:
        """Pods that the new revision is to have now."""
        return wanted_canary_replicas(self.spec, self.state, self.observed, self.mode)

    def has_its_pods(self, canary: Revision) -> bool:
        """Whether the pods of the step at hand are ready; those of stable count too where they have to make a share."""
        if self.observed.ready(canary.name) < self.wanted_canary_replicas:
            return False
        stable = stable_replicas(self.spec, self.state, self.observed, self.mode)
        return not is_strict(self.policy, self.mode) or self.observed.ready(self.state.stable.name) >= stable

    @property
    def is_shifted(self) -> bool:
        """Whether requests are shared out as the state asks for."""
        return is_shifted(self.state, self.observed, self.mode)

    @property
    def current_step(self) -> CanaryStep:
        """The step that the rollout is at."""
        return self.policy.step_at(self.state.rollout.step_index)

    def elapsed(self) -> timedelta:
        """Time since the stage began."""
        return self.now - (self.state.rollout.stage_started_at or self.now)


@dataclass(frozen=True, slots=True)
class Transition:
    """Something that happened, told as a Kubernetes event."""

    severity: Literal["Normal", "Warning"]
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Decision:
    """What is intended next, and what to tell of it."""

    state: State
    transitions: tuple[Transition, ...] = ()
