"""One connection as the server sees it: frames in, requests out to an application, its replies back into frames.

A client may only send what is worth its while here: what costs work and carries nothing (settings, pings, empty frames,
windows opened bit by bit) comes out of an allowance that useful frames fill up, and streams that are reset, out of one
that only time fills up.
"""

from dataclasses import dataclass
from typing import Final, Protocol

from serinus_server.http2 import frames
from serinus_server.http2.allowance import Allowance
from serinus_server.http2.errors import ConnectionFault, ErrorCode, StreamFault
from serinus_server.http2.flow_control import DEFAULT_WINDOW, MAX_WINDOW, Window, WindowOverrunError
from serinus_server.http2.header_block import (
    MAX_BLOCK_BYTES,
    MAX_LIST_BYTES,
    Head,
    HeaderDecoder,
    MalformedError,
    require_trailers,
)
from serinus_server.http2.stream import Stream

STREAM_WINDOW: Final = 65_536
"""What a client may send on a stream before the application asks for more of it."""

_CONNECTION_WINDOW: Final = 16 * 1024 * 1024
_MAX_REMEMBERED: Final = 256
_IDLE_BURST: Final = 2_000
_IDLE_PER_SECOND: Final = 100
_EARNED_BY_HEAD: Final = 16  # clients open windows, and ask for a sign of life, with each call
_EARNED_BY_BYTE: Final = 1 / 4096  # and with what they send and take
_LEAST_DATA: Final = 256  # a body in smaller pieces costs more than it carries
_RESET_BURST: Final = 1_000
_RESETS_PER_SECOND: Final = 100
_BURST_BYTES: Final = 1024 * 1024
_FAREWELL: Final = b"farewell"


@dataclass(frozen=True)
class Limits:
    """How many streams a client may have open at once, and the bytes of replies it may leave unread."""

    max_streams: int
    max_unsent_bytes: int


class Application(Protocol):
    """Who answers requests. It may reply to, or reset, a stream at any time from `opened` to `gone`."""

    def opened(self, stream: Stream, head: Head) -> None:
        """A request has come, or its head: `stream.remote_open` is whether more may follow."""
        ...

    def received(self, stream: Stream, data: bytes) -> None:
        """A piece of the body, perhaps an empty one; the last one unless `stream.remote_open`."""
        ...

    def gone(self, stream: Stream) -> None:
        """Nobody waits for the reply any more."""
        ...


class Session:
    """The state of a connection. What is to be sent is in `output`, for the owner to take.

    While `paused` nothing that can wait is added to it. `partial_since` is since when the rest of a frame or a header
    block is missing. `leaving` is whether the client was asked to go, `left` whether it may open no more streams,
    `ended` whether the connection is to be closed once the output is sent.
    """

    def __init__(self, application: Application, limits: Limits) -> None:
        self._application: Application | None = application
        self._limits = limits
        self._rest = b""
        self._greeted = False
        self._awaits_settings = True
        self._decoder = HeaderDecoder()
        self._block: tuple[int, int, bytearray] | None = None
        self._receive_window = Window(_CONNECTION_WINDOW)
        self._send_window = Window(DEFAULT_WINDOW)
        self._initial_send_window = DEFAULT_WINDOW
        self._max_frame_bytes = frames.MAX_FRAME_BYTES
        self._last_id = 0
        self._last_served_id = 0
        self._closed: dict[int, bool] = {}  # latest streams that are no more: whether their requests had not ended
        self._sendable: dict[int, Stream] = {}
        self._idle = Allowance(_IDLE_BURST, _IDLE_PER_SECOND)
        self._resets = Allowance(_RESET_BURST, _RESETS_PER_SECOND)
        self._now = 0.0
        self.streams: dict[int, Stream] = {}
        self.unsent_bytes = 0
        self.partial_since: float | None = None
        self.paused = False
        self.leaving = False
        self.left = False
        self.ended = False
        self.output: list[bytes | memoryview] = [
            frames.settings(
                {
                    frames.SETTINGS_MAX_CONCURRENT_STREAMS: limits.max_streams,
                    frames.SETTINGS_INITIAL_WINDOW_SIZE: STREAM_WINDOW,
                    frames.SETTINGS_MAX_HEADER_LIST_SIZE: MAX_LIST_BYTES,
                }
            ),
            frames.window_update(0, _CONNECTION_WINDOW - DEFAULT_WINDOW),
        ]

    @property
    def greeted(self) -> bool:
        """Whether the client has shown that it speaks HTTP/2."""
        return self._greeted and not self._awaits_settings

    @property
    def done(self) -> bool:
        """Whether the connection may be closed without losing anything."""
        return self.ended or (self.left and not self.streams)

    # receiving

    def receive(self, data: bytes, now: float) -> None:
        """Take in what came, at a time in seconds."""
        if self.ended:
            return
        self._now = now
        try:
            self._parse(self._rest + data if self._rest else data)
        except ConnectionFault as fault:
            self.fail(fault.code, fault.message)

    def _parse(self, data: bytes) -> None:
        position, end = 0, len(data)
        if not self._greeted:
            if not data.startswith(frames.PREFACE[:end]):
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "no HTTP/2 connection preface")
            if end < len(frames.PREFACE):
                self._rest = data
                return  # the owner gives all of a greeting its time
            self._greeted = True
            position = len(frames.PREFACE)
        while end - position >= frames.HEAD_BYTES and not self.ended:
            high, low, kind, flags, stream_id = frames.unpack_head(data, position)
            length = high << 8 | low
            if length > frames.MAX_FRAME_BYTES:
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, f"a frame of {length} bytes")
            start = position + frames.HEAD_BYTES
            if start + length > end:
                break
            position = start + length
            try:
                self._frame(kind, flags, stream_id & frames.STREAM_ID_MASK, data[start:position])
            except StreamFault as fault:
                self._fail_stream(fault)
        self._rest = data[position:]
        if not self._rest and self._block is None:
            self.partial_since = None
        elif self.partial_since is None or (position and self._block is None):
            self.partial_since = self._now

    def _frame(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        if self._awaits_settings:
            if kind != frames.SETTINGS or flags & frames.ACK:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "the first frame is not SETTINGS")
            self._awaits_settings = False
        if self._block is not None and (kind != frames.CONTINUATION or stream_id != self._block[0]):
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a header block is interrupted")
        if kind == frames.DATA:
            self._on_data(flags, stream_id, payload)
        elif kind == frames.HEADERS:
            self._on_headers(flags, stream_id, payload)
        else:
            self._spend_idle()
            if kind < len(_OTHERS):  # frames of other kinds are to be ignored
                _OTHERS[kind](self, flags, stream_id, payload)

    def _spend_idle(self) -> None:
        if not self._idle.spend(self._now):
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "too many frames that carry nothing")

    def _on_data(self, flags: int, stream_id: int, payload: bytes) -> None:
        size = len(payload)
        try:
            self._receive_window.spend(size)
        except WindowOverrunError as error:
            raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "more data than the window allows") from error
        if self._receive_window.size < _CONNECTION_WINDOW // 2:
            self.output.append(frames.window_update(0, _CONNECTION_WINDOW - self._receive_window.size))
            self._receive_window.size = _CONNECTION_WINDOW
        ends = bool(flags & frames.END_STREAM)
        data = frames.unpadded(flags, payload)
        if not ends:
            if len(data) < _LEAST_DATA:
                self._spend_idle()
            else:
                self._idle.earn(len(data) * _EARNED_BY_BYTE)
        stream = self.streams.get(stream_id)
        if stream is None or not stream.remote_open:
            self._on_stray(stream_id, stream, ends=ends)
            return
        try:
            stream.receive_window.spend(size)
        except WindowOverrunError as error:
            raise StreamFault(stream_id, ErrorCode.FLOW_CONTROL_ERROR) from error
        stream.came(len(data), ends=ends)
        if size != len(data):
            self.allow(stream, size - len(data))  # padding is nobody's to wait for
        self._app.received(stream, data)

    def _on_stray(self, stream_id: int, stream: Stream | None, *, ends: bool) -> None:
        """DATA where none is due."""
        if stream is not None:
            raise StreamFault(stream_id, ErrorCode.STREAM_CLOSED)
        self._require_used(stream_id)
        unfinished = self._closed.get(stream_id)
        if unfinished is False:
            raise ConnectionFault(ErrorCode.STREAM_CLOSED, f"DATA on stream {stream_id}, which has ended")
        if unfinished and ends:
            self._closed[stream_id] = False
        if unfinished is None:
            self._spend_idle()

    def _on_headers(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id == 0:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "HEADERS on stream 0")
        if flags & (frames.PADDED | frames.HAS_PRIORITY):
            payload = frames.without_priority(flags, frames.unpadded(flags, payload), stream_id)
        if flags & frames.END_HEADERS:
            self._on_block(flags, stream_id, payload)
        else:
            self._block = (stream_id, flags, bytearray(payload))

    def _on_continuation(self, flags: int, _stream_id: int, payload: bytes) -> None:
        if self._block is None:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "CONTINUATION of nothing")
        stream_id, first_flags, block = self._block
        block += payload
        if len(block) > MAX_BLOCK_BYTES:
            message = f"a header block of more than {MAX_BLOCK_BYTES} bytes"
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, message)
        if flags & frames.END_HEADERS:
            self._block = None
            self._on_block(first_flags, stream_id, bytes(block))

    def _on_block(self, flags: int, stream_id: int, block: bytes) -> None:
        """A whole header block: a request's head, or its trailers."""
        ends = bool(flags & frames.END_STREAM)
        try:
            if stream_id <= self._last_id:
                self._on_trailers(stream_id, block, ends=ends)
                return
            if not stream_id & 1:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"stream {stream_id} is not a client's to open")
            self._last_id = stream_id
            head = self._decoder.head(block)
        except MalformedError as error:
            raise StreamFault(stream_id, ErrorCode.PROTOCOL_ERROR) from error
        if self.left:  # it came too late to be looked at
            self._spend_idle()
            self._remember(stream_id, unfinished=not ends)
            return
        if len(self.streams) >= self._limits.max_streams:
            raise StreamFault(stream_id, ErrorCode.REFUSED_STREAM)
        if self.unsent_bytes > self._limits.max_unsent_bytes:
            raise StreamFault(stream_id, ErrorCode.ENHANCE_YOUR_CALM)
        self._idle.earn(_EARNED_BY_HEAD)
        stream = Stream(stream_id, STREAM_WINDOW, self._initial_send_window, head.content_length)
        self.streams[stream_id] = stream
        if ends:
            stream.came(0, ends=True)
        self._app.opened(stream, head)

    def _on_trailers(self, stream_id: int, block: bytes, *, ends: bool) -> None:
        fields = self._decoder.fields(block)
        stream = self.streams.get(stream_id)
        if stream is None:
            unfinished = self._closed.get(stream_id)
            if not unfinished:
                code = ErrorCode.PROTOCOL_ERROR if unfinished is None else ErrorCode.STREAM_CLOSED
                raise ConnectionFault(code, f"HEADERS on stream {stream_id}, which is closed")
            self._closed[stream_id] = not ends
            self._spend_idle()
        elif not stream.remote_open:
            raise StreamFault(stream_id, ErrorCode.STREAM_CLOSED)
        elif not ends:
            raise StreamFault(stream_id, ErrorCode.PROTOCOL_ERROR)
        else:
            require_trailers(fields)
            stream.came(0, ends=True)
            self._app.received(stream, b"")

    def _on_priority(self, _flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id == 0:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "PRIORITY on stream 0")
        if len(payload) != frames.PRIORITY_BYTES:
            raise StreamFault(stream_id, ErrorCode.FRAME_SIZE_ERROR)
        frames.require_other_stream(payload, stream_id)

    def _on_rst_stream(self, _flags: int, stream_id: int, payload: bytes) -> None:
        if len(payload) != frames.RST_STREAM_BYTES:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "RST_STREAM of a length other than 4")
        self._require_used(stream_id)
        stream = self.streams.get(stream_id)
        if stream is None:
            if stream_id in self._closed:
                self._closed[stream_id] = False
            return
        self._spend_reset()
        self._forget(stream, unfinished=False)
        self._app.gone(stream)

    def _spend_reset(self) -> None:
        if not self._resets.spend(self._now):
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "too many streams are opened and reset")

    def _on_settings(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id != 0:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "SETTINGS on a stream")
        if flags & frames.ACK:
            if payload:
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "an acknowledgement with settings")
            return
        for name, value in dict(frames.parsed_settings(payload)).items():  # the last one of a name counts
            if name == frames.SETTINGS_MAX_FRAME_SIZE:
                self._max_frame_bytes = value
            elif name == frames.SETTINGS_INITIAL_WINDOW_SIZE:
                self._change_initial_window(value)
        self.output.append(frames.frame(frames.SETTINGS, frames.ACK, 0))
        self._unblock()

    def _change_initial_window(self, size: int) -> None:
        change, self._initial_send_window = size - self._initial_send_window, size
        try:
            for stream in self.streams.values():
                stream.send_window.grow(change)
                self._note_sendable(stream)
        except WindowOverrunError as error:
            raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "a window above 2^31-1") from error

    def _on_push_promise(self, _flags: int, _stream_id: int, _payload: bytes) -> None:
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "PUSH_PROMISE from a client")

    def _on_ping(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id != 0:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "PING on a stream")
        if len(payload) != frames.PING_BYTES:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "PING of a length other than 8")
        if not flags & frames.ACK:
            self.output.append(frames.frame(frames.PING, frames.ACK, 0, payload))
        elif self.leaving and payload == _FAREWELL:
            self.leave_now()

    def _on_goaway(self, _flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id != 0:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "GOAWAY on a stream")
        if len(payload) < frames.LEAST_GOAWAY_BYTES:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "GOAWAY shorter than 8 bytes")
        self.leave_now()  # it opens no more streams

    def _on_window_update(self, _flags: int, stream_id: int, payload: bytes) -> None:
        if len(payload) != frames.WINDOW_UPDATE_BYTES:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "WINDOW_UPDATE of a length other than 4")
        increment = int.from_bytes(payload, "big") & frames.STREAM_ID_MASK
        if stream_id == 0:
            if increment == 0:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE by 0")
            try:
                self._send_window.grow(increment)
            except WindowOverrunError as error:
                raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "a window above 2^31-1") from error
        else:
            self._require_used(stream_id)
            if increment == 0:
                raise StreamFault(stream_id, ErrorCode.PROTOCOL_ERROR)
            stream = self.streams.get(stream_id)
            if stream is None:
                return
            try:
                stream.send_window.grow(increment)
            except WindowOverrunError as error:
                raise StreamFault(stream_id, ErrorCode.FLOW_CONTROL_ERROR) from error
            self._note_sendable(stream)
        self._unblock()

    def _require_used(self, stream_id: int) -> None:
        if stream_id == 0 or stream_id > self._last_id or not stream_id & 1:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"stream {stream_id} was never opened")

    # sending

    def respond(self, stream: Stream, head: bytes, body: bytes, trailers: bytes) -> None:
        """Send a whole reply: the block of its head, the body, and the block of its trailers."""
        size, stream_id = len(body), stream.id
        if (
            size <= self._send_window.size
            and size <= stream.send_window.size
            and size <= self._max_frame_bytes
            and not self.paused
        ):
            self._send_window.size -= size
            self.output.append(
                b"".join(
                    (
                        frames.head(len(head), frames.HEADERS, frames.END_HEADERS, stream_id),
                        head,
                        frames.head(size, frames.DATA, 0, stream_id),
                        body,
                        frames.head(len(trailers), frames.HEADERS, frames.END_HEADERS | frames.END_STREAM, stream_id),
                        trailers,
                    )
                )
            )
            self._finished(stream)
            return
        self.start(stream, head)
        self.send(stream, body)
        self.finish(stream, trailers)

    def start(self, stream: Stream, head: bytes, *, ends: bool = False) -> None:
        """Send the block of a reply's head, with `ends` all of it."""
        flags = frames.END_HEADERS | (frames.END_STREAM if ends else 0)
        self.output.append(frames.frame(frames.HEADERS, flags, stream.id, head))
        if ends:
            self._finished(stream)

    def send(self, stream: Stream, body: bytes) -> None:
        """Send a piece of the body, as soon as the client's windows allow it."""
        if stream.unsent is not None:
            body = bytes(stream.unsent) + body
            self.unsent_bytes -= len(stream.unsent)
        stream.unsent = memoryview(body)
        stream.stalled_since = 0.0
        self.unsent_bytes += len(body)
        self._note_sendable(stream)
        self._unblock()

    def finish(self, stream: Stream, trailers: bytes | None) -> None:
        """End the reply, after its body: with the block of its trailers, or without any."""
        if trailers is None:
            ending = frames.frame(frames.DATA, frames.END_STREAM, stream.id)
        else:
            ending = frames.frame(frames.HEADERS, frames.END_HEADERS | frames.END_STREAM, stream.id, trailers)
        if stream.unsent is not None:
            stream.ending = ending
        else:
            self.output.append(ending)
            self._finished(stream)

    def reset(self, stream: Stream, code: ErrorCode) -> None:
        """End a stream at once."""
        self.output.append(frames.rst_stream(stream.id, code))
        self._forget(stream, unfinished=stream.remote_open)

    def allow(self, stream: Stream, size: int) -> None:
        """Let the client send so many bytes more on a stream."""
        stream.receive_window.grow(size)
        if stream.remote_open:
            self.output.append(frames.window_update(stream.id, size))

    def resume(self, now: float) -> None:
        """Go on sending what waits, after a pause or because some of it could go out."""
        self._now = now
        self._unblock()

    def leave(self) -> None:
        """Ask the client to go elsewhere; what it has sent until it knows is answered."""
        if not self.leaving:
            self.leaving = True
            self.output.append(frames.goaway(MAX_WINDOW, ErrorCode.NO_ERROR))
            self.output.append(frames.frame(frames.PING, 0, 0, _FAREWELL))

    def leave_now(self) -> None:
        """Take no more requests; those that are here are answered."""
        if not self.left:
            self.leaving = self.left = True
            self._last_served_id = self._last_id
            self.output.append(frames.goaway(self._last_id, ErrorCode.NO_ERROR))

    def fail(self, code: ErrorCode, message: str) -> None:
        """End the connection for a reason that the client is told."""
        served = self._last_served_id if self.left else self._last_id
        self.output.append(frames.goaway(served, code, message))
        self.close()

    def close(self) -> None:
        """The connection is no more, or is about to be: give everything up."""
        self.ended = True
        self._rest, self._block = b"", None
        streams, application = list(self.streams.values()), self._application
        for stream in streams:
            self._forget(stream, unfinished=False)
        self._application = None  # it mostly holds this session, too
        if application is not None:
            for stream in streams:
                application.gone(stream)

    @property
    def _app(self) -> Application:
        assert self._application is not None  # noqa: S101 - nothing is received after the end
        return self._application

    def _unblock(self) -> None:
        """Send what the windows allow, and not too much at once."""
        room = _BURST_BYTES
        while self._sendable and room > 0 and self._send_window.size > 0 and not self.paused:
            room -= self._send_some(next(iter(self._sendable.values())), room)

    def _note_sendable(self, stream: Stream) -> None:
        """Remember a stream that has something to send, and room for it in its own window."""
        if stream.unsent is not None and stream.send_window.size > 0:
            self._sendable[stream.id] = stream

    def _send_some(self, stream: Stream, room: int) -> int:
        """Send of one stream; returns how many bytes."""
        unsent = stream.unsent
        assert unsent is not None  # noqa: S101 - it is one of the blocked
        size = min(len(unsent), room, self._send_window.size, max(0, stream.send_window.size))
        self._send_window.spend(size)
        stream.send_window.spend(size)
        stream.stalled_since = 0.0
        self.unsent_bytes -= size
        self._idle.earn(size * _EARNED_BY_BYTE)
        for start in range(0, size, self._max_frame_bytes):
            piece = unsent[start : min(size, start + self._max_frame_bytes)]
            self.output += (frames.head(len(piece), frames.DATA, 0, stream.id), piece)
        stream.unsent = unsent[size:]
        if stream.send_window.size <= 0:
            self._sendable.pop(stream.id, None)
        if not stream.unsent:
            stream.unsent = None
            self._sendable.pop(stream.id, None)
            if stream.ending is not None:
                self.output.append(stream.ending)
                self._finished(stream)
        return size

    def _finished(self, stream: Stream) -> None:
        """The reply has ended."""
        if stream.remote_open:  # the rest of the request is not needed
            self.output.append(frames.rst_stream(stream.id, ErrorCode.NO_ERROR))
        self._forget(stream, unfinished=stream.remote_open)

    def _forget(self, stream: Stream, *, unfinished: bool) -> None:
        if stream.unsent is not None:
            self.unsent_bytes -= len(stream.unsent)
            self._sendable.pop(stream.id, None)
        stream.close()
        if self.streams.pop(stream.id, None) is not None:
            self._remember(stream.id, unfinished=unfinished)

    def _remember(self, stream_id: int, *, unfinished: bool) -> None:
        self._closed[stream_id] = unfinished
        if len(self._closed) > _MAX_REMEMBERED:
            del self._closed[next(iter(self._closed))]

    def _fail_stream(self, fault: StreamFault) -> None:
        stream = self.streams.get(fault.stream_id)
        if stream is None:
            self._spend_idle()
            self.output.append(frames.rst_stream(fault.stream_id, fault.code))
            self._remember(fault.stream_id, unfinished=True)
            return
        self._spend_reset()  # to make the server reset streams is no better than to reset them
        self.reset(stream, fault.code)
        self._app.gone(stream)


_OTHERS: Final = (
    Session._on_push_promise,  # DATA and HEADERS have gone elsewhere
    Session._on_push_promise,
    Session._on_priority,
    Session._on_rst_stream,
    Session._on_settings,
    Session._on_push_promise,
    Session._on_ping,
    Session._on_goaway,
    Session._on_window_update,
    Session._on_continuation,
)
