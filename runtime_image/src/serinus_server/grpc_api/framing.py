"""A call's message out of the bytes of its request body: length-prefixed, perhaps compressed."""

import zlib
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from serinus_server.refusal import Refusal

PREFIX_BYTES: Final = 5
_WINDOW_BITS: Final[Mapping[bytes, int]] = {b"gzip": 31, b"deflate": 15}  # as zlib takes them
IDENTITY: Final = b"identity"
ENCODINGS: Final = frozenset({IDENTITY, *_WINDOW_BITS})


class RefusedError(Exception):
    """The call has no answer, for the reason it carries."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


def too_large(size: int, limit: int) -> RefusedError:
    """A message of so many bytes, or more, is not taken."""
    message = f"the message has {size} bytes or more, which is larger than max-body-size allows: {limit}"
    return RefusedError(Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, message))


def invalid(message: str) -> RefusedError:
    """The body is not what gRPC sends."""
    return RefusedError(Refusal(HTTPStatus.BAD_REQUEST, message))


def framed(message: bytes) -> bytes:
    """A message as the body of a reply carries it."""
    return b"\0" + len(message).to_bytes(4, "big") + message


class MessageReader:
    """Collects the one message that a call has. `length` is what its prefix says, None before that is known."""

    __slots__ = ("_compressed", "_count", "_limit", "_pieces", "_prefix", "length")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._prefix = b""
        self._pieces: list[bytes] = []
        self._count = 0
        self._compressed = False
        self.length: int | None = None

    def feed(self, data: bytes) -> None:
        """Take in a piece of the body.

        Raises RefusedError for what cannot become a message, or is too large.
        """
        if self.length is None:
            data = self._prefix + data if self._prefix else data
            if len(data) < PREFIX_BYTES:
                self._prefix = data
                return
            self._begin(data)
            data = data[PREFIX_BYTES:]
            if not data:
                return
        self._count += len(data)
        if self._count > self._length:
            raise invalid("the call has more than one message")
        self._pieces.append(data)

    def _begin(self, data: bytes) -> None:
        if data[0] > 1:
            raise invalid(f"a message starts with 0 or 1, not with {data[0]}")
        self._compressed = data[0] == 1
        self.length = length = int.from_bytes(data[1:PREFIX_BYTES], "big")
        if length > self._limit:
            raise too_large(length, self._limit)

    @property
    def _length(self) -> int:
        return self.length or 0

    @property
    def received(self) -> int:
        """How many bytes of the message have come."""
        return self._count

    def finish(self, encoding: bytes) -> bytes:
        """The message, now that the body has ended.

        Raises RefusedError.
        """
        if self.length is None:
            raise invalid("the call has no message" if not self._prefix else "the message ends within its prefix")
        if self._count < self.length:
            raise invalid(f"the message ends after {self._count} of its {self.length} bytes")
        pieces = self._pieces
        message = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        return self._inflated(message, encoding) if self._compressed else message

    def _inflated(self, message: bytes, encoding: bytes) -> bytes:
        if encoding == IDENTITY:
            raise invalid("the message is said to be compressed, but there is no grpc-encoding")
        inflater = zlib.decompressobj(_WINDOW_BITS[encoding])
        try:
            inflated = inflater.decompress(message, self._limit + 1)
        except zlib.error as error:
            raise invalid(f"the message is not {encoding.decode()}: {error}") from error
        if len(inflated) > self._limit:
            raise too_large(len(inflated), self._limit)
        if not inflater.eof or inflater.unused_data:
            raise invalid(f"the message is not {encoding.decode()}: it ends too early, or too late")
        return inflated
