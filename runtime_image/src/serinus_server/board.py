"""What the worker processes of one server know of each other: a row of numbers for each, in memory that they share.

There are no locks: each writes only its own row, and a number is written whole. What all write to, the usages of
quotas, comes behind the rows and has a lock of its own.
"""

import mmap
import os
from collections.abc import Sequence
from typing import Final, Protocol

from serinus_server.shared_usages import SharedUsages, bytes_needed

STUCK_SECONDS: Final = 10.0
"""A worker whose event loop has not turned for so long is not alive."""

_BYTES: Final = 8
_PID, _STATE, _BEAT, _HEAD = range(4)
_SERVING, _DRAINING = 1.0, 2.0


class Numbers(Protocol):
    """Numbers that can be read and set."""

    def __getitem__(self, index: int, /) -> float:
        """One of them."""
        ...

    def __setitem__(self, index: int, value: float, /) -> None:
        """Set one."""
        ...


class Board:
    """The rows of up to `capacity` workers; this process is worker `number`.

    Worker 0 makes it, and the others open its `descriptor`. With a capacity of 1 nothing is shared.
    """

    def __init__(self, counters: int, capacity: int = 1, number: int = 0, descriptor: int | None = None) -> None:
        """Each worker has so many `counters`, all of them 0 at first."""
        self.descriptor = descriptor
        self._workers: Numbers
        self._heads: Sequence[Numbers]
        self._counters: Sequence[Numbers]
        self.usages: SharedUsages | None = None
        """What clients have left of quotas that hold for all workers; None where there is only one."""
        if capacity == 1:
            self._workers, self._heads, self._counters = [1.0], [[0.0] * _HEAD], [[0.0] * counters]
        else:
            size = (1 + capacity * (_HEAD + counters)) * _BYTES
            size_in_all = size + bytes_needed(capacity)
            if self.descriptor is None:
                self.descriptor = os.memfd_create("serinus-board")
                os.truncate(self.descriptor, size_in_all)
            memory = memoryview(mmap.mmap(self.descriptor, size_in_all))
            self.usages = SharedUsages(memory[size:], self.descriptor, number, capacity)
            numbers = memory[:size].cast("d")
            ends = range(1 + _HEAD, size // _BYTES, _HEAD + counters)
            self._workers = numbers
            self._heads = [numbers[end - _HEAD : end] for end in ends]
            self._counters = [numbers[end : end + counters] for end in ends]
        self._own = self._heads[number]
        self._own[_PID] = os.getpid()
        self.counters = self._counters[number]
        """This worker's."""

    @property
    def workers(self) -> int:
        """How many there are to be; 0 while that is not known."""
        return int(self._workers[0])

    def expect(self, workers: int) -> None:
        """Say how many there are to be."""
        self._workers[0] = workers

    @property
    def everybodys_counters(self) -> Sequence[Numbers]:
        """Those of each worker."""
        return self._counters[: max(1, self.workers)]

    @property
    def pids(self) -> list[int]:
        """The processes that have begun."""
        return [int(head[_PID]) for head in self._present() if head[_PID]]

    def serve(self) -> None:
        """This worker answers inferences."""
        self._own[_STATE] = _SERVING

    def drain(self) -> None:
        """This worker is about to end, and so are all."""
        self._own[_STATE] = _DRAINING

    def beat(self, now: float) -> None:
        """This worker's event loop turns, at the time `now` in seconds of the machine's monotonic clock."""
        self._own[_BEAT] = now

    @property
    def draining(self) -> bool:
        """Whether a worker is about to end."""
        return any(head[_STATE] == _DRAINING for head in self._present())

    @property
    def serving(self) -> bool:
        """Whether all workers are there, and answer inferences."""
        return self.workers > 0 and all(head[_STATE] == _SERVING for head in self._present())

    def stuck(self, now: float) -> int | None:
        """The number of a worker that hangs, or None. One that does not beat yet, or no more, does not count."""
        for number, head in enumerate(self._present()):
            if 0 < head[_BEAT] < now - STUCK_SECONDS:
                return number
        return None

    def _present(self) -> Sequence[Numbers]:
        return self._heads[: max(1, self.workers)]
