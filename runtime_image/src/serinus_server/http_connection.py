"""One HTTP/1.1 connection: an asyncio protocol on httptools.

Requests of a connection are answered one after the other, in order, however they are pipelined. A reply
that ends the connection is followed by a half-close, and what the client still sends is read and dropped
for a moment: closing at once would reset the connection and take the reply with it.
"""

import asyncio
import random
from collections import deque
from http import HTTPStatus
from time import perf_counter
from typing import Any, Final, Protocol, cast

import httptools

from serinus_server.http_message import Handler, Reply, Request, error_reply

_MAX_HEAD_BYTES: Final = 64 * 1024
_MAX_SWALLOWED_BODY_BYTES: Final = 256 * 1024
"""Of a request that is refused: the connection can go on, and a new one would cost both sides more than this does. Go's
net/http has the same bound."""

_LINGER_SECONDS: Final = 2.0
_REPLIES_PER_TURN: Final = 16
_FRAMING_PER_BODY_BYTE: Final = 8  # a body sent in tiny chunks is mostly framing; more than this is an attack


class Server(Protocol):
    """What a connection needs to know of the server around it."""

    connections: "set[Connection]"
    date: bytes
    draining: bool
    max_body_size: int
    request_timeout: float
    keep_alive_timeout: float
    max_connection_age: float
    requires_client_certificate: bool
    unparsable: Handler

    def resolve(self, target: bytes, method: bytes) -> Handler:
        """Who answers such requests."""
        ...


class Connection(asyncio.Protocol):
    """Parses requests, hands them to their handlers, and writes the replies."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._headers: dict[bytes, bytes] = {}  # of the head that is coming; after it trailers, which nobody reads
        self.on_header = self._headers.__setitem__  # httptools' callback
        self._parser: Any = httptools.HttpRequestParser(self)
        self._pending: deque[Request] = deque()  # heads that came, not yet answered; the first is in work
        self._incoming: Request | None = None
        self._busy = False
        self._pumping = False
        self._deaf = False  # nothing that comes now counts any more
        self._closing = False
        self._write_paused = False
        self._read_paused = False
        self._framing_bytes = 0
        self._unwritten_bytes = 0
        self._upgraded_body_bytes = 0
        self._message_is_new = False
        self._lacks_certificate = False
        now = perf_counter()
        self._head_began = now
        self._last_activity = now
        self._retire_at = now + server.max_connection_age * random.uniform(0.8, 1.2)  # noqa: S311 - spreads reconnects

    # asyncio's protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start to serve a client."""
        self._transport = cast(asyncio.Transport, transport)
        if self._server.requires_client_certificate and not transport.get_extra_info("peercert"):
            self._lacks_certificate = True
        self._server.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """The client is gone, or the connection was closed from here."""
        self._server.connections.discard(self)
        self._deaf = self._closing = True
        self._parser = None  # parser and protocol hold each other
        while self._pending:
            request = self._pending.popleft()
            request.handler.abandon(request)

    def eof_received(self) -> bool:
        """The client has closed: nobody waits for what is pending."""
        return False

    def pause_writing(self) -> None:
        """The client does not read its replies: start nothing new."""
        self._write_paused = True

    def resume_writing(self) -> None:
        """The client reads again."""
        self._write_paused = False
        self._pump()

    def data_received(self, data: bytes) -> None:
        """Parse what came."""
        self._last_activity = perf_counter()
        if self._upgraded_body_bytes and not self._deaf:
            data = self._take_upgraded_body(data)
        if not data or self._deaf:
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._ignore_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserCallbackError as error:
            raise error.__context__ or error from None
        except httptools.HttpParserError as error:
            if not self._deaf:
                self._refuse(HTTPStatus.BAD_REQUEST, f"the request is not valid HTTP/1.1: {error}")
        else:
            if self._incoming is not None:
                self._check_framing(len(data), self._incoming)

    def _check_framing(self, size: int, request: Request) -> None:
        """Bound what is kept of a head, a chunk header or a trailer that does not end."""
        if request.began:
            self._headers.clear()  # trailers
        if self._message_is_new:
            self._message_is_new = False
            self._framing_bytes = 0
            return
        self._framing_bytes += size
        if self._framing_bytes > _MAX_HEAD_BYTES + _FRAMING_PER_BODY_BYTE * request.body_size:
            status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
            self._refuse(status, f"the request's head is larger than {_MAX_HEAD_BYTES} bytes")

    # A client may offer to switch to HTTP/2 with its first request (Java's does). It goes on in HTTP/1.1 if
    # the offer is ignored, but the parser takes it as accepted and leaves the body to us.

    def _ignore_upgrade(self, rest: bytes) -> None:
        if self._deaf:
            return
        request = self._incoming
        if request is None or request.method == b"CONNECT" or b"transfer-encoding" in request.headers:
            self._refuse(HTTPStatus.BAD_REQUEST, "the connection cannot be upgraded; use HTTP/1.1")
            return
        self._parser = httptools.HttpRequestParser(self)
        self._upgraded_body_bytes = request.declared_size
        if request.declared_size == 0:
            self._complete(request)
        if rest:
            self.data_received(rest)

    def _take_upgraded_body(self, data: bytes) -> bytes:
        request = cast(Request, self._incoming)
        body, rest = data[: self._upgraded_body_bytes], data[self._upgraded_body_bytes :]
        self._upgraded_body_bytes -= len(body)
        self.on_body(body)
        if self._upgraded_body_bytes == 0 and not self._deaf:
            self._complete(request)
        return rest

    # httptools' callbacks

    def on_message_begin(self) -> None:
        """A request starts."""
        if not self._deaf:
            self._incoming = Request(self._server.unparsable)
            self._headers.clear()
            self._head_began = self._last_activity
            self._message_is_new = True

    def on_url(self, url: bytes) -> None:
        """A piece of the request target."""
        if self._incoming is not None:
            self._incoming.target += url

    def on_headers_complete(self) -> None:
        """Decide from the head alone whether the body is welcome."""
        request = self._incoming
        if request is None:
            return
        parser = self._parser
        headers = request.headers = {name.lower(): value for name, value in self._headers.items()}
        self._headers.clear()
        request.began = self._last_activity
        request.method = parser.get_method()
        keeps_alive = parser.should_keep_alive()
        if not keeps_alive or b"connection" in headers:  # otherwise it is HTTP/1.1, and the connection stays
            request.is_http_1_0 = parser.get_http_version() == "1.0"
            request.closes = not (keeps_alive or parser.should_upgrade())
        request.declared_size = int(headers.get(b"content-length", b"0"))
        request.handler = self._server.resolve(request.target, request.method)
        request.lacks_certificate = self._lacks_certificate
        self._pending.append(request)
        request.refusal = self._refusal(request)
        if request.refusal is None:
            if b"expect" in headers and len(self._pending) == 1:
                self._continue(request)
        elif request.declared_size > _MAX_SWALLOWED_BODY_BYTES or b"expect" in headers:
            self._answer_now(request)

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        request = self._incoming
        if request is None:
            return
        request.body_size += len(body)
        if request.refusal is not None:
            if request.body_size > _MAX_SWALLOWED_BODY_BYTES:
                self._answer_now(request)
        elif request.body_size > self._server.max_body_size:
            request.refusal = self._too_large(request)
            self._answer_now(request)
        else:
            request.chunks.append(body)

    def on_message_complete(self) -> None:
        """The request is whole, unless the parser takes it for the start of another protocol."""
        if self._incoming is not None and not self._parser.should_upgrade():
            self._complete(self._incoming)

    def _complete(self, request: Request) -> None:
        self._incoming = None
        request.finish_body(self._last_activity)
        self._deaf = request.closes
        self._pump()
        if len(self._pending) > 1 and not self._read_paused and not self._closing:
            self._read_paused = True
            self._transport.pause_reading()

    # deciding

    def _refusal(self, request: Request) -> Reply | None:
        headers = request.headers
        if b"host" not in headers and not request.is_http_1_0:
            return error_reply(HTTPStatus.BAD_REQUEST, "the Host header is missing")
        if request.declared_size > self._server.max_body_size:
            return self._too_large(request)
        if b"expect" in headers and headers[b"expect"].lower() != b"100-continue":
            return error_reply(HTTPStatus.EXPECTATION_FAILED, "the only expectation known is 100-continue")
        return request.handler.admit(request)

    def _too_large(self, request: Request) -> Reply:
        size = max(request.declared_size, request.body_size)
        limit = self._server.max_body_size
        message = f"the body has {size} bytes or more; at most {limit} are allowed"
        return error_reply(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, message)

    def _answer_now(self, request: Request) -> None:
        """Reply without waiting for the rest of the body; the connection cannot go on after that."""
        self._deaf = True
        self._incoming = None
        request.chunks.clear()
        request.closes = True
        request.finish_body(perf_counter())
        self._pump()

    def _refuse(self, status: int, message: str) -> None:
        """Answer what cannot be parsed any further, after what came before it."""
        request = self._incoming
        if request is None or request.began == 0.0:
            request = request or Request(self._server.unparsable)
            request.began = perf_counter()
            self._pending.append(request)
        request.refusal = error_reply(status, message)
        self._answer_now(request)

    # answering

    def _continue(self, request: Request) -> None:
        del request.headers[b"expect"]
        if not request.is_http_1_0:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _pump(self) -> None:
        """Work off what is complete, in order. Not recursive: an inline reply returns to this loop."""
        if self._pumping:
            return
        self._pumping = True
        try:
            for _ in range(_REPLIES_PER_TURN):
                if not self._start_next():
                    return
            asyncio.get_running_loop().call_soon(self._pump)
        finally:
            self._pumping = False

    def _start_next(self) -> bool:
        """Start the first pending request; whether there may be another one to start right now."""
        if self._busy or self._closing or self._write_paused or not self._pending:
            return False
        request = self._pending[0]
        if not request.complete:
            if b"expect" in request.headers:
                self._continue(request)
            return False
        self._busy = True
        if request.refusal is not None:
            self._respond(request, request.refusal)
        else:
            try:
                request.handler.handle(request, self._respond)
            except Exception as error:  # ours to mend; the client gets an answer nevertheless
                context = {"message": "a request handler failed", "exception": error}
                asyncio.get_running_loop().call_exception_handler(context)
                if self._busy:
                    self._respond(request, error_reply(HTTPStatus.INTERNAL_SERVER_ERROR, "internal error"))
        return bool(self._pending) and not self._busy

    def _respond(self, request: Request, reply: Reply) -> None:
        """Write the reply to the request in work."""
        if self._closing:
            return
        now, server, pending = perf_counter(), self._server, self._pending
        pending.popleft()
        # Clients reconnect now and then, so that new pods get their share, and away from a pod that ends.
        retires = now >= self._retire_at or server.draining
        closes = request.closes or (retires and not pending and self._incoming is None)
        connection = b"Connection: close\r\n" if closes else b""
        if request.is_http_1_0 and not closes:
            connection = b"Connection: keep-alive\r\n"
        self._transport.write(reply.to_bytes(server.date, connection, omit_body=request.method == b"HEAD"))
        self._last_activity = request.answered = now
        self._busy = False
        request.handler.answered(request, reply)
        if closes:
            self._linger()
            return
        if self._read_paused and len(pending) <= 1:
            self._read_paused = False
            self._transport.resume_reading()
        if pending:
            self._pump()

    def _linger(self) -> None:
        """Close after a reply, without destroying it: see the module's opening."""
        self._deaf = self._closing = True
        self._incoming = None
        if self._read_paused:
            self._transport.resume_reading()
        if self._transport.can_write_eof():
            self._transport.write_eof()
        else:
            self._transport.close()  # TLS ends in both directions at once, and drops what still comes by itself

    # time

    def check(self, now: float) -> None:
        """Called about twice a second: end what takes too long."""
        server = self._server
        unwritten = self._transport.get_write_buffer_size()
        if unwritten < self._unwritten_bytes:
            self._last_activity = now  # the client reads, however slowly
        self._unwritten_bytes = unwritten
        quiet = now - self._last_activity
        if unwritten:
            if quiet > server.request_timeout:
                self._transport.abort()
        elif self._closing:
            if quiet > _LINGER_SECONDS:
                self._transport.abort()
        elif self._incoming is not None:
            if now - self._head_began > server.request_timeout:
                message = f"the request did not arrive within {server.request_timeout:g} s"
                self._refuse(HTTPStatus.REQUEST_TIMEOUT, message)
        elif not self._pending and quiet > server.keep_alive_timeout:
            self._transport.close()

    @property
    def idle(self) -> bool:
        """Whether every request that has arrived is answered, and every answer sent: closing loses nothing."""
        return not self._pending and self._incoming is None and not self._transport.get_write_buffer_size()

    def close(self) -> None:
        """Close an idle connection."""
        self._transport.close()
