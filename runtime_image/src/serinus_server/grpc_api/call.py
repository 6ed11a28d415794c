"""One call, and who answers such calls."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Protocol

from serinus_server.grpc_api.framing import MessageReader, RefusedError, framed
from serinus_server.grpc_api.request_head import RequestHead
from serinus_server.grpc_api.status import OK_TRAILERS, REPLY_HEAD, trailers, trailers_only
from serinus_server.http2.header_block import Field
from serinus_server.http2.session import Session
from serinus_server.http2.stream import Stream
from serinus_server.refusal import Refusal


class Method(Protocol):
    """Answers the calls of one name. Everything happens on the event loop."""

    message_limit: int
    """The most bytes that a message may have."""

    def opened(self, call: "Call") -> None:
        """A call came, without its message; it may be refused already."""
        ...

    def announced(self, call: "Call", size: int) -> None:
        """Its message will have so many bytes, compressed perhaps."""
        ...

    def asked(self, call: "Call", message: bytes) -> None:
        """The message is there: answer, now or later."""
        ...

    def failed(self, call: "Call", refusal: Refusal) -> None:
        """It cannot be answered, as the message is no good or did not come in time: refuse it."""
        ...

    def abandoned(self, call: "Call") -> None:
        """The client waits no more."""
        ...


class Call:
    """One call. `began` is when its head came, `deadline` when the client gives up, both by `time.perf_counter()`.

    `waiting` is whether the message has not come yet, `streaming` whether a reply of several messages has begun, `over`
    whether there is nothing left to answer. `note` is the method's own.
    """

    __slots__ = (
        "_flush",
        "_reader",
        "_session",
        "_stream",
        "began",
        "deadline",
        "head",
        "method",
        "note",
        "over",
        "streaming",
        "waiting",
    )

    def __init__(
        self,
        session: Session,
        stream: Stream,
        head: RequestHead,
        method: Method,
        began: float,
        flush: Callable[[], None],
    ) -> None:
        self._session = session
        self._flush = flush
        self._stream = stream
        self._reader = MessageReader(method.message_limit)
        self.head = head
        self.method = method
        self.began = began
        self.deadline = None if head.timeout is None else began + head.timeout
        self.waiting = True
        self.over = False
        self.streaming = False
        self.note: Any = None

    # what comes

    def feed(self, data: bytes) -> None:
        """A piece of the request's body, perhaps the last one."""
        reader, stream = self._reader, self._stream
        try:
            known = reader.length is not None
            if data:
                reader.feed(data)
            if not known and reader.length is not None:
                self._announce(reader.length)
            if not stream.remote_open and not self.over:
                message = reader.finish(self.head.encoding)
                self.waiting = False
                self.method.asked(self, message)
        except RefusedError as error:
            self.method.failed(self, error.refusal)

    def _announce(self, size: int) -> None:
        self.method.announced(self, size)
        missing = size - self._reader.received
        if not self.over and missing > self._stream.receive_window.size:
            self._session.allow(self._stream, missing - self._stream.receive_window.size)

    def abandon(self) -> None:
        """The client has left."""
        if not self.over:
            self.over = True
            self.method.abandoned(self)

    def check(self, now: float, patience: float) -> None:
        """Called now and then: end what takes too long to come, or to go on; a run has its own deadline."""
        if self.over:
            return
        late = self.deadline is not None and now >= self.deadline
        if self.waiting and late:
            self.method.failed(self, Refusal(HTTPStatus.GATEWAY_TIMEOUT, "the deadline passed before the request came"))
        elif self.waiting and now - self.began > patience:
            message = f"the request did not arrive within {patience:g} s"
            self.method.failed(self, Refusal(HTTPStatus.REQUEST_TIMEOUT, message))
        elif self.streaming and late:
            self.end(Refusal(HTTPStatus.GATEWAY_TIMEOUT, "the deadline has passed"))
            self.method.abandoned(self)

    # what goes

    def answer(self, message: bytes) -> None:
        """End the call with its reply."""
        if not self.over:
            self.over = True
            self._session.respond(self._stream, REPLY_HEAD, framed(message), OK_TRAILERS)
            self._flush()

    def refuse(self, refusal: Refusal, *metadata: Field) -> None:
        """End the call without a reply."""
        if not self.over:
            self.over = True
            self._session.start(self._stream, trailers_only(refusal, *metadata), ends=True)
            self._flush()

    def start(self) -> None:
        """Begin a reply of several messages."""
        self.streaming = True
        self._session.start(self._stream, REPLY_HEAD)

    def send(self, message: bytes) -> None:
        """One of them."""
        self._session.send(self._stream, framed(message))
        self._flush()

    def end(self, refusal: Refusal) -> None:
        """End a reply of several messages."""
        if not self.over:
            self.over = True
            self._session.finish(self._stream, trailers(refusal))
            self._flush()

    def remaining(self, now: float) -> float | None:
        """The seconds that the client still waits."""
        return None if self.deadline is None else self.deadline - now
