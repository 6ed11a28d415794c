"""Who may ask: finds the client of a request by what it shows."""

import asyncio
from http import HTTPStatus
from typing import Final, TypeAlias

from serinus_server.api_keys import APIKeys
from serinus_server.credentials import Credentials
from serinus_server.policy import AccessMode, AccessPolicy
from serinus_server.refusal import Refusal
from serinus_server.token_review import Outcome, ReviewUnavailableError, TokenReviewer

UNAUTHENTICATED: Final = "unauthenticated"
FORBIDDEN: Final = "forbidden"
UNAVAILABLE: Final = "authentication_unavailable"
_MAX_WAITING: Final = 64
_RETRY_SECONDS: Final = 1.0

Verdict: TypeAlias = str | Refusal | None
"""The client, or why it may not ask; None where nobody has to say who they are."""

PendingVerdict: TypeAlias = asyncio.Task[Verdict]


class Access:
    """Checks requests by a policy and keys, which may change at any time.

    All methods belong to the event loop's thread.
    """

    def __init__(self, reviewer: TokenReviewer) -> None:
        self._reviewer = reviewer
        self._waiting = 0
        self.policy: AccessPolicy | None = None
        self.keys: APIKeys | None = None

    def check(self, credentials: Credentials) -> Verdict | PendingVerdict:
        """Who asks. What only the API server can tell comes later."""
        policy = self.policy
        if policy is None:
            return None
        if policy.mode is AccessMode.API_KEY:
            return self._key_owner(credentials)
        token = credentials.bearer
        if token is None:
            return _unauthenticated("this call needs Authorization: Bearer TOKEN, with a token of Kubernetes")
        known = self._reviewer.known(token, policy.audience)
        if known is not None:
            return _judged(known[0], policy)
        if self._waiting >= _MAX_WAITING:
            return _unavailable("too many tokens wait to be checked")
        self._waiting += 1
        review = asyncio.create_task(self._review(token, policy))
        review.add_done_callback(self._reviewed)
        return review

    def _key_owner(self, credentials: Credentials) -> Verdict:
        if not self.keys:
            return _unavailable("this server has no API keys yet, so nobody can be let in")
        key = credentials.api_key or credentials.bearer
        if key is None:
            return _unauthenticated("this call needs an API key: X-API-Key: KEY, or Authorization: Bearer KEY")
        return self.keys.client(key) or _unauthenticated("the API key is not known")

    async def _review(self, token: bytes, policy: AccessPolicy) -> Verdict:
        return _judged(await self._reviewer.review(token, policy.audience), policy)

    def _reviewed(self, _: PendingVerdict) -> None:
        self._waiting -= 1


def _judged(outcome: Outcome, policy: AccessPolicy) -> Verdict:
    if isinstance(outcome, ReviewUnavailableError):
        return _unavailable(f"the token cannot be checked now: {outcome}")
    if outcome is None:
        return _unauthenticated(f"the token is not one that Kubernetes knows for the audience {policy.audience!r}")
    if not policy.allows(outcome.name, outcome.groups):
        message = f"{outcome.name!r} may not call this model"
        return Refusal(HTTPStatus.FORBIDDEN, message, FORBIDDEN, client=outcome.name)
    return outcome.name


def _unauthenticated(message: str) -> Refusal:
    return Refusal(HTTPStatus.UNAUTHORIZED, message, UNAUTHENTICATED)


def _unavailable(message: str) -> Refusal:
    return Refusal(HTTPStatus.SERVICE_UNAVAILABLE, message, UNAVAILABLE, _RETRY_SECONDS)
