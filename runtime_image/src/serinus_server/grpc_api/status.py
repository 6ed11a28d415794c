"""How a call ends, in gRPC's terms: status codes, and the blocks of reply heads and trailers."""

from enum import IntEnum
from http import HTTPStatus
from math import ceil
from typing import Final
from urllib.parse import quote_from_bytes

from serinus_server.access import UNAVAILABLE as AUTHENTICATION_UNAVAILABLE
from serinus_server.http2.header_block import Field, encoded
from serinus_server.inference import NOT_READY
from serinus_server.refusal import Refusal

_MAX_MESSAGE_BYTES: Final = 2048  # clients bound the metadata they take, and escaped it may be three times as long
_PLAIN: Final = " !\"#$&'()*+,/:;<=>?@[\\]^`{|}"  # what a message holds unescaped, beside letters, digits and -._~

CONTENT_TYPE: Final = (b"content-type", b"application/grpc")
_STATUS_OK: Final = b"\x88"  # HPACK's static entry for :status 200
_HEAD_FIELDS: Final = (CONTENT_TYPE, (b"grpc-accept-encoding", b"identity,deflate,gzip"))

REPLY_HEAD: Final = _STATUS_OK + encoded(_HEAD_FIELDS)
OK_TRAILERS: Final = encoded([(b"grpc-status", b"0")])


class StatusCode(IntEnum):
    """Those of gRPC's status codes that are used here."""

    OK = 0
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    UNAUTHENTICATED = 16


_CODES: Final = {
    HTTPStatus.BAD_REQUEST: StatusCode.INVALID_ARGUMENT,
    HTTPStatus.UNAUTHORIZED: StatusCode.UNAUTHENTICATED,
    HTTPStatus.FORBIDDEN: StatusCode.PERMISSION_DENIED,
    HTTPStatus.NOT_FOUND: StatusCode.NOT_FOUND,
    HTTPStatus.REQUEST_TIMEOUT: StatusCode.DEADLINE_EXCEEDED,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: StatusCode.RESOURCE_EXHAUSTED,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: StatusCode.UNIMPLEMENTED,
    HTTPStatus.TOO_MANY_REQUESTS: StatusCode.RESOURCE_EXHAUSTED,
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: StatusCode.RESOURCE_EXHAUSTED,
    HTTPStatus.INTERNAL_SERVER_ERROR: StatusCode.INTERNAL,
    HTTPStatus.NOT_IMPLEMENTED: StatusCode.UNIMPLEMENTED,
    HTTPStatus.SERVICE_UNAVAILABLE: StatusCode.RESOURCE_EXHAUSTED,
    HTTPStatus.GATEWAY_TIMEOUT: StatusCode.DEADLINE_EXCEEDED,
}
_UNAVAILABLE_REASONS: Final = frozenset({NOT_READY, AUTHENTICATION_UNAVAILABLE})


def code_of(refusal: Refusal) -> StatusCode:
    """The code for a refusal."""
    return StatusCode.UNAVAILABLE if refusal.reason in _UNAVAILABLE_REASONS else _CODES[refusal.status]


def trailers(refusal: Refusal, *more: Field) -> bytes:
    """The block of trailers that follows a reply's head."""
    fields = [(b"grpc-status", b"%d" % code_of(refusal)), (b"grpc-message", percent_encoded(refusal.message)), *more]
    if refusal.retry_seconds is not None:
        fields.append((b"grpc-retry-pushback-ms", b"%d" % ceil(refusal.retry_seconds * 1000)))
    return encoded(fields)


def trailers_only(refusal: Refusal, *more: Field) -> bytes:
    """The block of a reply that is head and trailers in one."""
    return REPLY_HEAD + trailers(refusal, *more)


def percent_encoded(message: str) -> bytes:
    """A status message as a field's value; cut where it is too long."""
    text = message.encode(errors="replace")
    if len(text) > _MAX_MESSAGE_BYTES:
        text = text[:_MAX_MESSAGE_BYTES].decode(errors="ignore").encode() + b"..."
    return quote_from_bytes(text, _PLAIN).encode()
