"""What holds of every rollout, whatever happens to it.

Each example is a random story of a simulated service. Every visit of the simulation checks, beside what is asked here,
that the step says the same twice, that it changes nothing of what it was given, that weights are percentages, and that
stable does not shrink below where the rollout began.
"""

import copy
from collections.abc import Callable
from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from serinus.api.status import InferenceServiceStatus, Phase, Verdict
from serinus.core import schedule
from serinus.core.report import status_of
from serinus.core.state import state_of
from tests.unit.core.rollouts import World, deployed, spec_of

Happening = Callable[[World], object]

EXAMPLES = 60
VERSIONS = ("1", "2", "3")
RESTING = (Phase.STABLE, Phase.ROLLED_BACK)

versions = st.sampled_from(VERSIONS)
shares = st.sampled_from([0.0, 0.004, 0.02, 0.5, 1.0])


def restart(world: World) -> None:
    """The operator ends and begins anew from what it has written to the status."""
    status = status_of(world.state, world.observed(), (), InferenceServiceStatus(), 1, "", world.now)
    state = state_of(InferenceServiceStatus.model_validate(status.to_wire()))
    assert state == world.state
    world.state = state


def ask(version: str, promotion: str, choice: str, replicas: int, weight: int, precision: str) -> Happening:
    steps = [{"weightPercent": weight, "duration": "1m"}, {"weightPercent": max(weight, 50), "duration": "2m"}]
    spec = spec_of(
        version,
        promotion=promotion,
        onInsufficientTraffic=choice,
        replicas=replicas,
        most=replicas + 3,
        steps=steps,
        traffic={"precision": precision},
    )
    return lambda world: world.ask(spec)


def fails(version: str, share: float) -> Happening:
    return lambda world: world.traffic.failing.update({version: share})


def slow(version: str, share: float) -> Happening:
    return lambda world: world.traffic.slow.update({version: share})


def breaks(version: str) -> Happening:
    return lambda world: world.break_pods(version, "CrashLoopBackOff", "exits with code 1")


def mends(version: str) -> Happening:
    return lambda world: world.failures.pop(version, None)


def unready(version: str, pods: int) -> Happening:
    return lambda world: world.unready.update({version: pods})


def metrics(work: bool) -> Happening:
    return lambda world: setattr(world, "metrics_work", work)


def requests(per_minute: int) -> Happening:
    return lambda world: setattr(world.traffic, "per_minute", per_minute)


def command(verb: str) -> Happening:
    return lambda world: world.command(verb)


def wait(seconds: int) -> Happening:
    return lambda world: world.run(timedelta(seconds=seconds))


def visit(world: World) -> None:
    world.visit()


asks = st.builds(
    ask,
    versions,
    st.sampled_from(["Automatic", "Manual"]),
    st.sampled_from(["Pause", "Promote", "Rollback"]),
    st.integers(1, 5),
    st.sampled_from([1, 20, 50]),
    st.sampled_from(["Approximate", "Strict"]),
)
happenings: st.SearchStrategy[Happening] = st.one_of(
    asks,
    st.builds(wait, st.sampled_from([1, 20, 45, 100, 400, 1000])),
    st.builds(wait, st.sampled_from([45, 100, 400])),
    st.builds(command, st.sampled_from(["promote", "abort", "retry", "pause", "resume"])),
    st.builds(fails, versions, shares),
    st.builds(slow, versions, shares),
    st.builds(breaks, versions),
    st.builds(mends, versions),
    st.builds(unready, versions, st.integers(0, 3)),
    st.builds(metrics, st.booleans()),
    st.builds(requests, st.sampled_from([0, 5, 1200])),
    st.sampled_from([visit, restart]),
)
stories = st.builds(lambda first, rest: [first, *rest], asks, st.lists(happenings, min_size=3, max_size=20))


class WatchedWorld(World):
    """Also looks at what becomes of the evidence."""

    def visit(self) -> None:
        before = self.state
        super().visit()
        after = self.state
        if before.canary is None or after.rollout.phase is Phase.ROLLING_BACK:
            return
        steps_gone = after.rollout.step_index > before.rollout.step_index
        all_gone = after.rollout.reason in ("AllStepsPassed", "ManualPromotion")
        if steps_gone or (all_gone and after.rollout.reason != before.rollout.reason):
            self._check_passed()

    def _check_passed(self) -> None:
        policy, analysis = self.state.rollout.policy, self.state.analysis
        assert policy is not None
        assert analysis is not None
        lenient = policy.analysis.on_insufficient_traffic == "Promote"
        assert analysis.verdict is Verdict.PASS or (lenient and analysis.step_requests < policy.analysis.min_requests)
        assert self.state.rollout.metrics_missing_since is None


def after(story: list[Happening]) -> WatchedWorld:
    world = WatchedWorld(spec_of("1"))
    world.run_until(Phase.STABLE)
    for happening in story:
        happening(world)
        world.visit()
    return world


@given(stories)
@settings(max_examples=EXAMPLES)
def test_a_promotion_has_a_reason(story: list[Happening]) -> None:
    world = after(story)
    promotions = [one.message for one in world.told if one.reason == "Promoting"]
    assert all(
        " passed all steps. " in message or "by command" in message or "has no ready pod" in message
        for message in promotions
    )
    assert world.events.count("Promoted") <= len(promotions)


@given(stories)
@settings(max_examples=EXAMPLES)
def test_a_rollout_that_is_over_stays_over(story: list[Happening]) -> None:
    world = after(story)
    world.settle()
    if world.state.rollout.phase not in RESTING:
        return
    before = copy.deepcopy(world.state)
    assert schedule.next_visit(world.state, world.now) is None
    world.failures.clear()
    world.traffic.failing = dict.fromkeys(VERSIONS, 0.9)
    for _ in range(5):
        world.now += timedelta(hours=1)
        world.visit()
    assert world.state == before


@given(stories)
@settings(max_examples=EXAMPLES)
def test_every_rollout_comes_to_an_end(story: list[Happening]) -> None:
    world = after(story)
    world.unready.clear()
    world.run(timedelta(hours=2))
    rollout = world.state.rollout
    waits_for_a_person = rollout.phase is Phase.PAUSED and rollout.reason in ("ManualPromotion", "PausedByCommand")
    asked_version_cannot_start = rollout.phase is Phase.INITIALIZING
    assert rollout.phase in RESTING or waits_for_a_person or asked_version_cannot_start


@given(stories)
@settings(max_examples=EXAMPLES)
def test_requests_find_a_pod_as_long_as_stable_has_one(story: list[Happening]) -> None:
    world = after(story)
    world.settle()
    if world.observed().ready(world.state.stable.name):
        deployed_revisions = [one for one in (world.state.stable, world.state.canary) if one is not None]
        assert sum(world.share(revision) for revision in deployed_revisions) > 0.99


@given(stories)
@settings(max_examples=EXAMPLES)
def test_a_visit_more_changes_nothing(story: list[Happening]) -> None:
    world = after(story)
    world.settle()
    state, pods, selected, told = world.state, dict(world.pods), world.selected, len(world.told)
    world.visit()
    assert (world.state, world.pods, world.selected, len(world.told)) == (state, pods, selected, told)


@given(stories, versions)
@settings(max_examples=EXAMPLES)
def test_going_back_to_stable_always_works(story: list[Happening], version: str) -> None:
    """Whatever has happened: a spec that asks for the version that serves is served by it, without a judgement."""
    world = deployed(spec_of("1"))
    for happening in story:
        happening(world)
    world.settle()
    if world.state.rollout.phase is Phase.INITIALIZING:
        return
    serving = world.state.stable
    world.metrics_work = False
    world.ask(spec_of(serving.version))
    world.settle()
    assert (world.state.rollout.phase, world.state.stable, world.state.canary) == (Phase.STABLE, serving, None)
    assert world.selected == serving.name
