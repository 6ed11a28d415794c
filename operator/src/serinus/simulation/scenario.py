"""What is simulated: a policy, its traffic, and how the two versions truly are."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from serinus.api.v1beta1 import InferenceServiceSpec

SCRAPE_INTERVAL: Final = timedelta(seconds=15)


@dataclass(frozen=True, slots=True)
class Quality:
    """How a version truly is; both are shares between 0 and 1."""

    error_rate: float
    """Of its requests, those that fail."""
    slow_rate: float = 0.0
    """Of those that succeed, those slower than the policy's latency threshold."""

    def __post_init__(self) -> None:
        for name, share in (("error rate", self.error_rate), ("slow rate", self.slow_rate)):
            if not 0 <= share <= 1:
                raise ValueError(f"{name} of {share:g} is not between 0 and 1")


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
