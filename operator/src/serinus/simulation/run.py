"""Many rollouts of one scenario, and the smallest excess of bad requests that such rollouts catch."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import Enum
from typing import Final

from serinus.api.status import Phase
from serinus.simulation.scenario import Quality, Scenario
from serinus.simulation.world import Ending, World

CAUGHT: Final = 0.9
"""The share of rollouts that have to catch an excess for it to be called caught."""

_SEARCH_SEEDS: Final = 20
_SEARCH_PRECISION: Final = 1.1
_LEAST_RATE: Final = 1e-4


class Outcome(Enum):
    """How a rollout can end."""

    PROMOTED = "promoted"
    ROLLED_BACK = "rolled back"
    PAUSED = "paused"


_OUTCOMES: Final = {
    Phase.STABLE: Outcome.PROMOTED,
    Phase.ROLLED_BACK: Outcome.ROLLED_BACK,
    Phase.PAUSED: Outcome.PAUSED,
}


@dataclass(frozen=True, slots=True)
class Spread:
    """The 50th and the 95th percentile, by nearest rank."""

    p50: float
    p95: float


@dataclass(frozen=True, slots=True)
class OutcomeSummary:
    """The rollouts that ended in one way."""

    outcome: Outcome
    share: float
    reasons: dict[str, float]
    """The share of each reason among all rollouts."""
    seconds: Spread | None
    """How long they took; None if there were none."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What became of all rollouts."""

    endings: Sequence[Ending]
    outcomes: Sequence[OutcomeSummary]
    requests: Spread
    """Requests that the new version served until its rollout ended."""
    bad_requests: Spread
    """Those of them that failed or were slow."""


def outcome_of(ending: Ending) -> Outcome:
    """How the rollout ended."""
    return _OUTCOMES[ending.phase]


def simulate(scenario: Scenario, seeds: int) -> Summary:
    """Roll out with each seed from 0 to `seeds` - 1; `seeds` is at least 1."""
    endings = [World(scenario, seed).run() for seed in range(seeds)]
    return Summary(
        endings=endings,
        outcomes=[_summarized(outcome, endings) for outcome in Outcome],
        requests=_spread(ending.served.requests for ending in endings),
        bad_requests=_spread(ending.served.bad for ending in endings),
    )


def smallest_error_rate_caught(scenario: Scenario, seeds: int) -> float | None:
    """The least share of failing requests for which the version is rolled back; None when not even 100% is caught."""
    return _smallest_caught(
        scenario,
        lambda rate: replace(scenario.stable, error_rate=rate),
        scenario.stable.error_rate,
        "HighErrorRate",
        seeds,
    )


def smallest_slow_rate_caught(scenario: Scenario, percentile: int, seeds: int) -> float | None:
    """The least share of requests slower than the percentile's threshold for which the version is rolled back.

    None when not even 100% is caught.
    """
    return _smallest_caught(
        scenario,
        lambda rate: scenario.stable.with_slow_rate(percentile, rate),
        scenario.stable.slow_rates.get(percentile, 0.0),
        "HighLatency",
        seeds,
    )


def _smallest_caught(
    scenario: Scenario, quality: Callable[[float], Quality], stable_rate: float, reason: str, seeds: int
) -> float | None:
    """Halve, on a logarithmic scale, the range between what is let pass and what is caught."""

    def is_caught(rate: float) -> bool:
        return _is_caught(replace(scenario, canary=quality(rate)), reason, min(seeds, _SEARCH_SEEDS))

    passes, caught = max(stable_rate, _LEAST_RATE), 1.0
    if not is_caught(caught):
        return None
    while caught / passes > _SEARCH_PRECISION:
        middle = math.sqrt(passes * caught)
        if is_caught(middle):
            caught = middle
        else:
            passes = middle
    return caught


def _is_caught(scenario: Scenario, reason: str, seeds: int) -> bool:
    misses_allowed = seeds - math.ceil(CAUGHT * seeds)
    for seed in range(seeds):
        ending = World(scenario, seed).run()
        misses_allowed -= (ending.phase, ending.reason) != (Phase.ROLLED_BACK, reason)
        if misses_allowed < 0:
            return False
    return True


def _summarized(outcome: Outcome, endings: Sequence[Ending]) -> OutcomeSummary:
    such = [ending for ending in endings if outcome_of(ending) is outcome]
    reasons = sorted({ending.reason for ending in such})
    return OutcomeSummary(
        outcome=outcome,
        share=len(such) / len(endings),
        reasons={name: sum(one.reason == name for one in such) / len(endings) for name in reasons},
        seconds=_spread(ending.after / timedelta(seconds=1) for ending in such) if such else None,
    )


def _spread(values: Iterable[float]) -> Spread:
    ordered = sorted(values)
    return Spread(*(ordered[math.ceil(share * len(ordered)) - 1] for share in (0.5, 0.95)))
