"""Simulated requests: they flow where the weights of the moment send them, and are counted when a look is taken."""

from collections import Counter, deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random

from serinus.core.window import Window
from serinus.ports import RevisionSample
from serinus.simulation.draw import binomial
from serinus.simulation.scenario import Quality


@dataclass(slots=True)
class Tally:
    """What a version has served."""

    requests: int = 0
    errors: int = 0
    slow: Counter[int] = field(default_factory=Counter)
    """Those slower than the threshold of each percentile."""

    @property
    def bad(self) -> int:
        """Requests that failed, or were slower than the longest threshold."""
        return self.errors + min(self.slow.values(), default=0)

    def add(self, requests: int, quality: Quality, random: Random) -> None:
        """Serve so many requests more."""
        errors = binomial(random, requests, quality.error_rate)
        self.requests += requests
        self.errors += errors
        # Each threshold is longer than the one before, so that those slower than it are among those before.
        slower, rate_before = requests - errors, 1.0
        for percentile, rate in sorted(quality.slow_rates.items()):
            slower = binomial(random, slower, rate / rate_before if rate_before else 0.0)
            rate_before = rate
            self.slow[percentile] += slower

    def merge(self, other: "Tally") -> None:
        """Add what another has counted."""
        self.requests += other.requests
        self.errors += other.errors
        for percentile, slower in other.slow.items():
            self.slow[percentile] += slower

    def sample(self) -> RevisionSample:
        """The tally as a look at the metrics gives it."""
        return RevisionSample(self.requests, self.errors, self.requests - self.errors, dict(self.slow))


@dataclass(slots=True)
class _Stretch:
    """A time during which the canary's share of the requests stood still."""

    since: datetime
    until: datetime
    share: float


class Traffic:
    """The service's requests since `begin`; the canary's are counted for good as `served`."""

    def __init__(
        self, requests_per_second: float, stable: Quality, canary: Quality, begin: datetime, seed: int
    ) -> None:
        self.served = Tally()
        self._requests_per_second = requests_per_second
        self._stable, self._canary = stable, canary
        self._random = Random(seed)  # noqa: S311 - a simulation
        self._stretches: deque[_Stretch] = deque()
        self._flown_until = begin
        self._part = 0.0
        """What is left of a request that began before the stretch."""

    def flow(self, until: datetime, share: float) -> None:
        """Let requests come up to `until`, of which the canary gets `share`."""
        if until > self._flown_until:
            last = self._stretches[-1] if self._stretches else None
            if last is not None and last.share == share:
                last.until = until
            else:
                self._stretches.append(_Stretch(self._flown_until, until, share))
            self._flown_until = until

    def count(self, window: Window) -> tuple[RevisionSample, RevisionSample]:
        """What a look sees of the canary and of the stable version; each request is seen once."""
        self._draw(window.since)
        canary, stable = self._draw(window.until)
        return canary.sample(), stable.sample()

    def finish(self) -> None:
        """Count what no look has seen."""
        self._draw(self._flown_until)

    def _draw(self, until: datetime) -> tuple[Tally, Tally]:
        """Take out the requests before `until`."""
        canary, stable = Tally(), Tally()
        while self._stretches and self._stretches[0].since < until:
            stretch = self._stretches[0]
            end = min(stretch.until, until)
            requests = self._arrived(end - stretch.since)
            to_canary = binomial(self._random, requests, stretch.share)
            canary.add(to_canary, self._canary, self._random)
            stable.add(requests - to_canary, self._stable, self._random)
            if end == stretch.until:
                self._stretches.popleft()
            else:
                stretch.since = end
        self.served.merge(canary)
        return canary, stable

    def _arrived(self, duration: timedelta) -> int:
        exact = self._requests_per_second * duration.total_seconds() + self._part
        self._part = exact % 1
        return int(exact)
