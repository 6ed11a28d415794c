"""Whole rollouts simulated from fixed seeds: how often good versions are condemned, how soon bad ones are."""

import statistics
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from serinus.api.status import AnalysisStatus, Verdict
from serinus.api.v1beta1 import Analysis
from serinus.core import analysis
from serinus.ports import RevisionSample

START = datetime(2026, 3, 1, 3, 0, tzinfo=UTC)
POLICY = Analysis.model_validate({"errors": {"threshold": "1%"}, "latency": {"threshold": "100ms"}})


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
            RevisionSample(self.requests, bad, self.requests - bad, late, None)
            for bad, late in zip(failed.tolist(), slow.tolist(), strict=True)
        ]


@dataclass(frozen=True)
class Ending:
    """How a rollout ended, and after which look."""

    what: str
    looks: int


def roll_out(canary: Arm, baseline: Arm, seed: int, looks: int = 60) -> Ending:
    random = np.random.default_rng(seed)
    state = AnalysisStatus()
    arms = zip(canary.draw(looks, random), baseline.draw(looks, random), strict=True)
    for number, (new, old) in enumerate(arms, start=1):
        state = analysis.tick(POLICY, state, new, old, START + number * timedelta(seconds=30))
        if state.verdict is Verdict.FAIL:
            return Ending("failed", number)
        if analysis.environment_is_bad(POLICY, state):
            return Ending("environment", number)
    return Ending("not condemned", looks)


def test_equal_arms_1000_seeded_runs_at_most_1_percent_false_rollback() -> None:
    """Both revisions are exactly at their limits, where mistakes are likeliest."""
    arm = Arm(50, errors=0.01, slow=0.05)
    endings = [roll_out(arm, arm, seed) for seed in range(1000)]
    assert sum(ending.what == "failed" for ending in endings) <= 10


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
