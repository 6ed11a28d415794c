"""The latency grid: the bucket bounds of every duration histogram.

Thresholds of a rollout are judged on these buckets, so the operator keeps the same tuple.
"""

BUCKET_BOUNDS_SECONDS: tuple[float, ...] = (
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
"""Upper bounds in seconds, ascending, without the final +Inf."""
