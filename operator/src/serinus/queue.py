"""A work queue of keys: each key once, never two workers on the same key, retries with backoff."""

import asyncio
import heapq
import random
from collections.abc import Callable, Hashable
from datetime import timedelta
from typing import Final, Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)

_FIRST_BACKOFF: Final = 0.2
_LONGEST_BACKOFF: Final = 60.0


class WorkQueue(Generic[Key]):
    """Keys that wait to be worked on, in one event loop.

    A key that is added while it waits is there once; one that is added while it is worked on comes again after that.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        jitter: Callable[[float, float], float] = random.uniform,
        on_taken: Callable[[float], object] = lambda _: None,
    ) -> None:
        """`on_taken` is told how long each key that is taken has waited, in seconds."""
        self._clock = clock
        self._jitter = jitter
        self._on_taken = on_taken
        self._ready: dict[Key, float] = {}
        """Since when each key waits, the first one first."""
        self._working: set[Key] = set()
        self._again: set[Key] = set()
        self._failures: dict[Key, int] = {}
        self._delayed: list[tuple[float, int, Key]] = []
        self._due: dict[Key, float] = {}
        self._counter = 0
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        """Keys that wait now, without those whose time has not come."""
        return len(self._ready)

    def oldest(self) -> float:
        """How long the first key has waited, in seconds; 0 when none waits."""
        since = next(iter(self._ready.values()), None)
        return 0.0 if since is None else self._clock() - since

    def add(self, key: Key) -> None:
        """Have `key` worked on as soon as possible."""
        self._due.pop(key, None)
        if key in self._working:
            self._again.add(key)
        elif key not in self._ready:
            self._ready[key] = self._clock()
        self._changed.set()

    def add_after(self, key: Key, delay: timedelta) -> None:
        """Have `key` worked on after `delay`, or sooner if it is asked for sooner."""
        due = self._clock() + max(delay.total_seconds(), 0.0)
        if due >= self._due.get(key, float("inf")):
            return
        self._due[key] = due
        self._counter += 1
        heapq.heappush(self._delayed, (due, self._counter, key))
        self._changed.set()

    def retry(self, key: Key, at_least: float = 0.0) -> None:
        """Have `key` worked on again after a failure, later each time, up to a minute, with jitter.

        `at_least` are seconds that the one who failed has asked for.
        """
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        longest = min(_FIRST_BACKOFF * 2 ** min(failures, 16), _LONGEST_BACKOFF)
        self.add_after(key, timedelta(seconds=at_least + self._jitter(longest / 2, longest)))

    def forget(self, key: Key) -> None:
        """Note a success: the next failure starts from the shortest delay."""
        self._failures.pop(key, None)

    async def get(self) -> Key:
        """Wait for a key and take it. `done` must follow."""
        while True:
            self._release_due()
            if self._ready:
                key = next(iter(self._ready))
                self._on_taken(self._clock() - self._ready.pop(key))
                self._working.add(key)
                return key
            self._changed.clear()
            timeout = self._delayed[0][0] - self._clock() if self._delayed else None
            try:
                await asyncio.wait_for(self._changed.wait(), timeout)
            except TimeoutError:
                continue

    def done(self, key: Key) -> None:
        """Give a key back."""
        self._working.discard(key)
        if key in self._again:
            self._again.discard(key)
            self.add(key)

    def _release_due(self) -> None:
        now = self._clock()
        while self._delayed and self._delayed[0][0] <= now:
            due, _, key = heapq.heappop(self._delayed)
            if self._due.get(key) == due:
                self.add(key)
