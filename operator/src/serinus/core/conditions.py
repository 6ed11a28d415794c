"""The conditions that sum a service up, compatible with kstatus: Reconciling and Stalled stand only while they hold."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from serinus.api.status import Condition, Phase, Rollout
from serinus.api.v1beta1 import Canary
from serinus.core.observe import Observed
from serinus.core.state import State
from serinus.ports import MetricsSample, MetricsUnavailableError

ConditionStatus = Literal["True", "False", "Unknown"]

_DEPLOYING: Final = "Deploying"

_KEPT: Final = ("MetricsAvailable", "RolloutHealthy")
"""Conditions that keep what they said before when nothing new is known."""

_MOVING_PHASES: Final = frozenset(
    {Phase.INITIALIZING, Phase.CANARY_STARTING, Phase.PROGRESSING, Phase.PROMOTING, Phase.ROLLING_BACK}
)


@dataclass(frozen=True, slots=True)
class Assertion:
    """What a condition says, before it is known since when."""

    type: str
    status: ConditionStatus
    reason: str
    message: str


def invalid_spec(problem: str, stable_serves: bool) -> tuple[Assertion, ...]:
    """The conditions while the spec cannot be read; what was deployed before keeps running."""
    running = " The version deployed before keeps serving." if stable_serves else ""
    message = f"{problem}{running} Correct the spec and apply it again."
    return (
        Assertion("Ready", "False", "InvalidSpec", message),
        Assertion("Stalled", "True", "InvalidSpec", message),
    )


def assess(
    state: State,
    observed: Observed,
    look: MetricsSample | MetricsUnavailableError | None,
    problem: str | None,
    policy: Canary,
) -> tuple[Assertion, ...]:
    """The conditions of a service with a valid spec.

    `problem` is what kept the last visit from its writes, `policy` the canary policy that the spec states.
    """
    ready = _ready(state, observed)
    assertions = [ready, _rollout_healthy(state.rollout, policy)]
    metrics = _metrics_available(state, look)
    if metrics is not None:
        assertions.append(metrics)
    if problem is not None:
        assertions.append(Assertion("Stalled", "True", "WriteRefused", problem))
    elif state.rollout.phase is Phase.ROLLED_BACK:
        assertions.append(Assertion("Stalled", "True", "RolledBack", state.rollout.message))
    elif state.rollout.phase is Phase.INITIALIZING and ready.status == "False" and ready.reason != _DEPLOYING:
        assertions.append(Assertion("Stalled", "True", ready.reason, ready.message))
    elif state.rollout.phase in _MOVING_PHASES:
        assertions.append(Assertion("Reconciling", "True", state.rollout.phase.value, state.rollout.message))
    return tuple(assertions)


def with_times(
    assertions: Iterable[Assertion], before: Iterable[Condition], generation: int, now: datetime
) -> tuple[Condition, ...]:
    """The conditions for status, sorted by type; the transition time moves only when the status flips."""
    former = {condition.type: condition for condition in before}
    conditions = [
        Condition(
            type=assertion.type,
            status=assertion.status,
            reason=assertion.reason,
            message=assertion.message[:4096],
            last_transition_time=_since(former.get(assertion.type), assertion.status, now),
            observed_generation=generation,
        )
        for assertion in assertions
    ]
    told = {condition.type for condition in conditions}
    conditions += (former[kept] for kept in _KEPT if kept in former and kept not in told)
    return tuple(sorted(conditions, key=lambda condition: condition.type))


def _since(former: Condition | None, status: ConditionStatus, now: datetime) -> datetime:
    if former is not None and former.status == status:
        return former.last_transition_time
    return now.replace(microsecond=0)


def _ready(state: State, observed: Observed) -> Assertion:
    version, ready = state.stable.version, observed.ready(state.stable.name)
    pods = f"{ready} of {observed.replicas(state.stable.name)} pods are ready"
    if ready > 0:
        return Assertion("Ready", "True", "Serving", f"Version {version} serves; {pods}.")
    failure = observed.failures.get(state.stable.name)
    if failure is not None:
        message = (
            f"Version {version} does not serve: container {failure.container} of pod {failure.pod}: "
            f"{failure.reason}: {failure.message}. Correct spec.model or the model file, then apply again."
        )
        return Assertion("Ready", "False", failure.reason, message)
    return Assertion("Ready", "False", _DEPLOYING, f"Version {version} is not ready yet; {pods}.")


def _rollout_healthy(rollout: Rollout, policy: Canary) -> Assertion:
    unhealthy = rollout.phase in (Phase.PAUSED, Phase.ROLLED_BACK, Phase.ROLLING_BACK)
    reason = rollout.reason if unhealthy else rollout.phase.value
    message = rollout.message
    if rollout.policy is not None and rollout.policy != policy:
        message = f"{message} This rollout keeps the canary policy it began with; the edited one applies to the next."
    return Assertion("RolloutHealthy", "False" if unhealthy else "True", reason, message)


def _metrics_available(state: State, look: MetricsSample | MetricsUnavailableError | None) -> Assertion | None:
    if isinstance(look, MetricsUnavailableError):
        message = f"{look} The rollout holds its weight until the metrics are back."
        return Assertion("MetricsAvailable", "False", "QueryFailed", message)
    if look is not None:
        return Assertion("MetricsAvailable", "True", "QuerySucceeded", "Prometheus answers for all ready pods.")
    if state.canary is None and state.analysis is None:
        return Assertion("MetricsAvailable", "Unknown", "NotNeededYet", "Metrics are read during a rollout.")
    return None
