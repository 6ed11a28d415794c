"""What a policy would do, told as scenarios and their outcomes."""

from dataclasses import dataclass, replace
from datetime import timedelta

import pytest

from serinus.api.status import Phase
from serinus.api.units import format_duration
from serinus.api.v1beta1 import Autoscaling
from serinus.core.window import MIN_WINDOW_SCRAPES
from serinus.simulation.advice import advice, steps_of
from serinus.simulation.run import (
    Outcome,
    simulate,
    smallest_error_rate_caught,
    smallest_slow_rate_caught,
)
from serinus.simulation.scenario import SCRAPE_INTERVAL, Quality, Scenario
from serinus.simulation.world import World
from tests.unit.simulation.manifests import scenario, spec

SEEDS = 20
SHORTEST = MIN_WINDOW_SCRAPES * SCRAPE_INTERVAL


@dataclass(frozen=True)
class Expected:
    outcome: Outcome
    reason: str
    at_least: float = 1.0


RUNS: dict[str, tuple[Scenario, Expected]] = {
    "good_version_promoted": (scenario(), Expected(Outcome.PROMOTED, "Promoted")),
    "good_version_promoted_behind_a_gateway": (scenario(has_gateway=True), Expected(Outcome.PROMOTED, "Promoted")),
    "failing_version_rolled_back": (
        scenario(canary=Quality(0.2, {95: 0.01})),
        Expected(Outcome.ROLLED_BACK, "HighErrorRate"),
    ),
    "slow_version_rolled_back": (
        scenario(canary=Quality(0.002, {95: 0.3})),
        Expected(Outcome.ROLLED_BACK, "HighLatency"),
    ),
    "bad_environment_pauses": (
        scenario(stable=Quality(0.2), canary=Quality(0.2)),
        Expected(Outcome.PAUSED, "Environment", at_least=0.9),
    ),
    "manual_promotion_waits": (scenario(promotion="Manual"), Expected(Outcome.PAUSED, "ManualPromotion")),
    "too_little_traffic_pauses": (
        scenario(requests_per_second=0.1),
        Expected(Outcome.PAUSED, "InsufficientTraffic"),
    ),
    "no_traffic_pauses": (scenario(requests_per_second=0), Expected(Outcome.PAUSED, "InsufficientTraffic")),
    "too_little_traffic_is_let_pass": (
        scenario(requests_per_second=0.1, analysis={"onInsufficientTraffic": "Promote"}),
        Expected(Outcome.PROMOTED, "Promoted"),
    ),
    "too_little_traffic_rolls_back": (
        scenario(requests_per_second=0.1, analysis={"onInsufficientTraffic": "Rollback"}),
        Expected(Outcome.ROLLED_BACK, "InsufficientTraffic"),
    ),
    "deadline_rolls_back": (
        scenario(requests_per_second=0.1, deadline="6m"),
        Expected(Outcome.ROLLED_BACK, "DeadlineExceeded"),
    ),
}


@pytest.mark.parametrize(("situation", "expected"), RUNS.values(), ids=RUNS.keys())
def test_outcome(situation: Scenario, expected: Expected) -> None:
    summary = simulate(situation, SEEDS)
    shares = {(one.outcome, reason): share for one in summary.outcomes for reason, share in one.reasons.items()}
    assert shares.get((expected.outcome, expected.reason), 0) >= expected.at_least
    assert sum(one.share for one in summary.outcomes) == pytest.approx(1)


def test_the_same_seed_gives_the_same_rollout() -> None:
    situation = scenario(canary=Quality(0.02, {95: 0.05}))
    assert World(situation, 4).run() == World(situation, 4).run()
    assert len({World(situation, seed).run().served.requests for seed in range(5)}) > 1


def test_a_rollout_takes_its_steps_and_a_look_more() -> None:
    """Steps of 2m and 3m, and one interval of 2m during which the new version bears all requests."""
    ending = World(scenario(analysis={"interval": "2m"}), 1).run()
    assert ending.phase is Phase.STABLE
    assert timedelta(minutes=9) <= ending.after <= timedelta(minutes=10)
    assert ending.looks == 5


def test_the_requests_of_the_new_version_follow_its_weight() -> None:
    served = World(scenario(has_gateway=True), 1).run().served
    in_steps = 50 * (0.2 * 120 + 0.5 * 180)
    while_promoted = 50 * 31
    assert served.requests == pytest.approx(in_steps + while_promoted, rel=0.1)


def test_a_worse_version_is_caught_sooner_and_serves_fewer_bad_requests() -> None:
    runs = [simulate(scenario(canary=Quality(rate)), SEEDS) for rate in (0.03, 0.3)]
    seconds = [run.outcomes[1].seconds for run in runs]
    assert all(spread is not None for spread in seconds)
    assert seconds[0].p50 >= seconds[1].p50  # type: ignore[union-attr]
    assert [run.outcomes[1].share for run in runs] == [1.0, 1.0]


@pytest.mark.parametrize(
    ("situation", "errors", "slow"),
    [
        pytest.param(scenario(), (0.008, 0.025), (0.02, 0.08), id="some_traffic"),
        pytest.param(scenario(requests_per_second=1000), (0.005, 0.012), (0.015, 0.06), id="much_traffic_shows_more"),
    ],
)
def test_the_smallest_excess_that_is_caught(
    situation: Scenario, errors: tuple[float, float], slow: tuple[float, float]
) -> None:
    """Some way over what is allowed (1% errors, 5% slow) or 1.5 times stable's, closer with more traffic."""
    for smallest, (least, most) in (
        (smallest_error_rate_caught(situation, 10), errors),
        (smallest_slow_rate_caught(situation, 95, 10), slow),
    ):
        assert smallest is not None
        assert least <= smallest <= most


def test_nothing_is_caught_without_traffic() -> None:
    assert smallest_error_rate_caught(scenario(requests_per_second=0.01), 3) is None


@pytest.mark.parametrize(
    ("situation", "says"),
    [
        pytest.param(
            scenario(analysis={"minRequests": 299, "interval": "1m"}), [], id="policy_and_traffic_go_together"
        ),
        pytest.param(
            scenario(analysis={"minRequests": 100, "interval": "1m"}),
            ["canary.analysis.minRequests of 100 is too low to show 'errors <= 1%'"],
            id="too_few_requests_to_show_the_limit",
        ),
        pytest.param(
            scenario(analysis={"minRequests": 299, "interval": "20s"}),
            [f"Looks are {format_duration(SHORTEST)} apart, although canary.analysis.interval is 20s"],
            id="interval_of_too_few_scrapes",
        ),
        pytest.param(
            scenario(requests_per_second=1, analysis={"minRequests": 299, "interval": "1m"}),
            ["Step 1 waits 10m at most for its 299 requests (canary.analysis.minRequests), and gets about 120"],
            id="step_without_enough_requests",
        ),
    ],
)
def test_advice(situation: Scenario, says: list[str]) -> None:
    notes = advice(situation)
    assert len(notes) == len(says)
    for note, start in zip(notes, says, strict=True):
        assert note.startswith(start)
        assert note.endswith(".")


@pytest.mark.parametrize(("precision", "share"), [("Approximate", 0.2), ("Strict", 0.25)])
def test_a_strict_weight_is_in_effect_with_the_pods_that_make_it(precision: str, share: float) -> None:
    """A version that always fails is rolled back at the second look; till then it has had its share of the requests."""
    policy = spec(steps=[{"weightPercent": 25, "duration": "9m"}], traffic={"precision": precision})
    scaling = Autoscaling(min_replicas=4, max_replicas=9)
    situation = replace(scenario(canary=Quality(1.0)), spec=policy.model_copy(update={"autoscaling": scaling}))
    assert [step.share for step in steps_of(situation)] == [share]
    ending = World(situation, 1).run()
    assert ending.looks == 2
    assert ending.served.requests == pytest.approx(share * 50 * ending.after.total_seconds(), rel=0.05)


def test_the_weight_in_effect_is_what_the_pods_make() -> None:
    assert [step.share for step in steps_of(scenario())] == [0.2, 0.5]
    five = [{"weightPercent": 5, "duration": "2m"}]
    assert [step.share for step in steps_of(scenario(steps=five))] == [0.2]
    assert [step.share for step in steps_of(scenario(steps=five, has_gateway=True))] == [0.05]


@pytest.mark.parametrize(
    "build",
    [
        pytest.param(lambda: scenario(requests_per_second=-1), id="negative_traffic"),
        pytest.param(lambda: scenario(requests_per_second=float("nan")), id="traffic_that_is_no_number"),
        pytest.param(lambda: Quality(1.5), id="more_errors_than_requests"),
        pytest.param(lambda: Quality(0, {95: -0.1}), id="fewer_slow_requests_than_none"),
    ],
)
def test_what_cannot_be_is_refused(build: object) -> None:
    with pytest.raises(ValueError, match="is not between 0 and"):
        build()  # type: ignore[operator]
