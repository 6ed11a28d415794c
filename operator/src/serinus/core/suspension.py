"""A service that spec.suspend holds as it is: nothing is decided, and no time passes for its rollout."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from serinus.api.status import AnalysisStatus, Rollout
from serinus.core.situation import Decision, Transition
from serinus.core.state import State

SUSPENDED: Final = (
    "spec.suspend is true: the operator changes nothing of the service, and its rollout's times stand still. To go on, "
    "set it to false."
)
_RESUMED: Final = "spec.suspend is false again: the operator goes on where it stopped."


def suspend(state: State, now: datetime) -> Decision:
    """Note since when the service is held; nothing when that is noted already."""
    if state.rollout.suspended_at is not None:
        return Decision(state)
    rollout = state.rollout.model_copy(update={"suspended_at": now})
    return Decision(replace(state, rollout=rollout), (Transition("Normal", "Suspended", SUSPENDED),))


def resume(state: State, now: datetime) -> Decision:
    """The state with its times moved on by as long as it was held; nothing when it was not.

    Requests that were made meanwhile count for nothing: the next look begins as long after the suspension as the last
    one ended before it.
    """
    if state.rollout.suspended_at is None:
        return Decision(state)
    held = max(now - state.rollout.suspended_at, timedelta())
    resumed = replace(state, rollout=_moved_on(state.rollout, held), analysis=_looked_later(state.analysis, held))
    return Decision(resumed, (Transition("Normal", "Resumed", _RESUMED),))


def _moved_on(rollout: Rollout, held: timedelta) -> Rollout:
    clocks = {"deadline", "stage_started_at", "metrics_missing_since"}
    times = {name: time + held for name in clocks if (time := getattr(rollout, name)) is not None}
    return rollout.model_copy(update=times | {"suspended_at": None})


def _looked_later(analysis: AnalysisStatus | None, held: timedelta) -> AnalysisStatus | None:
    if analysis is None or analysis.last_tick_at is None:
        return analysis
    return analysis.model_copy(update={"last_tick_at": analysis.last_tick_at + held})
