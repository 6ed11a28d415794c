"""How often, and how many at once, this process takes requests: in all, and from each client.

A token bucket: a request takes a token, and tokens come back at the rate, up to the burst.
"""

from collections import OrderedDict
from dataclasses import dataclass
from math import inf
from typing import Final

from serinus_server.policy import UNLIMITED, Limits

MAX_CLIENTS: Final = 10_000
"""Clients that are remembered; the one that asked least recently is forgotten first, and starts afresh."""

_CONCURRENCY_RETRY_SECONDS: Final = 1.0


@dataclass(slots=True)
class Usage:
    """What somebody has left: `tokens` at the time `at`, in seconds of any clock, and requests in work."""

    tokens: float = inf
    at: float = 0.0
    concurrent: int = 0


@dataclass(frozen=True, slots=True)
class Shortage:
    """A request beyond a limit: which one as a metric's label, in words, and in how many seconds there is room."""

    reason: str
    message: str
    seconds: float


def tokens_at(usage: Usage, limits: Limits, now: float) -> float:
    """Requests that may come at once at the time `now`; infinitely many without a rate."""
    if limits.requests_per_second is None:
        return inf
    return min(limits.burst, usage.tokens + max(0.0, now - usage.at) * limits.requests_per_second)


def shortage(usage: Usage, limits: Limits, client: str | None) -> Shortage | None:
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


class Quota:
    """Counts requests against limits, which may change at any time."""

    def __init__(self) -> None:
        self._whole = (UNLIMITED, UNLIMITED)
        self._workers = 1
        self._limits = UNLIMITED
        self._limits_per_client = UNLIMITED
        self._all = Usage()
        self._clients: OrderedDict[str, Usage] = OrderedDict()

    def apply(self, limits: Limits, limits_per_client: Limits) -> None:
        """Set other limits; what is in work goes on counting."""
        self._whole = (limits, limits_per_client)
        self._limits = limits.shared_by(self._workers)
        self._limits_per_client = limits_per_client.shared_by(self._workers)

    def share(self, workers: int) -> None:
        """Have this process let in its share only of what the limits allow, as one of so many."""
        self._workers = workers
        self.apply(*self._whole)

    @property
    def limits_anything(self) -> bool:
        """Whether there is any limit."""
        return self._whole != (UNLIMITED, UNLIMITED)

    def take(self, client: str | None, now: float) -> Usage | Shortage:
        """Count one request of a client at the time `now` in seconds; what is returned is to be given back."""
        everyone, mine = self._all, None
        _refill(everyone, self._limits, now)
        if client is not None and self._limits_per_client is not UNLIMITED:
            mine = self._usage_of(client)
            _refill(mine, self._limits_per_client, now)
            short = shortage(mine, self._limits_per_client, client)
            if short is not None:
                return short
        short = shortage(everyone, self._limits, None)
        if short is not None:
            return short
        everyone.tokens -= 1
        everyone.concurrent += 1
        if mine is None:
            return everyone
        mine.tokens -= 1
        mine.concurrent += 1
        return mine

    def give_back(self, usage: Usage) -> None:
        """A request that was counted is over."""
        usage.concurrent -= 1
        if usage is not self._all:
            self._all.concurrent -= 1

    def _usage_of(self, client: str) -> Usage:
        usage = self._clients.get(client)
        if usage is None:
            usage = self._clients[client] = Usage()
            if len(self._clients) > MAX_CLIENTS:
                self._clients.popitem(last=False)
        else:
            self._clients.move_to_end(client)
        return usage


def _refill(usage: Usage, limits: Limits, now: float) -> None:
    usage.tokens = tokens_at(usage, limits, now)
    usage.at = now
