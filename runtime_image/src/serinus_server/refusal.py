"""Why a request has no answer, whatever the transport that brought it."""

from dataclasses import dataclass
from http import HTTPStatus
from math import ceil
from typing import Final


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why there is no answer, with HTTP's status for it.

    `reason` is the metric's label if it was never run, `retry_seconds` when to come back, `client` who asked, as far
    as that is known.
    """

    status: HTTPStatus
    message: str
    reason: str | None = None
    retry_seconds: float | None = None
    client: str | None = None

    @property
    def headers(self) -> bytes:
        """What HTTP says of it beside status and message, as complete lines."""
        if self.retry_seconds is not None:
            return b"Retry-After: %d\r\n" % max(1, ceil(self.retry_seconds))
        if self.status == HTTPStatus.UNAUTHORIZED:
            return b'WWW-Authenticate: Bearer realm="serinus"\r\n'
        return b""


NO_CERTIFICATE: Final = Refusal(HTTPStatus.FORBIDDEN, "this call needs a client certificate", "no_client_certificate")
