"""The histogram grid shared by the server's latency metric and the thresholds that are judged against it."""

from datetime import timedelta
from typing import Final

BUCKET_BOUNDS_SECONDS: Final[tuple[float, ...]] = (
    0.0001,
    0.00025,
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.0075,
    0.01,
    0.015,
    0.02,
    0.025,
    0.03,
    0.04,
    0.05,
    0.075,
    0.1,
    0.15,
    0.2,
    0.25,
    0.3,
    0.4,
    0.5,
    0.75,
    1,
    1.5,
    2,
    2.5,
    3,
    4,
    5,
    7.5,
    10,
    15,
    20,
    30,
)
"""Upper bounds in seconds. Requests over a bound are counted exactly only at these values."""


def is_bucket_bound(threshold: timedelta) -> bool:
    """Whether requests slower than `threshold` can be counted exactly."""
    return threshold in {timedelta(seconds=bound) for bound in BUCKET_BOUNDS_SECONDS}


def nearest_bounds(threshold: timedelta) -> tuple[timedelta | None, timedelta | None]:
    """The next bound below and the next above `threshold`; None where there is none."""
    bounds = [timedelta(seconds=bound) for bound in BUCKET_BOUNDS_SECONDS]
    below = max((bound for bound in bounds if bound < threshold), default=None)
    above = min((bound for bound in bounds if bound > threshold), default=None)
    return below, above
