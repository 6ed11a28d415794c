"""Simulated rollouts of 60 looks: the same seeds, and so the same requests, for all rules."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Final

from benchmarks.detection.rules import RULES
from serinus.ports import RevisionSample
from serinus.simulation.draw import binomial

LOOKS: Final = 60


@dataclass(frozen=True)
class Traffic:
    """Requests in each look, and how the two versions truly are."""

    canary_requests: int
    stable_requests: int
    stable_error_rate: float
    canary_error_rate: float

    def looks(self, seed: int) -> Iterator[tuple[RevisionSample, RevisionSample]]:
        """What each look sees of the new and of the stable version."""
        random = Random(seed)  # noqa: S311 - a simulation
        for _ in range(LOOKS):
            yield (
                _sample(random, self.canary_requests, self.canary_error_rate),
                _sample(random, self.stable_requests, self.stable_error_rate),
            )


@dataclass(frozen=True)
class Verdicts:
    """What a rule did with the rollouts of one kind of traffic."""

    rolled_back: float
    """The share of rollouts."""
    looks: float | None
    """Until the rollback, at the median of all rollouts; None if fewer than half are rolled back."""
    requests: float | None
    """That the new version had got by then, at the median."""
    bad_requests: float | None
    """Those of them that failed."""


def judge(traffic: Traffic, rule: str, seeds: int) -> Verdicts:
    """Judge a rollout with each seed from 0 to `seeds` - 1."""
    ends = [_roll_out(traffic, rule, seed) for seed in range(seeds)]
    caught = [end for end in ends if end is not None]
    looks, bad = (_median_of_all([end[part] for end in caught], seeds) for part in (0, 1))
    return Verdicts(
        rolled_back=len(caught) / seeds,
        looks=looks,
        requests=None if looks is None else looks * traffic.canary_requests,
        bad_requests=bad,
    )


def _roll_out(traffic: Traffic, rule: str, seed: int) -> tuple[int, int] | None:
    """The looks until the rollback, and the requests that had failed by then; None without one."""
    judge_of_rollout, bad = RULES[rule](), 0
    for number, (canary, stable) in enumerate(traffic.looks(seed), start=1):
        bad += canary.errors
        if judge_of_rollout.condemns(canary, stable):
            return number, bad
    return None


def _median_of_all(values: list[int], number: int) -> float | None:
    """The median by nearest rank, those without a value counting as greatest."""
    rank = math.ceil(number / 2)
    return sorted(values)[rank - 1] if len(values) >= rank else None


def _sample(random: Random, requests: int, error_rate: float) -> RevisionSample:
    errors = binomial(random, requests, error_rate)
    return RevisionSample(requests, errors, requests - errors)
