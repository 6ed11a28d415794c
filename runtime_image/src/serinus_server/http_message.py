"""A request, a reply, and who makes one of the other: HTTP without its bytes and connections."""

from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final, Protocol

import orjson

from serinus_server.credentials import Credentials

JSON: Final = b"application/json"
OCTETS: Final = b"application/octet-stream"
_STATUS_LINES: Final = {
    status.value: b"HTTP/1.1 %d %s\r\n" % (status.value, status.phrase.encode()) for status in HTTPStatus
}


class Request:
    """One HTTP request, filled in while it is parsed.

    `began`, `completed` and `answered` are `time.perf_counter()` when the end of its head and of its body
    came, and when its reply was there. `note` is the handler's own, `client` who asks, where that matters;
    `lacks_certificate` is whether the client should have had a certificate, and had none. `body_size` counts
    what came, also where `body` was not kept.
    """

    __slots__ = (
        "answered",
        "began",
        "body",
        "body_size",
        "chunks",
        "client",
        "closes",
        "complete",
        "completed",
        "declared_size",
        "handler",
        "headers",
        "is_http_1_0",
        "lacks_certificate",
        "method",
        "note",
        "refusal",
        "target",
    )

    def __init__(self, handler: "Handler") -> None:
        self.handler = handler
        self.method = b""
        self.target = b""
        self.headers: dict[bytes, bytes] = {}
        self.body = b""
        self.chunks: list[bytes] = []
        self.body_size = 0
        self.declared_size = 0
        self.began = 0.0
        self.completed = 0.0
        self.answered = 0.0
        self.complete = False
        self.closes = False
        self.is_http_1_0 = False
        self.client: str | None = None
        self.lacks_certificate = False
        self.refusal: Reply | None = None
        self.note: Any = None

    def finish_body(self, now: float) -> None:
        """The whole message has come."""
        chunks = self.chunks
        self.body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        chunks.clear()
        self.complete = True
        self.completed = now


@dataclass(slots=True)
class Reply:
    """One HTTP reply. `headers` are complete lines, each ended by CR LF."""

    status: int
    body: bytes
    content_type: bytes = JSON
    headers: bytes = b""

    def to_bytes(self, date: bytes, connection: bytes, *, omit_body: bool) -> bytes:
        """The reply as sent. `connection` is a header line or nothing; HEAD omits the body."""
        body = self.body
        return b"%bDate: %b\r\nContent-Type: %b\r\nContent-Length: %d\r\n%b%b\r\n%b" % (
            _STATUS_LINES[self.status],
            date,
            self.content_type,
            len(body),
            self.headers,
            connection,
            b"" if omit_body else body,
        )


class Handler(Protocol):
    """Answers the requests of one kind."""

    def admit(self, request: Request) -> Reply | None:
        """Decide on the head alone: a refusal, or None to go on and read the body."""
        ...

    def handle(self, request: Request, respond: Callable[[Request, Reply], None]) -> None:
        """Answer a whole request: call `respond` once, now or later."""
        ...

    def answered(self, request: Request, reply: Reply) -> None:
        """A reply, be it this handler's or the connection's own, was handed to the socket."""
        ...

    def abandon(self, request: Request) -> None:
        """The client left before there was a reply."""
        ...


def json_reply(status: int, content: object) -> Reply:
    """A reply with a JSON body."""
    return Reply(status, orjson.dumps(content))


def error_reply(status: int, message: str, headers: bytes = b"") -> Reply:
    """The protocol's form of an error: `{"error": message}`."""
    return Reply(status, orjson.dumps({"error": message}), headers=headers)


def credentials_of(request: Request) -> Credentials:
    """What the client shows of itself."""
    headers = request.headers
    return Credentials(headers.get(b"authorization"), headers.get(b"x-api-key"))
