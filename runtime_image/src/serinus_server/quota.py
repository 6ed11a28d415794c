"""How often, and how many at once, the server takes requests: in all, and from each client.

A token bucket: a request takes a token, and tokens come back at the rate, up to the burst.
"""

from collections import OrderedDict
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from math import inf
from typing import Final, Protocol

from serinus_server.policy import UNLIMITED, Limits

MAX_CLIENTS: Final = 10_000
"""Clients that are remembered; the one that asked least recently is forgotten first, and starts afresh."""

_CONCURRENCY_RETRY_SECONDS: Final = 1.0


class Account(Protocol):
    """What somebody has left: `tokens` at the time `at`, in seconds of any clock, and requests in work."""

    tokens: float
    at: float

    @property
    def concurrent(self) -> int:
        """Requests in work."""
        ...

    def enter(self) -> None:
        """One request more is in work."""
        ...

    def leave(self) -> None:
        """One that was is over."""
        ...


@dataclass(slots=True)
class Usage:
    """An Account of a process that is alone."""

    tokens: float = inf
    at: float = 0.0
    concurrent: int = 0

    def enter(self) -> None:
        """See Account."""
        self.concurrent += 1

    def leave(self) -> None:
        """See Account."""
        self.concurrent -= 1


@dataclass(frozen=True, slots=True)
class Shortage:
    """A request beyond a limit: which one as a metric's label, in words, and in how many seconds there is room."""

    reason: str
    message: str
    seconds: float


def tokens_at(usage: Account, limits: Limits, now: float) -> float:
    """Requests that may come at once at the time `now`; infinitely many without a rate."""
    if limits.requests_per_second is None:
        return inf
    return min(limits.burst, usage.tokens + max(0.0, now - usage.at) * limits.requests_per_second)


def shortage(usage: Account, limits: Limits, client: str | None) -> Shortage | None:
    """Why one more request is too much now, or None; the tokens are those of now. Without a client it is all's."""
    most = limits.max_concurrent_requests
    if most is not None and usage.concurrent >= most:
        return _shortage("concurrency", client, f"have {most} requests in work at once", _CONCURRENCY_RETRY_SECONDS)
    rate = limits.requests_per_second
    if rate is None or usage.tokens >= 1:
        return None
    return _shortage("rate", client, f"make {rate:g} requests per second", (1 - usage.tokens) / rate)


def _shortage(limit: str, client: str | None, allowance: str, seconds: float) -> Shortage:
    if client is None:
        return Shortage(f"quota_{limit}", f"all clients together may {allowance}", seconds)
    return Shortage(f"client_quota_{limit}", f"client {client!r} may {allowance}", seconds)


class Usages(Protocol):
    """What everybody together has left, and each client. They are looked at, and changed, in a turn only."""

    @property
    def everybody(self) -> Account:
        """What all clients together have left; what is in work is counted without a turn."""
        ...

    def of(self, client: str) -> Account:
        """What a client has left; of one that is not known, everything."""
        ...

    def turn(self) -> AbstractContextManager[None]:
        """Keep others from them meanwhile."""
        ...


class OwnUsages:
    """Those of a process that is alone."""

    def __init__(self) -> None:
        self.everybody = Usage()
        self._clients: OrderedDict[str, Usage] = OrderedDict()
        self._turn = nullcontext()

    def turn(self) -> AbstractContextManager[None]:
        """It always is this process's."""
        return self._turn

    def of(self, client: str) -> Usage:
        """What a client has left; of one that is not known, everything."""
        usage = self._clients.get(client)
        if usage is None:
            usage = self._clients[client] = Usage()
            if len(self._clients) > MAX_CLIENTS:
                self._clients.popitem(last=False)
        else:
            self._clients.move_to_end(client)
        return usage


class Quota:
    """Counts requests against limits, which may change at any time."""

    def __init__(self, usages: Usages | None = None) -> None:
        """It holds for all processes that have the same `usages`; without them for this one."""
        self._limits = UNLIMITED
        self._limits_per_client = UNLIMITED
        self._usages = usages or OwnUsages()

    def apply(self, limits: Limits, limits_per_client: Limits) -> None:
        """Set other limits; what is in work goes on counting."""
        self._limits = limits
        self._limits_per_client = limits_per_client
        if limits.requests_per_second is None:
            # The next rate begins with a full bucket, whatever was left of the last one.
            with self._usages.turn():
                self._usages.everybody.tokens = inf

    def take(self, client: str | None, now: float) -> Account | Shortage:
        """Count one request of a client at the time `now`, in seconds of a clock that all who share have.

        What is returned is to be given back.
        """
        if self._limits is UNLIMITED and self._limits_per_client is UNLIMITED:
            self._usages.everybody.enter()
            return self._usages.everybody
        with self._usages.turn():
            return self._take(client, now)

    def _take(self, client: str | None, now: float) -> Account | Shortage:
        everyone, mine = self._usages.everybody, None
        _refill(everyone, self._limits, now)
        if client is not None and self._limits_per_client is not UNLIMITED:
            mine = self._usages.of(client)
            _refill(mine, self._limits_per_client, now)
            short = shortage(mine, self._limits_per_client, client)
            if short is not None:
                return short
        short = shortage(everyone, self._limits, None)
        if short is not None:
            return short
        everyone.tokens -= 1
        everyone.enter()
        if mine is None:
            return everyone
        mine.tokens -= 1
        mine.enter()
        return mine

    def give_back(self, usage: Account) -> None:
        """A request that was counted is over."""
        self._usages.everybody.leave()
        if usage is not self._usages.everybody:
            with self._usages.turn():
                usage.leave()


def _refill(usage: Account, limits: Limits, now: float) -> None:
    usage.tokens = tokens_at(usage, limits, now)
    usage.at = max(usage.at, now)  # who waited for a turn comes with an earlier time, and what came since is counted
