"""When something is due in a rollout: the next look at the metrics, and the next visit."""

from datetime import datetime, timedelta

from serinus.api.status import Phase, Rollout, Stage
from serinus.api.units import parse_duration
from serinus.core.command import PAUSED_BY_COMMAND
from serinus.core.state import State


def look_is_due(state: State, now: datetime) -> bool:
    """Whether it is time to look at the metrics."""
    due = next_look(state)
    return due is not None and now >= due


def next_look(state: State) -> datetime | None:
    """When the metrics are to be looked at next; None while there is nothing to judge."""
    rollout = state.rollout
    judged = rollout.phase is Phase.PROGRESSING and rollout.stage is Stage.ANALYZING
    baking = rollout.phase is Phase.PROMOTING and rollout.stage is Stage.BAKE
    held = rollout.phase is Phase.PAUSED and rollout.weight.desired > 0
    if state.canary is None or not (judged or baking or held) or rollout.policy is None:
        return None
    last_tick = state.analysis.last_tick_at if state.analysis else None
    since = max(moment for moment in (last_tick, rollout.stage_started_at) if moment is not None)
    return since + parse_duration(rollout.policy.analysis.interval)


def next_visit(state: State, now: datetime) -> timedelta | None:
    """How long nothing happens by itself; None while only a change of the world can matter."""
    rollout = state.rollout
    waits = []
    look = next_look(state)
    if look is not None:
        waits.append(max(look - now, _look_again_after(rollout)))
    if rollout.deadline is not None and state.canary is not None and not waits_for_a_person(rollout):
        waits.append(max(rollout.deadline - now, timedelta(seconds=1)))
    return min(waits, default=None)


def _look_again_after(rollout: Rollout) -> timedelta:
    """When a look that gave nothing is taken again: soon, unless the metrics are away."""
    soon = timedelta(seconds=1)
    if rollout.metrics_missing_since is None or rollout.policy is None:
        return soon
    return max(soon, parse_duration(rollout.policy.analysis.interval))


def waits_for_a_person(rollout: Rollout) -> bool:
    """Whether nothing but a person's word moves the rollout on; its deadline stands still meanwhile."""
    return rollout.phase is Phase.PAUSED and rollout.reason in ("ManualPromotion", PAUSED_BY_COMMAND)
