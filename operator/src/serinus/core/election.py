"""Leader election as one candidate sees it: what to do about the Lease now, and how long a renewal is good for.

The rules are those of Kubernetes' own components. Nobody compares clocks across machines: a candidate takes a Lease
over when it has itself seen no renewal for the Lease's whole duration, and a leader stops writing a good while before
that, measured from when it sent its last successful renewal.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final

LEASE_SECONDS: Final = 8.0
"""How long a Lease that nobody renews stays its holder's."""

LEAD_SECONDS: Final = 5.0
"""How long after sending a renewal its sender may write. The difference covers writes that are under way."""

RETRY_SECONDS: Final = 1.5
"""How often a leader renews, and a candidate looks."""


@dataclass(frozen=True, slots=True)
class LeaseRecord:
    """What a Lease says. `holder` is empty when it was given back; `renewed` changes with every renewal."""

    holder: str
    renewed: str
    transitions: int = 0


@dataclass(frozen=True, slots=True)
class Sighting:
    """A record, and the monotonic time in seconds at which it was first seen."""

    record: LeaseRecord
    since: float


class Move(Enum):
    """What to do now."""

    TAKE = "take"
    RENEW = "renew"
    WAIT = "wait"


def sight(before: Sighting | None, record: LeaseRecord, now: float) -> Sighting:
    """Note what the Lease says at `now`; one that has not changed keeps the time it was first seen."""
    if before is not None and before.record == record:
        return before
    return Sighting(record, now)


def next_move(candidate: str, sighting: Sighting, now: float) -> Move:
    """Whether `candidate` renews the Lease, takes it, or waits."""
    if sighting.record.holder == candidate:
        return Move.RENEW
    if not sighting.record.holder or now - sighting.since >= LEASE_SECONDS:
        return Move.TAKE
    return Move.WAIT


def leads(renewal_sent: float | None, now: float) -> bool:
    """Whether one whose last successful renewal was sent at `renewal_sent` (monotonic seconds) may write."""
    return renewal_sent is not None and now - renewal_sent < LEAD_SECONDS
