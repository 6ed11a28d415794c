"""A clock that is set ten minutes forward or back amid a rollout changes when it ends, not how.

It may pause on the way: a step whose time is over with too few looks waits for more.
"""

from collections.abc import Callable

import pytest

from tests.unit.operator.test_reconciler import Bench, deployed

STEP_SECONDS = 600
VISITS = 400

Ending = Callable[[Bench], None]


def good(bench: Bench) -> None:
    """Nothing is wrong with the new version."""


def failing(bench: Bench) -> None:
    """Three in ten requests of the new version fail."""
    bench.metrics.failing[bench.cluster.revision_of("2")] = 0.3


def visits_of(ending: Ending, steps_at: int | None = None, seconds: float = 0.0) -> list[str]:
    """Roll version 2 out; the phases that were gone through. At one visit the clock is set by `seconds`."""
    bench = deployed()
    bench.cluster.ask("2")
    bench.visit()
    bench.visit()
    ending(bench)
    phases: list[str] = []
    for number in range(VISITS):
        if number == steps_at:
            bench.clock.pass_by(seconds)
        result = bench.settle()
        if not phases or phases[-1] != bench.phase:
            phases.append(bench.phase)
        if bench.phase in ("Stable", "RolledBack"):
            assert bench.cluster.status["stable"]["version"] == ("2" if bench.phase == "Stable" else "1")
            return phases
        assert result.again_after is not None
        bench.clock.now += result.again_after
    raise AssertionError(f"not over after {VISITS} visits: {phases}")


@pytest.mark.parametrize("seconds", [STEP_SECONDS, -STEP_SECONDS], ids=["forward", "back"])
@pytest.mark.parametrize("ending", [good, failing])
def test_clock_steps_10_minutes(ending: Ending, seconds: float) -> None:
    undisturbed = visits_of(ending)
    for number in range(len(undisturbed) + 4):
        assert visits_of(ending, number, seconds)[-1] == undisturbed[-1], f"set at visit {number}"
