"""What a client shows of itself, whatever the transport that brought it."""

from dataclasses import dataclass
from typing import Final

_BEARER: Final = b"bearer "


@dataclass(frozen=True, slots=True)
class Credentials:
    """The headers `Authorization` and `X-API-Key`, as they came."""

    authorization: bytes | None = None
    api_key: bytes | None = None

    @property
    def bearer(self) -> bytes | None:
        """What `Authorization: Bearer` carries."""
        text = self.authorization
        if text is None or text[: len(_BEARER)].lower() != _BEARER:
            return None
        return text[len(_BEARER) :].strip() or None


NO_CREDENTIALS: Final = Credentials()
