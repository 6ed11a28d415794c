"""Whole rollouts simulated from fixed seeds: how often good versions are condemned, how soon bad ones are."""

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from serinus.api.status import AnalysisStatus, Verdict
from serinus.api.v1beta1 import Analysis
from serinus.core import analysis
from serinus.ports import RevisionSample

START = datetime(2026, 3, 1, 3, 0, tzinfo=UTC)
GOOD_RECORD = 40
POLICY = Analysis.model_validate({"errors": {"threshold": "1%"}, "latency": [{"percentile": 95, "threshold": "100ms"}]})
ERRORS = Analysis.model_validate({"errors": {"threshold": "1%"}})


@dataclass(frozen=True)
class Arm:
    """A revision as it truly is: requests in each look, and the chances that one fails or is slow."""

    requests: int
    errors: float
    slow: float = 0.0

    def draw(self, looks: int, random: np.random.Generator) -> list[RevisionSample]:
        failed = random.binomial(self.requests, self.errors, looks)
        slow = random.binomial(self.requests - failed, self.slow)
        return [
            RevisionSample(self.requests, bad, self.requests - bad, {95: late})
            for bad, late in zip(failed.tolist(), slow.tolist(), strict=True)
        ]


@dataclass(frozen=True)
class Ending:
    """How a rollout ended, and after which look."""

    what: str
    looks: int


@dataclass(frozen=True)
class Change:
    """A revision that is one way for 40 looks and another from then on."""

    before: Arm
    after: Arm

    def draw(self, looks: int, random: np.random.Generator) -> list[RevisionSample]:
        return [*self.before.draw(GOOD_RECORD, random), *self.after.draw(looks - GOOD_RECORD, random)]


@dataclass(frozen=True)
class Hiccup:
    """A revision half of whose requests fail in one look of many."""

    arm: Arm

    def draw(self, looks: int, random: np.random.Generator) -> list[RevisionSample]:
        samples = self.arm.draw(looks, random)
        failed = self.arm.requests // 2
        samples[looks // 2] = RevisionSample(self.arm.requests, failed, self.arm.requests - failed)
        return samples


@dataclass(frozen=True)
class Tail:
    """A revision as it truly is, with the shares of its requests over a threshold for each of several percentiles."""

    requests: int
    slower: Mapping[int, float]

    def draw(self, looks: int, random: np.random.Generator) -> list[RevisionSample]:
        """Of the requests over one threshold, some are over the next, which is longer."""
        samples = []
        for _ in range(looks):
            slow, over, share_before = {}, self.requests, 1.0
            for percentile, share in self.slower.items():
                over = int(random.binomial(over, share / share_before))
                slow[percentile], share_before = over, share
            samples.append(RevisionSample(self.requests, 0, self.requests, slow))
        return samples


def roll_out(
    canary: Arm | Change | Hiccup | Tail,
    baseline: Arm | Change | Tail,
    seed: int,
    looks: int = 60,
    policy: Analysis = POLICY,
) -> Ending:
    random = np.random.default_rng(seed)
    state = AnalysisStatus()
    arms = zip(canary.draw(looks, random), baseline.draw(looks, random), strict=True)
    for number, (new, old) in enumerate(arms, start=1):
        state = analysis.tick(policy, state, new, old, START + number * timedelta(seconds=30))
        if state.verdict is Verdict.FAIL:
            return Ending("failed", number)
        if analysis.environment_is_bad(policy, state):
            return Ending("environment", number)
    return Ending("not condemned", looks)


def test_equal_arms_1000_seeded_runs_at_most_1_percent_false_rollback() -> None:
    """Both revisions are exactly at their limits, where mistakes are likeliest."""
    arm = Arm(50, errors=0.01, slow=0.05)
    endings = [roll_out(arm, arm, seed) for seed in range(1000)]
    assert sum(ending.what == "failed" for ending in endings) <= 10


def test_equal_arms_judged_at_four_percentiles_at_most_1_percent_false_rollback() -> None:
    """All limits are exactly met. What is over one threshold is over the shorter ones, so mistakes come together."""
    arm = Tail(50, {50: 0.5, 90: 0.1, 95: 0.05, 99: 0.01})
    thresholds = {50: "50ms", 90: "100ms", 95: "250ms", 99: "1s"}
    policy = Analysis.model_validate(
        {"latency": [{"percentile": one, "threshold": threshold} for one, threshold in thresholds.items()]}
    )
    endings = [roll_out(arm, arm, seed, policy=policy) for seed in range(400)]
    assert sum(ending.what == "failed" for ending in endings) <= 4


def test_noisy_traffic_within_the_limits_is_never_condemned() -> None:
    endings = [roll_out(Arm(50, errors=0.005, slow=0.04), Arm(50, errors=0.005, slow=0.04), seed) for seed in range(50)]
    assert {ending.what for ending in endings} == {"not condemned"}


@pytest.mark.parametrize(
    ("canary", "baseline", "looks"),
    [
        pytest.param(Arm(50, errors=0.05), Arm(50, errors=0.005), 5, id="one_percent_errors_against_five"),
        pytest.param(Arm(10, errors=0.5), Arm(30, errors=0.0), 2, id="half_of_few_requests_fail"),
        pytest.param(Arm(50, errors=0.5), Arm(150, errors=0.005), 2, id="half_of_the_requests_fail"),
        pytest.param(Arm(50, errors=0.0, slow=0.2), Arm(150, errors=0.0, slow=0.01), 2, id="p95_is_far_over"),
        pytest.param(Arm(500, errors=0.02), Arm(500, errors=0.005), 5, id="twice_the_limit_in_much_traffic"),
    ],
)
def test_a_bad_version_is_caught_at_the_median_by(canary: Arm, baseline: Arm, looks: int) -> None:
    endings = [roll_out(canary, baseline, seed) for seed in range(100)]
    assert {ending.what for ending in endings} == {"failed"}
    assert statistics.median(ending.looks for ending in endings) <= looks


def test_half_of_the_requests_failing_is_always_caught_at_the_second_look() -> None:
    endings = [roll_out(Arm(50, errors=0.5), Arm(50, errors=0.0), seed) for seed in range(200)]
    assert set(endings) == {Ending("failed", 2)}


@pytest.mark.parametrize("share", [0.03, 0.2, 0.5])
def test_both_arms_degrade_and_the_new_version_is_not_blamed(share: float) -> None:
    endings = [roll_out(Arm(50, errors=share), Arm(50, errors=share), seed) for seed in range(100)]
    assert sum(ending.what == "environment" for ending in endings) >= 97


@pytest.mark.parametrize(
    ("requests", "good", "bad", "looks"),
    [
        pytest.param((500, 500), 0.0, 0.02, 5, id="twice_the_limit"),
        pytest.param((500, 500), 0.0005, 0.02, 6, id="twice_the_limit_beside_some_errors"),
        pytest.param((500, 500), 0.0005, 0.05, 3, id="five_times_the_limit"),
        pytest.param((500, 9500), 0.0005, 0.02, 5, id="at_a_weight_of_five_percent"),
    ],
)
def test_a_version_that_goes_bad_after_a_long_good_record_is_caught_soon(
    requests: tuple[int, int], good: float, bad: float, looks: int
) -> None:
    canary = Change(Arm(requests[0], good), Arm(requests[0], bad))
    endings = [roll_out(canary, Arm(requests[1], good), seed, policy=ERRORS) for seed in range(50)]
    assert {ending.what for ending in endings} == {"failed"}
    assert statistics.median(ending.looks for ending in endings) <= GOOD_RECORD + looks


def test_a_difference_too_small_to_matter_is_let_pass_however_surely_it_is_seen() -> None:
    wide = Analysis.model_validate({"errors": {"threshold": "5%"}})
    slightly_worse, stable = Arm(10_000, 0.003), Arm(10_000, 0.0001)
    for canary in (slightly_worse, Change(stable, slightly_worse)):
        endings = [roll_out(canary, stable, seed, policy=wide) for seed in range(50)]
        assert {ending.what for ending in endings} == {"not condemned"}


@pytest.mark.parametrize(("requests", "condemned"), [(50, 0.15), (500, 0.02)])
def test_a_single_hiccup_seldom_condemns_a_good_version(requests: int, condemned: float) -> None:
    """It takes bad luck beside it; no e-process claims anything of requests that fail together."""
    good = Arm(requests, errors=0.005)
    endings = [roll_out(Hiccup(good), good, seed, policy=ERRORS) for seed in range(100)]
    assert sum(ending.what == "failed" for ending in endings) <= condemned * len(endings)


@pytest.mark.parametrize("requests", [(50, 50), (400, 100), (475, 25)], ids=lambda pair: f"{pair[0]}_beside_{pair[1]}")
@pytest.mark.parametrize("share", [0.02, 0.05, 0.3])
def test_both_arms_degrade_after_a_long_good_record_and_the_new_version_is_not_blamed(
    requests: tuple[int, int], share: float
) -> None:
    """However little of the traffic stable has, and so however late its own evidence is complete."""
    canary, baseline = (Change(Arm(arm, 0.001), Arm(arm, share)) for arm in requests)
    endings = [roll_out(canary, baseline, seed, looks=70, policy=ERRORS) for seed in range(40)]
    assert sum(ending.what == "failed" for ending in endings) <= 2
