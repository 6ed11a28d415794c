"""spec.suspend: the operator looks, and keeps its hands off."""

import copy
from typing import Any

import pytest

from serinus.ports import Manifest
from tests.unit.operator.test_reconciler import DENIED, INVALID, QUICK, Bench, deployed, mid_canary


def condition(bench: Bench, kind: str) -> Manifest:
    found = bench.cluster.condition(kind)
    assert found is not None, f"no condition {kind}"
    return found


def conditions(bench: Bench) -> dict[str, str]:
    return {one["type"]: one["status"] for one in bench.cluster.status["conditions"]}


def suspend(bench: Bench) -> None:
    bench.cluster.edit(suspend=True)
    bench.settle()


def resume(bench: Bench) -> None:
    bench.cluster.edit(suspend=False)
    bench.settle()


def test_a_suspended_service_serves_and_says_that_it_is_suspended() -> None:
    bench = deployed()
    suspend(bench)
    assert bench.cluster.take_calls() == ["status"]
    assert conditions(bench) == {
        "AccessControlled": "False",
        "MetricsAvailable": "Unknown",
        "Ready": "True",
        "RolloutHealthy": "True",
        "Suspended": "True",
        "TemplateUpToDate": "True",
    }
    assert condition(bench, "Suspended")["reason"] == "SuspendedBySpec"
    assert "To go on, set it to false" in condition(bench, "Suspended")["message"]
    assert bench.cluster.status["observedGeneration"] == 2
    assert bench.recorder.reasons == ["Suspended"]


CHANGES: dict[str, dict[str, Any]] = {
    "another version": {"model": {"uri": "s3://models/fraud/2/model.onnx", "version": "2"}},
    "more pods": {"autoscaling": {"minReplicas": 5}},
    "an autoscaler": {"autoscaling": {"minReplicas": 2, "maxReplicas": 5}},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_changes_of_the_spec_wait(change: dict[str, Any]) -> None:
    bench = deployed()
    suspend(bench)
    before = bench.children()
    bench.cluster.take_calls()
    bench.cluster.edit(**change)
    bench.settle()
    assert bench.cluster.take_calls() == ["status"], "to tell that the new generation was seen"
    assert bench.children() == before
    resume(bench)
    bench.run_until("Stable")
    assert bench.children() != before


def test_drift_waits() -> None:
    bench = deployed()
    suspend(bench)
    bench.cluster.take_calls()
    bench.cluster.objects["Service", "fraud"]["spec"]["ports"][0]["port"] = 81
    del bench.cluster.objects["PodDisruptionBudget", "fraud"]
    bench.settle()
    assert bench.cluster.take_calls() == []
    resume(bench)
    assert set(bench.cluster.take_calls()) == {"status", "apply Service fraud", "apply PodDisruptionBudget fraud"}


def test_ready_remains_about_serving() -> None:
    bench = deployed()
    suspend(bench)
    bench.cluster.unready.add("1")
    bench.settle()
    ready = condition(bench, "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "Suspended")
    assert "Version 1 is not ready yet; 0 of 2 pods are ready. spec.suspend is true" in ready["message"]


def test_suspended_in_mid_canary_and_resumed_after_the_deadline() -> None:
    bench, undisturbed = mid_canary(), mid_canary()
    before, rollout = bench.children(), copy.deepcopy(bench.cluster.status["rollout"])
    suspend(bench)
    assert "Reconciling" not in conditions(bench)
    assert bench.settle().again_after is None, "nothing is due while it is suspended"
    bench.clock.pass_by(48 * 3600)
    bench.settle()
    assert bench.cluster.take_calls() == ["status"]
    assert bench.metrics.queries == []
    assert bench.children() == before
    assert bench.cluster.status["rollout"]["weight"] == rollout["weight"]

    bench.cluster.edit(suspend=False)
    bench.visit()
    assert bench.recorder.reasons[-2:] == ["Suspended", "Resumed"]
    assert "Suspended" not in conditions(bench)
    bench.run_until("Stable")
    undisturbed.run_until("Stable")
    assert bench.cluster.status["rollout"]["reason"] == "Promoted"
    assert bench.cluster.status["analysis"]["ticks"] == undisturbed.cluster.status["analysis"]["ticks"]
    assert bench.children() == undisturbed.children()


def test_a_revert_while_suspended_is_carried_out_on_resume() -> None:
    bench = mid_canary()
    suspend(bench)
    bench.cluster.ask("1")
    bench.settle()
    assert bench.cluster.status["canary"]["version"] == "2"
    resume(bench)
    bench.run_until("Stable", "Reverted")
    assert "canary" not in bench.cluster.status


def test_a_service_that_is_created_suspended_is_deployed_on_resume() -> None:
    bench = Bench(suspend=True)
    bench.settle()
    assert bench.cluster.objects == {}
    assert bench.cluster.take_calls() == ["status"]
    bench.cluster.ask("2")
    bench.settle()
    resume(bench)
    bench.run_until("Stable")
    assert bench.cluster.status["stable"]["version"] == "2"


def test_a_command_given_meanwhile_is_carried_out_on_resume() -> None:
    bench = mid_canary()
    suspend(bench)
    bench.cluster.annotate(f"c1:abort:{bench.cluster.revision_of('2')}")
    bench.settle()
    assert bench.phase == "Progressing"
    resume(bench)
    bench.run_until("RolledBack", "Aborted")


def test_a_rollback_is_told_while_suspended() -> None:
    bench = mid_canary()
    bench.metrics.failing[bench.cluster.revision_of("2")] = 0.3
    bench.run_until("RolledBack")
    suspend(bench)
    assert conditions(bench)["Stalled"] == "True"


def test_deleted_while_suspended_nothing_is_written() -> None:
    bench = mid_canary()
    suspend(bench)
    bench.cluster.take_calls()
    bench.cluster.service["metadata"]["deletionTimestamp"] = "2026-03-01T03:00:00Z"
    bench.settle()
    assert bench.cluster.take_calls() == []
    owners = [one["metadata"]["ownerReferences"] for one in bench.cluster.objects.values()]
    assert all(owner["controller"] for (owner,) in owners), "the garbage collector takes all children"


def test_a_spec_that_is_invalid_meanwhile_loses_no_time() -> None:
    bench = mid_canary()
    suspend(bench)
    bench.clock.pass_by(24 * 3600)
    bench.cluster.edit(model=INVALID)
    bench.settle()
    bench.clock.pass_by(24 * 3600)
    bench.cluster.ask("2")
    resume(bench)
    bench.run_until("Stable", "Promoted")


@pytest.mark.parametrize("first", ["suspended", "invalid", "both at once"])
def test_an_invalid_spec_is_suspended_as_well_as_told(first: str) -> None:
    """Whoever suspends has its clocks stand still, also where the spec has yet to be put right."""
    bench = mid_canary()
    children = bench.children()
    if first == "both at once":
        bench.cluster.edit(model=INVALID, suspend=True)
    else:
        bench.cluster.edit(**({"suspend": True} if first == "suspended" else {"model": INVALID}))
        bench.settle()
        bench.cluster.edit(**({"suspend": True} if first == "invalid" else {"model": INVALID}))
    bench.settle()
    bench.clock.pass_by(48 * 3600)
    bench.settle()
    assert bench.children() == children
    assert condition(bench, "Suspended")["status"] == condition(bench, "Ready")["status"] == "True"
    stalled = condition(bench, "Stalled")
    assert (stalled["status"], stalled["reason"]) == ("True", "InvalidSpec")
    assert "spec.model.version: Value error, must name one version" in stalled["message"]
    assert bench.cluster.status["url"] == "http://fraud.risk.svc"
    bench.cluster.ask("2")
    bench.settle()
    assert "Stalled" not in conditions(bench)
    resume(bench)
    bench.run_until("Stable", "Promoted")


def test_invalid_and_suspended_from_the_start_makes_nothing() -> None:
    bench = Bench(model=INVALID, suspend=True)
    bench.settle()
    assert bench.cluster.objects == {}
    assert condition(bench, "Stalled")["reason"] == "InvalidSpec"
    bench.cluster.ask("1")
    resume(bench)
    bench.run_until("Stable")


def test_a_service_that_lacks_its_gateway_is_suspended_like_any_other() -> None:
    """What the platform lacks is told when it matters again, and takes no time from the rollout till then."""
    bench = mid_canary()
    bench.cluster.edit(canary=QUICK | {"traffic": {"mode": "GatewayAPI"}}, suspend=True)
    bench.settle()
    assert bench.cluster.take_calls() == ["status"]
    assert condition(bench, "Suspended")["status"] == "True"
    assert condition(bench, "Ready")["status"] == "True"
    assert bench.recorder.reasons[-1] == "Suspended"
    bench.clock.pass_by(48 * 3600)
    resume(bench)
    assert "Suspended" not in conditions(bench)
    assert condition(bench, "Ready")["reason"] == "InvalidSpec"
    bench.cluster.edit(canary=QUICK)
    bench.run_until("Stable", "Promoted")
    assert bench.recorder.reasons.count("Suspended") == bench.recorder.reasons.count("Resumed") == 1


def test_a_refusal_from_before_is_not_told_any_more() -> None:
    bench = Bench()
    bench.cluster.failures["apply Service"] = DENIED
    bench.visit()
    bench.visit()
    assert condition(bench, "Stalled")["reason"] == "WriteRefused"
    suspend(bench)
    assert "Stalled" not in conditions(bench)


def test_a_restart_of_the_operator_forgets_no_suspension() -> None:
    bench = mid_canary()
    suspend(bench)
    bench.restart()
    bench.clock.pass_by(7200)
    bench.settle()
    bench.restart()
    resume(bench)
    bench.run_until("Stable", "Promoted")
