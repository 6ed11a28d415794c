"""What clients have left of their quotas, in memory that the workers of one server share, so that it holds for all.

A worker reads and writes there in its turn only. It has no turn for longer than the few microseconds in which it looks
at one request.
"""

import fcntl
from contextlib import AbstractContextManager
from functools import lru_cache
from hashlib import blake2b
from math import inf
from typing import Final

from serinus_server.quota import MAX_CLIENTS, Account, Usage

_SETS: Final = 2048
_WAYS: Final = 8
_WORD: Final = 8

QUOTA_LOCK: Final = 1
"""The byte of the shared file that is locked for a turn; the log's is the one before."""

_TOKENS, _AT, _CONCURRENT, _KEY_HIGH, _KEY_LOW, _ROW = range(6)


def bytes_needed(capacity: int) -> int:
    """How much memory they take where there are up to so many workers; it is used only once there are clients."""
    return (_ROW + capacity + _SETS * _WAYS * _ROW) * _WORD


class SharedUsage:
    """An Account in a row of the shared memory."""

    __slots__ = ("_row",)

    def __init__(self, row: "memoryview[float]") -> None:
        """The row may be of any time; one that was never used is all zeros."""
        self._row = row

    @property
    def tokens(self) -> float:
        """See Account."""
        return float(self._row[_TOKENS]) if self._row[_AT] else inf

    @tokens.setter
    def tokens(self, tokens: float) -> None:
        self._row[_TOKENS] = tokens

    @property
    def at(self) -> float:
        """See Account."""
        return float(self._row[_AT])

    @at.setter
    def at(self, at: float) -> None:
        self._row[_AT] = at

    @property
    def concurrent(self) -> int:
        """See Account."""
        return int(self._row[_CONCURRENT])

    def enter(self) -> None:
        """See Account."""
        self._row[_CONCURRENT] += 1

    def leave(self) -> None:
        """See Account."""
        self._row[_CONCURRENT] -= 1


class _Everybody(SharedUsage):
    """What all together have left. Each worker counts what it has in work by itself, and needs no turn for that."""

    __slots__ = ("_in_work", "_number")

    def __init__(self, row: "memoryview[float]", in_work: "memoryview[float]", number: int) -> None:
        super().__init__(row)
        self._in_work = in_work
        self._number = number

    @property
    def concurrent(self) -> int:
        """See Account."""
        return int(sum(self._in_work))

    def enter(self) -> None:
        """See Account."""
        self._in_work[self._number] += 1

    def leave(self) -> None:
        """See Account."""
        self._in_work[self._number] -= 1


class _Turn:
    """Entered once no other worker is at it, and left for the next one."""

    __slots__ = ("_descriptor",)

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def __enter__(self) -> None:
        fcntl.lockf(self._descriptor, fcntl.LOCK_EX, 1, QUOTA_LOCK)

    def __exit__(self, *_: object) -> None:
        fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, QUOTA_LOCK)


class SharedUsages:
    """Those of all clients together, and of each of some 10,000 that asked last.

    Clients are told apart by a digest of their names. Each has its place among a few, of which the one that was not
    asked for longest, with nothing in work, gives way.
    """

    def __init__(self, memory: memoryview, descriptor: int, number: int, capacity: int) -> None:
        """Worker `number` of up to `capacity`, with `memory` that all have.

        Whoever has locked the byte QUOTA_LOCK of the file `descriptor` has the turn.
        """
        self._turn = _Turn(descriptor)
        numbers = memory.cast("d")
        self.everybody = _Everybody(numbers[:_ROW], numbers[_ROW : _ROW + capacity], number)
        self._numbers = numbers[_ROW + capacity :]
        self._keys = memory.cast("Q")[_ROW + capacity :]

    def turn(self) -> AbstractContextManager[None]:
        """Wait until no other worker is at it, and keep them from it meanwhile."""
        return self._turn

    def of(self, client: str) -> Account:
        """What a client has left; one that is not known has everything."""
        high, low = _digest(client)
        first = low % _SETS * _WAYS * _ROW
        starts = range(first, first + _WAYS * _ROW, _ROW)
        for start in starts:
            if self._keys[start + _KEY_LOW] == low and self._keys[start + _KEY_HIGH] == high:
                return SharedUsage(self._numbers[start : start + _ROW])
        idle = [start for start in starts if not self._numbers[start + _CONCURRENT]]
        if not idle:
            return Usage()  # nobody gives way: this request counts for itself
        start = min(idle, key=lambda start: self._numbers[start + _AT])
        self._numbers[start + _AT] = 0.0
        self._keys[start + _KEY_HIGH], self._keys[start + _KEY_LOW] = high, low
        return SharedUsage(self._numbers[start : start + _ROW])


@lru_cache(maxsize=MAX_CLIENTS)
def _digest(client: str) -> tuple[int, int]:
    digest = blake2b(client.encode(), digest_size=2 * _WORD).digest()
    return int.from_bytes(digest[:_WORD], "big"), int.from_bytes(digest[_WORD:], "big")
