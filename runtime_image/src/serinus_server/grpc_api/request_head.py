"""What the head of a request says of a call."""

import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from serinus_server.credentials import Credentials
from serinus_server.grpc_api.framing import ENCODINGS, IDENTITY
from serinus_server.http2.header_block import Head
from serinus_server.refusal import Refusal

_CONTENT_TYPE: Final = re.compile(rb"application/grpc(\+proto)?[ \t]*(;.*)?")
_TIMEOUT: Final = re.compile(rb"(\d{1,8})([HMSmun])")
_UNITS: Final = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}


@dataclass(slots=True)
class RequestHead:
    """`timeout` in seconds, if the client has told one; `encoding` is how a message that is compressed is so.

    `http_status` is set where the request is none of gRPC's, `refusal` where it cannot be served.
    """

    path: bytes
    timeout: float | None
    encoding: bytes
    metadata: dict[bytes, bytes]
    http_status: HTTPStatus | None = None
    refusal: Refusal | None = None

    @property
    def credentials(self) -> Credentials:
        """What the client shows of itself."""
        return Credentials(self.metadata.get(b"authorization"), self.metadata.get(b"x-api-key"))


def understood(head: Head) -> RequestHead:
    """What a head says."""
    metadata = dict(head.fields)
    found = RequestHead(head.path, None, metadata.get(b"grpc-encoding", IDENTITY), metadata)
    if head.method != b"POST":
        found.http_status = HTTPStatus.METHOD_NOT_ALLOWED
    elif not _CONTENT_TYPE.fullmatch(metadata.get(b"content-type", b"")):
        found.http_status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE
    elif head.too_large:
        message = "the call's metadata is larger than allowed"
        found.refusal = Refusal(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, message)
    elif found.encoding not in ENCODINGS:
        shown = found.encoding[:50].decode(errors="replace")
        message = f"messages compressed with {shown!r} are not understood, only with gzip or deflate"
        found.refusal = Refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, message)
    else:
        _set_timeout(found)
    return found


def _set_timeout(found: RequestHead) -> None:
    text = found.metadata.get(b"grpc-timeout")
    if text is None:
        return
    match = _TIMEOUT.fullmatch(text)
    if match is None:
        shown = text[:50].decode(errors="replace")
        message = f"grpc-timeout is up to 8 digits and one of H, M, S, m, u, n, not {shown!r}"
        found.refusal = Refusal(HTTPStatus.BAD_REQUEST, message)
    else:
        found.timeout = int(match[1]) * _UNITS[match[2]]
