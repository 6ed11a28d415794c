"""Frames to bytes and back: RFC 9113, sections 4 and 6."""

import struct
from collections.abc import Mapping
from typing import Final

from serinus_server.http2.errors import ConnectionFault, ErrorCode

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEAD_BYTES: Final = 9
MAX_FRAME_BYTES: Final = 16_384
"""The longest payload that is taken: the least that RFC 9113 allows to ask for."""

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)

ACK: Final = 0x1
END_STREAM: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8
HAS_PRIORITY: Final = 0x20

SETTINGS_ENABLE_PUSH: Final = 0x2
SETTINGS_MAX_CONCURRENT_STREAMS: Final = 0x3
SETTINGS_INITIAL_WINDOW_SIZE: Final = 0x4
SETTINGS_MAX_FRAME_SIZE: Final = 0x5
SETTINGS_MAX_HEADER_LIST_SIZE: Final = 0x6

PRIORITY_BYTES: Final = 5
PING_BYTES: Final = 8
RST_STREAM_BYTES: Final = 4
WINDOW_UPDATE_BYTES: Final = 4
LEAST_GOAWAY_BYTES: Final = 8
STREAM_ID_MASK: Final = 0x7FFF_FFFF
_MAX_FRAME_SIZE_SETTING: Final = 0xFF_FFFF
_MAX_SETTINGS_BYTES: Final = 32 * 6

unpack_head: Final = struct.Struct(">HBBBI").unpack_from
"""The head of a frame -> its length but for its last byte, that, kind, flags, and stream id with a reserved bit."""

_pack_head: Final = struct.Struct(">HBBBI").pack
_pack_setting: Final = struct.Struct(">HI").pack
_unpack_settings: Final = struct.Struct(">HI").iter_unpack


def head(length: int, kind: int, flags: int, stream_id: int) -> bytes:
    """The nine bytes before a payload of so many bytes."""
    return _pack_head(length >> 8, length & 0xFF, kind, flags, stream_id)


def frame(kind: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    """A whole frame."""
    return head(len(payload), kind, flags, stream_id) + payload


def settings(values: Mapping[int, int]) -> bytes:
    """A SETTINGS frame."""
    return frame(SETTINGS, 0, 0, b"".join(_pack_setting(name, value) for name, value in values.items()))


def rst_stream(stream_id: int, code: ErrorCode) -> bytes:
    """A RST_STREAM frame."""
    return frame(RST_STREAM, 0, stream_id, code.to_bytes(4, "big"))


def window_update(stream_id: int, increment: int) -> bytes:
    """A WINDOW_UPDATE frame; stream 0 is the connection."""
    return frame(WINDOW_UPDATE, 0, stream_id, increment.to_bytes(4, "big"))


def goaway(last_stream_id: int, code: ErrorCode, message: str = "") -> bytes:
    """A GOAWAY frame: streams after the last one were not and will not be looked at."""
    return frame(GOAWAY, 0, 0, last_stream_id.to_bytes(4, "big") + code.to_bytes(4, "big") + message.encode())


def unpadded(flags: int, payload: bytes) -> bytes:
    """The payload of a DATA or HEADERS frame without its padding.

    Raises ConnectionFault.
    """
    if not flags & PADDED:
        return payload
    if not payload:
        raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "a padded frame without the length of its padding")
    padding = payload[0]
    if padding >= len(payload):
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "padding longer than its frame")
    return payload[1 : len(payload) - padding]


def without_priority(flags: int, payload: bytes, stream_id: int) -> bytes:
    """The payload of a HEADERS frame without the deprecated priority, which says nothing to this server.

    Raises ConnectionFault.
    """
    if not flags & HAS_PRIORITY:
        return payload
    if len(payload) < PRIORITY_BYTES:
        raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "HEADERS shorter than its priority")
    require_other_stream(payload, stream_id)
    return payload[PRIORITY_BYTES:]


def require_other_stream(priority: bytes, stream_id: int) -> None:
    """Check that a stream does not depend on itself (RFC 7540, section 5.3.1).

    Raises ConnectionFault.
    """
    if int.from_bytes(priority[:4], "big") & STREAM_ID_MASK == stream_id:
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a stream that depends on itself")


def parsed_settings(payload: bytes) -> list[tuple[int, int]]:
    """The names and values of a SETTINGS frame, in order; unknown ones included.

    Raises ConnectionFault for a value that its name does not allow.
    """
    if len(payload) % 6:
        raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "SETTINGS of a length that is no multiple of 6")
    if len(payload) > _MAX_SETTINGS_BYTES:
        raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "more settings than there are")
    found = list(_unpack_settings(payload))
    for name, value in found:
        if name == SETTINGS_ENABLE_PUSH and value > 1:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "SETTINGS_ENABLE_PUSH is neither 0 nor 1")
        if name == SETTINGS_INITIAL_WINDOW_SIZE and value > STREAM_ID_MASK:
            raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "SETTINGS_INITIAL_WINDOW_SIZE above 2^31-1")
        if name == SETTINGS_MAX_FRAME_SIZE and not MAX_FRAME_BYTES <= value <= _MAX_FRAME_SIZE_SETTING:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "SETTINGS_MAX_FRAME_SIZE outside 2^14 to 2^24-1")
    return found
