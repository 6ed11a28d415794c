"""What is simulated: a policy, its traffic, and how the two versions truly are."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import pairwise
from typing import Final

from serinus.api.v1beta1 import InferenceServiceSpec

SCRAPE_INTERVAL: Final = timedelta(seconds=15)


@dataclass(frozen=True, slots=True)
class Quality:
    """How a version truly is; both are shares between 0 and 1."""

    error_rate: float
    """Of its requests, those that fail."""
    slow_rates: Mapping[int, float] = field(default_factory=dict)
    """Of those that succeed, those slower than the policy's threshold for each percentile; none where one is left out.

    What is slower than the threshold of a percentile is slower than those of the lower ones, too.
    """

    def __post_init__(self) -> None:
        slow_rates = sorted(self.slow_rates.items())
        rates = [("error rate", self.error_rate), *((f"slow rate of P{one}", share) for one, share in slow_rates)]
        for name, share in rates:
            if not 0 <= share <= 1:
                raise ValueError(f"{name} of {share:g} is not between 0 and 1")
        for (lower, more), (higher, fewer) in pairwise(slow_rates):
            if fewer > more:
                raise ValueError(
                    f"slow rate of P{higher}, {fewer:g}, is over that of P{lower}, {more:g}: what is slower than its "
                    f"threshold is slower than that of P{lower}, which is shorter"
                )

    def with_slow_rate(self, percentile: int, rate: float) -> "Quality":
        """The quality of a version of which so many requests are slower than the threshold of `percentile`.

        Those of lower percentiles are raised where they would be less, those of higher ones lowered.
        """
        others = {
            one: max(share, rate) if one < percentile else min(share, rate) for one, share in self.slow_rates.items()
        }
        return Quality(self.error_rate, {**others, percentile: rate})


@dataclass(frozen=True, slots=True)
class Scenario:
    """A rollout to be simulated. Raises ValueError for traffic or pods that cannot be."""

    spec: InferenceServiceSpec
    requests_per_second: float
    """All of the service's; they come evenly."""
    stable: Quality
    canary: Quality
    stable_replicas: int
    has_gateway: bool = False
    """Whether a Gateway shares the requests out, rather than the numbers of pods."""
    scrape_interval: timedelta = SCRAPE_INTERVAL
    """How often Prometheus scrapes the pods."""

    def __post_init__(self) -> None:
        if not 0 <= self.requests_per_second <= 1e7:  # noqa: PLR2004 - beyond, nothing is left to be simulated
            raise ValueError(f"{self.requests_per_second:g} requests/s is not between 0 and 10000000")
        if self.stable_replicas < 1:
            raise ValueError(f"{self.stable_replicas} pods of the stable version cannot serve")
        if self.scrape_interval <= timedelta():
            raise ValueError("a scrape interval is longer than 0s")
