"""What a suspension does to the times of a rollout."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from serinus.api.status import AnalysisStatus, Phase, Rollout, Stage
from serinus.core.revision import Revision
from serinus.core.state import State
from serinus.core.suspension import resume, suspend

T0 = datetime(2026, 3, 1, 3, 0, tzinfo=UTC)
OLD, NEW = Revision("aaa", "1"), Revision("bbb", "2")


def after(minutes: float) -> datetime:
    return T0 + timedelta(minutes=minutes)


STABLE = State(OLD, None, Rollout(phase=Phase.STABLE, stage_started_at=T0))
ROLLING = State(
    OLD,
    NEW,
    Rollout(
        phase=Phase.PROGRESSING,
        stage=Stage.ANALYZING,
        started_at=T0,
        stage_started_at=after(5),
        deadline=after(60),
        metrics_missing_since=after(9),
    ),
    AnalysisStatus(ticks=3, last_tick_at=after(8)),
)


@pytest.mark.parametrize("state", [STABLE, ROLLING], ids=["stable", "rolling"])
def test_it_is_told_once_and_noted_since_when(state: State) -> None:
    decision = suspend(state, after(10))
    assert decision.state == replace(state, rollout=state.rollout.model_copy(update={"suspended_at": after(10)}))
    assert [(one.severity, one.reason) for one in decision.transitions] == [("Normal", "Suspended")]
    again = suspend(decision.state, after(20))
    assert (again.state, again.transitions) == (decision.state, ())


def test_the_clocks_stand_still() -> None:
    decision = resume(suspend(ROLLING, after(10)).state, after(10 + 600))
    rollout, analysis = decision.state.rollout, decision.state.analysis
    assert analysis is not None
    assert rollout.suspended_at is None
    assert {
        "started_at": rollout.started_at,
        "stage_started_at": rollout.stage_started_at,
        "deadline": rollout.deadline,
        "metrics_missing_since": rollout.metrics_missing_since,
        "last_tick_at": analysis.last_tick_at,
    } == {
        "started_at": T0,
        "stage_started_at": after(5 + 600),
        "deadline": after(60 + 600),
        "metrics_missing_since": after(9 + 600),
        "last_tick_at": after(8 + 600),
    }
    assert [(one.severity, one.reason) for one in decision.transitions] == [("Normal", "Resumed")]


@pytest.mark.parametrize("state", [STABLE, ROLLING], ids=["stable", "rolling"])
def test_all_else_is_as_before(state: State) -> None:
    assert resume(suspend(state, after(10)).state, after(10)).state == state


@pytest.mark.parametrize("state", [STABLE, ROLLING], ids=["stable", "rolling"])
def test_what_was_not_suspended_is_not_resumed(state: State) -> None:
    decision = resume(state, after(99))
    assert (decision.state, decision.transitions) == (state, ())


def test_a_clock_that_was_set_back_moves_no_time_back() -> None:
    assert resume(suspend(ROLLING, after(10)).state, after(3)).state == ROLLING
