"""What `kubectl serinus status` shows."""

import math
from datetime import timedelta

import pytest

from serinus.api.status import Phase
from serinus.core.evalue import format_e
from serinus.kubectl.live import wrapped
from serinus.kubectl.view import progress_line, status_lines
from tests.unit.core.rollouts import World, deployed, spec_of
from tests.unit.kubectl.services import service_of


@pytest.fixture
def world() -> World:
    world = deployed(spec_of("1"))
    world.traffic.failing = {"1": 0.005, "2": 0.0}
    world.ask(spec_of("2"))
    return world


def shown(world: World) -> list[str]:
    """The lines, with single spaces."""
    return [" ".join(line.split()) for line in status_lines(service_of(world), world.now)]


def test_a_rollout_under_way(world: World) -> None:
    world.run(timedelta(minutes=1))
    stable, canary = world.state.stable.name, world.state.canary.name if world.state.canary else ""
    assert shown(world)[:11] == [
        "digits -n vision: Progressing (Analyzing)",
        f"serves version 1, revision {stable}, 4 of 4 pods ready",
        f"new version 2, revision {canary}, 1 of 1 pods ready",
        "step 1 of 2: 20% for 2m, Analyzing",
        "weight desired 20%, applied 20%, measured 20%",
        "time left 59m until it is rolled back",
        "url http://digits.vision.svc",
        "why Step 1 of 2: version 2 gets 20% of the requests and is judged.",
        "",
        "2 looks, verdict Pass; this step has seen 360 of 100 requests",
        "check new stable last look bad looks e limit e stable rejects at verdict",
    ]
    assert "errors <= 1% 0 of 360 (0%) 7 of 1440 (0.49%) - 0 0.33 0.32 400 Pass" in shown(world)
    assert any(line.startswith("P95 <= 100ms 0 of 360 (0%) ") and " 20ms / 20ms " in line for line in shown(world))
    assert "What you can do:" in shown(world)
    assert any(line.startswith("kubectl serinus pause digits -n vision ") for line in shown(world))


def test_a_pause_by_command_stands_still(world: World) -> None:
    world.run(timedelta(minutes=1))
    world.command("pause")
    world.run(timedelta(hours=5))
    assert "time left 59m until the deadline, which stands still" in shown(world)


def test_after_a_rollback_the_evidence_stays(world: World) -> None:
    world.traffic.failing["2"] = 0.5
    world.run_until(Phase.ROLLED_BACK)
    lines = shown(world)
    assert lines[0] == "digits -n vision: RolledBack (HighErrorRate)"
    assert not any(line.startswith(("new", "step", "time left")) for line in lines)
    assert "2 looks, verdict Fail; of the last rollout" in lines
    assert any(line.startswith("errors <= 1% 180 of 360 (50%)") and line.endswith("400 Fail") for line in lines)
    assert any(line.startswith("kubectl serinus retry digits -n vision ") for line in lines)


def test_a_service_at_rest_has_nothing_to_decide() -> None:
    lines = shown(deployed(spec_of("1")))
    assert lines[0] == "digits -n vision: Stable"
    assert lines[-1] == "Nothing to decide."


def test_a_line_for_a_log(world: World) -> None:
    world.run(timedelta(minutes=1))
    line = progress_line(service_of(world))
    assert line.startswith("digits -n vision: Progressing (Analyzing)  version 2  1 of 2: 20% for 2m, Analyzing  ")
    assert line.endswith("  verdict Pass")


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0004, "0.0004"), (1, "1"), (9.94, "9.9"), (400, "400"), (12345, "12345"), (1e34, "10^34")],
)
def test_e_values_are_short(value: float, text: str) -> None:
    assert format_e(math.log(value)) == text


def test_an_e_value_may_be_too_large_for_a_float() -> None:
    assert format_e(1e6) == "10^434294"


def test_no_line_is_wider_than_the_terminal() -> None:
    lines = ["  why  " + "word " * 30, "", "x" * 100]
    assert all(len(line) <= 40 for line in wrapped(lines, 40))
    assert wrapped([""], 40) == [""]
    assert wrapped(lines, 40)[1].startswith("      word")
