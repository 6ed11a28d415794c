"""The infer call over HTTP: decode, encode, and what headers say."""

from collections.abc import Callable
from http import HTTPStatus
from time import perf_counter
from typing import Final

from serinus_server.access_log import AccessLog
from serinus_server.audit import identity
from serinus_server.credentials import NO_CREDENTIALS
from serinus_server.decode import decode
from serinus_server.encode import KnownHeads, NotRepresentableError, encode
from serinus_server.http_message import OCTETS, Reply, Request, credentials_of, error_reply
from serinus_server.infer_request import InferRequest, InvalidRequestError
from serinus_server.inference import CLIENT_CLOSED_REQUEST, Call, Inference, failed_run
from serinus_server.job import Job
from serinus_server.known_headers import KnownHeaders
from serinus_server.model import Model
from serinus_server.refusal import NO_CERTIFICATE, Refusal

_OK: Final = HTTPStatus.OK.value
_HEADER_LENGTH: Final = b"inference-header-content-length"
_MAX_LENGTH_DIGITS: Final = 19  # more than any body has


class InferHandler:
    """Answers infer requests of one model."""

    def __init__(self, inference: Inference, access_log: AccessLog, model_version: str) -> None:
        self._inference = inference
        self._access_log = access_log
        self._known_headers = KnownHeaders()
        self._known_heads = KnownHeads()
        # A reply that succeeds names the version in its body; errors have no place for it there.
        self._version_header = b"Serinus-Model-Version: %b\r\n" % model_version.encode()

    def admit(self, request: Request) -> Reply | None:
        """Refuse what cannot be served, before its body is read."""
        unsupported = _unsupported(request)
        if unsupported is not None:
            return unsupported
        inference = self._inference
        if request.lacks_certificate:
            return self._refused(inference.rejected(NO_CERTIFICATE))
        credentials = credentials_of(request) if inference.asks_for_credentials else NO_CREDENTIALS
        admitted = inference.admit(request.declared_size, credentials)
        request.client = admitted.client
        if isinstance(admitted, Refusal):
            return self._refused(admitted)
        request.note = admitted
        return None

    def handle(self, request: Request, respond: Callable[[Request, Reply], None]) -> None:
        """Decode and run, once it is known who asks; the reply may come later."""
        call: Call = request.note
        self._inference.arrived(call, request.body_size)
        if not call.undecided:
            self._run(request, call, respond)
            return

        def decided(refusal: Refusal | None) -> None:
            request.client = call.client
            if refusal is None:
                self._run(request, call, respond)
            else:
                respond(request, self._refused(refusal))

        self._inference.decide(call, decided)

    def _run(self, request: Request, call: Call, respond: Callable[[Request, Reply], None]) -> None:
        inference = self._inference
        model = inference.model
        started = perf_counter()
        try:
            decoded = decode(request.body, model.signature, _header_length(request), self._known_headers)
        except InvalidRequestError as error:
            respond(request, self._refused(Refusal(HTTPStatus.BAD_REQUEST, str(error))))
            return
        request.body = b""
        call.decode_seconds = perf_counter() - started

        def done(job: Job) -> None:
            reply = self._reply(model, decoded, job, call)
            respond(request, reply)
            if inference.audit is not None and reply.status == _OK:
                inference.audit.offer(model, decoded, job.tensors, lambda: identity(request.headers, request.client))

        inference.run(call, decoded, inference.timeout - (started - request.completed), done)

    def _reply(self, model: Model, decoded: InferRequest, job: Job, call: Call) -> Reply:
        if job.error is not None:
            return self._refused(failed_run(job.error, self._inference.timeout))
        started = perf_counter()
        try:
            body, header_length = encode(model, decoded, job.tensors, self._known_heads)
        except NotRepresentableError as error:
            return self._refused(Refusal(HTTPStatus.INTERNAL_SERVER_ERROR, str(error)))
        call.encode_seconds = perf_counter() - started
        if header_length is None:
            return Reply(_OK, body)
        return Reply(_OK, body, OCTETS, b"Inference-Header-Content-Length: %d\r\n" % header_length)

    def _refused(self, refusal: Refusal) -> Reply:
        return error_reply(refusal.status, refusal.message, self._version_header + refusal.headers)

    def answered(self, request: Request, reply: Reply) -> None:
        """Count and log a reply."""
        call: Call | None = request.note
        self._inference.answered(call, reply.status, request.answered - request.completed)
        if self._access_log.wants(reply.status):
            self._access_log.answered(request, reply, call.stages() if call else {})

    def abandon(self, request: Request) -> None:
        """Stop working for a client that has left."""
        call: Call | None = request.note
        self._inference.abandoned(call)
        self._access_log.ended(request, CLIENT_CLOSED_REQUEST, perf_counter(), call.stages() if call else {})


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
    encoding = request.headers.get(b"content-encoding")
    if encoding is not None and encoding.lower() != b"identity":
        message = f"Content-Encoding {encoding[:50].decode(errors='replace')!r} is not supported; send the body plain"
        return error_reply(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, message, b"Accept-Encoding: identity\r\n")
    return None
