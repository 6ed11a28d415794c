"""A client of HTTP/2 that says exactly what it is told to, be it right or wrong, and takes apart what it hears."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from hpack import Decoder
from hypothesis import strategies as st

from serinus_server.http2 import frames
from serinus_server.http2.errors import ErrorCode
from serinus_server.http2.header_block import encoded

HEAD = (
    (":method", "POST"),
    (":scheme", "http"),
    (":path", "/inference.GRPCInferenceService/ModelInfer"),
    (":authority", "h"),
    ("te", "trailers"),
    ("content-type", "application/grpc"),
)
GREETING = frames.PREFACE + frames.settings({})


class Frame(NamedTuple):
    """One frame."""

    kind: int
    flags: int
    stream_id: int
    payload: bytes

    @property
    def code(self) -> int:
        """The error code of RST_STREAM or GOAWAY."""
        start = 4 if self.kind == frames.GOAWAY else 0
        return int.from_bytes(self.payload[start : start + 4], "big")


def taken_apart(data: bytes) -> Iterator[Frame]:
    """The whole frames that `data` starts with."""
    while len(data) >= frames.HEAD_BYTES:
        high, low, kind, flags, stream_id = frames.unpack_head(data, 0)
        end = frames.HEAD_BYTES + (high << 8 | low)
        if len(data) < end:
            return
        yield Frame(kind, flags, stream_id, data[frames.HEAD_BYTES : end])
        data = data[end:]


def block(fields: Sequence[tuple[str, str]] = HEAD) -> bytes:
    """A header block that needs no state."""
    return encoded((name.encode(), value.encode()) for name, value in fields)


def headers(stream_id: int, fields: Sequence[tuple[str, str]] = HEAD, *, ends: bool = False) -> bytes:
    """A HEADERS frame."""
    flags = frames.END_HEADERS | (frames.END_STREAM if ends else 0)
    return frames.frame(frames.HEADERS, flags, stream_id, block(fields))


def data(stream_id: int, content: bytes, *, ends: bool = False) -> bytes:
    """A DATA frame."""
    return frames.frame(frames.DATA, frames.END_STREAM if ends else 0, stream_id, content)


def fields_of(frame: Frame) -> dict[bytes, bytes]:
    """The fields of a HEADERS frame of this server, which needs no state either."""
    return dict(Decoder().decode(frame.payload, raw=True))


_ANY_FRAMES = st.builds(
    frames.frame,
    st.integers(0, 11),
    st.sampled_from([0, 1, 4, 5, 8, 0x20, 0x2D, 0xFF]),
    st.integers(0, 9),
    st.one_of(st.binary(max_size=40), st.just(block()), st.just(b"\0\0\0\0"), st.just(b"\0\3\0\0\0\1")),
)
ANY_PARTS = st.one_of(
    _ANY_FRAMES,
    st.binary(max_size=30),
    st.integers(0, 9).map(lambda number: headers(number * 2 + 1)),
    st.integers(0, 9).map(lambda number: data(number * 2 + 1, b"x" * 300, ends=True)),
    st.integers(0, 9).map(lambda number: frames.window_update(number, 70_000)),
    st.integers(0, 4).map(lambda number: frames.rst_stream(number * 2 + 1, ErrorCode.CANCEL)),
)
"""Pieces of what a client might send: right ones, wrong ones, and such as belong elsewhere."""
