"""How many processes answer requests: one, unless the model is so quick that Python is what takes the time.

A process runs Python on one processor. A model that answers in microseconds runs on its event loop, so more of
them pay; a slower one keeps every processor busy from the threads of one.
"""

from dataclasses import dataclass
from typing import Final

MOST_UNASKED: Final = 8
"""More workers than these have to be asked for: on a large node without a limit there would be one per processor."""


@dataclass(frozen=True)
class Situation:
    """What the choice depends on.

    `resident_bytes` is what this process takes with the model loaded, `memory_bytes` what all may take in all
    beside the requests in work.
    """

    cpus: int
    runs_are_brief: bool
    resident_bytes: int
    memory_bytes: int


@dataclass(frozen=True)
class Choice:
    """How many, and why."""

    workers: int
    reason: str


def most_workers(asked: int | None, cpus: int) -> int:
    """The most that `choose` may choose with so many processors to share."""
    return min(cpus, MOST_UNASKED) if asked is None else asked


def choose(asked: int | None, situation: Situation) -> Choice:
    """As many as were `asked` for, or as many as pay."""
    if asked is not None:
        return Choice(asked, "by --workers")
    if situation.cpus == 1:
        return Choice(1, "there is one processor")
    if not situation.runs_are_brief:
        return Choice(1, "runs are long enough for threads, or were not measured")
    most = most_workers(None, situation.cpus)
    fitting = max(1, situation.memory_bytes // situation.resident_bytes)
    if fitting < most:
        each, room = situation.resident_bytes >> 20, situation.memory_bytes >> 20
        return Choice(fitting, f"each takes {each} MiB, and there is room for {room}")
    return Choice(most, "runs are short, one for each processor" if most == situation.cpus else "runs are short")
