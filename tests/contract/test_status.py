"""The status: what the operator writes is what it reads again, and a write over a newer object is refused."""

from datetime import UTC, datetime
from typing import Any, Final

import pytest
from pydantic import BaseModel

from serinus.api.status import (
    AnalysisStatus,
    ArmCounts,
    CheckStatus,
    Condition,
    FailedRevision,
    FormerRevision,
    InferenceServiceStatus,
    Look,
    Phase,
    RevisionStatus,
    Rollout,
    Stage,
    Verdict,
    Weight,
)
from serinus.api.v1beta1 import Canary
from serinus.ports import ApiConflictError
from tests.contract.world import World

AT: Final = datetime(2026, 11, 24, 8, 0, 0, 123456, tzinfo=UTC)

FULL: Final = InferenceServiceStatus(
    observed_generation=7,
    stable=RevisionStatus(revision="0123456789", version="1", template="a0b1", replicas=3, ready_replicas=2),
    canary=RevisionStatus(revision="abcdef0123", version="2", template="c2d3", replicas=1, ready_replicas=1),
    replicas="3/4",
    url="http://fraud.risk.svc",
    rollout=Rollout(
        phase=Phase.PROGRESSING,
        stage=Stage.ANALYZING,
        reason="Analyzing",
        message="Step 1 of 3.",
        step_index=1,
        weight=Weight(desired=25, applied=33, measured=31),
        baseline_replicas=3,
        policy=Canary.model_validate(
            {
                "steps": [{"weightPercent": 5, "duration": "2m"}],
                "analysis": {
                    "interval": "20s",
                    "latency": [{"percentile": 99, "threshold": "250ms"}],
                    "errors": {"threshold": "0.5%"},
                    "baseline": {"tolerance": "2"},
                    "minRequests": 50,
                    "onInsufficientTraffic": "Promote",
                },
                "promotion": "Manual",
                "deadline": "2h",
                "traffic": {"mode": "Replicas", "precision": "Strict"},
                "rollbackWindow": {"revisions": 2},
            }
        ),
        started_at=AT,
        deadline=AT,
        stage_started_at=AT,
        metrics_missing_since=AT,
        suspended_at=AT,
        failed_revisions=(
            FailedRevision(revision="ff", version="0", template="e4f5", reason="OOMKilled", message="It fell.", at=AT),
        ),
        former_revisions=(FormerRevision(revision="aa", version="-1", template="a6b7", until=AT),),
        last_command="a-1",
    ),
    analysis=AnalysisStatus(
        verdict=Verdict.INCONCLUSIVE,
        message="Not decided yet.",
        ticks=4,
        step_ticks=2,
        step_requests=180,
        last_tick_at=AT,
        query='{namespace="vision"}[2m] @ 1764000000.000',
        checks=(
            CheckStatus(
                check="latency-p99",
                threshold="P99 <= 250ms",
                canary=ArmCounts(requests=180, bad=2),
                baseline=ArmCounts(requests=900, bad=9),
                late_canary=ArmCounts(requests=90, bad=1),
                late_baseline=ArmCounts(requests=450, bad=4),
                bad_ticks=1,
                last_looks=(
                    Look(until=AT, canary=ArmCounts(requests=90, bad=1), baseline=ArmCounts(requests=450, bad=4)),
                ),
                absolute_e="0.25",
                relative_e="1.2",
                rejects_at="400",
                relative_log_e=("-0.693147", "12.000001"),
                difference_log_e=("-0.500000",),
                absolute_log_e=("0.100000",),
                baseline_absolute_log_e=("-1.000000",),
                canary_latency="12.3ms",
                baseline_latency="11ms",
                verdict=Verdict.PASS,
                message="2 of 180 were slower.",
            ),
        ),
    ),
    conditions=(
        Condition(
            type="Ready",
            status="True",
            reason="Serving",
            message="Version 1 serves.",
            last_transition_time=AT,
            observed_generation=7,
        ),
    ),
)


def unset(model: BaseModel, path: str = "status") -> list[str]:
    """Fields, however deep, that were not given or are empty."""
    found = [f"{path}.{name}" for name in type(model).model_fields if name not in model.model_fields_set]
    for name, value in model:
        parts = value if isinstance(value, tuple) else (value,)
        found += [f"{path}.{name}"] if parts in ((), (None,)) else []
        found += [one for part in parts if isinstance(part, BaseModel) for one in unset(part, f"{path}.{name}")]
    return found


def test_the_full_status_is_full() -> None:
    assert unset(FULL) == []


@pytest.mark.parametrize("status", [FULL, InferenceServiceStatus()], ids=["full", "empty"])
def test_status_not_pruned(world: World, status: InferenceServiceStatus) -> None:
    written = status.to_wire()
    world.kube.write_status(world.create(), written)
    assert world.service()["status"] == written
    assert world.status() == status


def test_status_write_leaves_all_else(world: World) -> None:
    created = world.create()
    seen = {**created, "metadata": {**created["metadata"], "labels": {"a": "b"}}, "spec": {"model": {}}}
    world.kube.write_status(seen, FULL.to_wire())
    after = world.service()
    assert after["spec"] == created["spec"]
    assert _standing(after["metadata"]) == _standing(created["metadata"])


def _standing(metadata: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in metadata.items() if key not in ("resourceVersion", "managedFields")}


def test_status_write_conflict(world: World) -> None:
    seen = world.create()
    world.edit({"spec.autoscaling.minReplicas": 2})
    with pytest.raises(ApiConflictError):
        world.kube.write_status(seen, FULL.to_wire())
    assert world.service()["status"] == {"observedGeneration": -1}
