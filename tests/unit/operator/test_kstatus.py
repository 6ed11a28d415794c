"""What kstatus, and with it kpt, Flux and `kubectl wait`, make of a service.

The rules are those of sigs.k8s.io/cli-utils/pkg/kstatus/status for a resource that it does not know.
"""

from collections.abc import Callable

import pytest

from serinus.ports import Manifest
from tests.unit.operator.test_reconciler import DENIED, INVALID, Bench, deployed, mid_canary, upgraded


def kstatus(service: Manifest) -> str:
    """`status.Compute`: generic properties first, then the condition Ready."""
    metadata, status = service["metadata"], service["status"]
    if "deletionTimestamp" in metadata:
        return "Terminating"
    if status["observedGeneration"] != metadata["generation"]:
        return "InProgress"
    conditions = {one["type"]: one["status"] for one in status["conditions"]}
    if conditions.get("Reconciling") == "True":
        return "InProgress"
    if conditions.get("Stalled") == "True":
        return "Failed"
    return {"True": "Current", "False": "InProgress", "Unknown": "InProgress"}[conditions["Ready"]]


def unseen() -> Bench:
    bench = deployed()
    bench.cluster.ask("2")
    return bench


def deploying() -> Bench:
    bench = Bench()
    bench.cluster.unready.add("1")
    bench.settle()
    return bench


def paused() -> Bench:
    bench = deployed()
    bench.cluster.edit(canary=bench.cluster.service["spec"]["canary"] | {"promotion": "Manual"})
    bench.cluster.ask("2")
    bench.run_until("Paused", "ManualPromotion")
    return bench


def rolled_back() -> Bench:
    bench = mid_canary()
    bench.metrics.failing[bench.cluster.revision_of("2")] = 0.3
    bench.run_until("RolledBack")
    return bench


def invalid() -> Bench:
    bench = deployed()
    bench.cluster.edit(model=INVALID)
    bench.settle()
    return bench


def refused() -> Bench:
    bench = Bench()
    bench.cluster.failures["apply Service"] = DENIED
    bench.visit()
    bench.visit()
    return bench


def outdated() -> Bench:
    bench = upgraded(deployed())
    bench.settle()
    return bench


def suspended(before: Callable[[], Bench]) -> Callable[[], Bench]:
    def suspend() -> Bench:
        bench = before()
        bench.cluster.edit(suspend=True)
        bench.settle()
        return bench

    return suspend


def deleted() -> Bench:
    bench = deployed()
    bench.cluster.service["metadata"]["deletionTimestamp"] = "2026-03-01T03:00:00Z"
    return bench


SITUATIONS: dict[str, tuple[Callable[[], Bench], str]] = {
    "the first version is being deployed": (deploying, "InProgress"),
    "it serves": (deployed, "Current"),
    "the spec has changed and nobody has seen it": (unseen, "InProgress"),
    "in mid-canary": (mid_canary, "InProgress"),
    "waits for a person": (paused, "Current"),
    "rolled back": (rolled_back, "Failed"),
    "the spec is invalid": (invalid, "Failed"),
    "a write is refused": (refused, "Failed"),
    "the platform has a newer template": (outdated, "Current"),
    "suspended while it serves": (suspended(deployed), "Current"),
    "suspended in mid-canary": (suspended(mid_canary), "Current"),
    "suspended before it serves": (suspended(deploying), "InProgress"),
    "suspended after a rollback": (suspended(rolled_back), "Failed"),
    "being deleted": (deleted, "Terminating"),
}


@pytest.mark.parametrize(("situation", "expected"), SITUATIONS.values(), ids=SITUATIONS.keys())
def test_kstatus(situation: Callable[[], Bench], expected: str) -> None:
    assert kstatus(situation().cluster.service) == expected


@pytest.mark.parametrize("situation", [situation for situation, _ in SITUATIONS.values()], ids=SITUATIONS.keys())
def test_a_service_is_never_both_under_way_and_stalled(situation: Callable[[], Bench]) -> None:
    types = {one["type"] for one in situation().cluster.status["conditions"]}
    assert not {"Reconciling", "Stalled"} <= types
    assert "Ready" in types
