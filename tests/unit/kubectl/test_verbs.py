"""Which commands the plugin lets pass: those that the operator would obey."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from serinus.api.status import Phase
from serinus.core.command import Verb
from serinus.core.revision import revision_of
from serinus.kubectl.verbs import Refusal, sensible_verbs, subject_of
from tests.unit.core.rollouts import World, deployed, spec_of
from tests.unit.kubectl.services import does_something, service_of

Story = Callable[[World], object]


def rolled_out(world: World) -> None:
    world.ask(spec_of("2"))
    world.run(timedelta(minutes=1))


def starting(world: World) -> None:
    world.unready["2"] = 1
    rolled_out(world)


def promoting(world: World) -> None:
    world.ask(spec_of("2"))
    world.run_until(Phase.PROMOTING)


def promoted(world: World) -> None:
    world.ask(spec_of("2"))
    world.run_until(Phase.STABLE, "Promoted")


def rolled_back(world: World) -> None:
    world.traffic.failing["2"] = 0.5
    world.ask(spec_of("2"))
    world.run_until(Phase.ROLLED_BACK)


def rolling_back(world: World) -> None:
    rolled_out(world)
    world.command("abort")
    world.visit()


def paused(world: World) -> None:
    rolled_out(world)
    world.command("pause")
    world.settle()


def paused_before_traffic(world: World) -> None:
    starting(world)
    world.command("pause")
    world.settle()


def waiting_for_promotion(world: World) -> None:
    world.ask(spec_of("2", promotion="Manual"))
    world.run_until(Phase.PAUSED)


def without_traffic(world: World) -> None:
    world.traffic.per_minute = 0
    world.ask(spec_of("2"))
    world.run_until(Phase.PAUSED)


def in_a_bad_environment(world: World) -> None:
    world.ask(spec_of("2"))
    world.run(timedelta(minutes=1))
    world.traffic.failing = {"1": 0.4, "2": 0.4}
    world.run_until(Phase.PAUSED)


SITUATIONS: dict[str, tuple[Story, str, dict[str, str]]] = {
    # How it came about, the verbs that pass, and parts of what is said of others.
    "nothing_is_rolled_out": (
        World.settle,
        "",
        {"promote": "No rollout of digits -n vision is under way", "retry": "nothing to retry"},
    ),
    "canary_starting": (starting, "promote abort pause", {"resume": "It goes on by itself."}),
    "progressing": (
        rolled_out,
        "promote abort pause",
        {"retry": "for a version that was rolled back", "resume": "is Progressing (Analyzing), not paused by command"},
    ),
    "promoting": (
        promoting,
        "abort",
        {"promote": "is Promoting (AllStepsPassed) already", "pause": "not held half-way. To go back: kubectl serinus"},
    ),
    "promoted": (promoted, "", {"abort": "nothing to abort"}),
    "rolling_back": (rolling_back, "", {"retry": "being rolled back just now"}),
    "rolled_back": (
        rolled_back,
        "retry",
        {"abort": "has been rolled back already (HighErrorRate). To try it again: kubectl serinus retry digits -n vi"},
    ),
    "paused_by_command": (
        paused,
        "promote abort resume",
        {"pause": "already. To go on: kubectl serinus resume digits -n vision"},
    ),
    "paused_by_command_before_traffic": (paused_before_traffic, "promote abort resume", {}),
    "waiting_for_promotion": (
        waiting_for_promotion,
        "promote abort pause",
        {"resume": "What decides it: promote, abort."},
    ),
    "paused_for_want_of_traffic": (without_traffic, "promote abort pause", {}),
    "paused_in_a_bad_environment": (
        in_a_bad_environment,
        "promote abort retry pause",
        {"resume": "What decides it: promote, retry, abort."},
    ),
}


@pytest.mark.parametrize(("story", "verbs", "says"), SITUATIONS.values(), ids=SITUATIONS.keys())
def test_verbs_that_make_sense(story: Story, verbs: str, says: dict[str, str]) -> None:
    world = deployed(spec_of("1"))
    story(world)
    service = service_of(world)
    assert [verb.value for verb in sensible_verbs(service)] == verbs.split()
    for verb, part in says.items():
        refusal = subject_of(service, Verb(verb))
        assert isinstance(refusal, Refusal)
        assert part in refusal.message


@pytest.mark.parametrize("story", [story for story, _, _ in SITUATIONS.values()], ids=SITUATIONS.keys())
@pytest.mark.parametrize("verb", Verb)
def test_the_operator_agrees(story: Story, verb: Verb) -> None:
    world = deployed(spec_of("1"))
    story(world)
    subject = subject_of(service_of(world), verb)
    if isinstance(subject, str):
        assert does_something(world, verb, subject)
    else:
        revision = world.state.canary or revision_of(world.spec)
        assert not does_something(world, verb, revision.name)


def test_nothing_is_commanded_before_the_operator_has_seen_the_spec() -> None:
    world = deployed(spec_of("1"))
    rolled_out(world)
    refusal = subject_of(service_of(world, generation=2), Verb.PROMOTE)
    assert isinstance(refusal, Refusal)
    assert "has not seen the newest spec" in refusal.message
