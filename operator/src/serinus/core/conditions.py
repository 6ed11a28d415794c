"""The conditions that sum a service up, compatible with kstatus: Reconciling and Stalled stand only while they hold."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, Literal

from serinus.api.status import Condition, Phase, Rollout
from serinus.api.v1beta1 import Canary
from serinus.core.hindrance import Autoscaler, Hindrance
from serinus.core.observe import Observed
from serinus.core.pinning import summary
from serinus.core.revision import Revision
from serinus.core.state import State
from serinus.core.suspension import SUSPENDED
from serinus.ports import MetricsSample, MetricsUnavailableError

ConditionStatus = Literal["True", "False", "Unknown"]

_DEPLOYING: Final = "Deploying"

_REASON: Final = re.compile(r"[A-Za-z][A-Za-z0-9]{0,63}")

_MENDED: Final = "Once that is put right its pods start by themselves; another spec is taken up at once."

_KEPT: Final = ("AccessControlled", "MetricsAvailable", "RolloutHealthy", "TemplateUpToDate")
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
    assertions += _of_other_children(observed)
    if problem is not None:
        assertions.append(Assertion("Stalled", "True", "WriteRefused", problem))
    elif state.rollout.phase is Phase.ROLLED_BACK:
        assertions.append(Assertion("Stalled", "True", "RolledBack", state.rollout.message))
    elif _cannot_begin(state, observed):
        assertions.append(Assertion("Stalled", "True", ready.reason, ready.message))
    elif state.rollout.phase in _MOVING_PHASES:
        assertions.append(_reconciling(state, observed))
    return tuple(assertions)


def template_up_to_date(
    asked: Revision,
    deployed: Revision | None,
    changes: tuple[str, ...],
    service: str,
    updates: Literal["Pinned", "Canary"],
) -> Assertion:
    """Whether what the spec asks for runs with the platform's present pod template.

    `deployed` is the revision that runs the spec, if any; `changes` are those that the template it is pinned to lacks;
    `service` is as in `digits -n vision`; `updates` tells what the platform does about a changed template.
    """
    if deployed is None:
        message = f"Version {asked.version}, which the spec asks for, is not deployed."
        return Assertion("TemplateUpToDate", "Unknown", "NotDeployed", message)
    if not changes:
        message = f"Version {asked.version} runs the platform's present pod template."
        return Assertion("TemplateUpToDate", "True", "UpToDate", message)
    message = f"The platform's pod template has changed since revision {deployed.name} was made: {summary(changes)}."
    if deployed != asked:
        message = (
            f"{message} Revision {asked.name}, which has the present one, was rolled back; the condition "
            "RolloutHealthy says why, and how to try it again. Another template is tried by itself."
        )
        return Assertion("TemplateUpToDate", "False", "TemplateRolledBack", message)
    if updates == "Canary":
        message = f"{message} The new template is rolled out as a canary once the present rollout is over."
        return Assertion("TemplateUpToDate", "False", "TemplateChanged", message)
    message = (
        f"{message} Nothing is restarted for that. To roll the new template out as a canary, set spec.restartedAt, for "
        f"instance: kubectl patch infsvc {service} --type=merge -p "
        """'{"spec":{"restartedAt":"'$(date -u +%FT%TZ)'"}}'"""
    )
    return Assertion("TemplateUpToDate", "False", "TemplateChanged", message)


def suspended(state: State, observed: Observed, problem: str | None) -> tuple[Assertion, ...]:
    """The conditions while spec.suspend holds the service: what it serves is told as ever, and nothing is under way.

    `problem` is what is wrong with the rest of the spec.
    """
    ready, rollout = _ready(state, observed), state.rollout
    if ready.reason == _DEPLOYING:
        ready = replace(ready, reason="Suspended", message=f"{ready.message} {SUSPENDED}")
    assertions = [ready, Assertion("Suspended", "True", "SuspendedBySpec", SUSPENDED)]
    if problem is not None:
        message = f"{problem} Correct the spec before it is resumed."
        assertions.append(Assertion("Stalled", "True", "InvalidSpec", message))
    elif rollout.phase is Phase.ROLLED_BACK:
        assertions.append(Assertion("Stalled", "True", "RolledBack", rollout.message))
    elif _cannot_begin(state, observed):
        assertions.append(Assertion("Stalled", "True", ready.reason, ready.message))
    return (*assertions, *_of_other_children(observed), _rollout_healthy(rollout, rollout.policy))


def _cannot_begin(state: State, observed: Observed) -> bool:
    """Whether the first version fails of itself: another spec is needed, while a hindrance may yet pass."""
    first = state.rollout.phase is Phase.INITIALIZING and observed.ready(state.stable.name) == 0
    return first and state.stable.name in observed.failures


def _reconciling(state: State, observed: Observed) -> Assertion:
    """What is under way, and what holds it up where something does."""
    rollout, hindrance = state.rollout, observed.hindrances.get((state.canary or state.stable).name)
    if hindrance is None:
        return Assertion("Reconciling", "True", rollout.phase.value, rollout.message)
    return Assertion("Reconciling", "True", _word(hindrance), f"{rollout.message} {hindrance}")


def _word(hindrance: Hindrance) -> str:
    """The reason as a condition takes it: what others give as theirs need not fit."""
    return hindrance.reason if _REASON.fullmatch(hindrance.reason) else "PodsHeldUp"


def _of_other_children(observed: Observed) -> list[Assertion]:
    """What is said of the autoscaler, if there is one, and of a disruption budget that does not work."""
    assertions = []
    if observed.autoscaler is not None:
        assertions.append(_scaling_active(observed.autoscaler))
    blocked = observed.eviction_hindrance
    if blocked is not None:
        assertions.append(Assertion("EvictionsBlocked", "True", _word(blocked), str(blocked)))
    return assertions


def _scaling_active(autoscaler: Autoscaler) -> Assertion:
    if autoscaler.fault is not None:
        return Assertion("ScalingActive", "False", _word(autoscaler.fault), str(autoscaler.fault))
    if not autoscaler.is_known:
        return Assertion("ScalingActive", "Unknown", "NotKnownYet", "The autoscaler has said nothing yet.")
    return Assertion("ScalingActive", "True", "Scaling", "The autoscaler gets its metrics and sets the number of pods.")


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
    failure, hindrance = observed.failures.get(state.stable.name), observed.hindrances.get(state.stable.name)
    causes = "".join(f" {cause}" for cause in (failure, hindrance) if cause is not None)
    if ready > 0:
        return Assertion("Ready", "True", "Serving", f"Version {version} serves; {pods}.{causes}")
    if failure is not None:
        return Assertion("Ready", "False", failure.reason, f"Version {version} does not serve. {failure} {_MENDED}")
    reason = _word(hindrance) if hindrance is not None else _DEPLOYING
    return Assertion("Ready", "False", reason, f"Version {version} is not ready yet; {pods}.{causes}")


def _rollout_healthy(rollout: Rollout, policy: Canary | None) -> Assertion:
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
