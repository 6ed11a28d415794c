"""The way in for inferences, where a policy is set: who asks, and whether that is within the quota."""

import time
from asyncio import Task
from http import HTTPStatus

from serinus_server.access import Access, PendingVerdict, Verdict
from serinus_server.credentials import Credentials
from serinus_server.quota import Account, Quota, Shortage
from serinus_server.refusal import Refusal


class Entry:
    """What is kept of one request that came in: who asks, once it is known, and what it takes from the quota."""

    __slots__ = ("client", "pending", "usage")

    def __init__(self) -> None:
        self.client: str | None = None
        self.pending: PendingVerdict | None = None
        self.usage: Account | None = None


class Gate:
    """Lets requests in by `access` and `quota`. All methods belong to the event loop's thread."""

    def __init__(self, access: Access, quota: Quota) -> None:
        self.access = access
        self._quota = quota

    @property
    def asks_who(self) -> bool:
        """Whether what clients show of themselves matters now."""
        return self.access.policy is not None

    def enter(self, credentials: Credentials) -> Entry | Refusal:
        """Let a request in, or say why not. One that waits for its verdict is in, but has to ask `identify`."""
        verdict = self.access.check(credentials)
        entry = Entry()
        if isinstance(verdict, Task):
            entry.pending = verdict
            return entry
        return self.identify(entry, verdict) or entry

    def identify(self, entry: Entry, verdict: Verdict) -> Refusal | None:
        """Take note of who asks; why that one may not go on, or None."""
        entry.pending = None
        if isinstance(verdict, Refusal):
            entry.client = verdict.client
            return verdict
        entry.client = verdict
        taken = self._quota.take(verdict, time.monotonic())
        if isinstance(taken, Shortage):
            return Refusal(HTTPStatus.TOO_MANY_REQUESTS, taken.message, taken.reason, taken.seconds, verdict)
        entry.usage = taken
        return None

    def leave(self, entry: Entry) -> None:
        """The request is over."""
        if entry.pending is not None:
            entry.pending.cancel()
            entry.pending = None
        if entry.usage is not None:
            self._quota.give_back(entry.usage)
            entry.usage = None
