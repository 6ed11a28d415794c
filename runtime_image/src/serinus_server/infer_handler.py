"""The infer call over HTTP: admission, decode, run, encode, and the account of each."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus

from serinus_server.access_log import AccessLog
from serinus_server.admission import Admission
from serinus_server.decode import decode
from serinus_server.encode import NotRepresentableError, encode
from serinus_server.executor import DeadlineExceededError, Job
from serinus_server.http_message import OCTETS, Reply, Request, error_reply
from serinus_server.infer_request import InferRequest, InvalidRequestError
from serinus_server.metrics import Metrics
from serinus_server.model import Model
from serinus_server.readiness import Readiness
from serinus_server.runtime_error import explained

CLIENT_CLOSED_REQUEST = 499
_HEADER_LENGTH = b"inference-header-content-length"
_MAX_LENGTH_DIGITS = 19  # more than any body has
_RETRY_AFTER = b"Retry-After: 1\r\n"
_REFUSALS = {
    "in_flight_requests": "too many requests are in work",
    "in_flight_bytes": "too many bytes of requests are in work",
    "deadline": "the requests ahead would take longer than the timeout",
}


@dataclass(slots=True)
class _Note:
    """What the handler keeps of a request: its place in the admission, its job, and its times."""

    admitted_bytes: int
    job: Job | None = None
    decode_seconds: float = 0.0
    encode_seconds: float = 0.0


class InferHandler:
    """Answers infer requests of one model."""

    def __init__(
        self,
        readiness: Readiness,
        admission: Admission,
        metrics: Metrics,
        access_log: AccessLog,
        request_timeout: float,
        model_version: str,
    ) -> None:
        self._readiness = readiness
        self._admission = admission
        self._metrics = metrics
        self._access_log = access_log
        self._timeout = request_timeout
        # A reply that succeeds names the version in its body; errors have no place for it there.
        self._version_header = b"Serinus-Model-Version: %b\r\n" % model_version.encode()

    def admit(self, request: Request) -> Reply | None:
        """Refuse what cannot be served, before its body is read."""
        executor = self._readiness.executor
        if executor is None:
            self._metrics.rejected("not_ready")
            return self._error(HTTPStatus.SERVICE_UNAVAILABLE, "the model is being loaded", _RETRY_AFTER)
        refusal = _unsupported(request)
        if refusal is not None:
            return refusal
        reason = self._admission.refusal(request.declared_size)
        if reason is None and executor.expected_wait() > self._timeout:
            reason = "deadline"
        if reason is not None:
            self._metrics.rejected(reason)
            return self._error(HTTPStatus.SERVICE_UNAVAILABLE, _REFUSALS[reason], _RETRY_AFTER)
        self._admission.enter(request.declared_size)
        self._metrics.in_flight = self._admission.requests
        request.note = _Note(request.declared_size)
        return None

    def handle(self, request: Request, respond: Callable[[Request, Reply], None]) -> None:
        """Decode and run; the reply may come later."""
        model, executor, note = self._readiness.model, self._readiness.executor, request.note
        assert model is not None  # noqa: S101 - admit() lets nothing in before
        assert executor is not None  # noqa: S101
        self._admission.resize(note.admitted_bytes, request.body_size)
        note.admitted_bytes = request.body_size
        started = time.perf_counter()
        try:
            decoded = decode(request.body, model.signature, _header_length(request))
        except InvalidRequestError as error:
            respond(request, self._error(HTTPStatus.BAD_REQUEST, str(error)))
            return
        request.body = b""
        note.decode_seconds = time.perf_counter() - started

        def done(job: Job) -> None:
            respond(request, self._reply(model, decoded, job, note))

        note.job = Job(decoded.feeds, decoded.outputs, done)
        executor.submit(note.job, self._timeout - (started - request.completed))

    def _reply(self, model: Model, decoded: InferRequest, job: Job, note: _Note) -> Reply:
        if isinstance(job.error, DeadlineExceededError):
            message = f"the model did not answer within {self._timeout:g} s"
            return self._error(HTTPStatus.GATEWAY_TIMEOUT, message)
        if job.error is not None:
            message = f"the model failed on this request: {explained(job.error)}"
            return self._error(HTTPStatus.INTERNAL_SERVER_ERROR, message)
        started = time.perf_counter()
        try:
            body, header_length = encode(model, decoded, job.tensors)
        except NotRepresentableError as error:
            return self._error(HTTPStatus.INTERNAL_SERVER_ERROR, str(error))
        note.encode_seconds = time.perf_counter() - started
        if header_length is None:
            return Reply(HTTPStatus.OK, body)
        return Reply(HTTPStatus.OK, body, OCTETS, b"Inference-Header-Content-Length: %d\r\n" % header_length)

    def _error(self, status: int, message: str, headers: bytes = b"") -> Reply:
        return error_reply(status, message, self._version_header + headers)

    def answered(self, request: Request, reply: Reply) -> None:
        """Count and log a reply."""
        seconds = time.perf_counter() - request.completed
        self._metrics.answered(reply.status, seconds)
        if reply.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            self._metrics.rejected("body_size")
        note: _Note | None = request.note
        stages = self._leave(note) if note else {}
        self._access_log.answered(request, reply, **stages)

    def abandon(self, request: Request) -> None:
        """Stop working for a client that has left."""
        self._metrics.answered(CLIENT_CLOSED_REQUEST, 0.0)
        note: _Note | None = request.note
        if note and note.job:
            note.job.cancel()
        stages = self._leave(note) if note else {}
        self._access_log.ended(request, CLIENT_CLOSED_REQUEST, **stages)

    def _leave(self, note: _Note) -> dict[str, int]:
        """Give the place back; returns the microseconds of each stage, for the log."""
        self._admission.leave(note.admitted_bytes)
        self._metrics.in_flight = self._admission.requests
        job = note.job
        if job is None:
            return {}
        self._metrics.ran(note.decode_seconds, job.queue_seconds, job.run_seconds, note.encode_seconds)
        return {
            "decode_us": int(note.decode_seconds * 1e6),
            "queue_us": int(job.queue_seconds * 1e6),
            "run_us": int(job.run_seconds * 1e6),
            "encode_us": int(note.encode_seconds * 1e6),
        }


def _header_length(request: Request) -> int | None:
    """How many bytes of the body are JSON, where binary tensor data follows them."""
    text = request.headers.get(_HEADER_LENGTH)
    if text is None:
        return None
    if not text.isdigit() or len(text) > _MAX_LENGTH_DIGITS:
        shown = text[:50].decode(errors="replace")
        raise InvalidRequestError(f"Inference-Header-Content-Length must be a number of bytes, not {shown!r}")
    return int(text)


def _unsupported(request: Request) -> Reply | None:
    """Refuse what would be read as something it is not."""
    encoding = request.headers.get(b"content-encoding", b"identity")
    if encoding.lower() != b"identity":
        message = f"Content-Encoding {encoding[:50].decode(errors='replace')!r} is not supported; send the body plain"
        return error_reply(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, message, b"Accept-Encoding: identity\r\n")
    return None
