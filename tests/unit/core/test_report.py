"""The status that is written, and what a rollout resumes from."""

from datetime import UTC, datetime

import pytest

from serinus.api.status import AnalysisStatus, InferenceServiceStatus, Phase, Rollout
from serinus.core.conditions import Assertion
from serinus.core.observe import Observed, Workload
from serinus.core.report import status_of
from serinus.core.revision import Revision
from serinus.core.state import State, state_of

NOW = datetime(2026, 3, 1, 3, 0, tzinfo=UTC)
OLD, NEW = Revision("aaa", "1"), Revision("bbb", "2")
OBSERVED = Observed(workloads={"aaa": Workload(4, 3), "bbb": Workload(2, 1), "ccc": Workload(9, 9)})


def report(state: State) -> InferenceServiceStatus:
    ready = [Assertion("Ready", "True", "Serving", "Version 1 serves.")]
    return status_of(state, OBSERVED, ready, InferenceServiceStatus(), 7, "http://fraud.risk.svc", NOW)


STATES = {
    "stable": State(OLD, None, Rollout(phase=Phase.STABLE)),
    "mid_canary": State(OLD, NEW, Rollout(phase=Phase.PROGRESSING, started_at=NOW), AnalysisStatus(ticks=3)),
}


@pytest.mark.parametrize("state", STATES.values(), ids=STATES.keys())
def test_a_rollout_resumes_from_what_was_written(state: State) -> None:
    wire = report(state).to_wire()
    assert state_of(InferenceServiceStatus.model_validate(wire)) == state


def test_a_status_written_and_read_is_the_same() -> None:
    status = report(STATES["mid_canary"])
    assert InferenceServiceStatus.model_validate(status.to_wire()) == status


def test_before_the_first_visit_there_is_no_state() -> None:
    assert state_of(InferenceServiceStatus.model_validate({"observedGeneration": -1})) is None


def test_pods_are_counted_by_revision_and_together() -> None:
    wire = report(STATES["mid_canary"]).to_wire()
    assert wire["stable"] == {"revision": "aaa", "version": "1", "replicas": 4, "readyReplicas": 3}
    assert wire["canary"] == {"revision": "bbb", "version": "2", "replicas": 2, "readyReplicas": 1}
    assert wire["replicas"] == "4/6"


def test_without_a_canary_there_is_none_in_the_status() -> None:
    wire = report(STATES["stable"]).to_wire()
    assert "canary" not in wire
    assert wire["replicas"] == "3/4"
    assert (wire["observedGeneration"], wire["url"]) == (7, "http://fraud.risk.svc")
    assert [one["type"] for one in wire["conditions"]] == ["Ready"]
