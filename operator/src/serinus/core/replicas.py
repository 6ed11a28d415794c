"""Replica arithmetic: how many canary pods make a weight, and which weight the pods make."""

from typing import Final, NamedTuple

TOLERANCE_PERCENT: Final = 1
"""By how many percentage points the share that pods make may differ from a weight that is to be met strictly."""


class Pods(NamedTuple):
    """How many pods the two revisions have."""

    stable: int
    canary: int


def canary_replicas(weight_percent: int, stable_replicas: int) -> int:
    """Canary pods whose share among `stable_replicas` others comes closest to `weight_percent`.

    Solves c / (stable + c) = weight for c, rounded half up; at least 1, and never more than the stable pods, which
    all keep serving.
    """
    if weight_percent >= 50:  # noqa: PLR2004 - at half of the requests both have as many pods
        return max(1, stable_replicas)
    others = 100 - weight_percent
    return max(1, (2 * stable_replicas * weight_percent + others) // (2 * others))


def pods_that_make(weight_percent: int, least: int, most: int) -> Pods | None:
    """The fewest pods, with `least` to `most` stable ones, whose share is `weight_percent` within the tolerance.

    None where there are no such numbers. As many canary pods as stable ones, and so half of the requests, is the most.
    """
    for stable in range(least, most + 1):
        nearest = canary_replicas(weight_percent, stable)
        for canary in (nearest, min(nearest + 1, stable)):
            pods = canary + stable
            if abs(100 * canary - weight_percent * pods) <= TOLERANCE_PERCENT * pods:
                return Pods(stable, canary)
    return None


def replicas_for_share(weight_percent: int, stable_replicas: int) -> int:
    """Canary pods that bear `weight_percent` of the requests as `stable_replicas` pods bear all of them; at least 1."""
    return max(1, -(-stable_replicas * weight_percent // 100))


def weight_of(canary_pods: int, stable_pods: int) -> int:
    """The share of the requests in percent that a Service gives the canary's pods."""
    pods = canary_pods + stable_pods
    return round(100 * canary_pods / pods) if pods else 0
