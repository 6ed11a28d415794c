"""E-values: evidence from counts that may be looked at after every tick without spoiling its guarantee.

An e-process starts at 1 and, while the hypothesis holds, reaches 1/alpha at any time of a whole rollout with a
probability of alpha at most (Ville's inequality). Each process here is a mixture of likelihood ratios: over a grid of
alternatives, and over the look from which on the alternative holds. The second keeps a long good record from hiding a
revision that goes bad late. One logarithm for each alternative is all the memory that this takes.

- M. Lindon and A. Malek, "Anytime-Valid Inference for Multinomial Count Data", arXiv 2011.03567: sequential tests of
  counts, and what makes looking at any time safe.
- M. Lindon et al., "Rapid Regression Detection in Software Deployments through Sequential Testing", arXiv 2205.14762:
  the same for canaries, with the counts of two arms that serve side by side.
- J. Shin, A. Ramdas and A. Rinaldo, "E-detectors", arXiv 2203.03532: mixtures over the time of a change.
- R. Turner and P. Grünwald, "Exact Anytime-valid Confidence Intervals for Contingency Tables and Beyond",
  arXiv 2203.09785: e-values against the difference of two shares. Those here are of a simpler form.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

_RATIO_FACTORS: Final = (2, 4, 8, 16, 32)
_RATE_FACTORS: Final = (1.5, 2, 4, 8)
_STAKES: Final = (0.05, 0.1, 0.2, 0.4, 0.8)


@dataclass(frozen=True, slots=True)
class Counts:
    """Requests of one revision, and how many of them were bad; 0 <= bad <= requests."""

    requests: int
    bad: int

    def __post_init__(self) -> None:
        if not 0 <= self.bad <= self.requests:
            raise ValueError(f"{self.bad} bad of {self.requests} requests is not a count")

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(self.requests + other.requests, self.bad + other.bad)

    @property
    def rate(self) -> float:
        """The share of bad requests, between 0 and 1; 0 without requests."""
        return self.bad / self.requests if self.requests else 0.0


def ratio_grid(tolerated: float) -> tuple[float, ...]:
    """The alternatives to "at most `tolerated` times as many bad requests as the baseline"."""
    return tuple(tolerated * factor for factor in _RATIO_FACTORS)


def rate_grid(limit: float) -> tuple[float, ...]:
    """The alternatives, all under 1, to "at most a share of `limit` is bad"; `limit` is between 0 and 1."""
    rates = tuple(limit * factor for factor in _RATE_FACTORS if limit * factor < 1)
    return rates or ((1 + limit) / 2,)


def relative_log_factors(canary: Counts, baseline: Counts, tolerated: float) -> tuple[float, ...]:
    """What one look adds to the log e-value of each ratio of `ratio_grid(tolerated)`.

    Of all bad requests of a look, the canary's are a binomial draw whose chance depends on the ratio of the two rates
    only, so a change that meets both revisions, such as a slow database, is no evidence against either.
    """
    bad = canary.bad + baseline.bad
    if bad == 0:
        return (0.0,) * len(_RATIO_FACTORS)
    return tuple(
        canary.bad * math.log(ratio / tolerated)
        + bad
        * math.log(
            (tolerated * canary.requests + baseline.requests) / (ratio * canary.requests + baseline.requests),
        )
        for ratio in ratio_grid(tolerated)
    )


def absolute_log_factors(arm: Counts, limit: float) -> tuple[float, ...]:
    """What one look adds to the log e-value of each rate of `rate_grid(limit)`."""
    return tuple(log_likelihood_ratio(arm, rate, limit) for rate in rate_grid(limit))


def difference_log_factors(canary: Counts, baseline: Counts, tolerated: float) -> tuple[float, ...]:
    """What one look adds to the log e-values against "the canary's share is at most `tolerated` over the baseline's".

    There is one for each stake s: a bad request of the baseline multiplies it by 1 - s, one of the canary by 1 + w. If
    shares of p and p + tolerated are bad, its expectation is (1 - p*s)^n_b * (1 + (p + tolerated)*w)^n_c, which is
    log-concave in p. The w taken here is the one for which p = 0 is the maximum, and so the divisor; less s is staked
    where the canary has so few requests that no w is.
    """
    if canary.requests == 0 or baseline.requests == 0:
        return (0.0,) * len(_STAKES)
    traffic = baseline.requests / canary.requests
    stakes = (min(stake, 0.5 / (tolerated * traffic)) for stake in _STAKES)
    return tuple(
        canary.bad * math.log1p(stake * traffic / (1 - stake * traffic * tolerated))
        + baseline.bad * math.log1p(-stake)
        + canary.requests * math.log1p(-stake * traffic * tolerated)
        for stake in stakes
    )


def grow(log_values: Sequence[float], log_factors: Sequence[float], look: int) -> tuple[float, ...]:
    """The log values of the alternatives after a look, counted from 1, that brought `log_factors`.

    Half of the mixture begins at the first look, and 1 / (2 * look * (look - 1)) of it at each later one. Alternatives
    without a value so far begin at this look.
    """
    beginning = math.log(0.5) if look == 1 else -math.log(2 * look * (look - 1))
    if len(log_values) != len(log_factors):
        return tuple(beginning + factor for factor in log_factors)
    return tuple(_log_add(value, beginning) + factor for value, factor in zip(log_values, log_factors, strict=True))


def continues_evidence(arm: Counts, limit: float) -> bool:
    """Whether these counts speak for a share over `limit`, for the alternatives taken together.

    Counts that are begun anew whenever they do not are those since the change that the evidence speaks of: the rule
    of Page's cumulative sums (Biometrika 41, 1954).
    """
    return log_mean(absolute_log_factors(arm, limit)) > 0


def log_likelihood_ratio(arm: Counts, rate: float, other: float) -> float:
    """By how much the counts speak for a share of `rate` rather than `other`, both over 0; under 0 if they do not."""
    good = arm.requests - arm.bad
    if rate == 1:
        return -math.inf if good else -arm.bad * math.log(other)
    return arm.bad * math.log(rate / other) + good * (math.log1p(-rate) - math.log1p(-other))


def log_e(log_values: Sequence[float], looks: int) -> float:
    """The log e-value after `looks` looks: the mean over the alternatives, and 1 / (2 * looks) that is yet to begin.

    It is 0 before the first look and never under -log(2 * looks), however good the record.
    """
    if looks == 0:
        return 0.0
    return _log_add(log_mean(log_values), -math.log(2 * looks))


def format_e(log_e: float) -> str:
    """An e-value to read, from its logarithm, however large it is."""
    exponent = log_e / math.log(10)
    if exponent > 5:  # noqa: PLR2004 - more digits tell nothing
        return f"10^{exponent:.0f}"
    return f"{math.exp(log_e):.2g}" if exponent < 1 else f"{math.exp(log_e):.0f}"


def log_mean(values: Sequence[float]) -> float:
    """The logarithm of the mean of values given by their logarithms, without overflow."""
    largest = max(values)
    return largest + math.log(math.fsum(math.exp(value - largest) for value in values) / len(values))


def requests_to_show(limit: float, confidence: float = 0.95) -> int:
    """How many requests without a bad one show with `confidence` that a share of at most `limit` is bad."""
    return math.ceil(math.log1p(-confidence) / math.log1p(-limit))


def _log_add(one: float, other: float) -> float:
    """The logarithm of the sum of two values given by their logarithms, without overflow."""
    return max(one, other) + math.log1p(math.exp(-abs(one - other)))
