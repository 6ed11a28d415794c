"""One connection of the gRPC port: bytes, clocks and calls around an HTTP/2 session.

A connection that ends by the server's will is half-closed first, and what the client still sends is read and dropped
for a moment: closing at once would reset it, and take the last replies with it.
"""

import asyncio
import random
from collections.abc import Mapping
from http import HTTPStatus
from time import perf_counter
from typing import Final, Protocol, cast

from serinus_server.grpc_api.call import Call, Method
from serinus_server.grpc_api.request_head import RequestHead, understood
from serinus_server.grpc_api.status import trailers_only
from serinus_server.http2.errors import ErrorCode
from serinus_server.http2.header_block import Head, encoded
from serinus_server.http2.session import STREAM_WINDOW, Limits, Session
from serinus_server.http2.stream import Stream
from serinus_server.refusal import Refusal

_GREETING_SECONDS: Final = 10.0
_FAREWELL_SECONDS: Final = 2.0
_LINGER_SECONDS: Final = 2.0
_BYTES_PER_TURN: Final = 32_768
_NOT_GRPC: Final = b"this port speaks gRPC: POST, with content-type application/grpc\n"


class Server(Protocol):
    """What a connection needs to know of the server around it."""

    connections: "set[Connection]"
    methods: Mapping[bytes, Method]
    limits: Limits
    request_timeout: float
    keep_alive_timeout: float
    max_connection_age: float


class Connection(asyncio.Protocol):
    """Hands requests to their methods, and ends what takes too long."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._session = Session(self, server.limits)
        self._receiving = False
        self._write_paused = False
        self._closing = False
        self._unwritten_bytes = 0
        self._backlog = memoryview(b"")
        now = perf_counter()
        self._began = self._last_activity = self._idle_since = now
        self._leaving_since: float | None = None
        self._retire_at = now + server.max_connection_age * random.uniform(0.8, 1.2)  # noqa: S311 - spreads reconnects

    # asyncio's protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start to serve a client."""
        self._transport = cast(asyncio.Transport, transport)
        self._server.connections.add(self)
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """The client is gone, or the connection was closed from here."""
        self._closing = True
        self._server.connections.discard(self)
        self._session.close()

    def eof_received(self) -> bool:
        """The client has closed: nobody waits for what is pending."""
        return False

    def pause_writing(self) -> None:
        """The client does not read: take in no more of what would have to be answered."""
        self._write_paused = self._session.paused = True
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """The client reads again."""
        self._write_paused = self._session.paused = False
        self._session.resume(perf_counter())
        self._flush()
        if self._backlog:
            self._work_off()
        elif not (self._write_paused or self._closing):
            self._transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        """Take in what came, and send what there is to say to it, at once."""
        if self._closing:
            return
        self._last_activity = perf_counter()
        if len(data) <= _BYTES_PER_TURN and not self._backlog:
            self._receive(data)
            return
        self._backlog = memoryview(bytes(self._backlog) + data if self._backlog else data)
        self._transport.pause_reading()
        self._work_off()

    def _work_off(self) -> None:
        """Take in some of what came: what many calls need at once would keep others waiting."""
        if self._closing or self._write_paused or not self._backlog:
            return
        data, self._backlog = self._backlog[:_BYTES_PER_TURN], self._backlog[_BYTES_PER_TURN:]
        self._receive(bytes(data))
        if self._backlog:
            asyncio.get_running_loop().call_soon(self._work_off)
        elif not (self._write_paused or self._closing):
            self._transport.resume_reading()

    def _receive(self, data: bytes) -> None:
        self._receiving = True
        try:
            self._session.receive(data, perf_counter())
        finally:
            self._receiving = False
            self._flush()

    def _flush(self) -> None:
        session = self._session
        while session.output and not (self._receiving or self._closing):
            output = session.output
            data = output[0] if len(output) == 1 else b"".join(output)
            output.clear()
            self._transport.write(data)
            if session.unsent_bytes and not session.paused:
                session.resume(perf_counter())
        if session.done and not (self._receiving or self._closing):
            self._linger()

    def _linger(self) -> None:
        """Close, without destroying what was sent last."""
        self._closing = True
        self._last_activity = perf_counter()
        self._session.close()
        self._backlog = memoryview(b"")
        self._transport.resume_reading()
        if self._transport.can_write_eof():
            self._transport.write_eof()
        else:
            self._transport.close()  # TLS ends in both directions at once, and drops what still comes by itself

    # the session's application

    def opened(self, stream: Stream, head: Head) -> None:
        """A request."""
        asked = head.note
        if asked is None:
            asked = head.note = understood(head)
        if asked.http_status is not None:
            stream.note = asked.http_status
            if not stream.remote_open:
                self._answer_in_http(stream, asked.http_status)
            return
        method = self._server.methods.get(asked.path)
        refusal = asked.refusal or (_unknown(asked) if method is None else None)
        if method is None or refusal is not None:
            self._session.start(stream, trailers_only(cast(Refusal, refusal)), ends=True)
            return
        now = self._idle_since = self._last_activity
        call = stream.note = Call(self._session, stream, asked, method, now, self._flush)
        try:
            method.opened(call)
            if not (stream.remote_open or call.over):
                call.feed(b"")
        except Exception as error:
            self._unexpected(call, error)

    def received(self, stream: Stream, data: bytes) -> None:
        """A piece of its body."""
        call = stream.note
        if isinstance(call, Call):
            try:
                call.feed(data)
            except Exception as error:
                self._unexpected(call, error)
        elif not stream.remote_open or stream.receive_window.size < STREAM_WINDOW // 2:
            self._answer_in_http(stream, call)

    def gone(self, stream: Stream) -> None:
        """Nobody waits for it any more."""
        if isinstance(stream.note, Call):
            stream.note.abandon()

    def _answer_in_http(self, stream: Stream, status: HTTPStatus) -> None:
        """Answer what is no call of gRPC."""
        fields = [(b":status", b"%d" % status), (b"content-type", b"text/plain"), (b"allow", b"POST")]
        self._session.start(stream, encoded(fields))
        self._session.send(stream, _NOT_GRPC)
        self._session.finish(stream, None)

    def _unexpected(self, call: Call, error: Exception) -> None:
        """An error that is ours to mend; the client gets an answer nevertheless."""
        context = {"message": "a gRPC method failed", "exception": error}
        asyncio.get_running_loop().call_exception_handler(context)
        if not call.over:
            call.method.failed(call, Refusal(HTTPStatus.INTERNAL_SERVER_ERROR, "internal error"))

    # time

    def check(self, now: float) -> None:
        """Called a few times a second: end what takes too long."""
        server, session = self._server, self._session
        if self._write_stalls(now) or self._closing:
            return
        partial_since = session.partial_since
        if not session.greeted:
            patience = min(_GREETING_SECONDS, server.request_timeout)
            if now - self._began > patience:
                session.fail(ErrorCode.SETTINGS_TIMEOUT, f"no SETTINGS within {patience:g} s")
        elif partial_since is not None and now - partial_since > server.request_timeout:
            session.fail(ErrorCode.ENHANCE_YOUR_CALM, f"a frame did not arrive within {server.request_timeout:g} s")
        else:
            self._check_streams(now)
            self._check_age(now)
        self._flush()

    def _write_stalls(self, now: float) -> bool:
        """Give up on a client that reads nothing of what is written, or does not close after the end."""
        unwritten = self._transport.get_write_buffer_size()
        if unwritten < self._unwritten_bytes:
            self._last_activity = now  # the client reads, however slowly
        self._unwritten_bytes = unwritten
        quiet = now - self._last_activity
        patience = self._server.request_timeout if unwritten or self._write_paused else _LINGER_SECONDS
        if (unwritten or self._closing) and quiet > patience:
            self.abort()
            return True
        return False

    def _check_streams(self, now: float) -> None:
        session, patience = self._session, self._server.request_timeout
        for stream in list(session.streams.values()):
            call = stream.note
            if stream.unsent is None and isinstance(call, Call):
                call.check(now, patience)
            elif not stream.stalled_since:
                stream.stalled_since = now
            elif now - stream.stalled_since > patience:
                session.reset(stream, ErrorCode.CANCEL)
                self.gone(stream)

    def _check_age(self, now: float) -> None:
        server, session = self._server, self._session
        if session.streams:
            self._idle_since = now
        if session.leaving and self._leaving_since is None:
            self._leaving_since = now
        if self._leaving_since is not None:
            if now - self._leaving_since > _FAREWELL_SECONDS:
                session.leave_now()
            if now - self._leaving_since > _FAREWELL_SECONDS + server.request_timeout:
                session.close()
        elif now >= self._retire_at or now - self._idle_since > server.keep_alive_timeout:
            self.leave()

    def leave(self) -> None:
        """Ask the client to go elsewhere, and close once everything that it asked is answered."""
        if not self._closing:
            self._session.leave()
            self._flush()

    @property
    def idle(self) -> bool:
        """Whether every request that has arrived is answered, and every answer sent: closing loses nothing."""
        return not self._session.streams and not self._transport.get_write_buffer_size()

    def abort(self) -> None:
        """Cut it off."""
        self._closing = True
        self._transport.abort()


def _unknown(asked: RequestHead) -> Refusal:
    return Refusal(HTTPStatus.NOT_IMPLEMENTED, f"there is no method {asked.path[:200].decode(errors='replace')!r}")
