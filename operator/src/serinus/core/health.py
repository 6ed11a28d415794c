"""Whether the operator still does its work, or would rather be started again."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

STUCK_SECONDS: Final = 300.0
"""How long keys may wait while no visit ends. A request to the API takes 30 seconds at most, a visit a few."""

SILENT_SECONDS: Final = 900.0
"""How long a watch may say nothing. One that works is opened anew every five minutes, if only to hear nothing."""

ANSWERED_SECONDS: Final = 60.0
"""How lately the API server must have answered for a silent watch to be the operator's own fault."""


@dataclass(frozen=True, slots=True)
class Vitals:
    """The signs of life, in seconds where they are times."""

    workers_alive: bool
    election_alive: bool
    waiting: float
    """How long the longest waiting key has waited; 0 when none waits, or while another replica leads."""
    since_progress: float
    """Since a visit ended, or since the operator began to make visits."""
    watch_ages: Mapping[str, float]
    """Since a watch was last heard of, by resource."""
    since_answer: float
    """Since the API server last answered anything."""


def ailments(vitals: Vitals) -> tuple[str, ...]:
    """What is wrong that a restart would put right; none when all is well.

    An API server that is down is no reason: a restart would only lose what is known.
    """
    found = []
    if not vitals.workers_alive:
        found.append("a worker has ended")
    if not vitals.election_alive:
        found.append("the election has ended")
    if min(vitals.waiting, vitals.since_progress) > STUCK_SECONDS:
        found.append(f"keys wait, and no visit has ended for {vitals.since_progress:.0f} s")
    if vitals.since_answer < ANSWERED_SECONDS:
        found += [
            f"the watch of {resource} has been silent for {age:.0f} s"
            for resource, age in sorted(vitals.watch_ages.items())
            if age > SILENT_SECONDS
        ]
    return tuple(found)
