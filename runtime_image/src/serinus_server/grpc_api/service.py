"""The six calls of the Open Inference Protocol's gRPC service."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from math import ceil
from typing import Any, Final, NoReturn

import grpc
from google.protobuf.message import DecodeError, Message

from serinus_server.access import UNAVAILABLE, Access
from serinus_server.access_log import AccessLog
from serinus_server.audit import identity
from serinus_server.credentials import NO_CREDENTIALS, Credentials
from serinus_server.encode import NotRepresentableError
from serinus_server.grpc_api import open_inference_grpc_pb2 as messages
from serinus_server.grpc_api.decode import decode
from serinus_server.grpc_api.encode import encode
from serinus_server.infer_request import InferRequest, InvalidRequestError
from serinus_server.inference import CLIENT_CLOSED_REQUEST, NOT_READY, Call, Inference, failed_run
from serinus_server.job import Job
from serinus_server.metadata import model_metadata, server_metadata
from serinus_server.model import Tensor
from serinus_server.readiness import Readiness
from serinus_server.refusal import Refusal

SERVICE_NAME: Final = messages.DESCRIPTOR.services_by_name["GRPCInferenceService"].full_name
_OK: Final = HTTPStatus.OK.value
_INFER_PATH: Final = f"/{SERVICE_NAME}/ModelInfer"
_CODES: Final = {
    HTTPStatus.BAD_REQUEST: grpc.StatusCode.INVALID_ARGUMENT,
    HTTPStatus.UNAUTHORIZED: grpc.StatusCode.UNAUTHENTICATED,
    HTTPStatus.FORBIDDEN: grpc.StatusCode.PERMISSION_DENIED,
    HTTPStatus.NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    HTTPStatus.REQUEST_TIMEOUT: grpc.StatusCode.DEADLINE_EXCEEDED,
    HTTPStatus.TOO_MANY_REQUESTS: grpc.StatusCode.RESOURCE_EXHAUSTED,
    HTTPStatus.INTERNAL_SERVER_ERROR: grpc.StatusCode.INTERNAL,
    HTTPStatus.SERVICE_UNAVAILABLE: grpc.StatusCode.RESOURCE_EXHAUSTED,
    HTTPStatus.GATEWAY_TIMEOUT: grpc.StatusCode.DEADLINE_EXCEEDED,
}
_IDENTIFYING: Final = frozenset({"x-request-id", "traceparent"})
_UNAVAILABLE_REASONS: Final = frozenset({NOT_READY, UNAVAILABLE})
_NO_MESSAGE_SECONDS: Final = 1.0

Context = grpc.aio.ServicerContext[Any, Any]


class RefusedError(Exception):
    """The call has no answer, for the reason it carries."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


class _Outcome:
    """How a job ended, kept for a coroutine that may come to ask before or after the end."""

    def __init__(self) -> None:
        self._tensors: list[Tensor] = []
        self._error: Exception | None = None
        self._told = False
        self._waiting: asyncio.Future[None] | None = None

    def tell(self, job: Job) -> None:
        """The job has ended; it lets go of its tensors after this."""
        self._tensors = job.tensors
        self._error = job.error
        self._told = True
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    async def tensors(self, timeout: float) -> list[Tensor]:
        """The outputs, once they are there.

        Raises RefusedError if the run failed, or did not end within `timeout` seconds.
        """
        if not self._told:
            self._waiting = asyncio.get_running_loop().create_future()
            await self._waiting
        if self._error is not None:
            raise RefusedError(failed_run(self._error, timeout))
        return self._tensors


class InferenceService:
    """Answers for one model, by the same rules as over HTTP."""

    def __init__(
        self,
        name: str,
        version: str,
        inference: Inference,
        readiness: Readiness,
        log: AccessLog,
        access: Access | None,
    ) -> None:
        self._name = name
        self._version = version
        self._inference = inference
        self._readiness = readiness
        self._access_log = log
        self._access = access

    def handlers(self) -> grpc.GenericRpcHandler:
        """The calls by name, as a server takes them."""
        calls: dict[str, tuple[Callable[[Any, Context], Awaitable[Any]], Any]] = {
            "ServerLive": (self.server_live, messages.ServerLiveRequest),
            "ServerReady": (self.server_ready, messages.ServerReadyRequest),
            "ModelReady": (self.model_ready, messages.ModelReadyRequest),
            "ServerMetadata": (self.server_metadata, messages.ServerMetadataRequest),
            "ModelMetadata": (self.model_metadata, messages.ModelMetadataRequest),
        }
        handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            name: grpc.unary_unary_rpc_method_handler(
                call, request_deserializer=request.FromString, response_serializer=_serialized
            )
            for name, (call, request) in calls.items()
        }
        # As a stream, of which one message is read, the call can be refused before its message is; and as bytes it
        # is parsed only once it has a place. On the wire there is no difference.
        handlers["ModelInfer"] = grpc.stream_unary_rpc_method_handler(self.model_infer)
        return grpc.method_handlers_generic_handler(SERVICE_NAME, handlers)

    async def server_live(self, _request: object, _context: Context) -> messages.ServerLiveResponse:
        """Whether the server answers."""
        return messages.ServerLiveResponse(live=self._readiness.reason_not_alive is None)

    async def server_ready(self, _request: object, _context: Context) -> messages.ServerReadyResponse:
        """Whether new clients are welcome."""
        return messages.ServerReadyResponse(ready=self._readiness.reason_not_ready is None)

    async def model_ready(self, request: messages.ModelReadyRequest, context: Context) -> messages.ModelReadyResponse:
        """The same of the model."""
        await self._require_model(request.name, request.version, context)
        return messages.ModelReadyResponse(ready=self._readiness.reason_not_ready is None)

    async def server_metadata(self, _request: object, _context: Context) -> messages.ServerMetadataResponse:
        """Name, version and extensions."""
        return messages.ServerMetadataResponse(**server_metadata())

    async def model_metadata(
        self, request: messages.ModelMetadataRequest, context: Context
    ) -> messages.ModelMetadataResponse:
        """Inputs and outputs."""
        await self._require_access(context)
        await self._require_model(request.name, request.version, context)
        model = self._readiness.model
        if model is None:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the model is being loaded")
        return messages.ModelMetadataResponse(**model_metadata(model))

    async def model_infer(self, _messages: object, context: Context) -> bytes:
        """An inference."""
        started = time.perf_counter()
        credentials = _credentials(context) if self._inference.asks_for_credentials else NO_CREDENTIALS
        admitted = self._inference.admit(0, credentials)  # how large it is, is not known before it is there
        call = admitted if isinstance(admitted, Call) else None
        refusal = admitted if isinstance(admitted, Refusal) else None
        raw: bytes | None = None
        reply = b""
        if call is not None:
            try:
                if call.undecided:
                    await self._decide(call)
                raw = await self._message(context)
                started = time.perf_counter()
                self._inference.arrived(call, len(raw))
                reply = await self._answer(raw, call, context)
            except RefusedError as error:
                refusal = error.refusal
            except asyncio.CancelledError:
                self._cancelled(call, raw, started, context)
                raise
        status = refusal.status.value if refusal else _OK
        self._inference.answered(call, status, time.perf_counter() - started)
        if self._access_log.wants(status):
            details: dict[str, object] = {**(call.stages() if call else {}), "reply_bytes": len(reply)}
            self._log(status, started, raw, context, admitted.client, details)
        if refusal is not None:
            await self._abort(refusal, context)
        return reply

    def _cancelled(self, call: Call, raw: bytes | None, started: float, context: Context) -> None:
        """Account for a call that was ended from outside."""
        status = CLIENT_CLOSED_REQUEST
        if context.time_remaining() == 0:
            status = HTTPStatus.GATEWAY_TIMEOUT
        elif raw is None and not call.undecided:
            # gRPC itself refuses a message that is too large. A client that leaves while it sends looks the same.
            status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
        self._inference.abandoned(call, status)
        self._log(status, started, raw, context, call.client, call.stages())

    async def _decide(self, call: Call) -> None:
        """Wait until it is known who asks.

        Raises RefusedError.
        """
        known: asyncio.Future[Refusal | None] = asyncio.get_running_loop().create_future()

        def decided(refusal: Refusal | None) -> None:
            if not known.done():
                known.set_result(refusal)

        self._inference.decide(call, decided)
        refusal = await known
        if refusal is not None:
            raise RefusedError(refusal)

    async def _message(self, context: Context) -> bytes:
        """The call's message, as it came.

        Raises RefusedError if none comes in time; but a call that ended before its message came is cancelled.
        """
        timeout = self._inference.timeout
        try:
            async with asyncio.timeout(timeout):
                message = await context.read()
        except TimeoutError as error:
            late = Refusal(HTTPStatus.REQUEST_TIMEOUT, f"the request did not arrive within {timeout:g} s")
            raise RefusedError(late) from error
        if isinstance(message, bytes):
            return message
        await asyncio.sleep(_NO_MESSAGE_SECONDS)
        raise RefusedError(Refusal(HTTPStatus.BAD_REQUEST, "the call has no message"))

    async def _answer(self, raw: bytes, call: Call, context: Context) -> bytes:
        started = time.perf_counter()
        decoded = self._decode(raw)
        call.decode_seconds = time.perf_counter() - started
        remaining = context.time_remaining()
        timeout = self._inference.timeout if remaining is None else min(remaining, self._inference.timeout)
        outcome = _Outcome()
        self._inference.run(call, decoded, timeout, outcome.tell)
        tensors = await outcome.tensors(timeout)
        started = time.perf_counter()
        try:
            reply = _serialized(encode(self._inference.model, decoded, tensors))
        except NotRepresentableError as error:
            raise RefusedError(Refusal(HTTPStatus.INTERNAL_SERVER_ERROR, str(error))) from error
        call.encode_seconds = time.perf_counter() - started
        if self._inference.audit is not None:
            who = lambda: identity(_identifying(context), call.client)  # noqa: E731 - told only if it is recorded
            self._inference.audit.offer(self._inference.model, decoded, tensors, who)
        return reply

    def _decode(self, raw: bytes) -> InferRequest:
        try:
            request = messages.ModelInferRequest.FromString(raw)
        except DecodeError as error:
            message = f"the request is not a ModelInferRequest: {error}"
            raise RefusedError(Refusal(HTTPStatus.BAD_REQUEST, message)) from error
        complaint = self._not_served(request.model_name, request.model_version)
        if complaint is not None:
            raise RefusedError(Refusal(HTTPStatus.NOT_FOUND, complaint))
        try:
            return decode(request, self._inference.model.signature)
        except InvalidRequestError as error:
            raise RefusedError(Refusal(HTTPStatus.BAD_REQUEST, str(error))) from error

    def _not_served(self, name: str, version: str) -> str | None:
        if name == self._name and version in {"", self._version}:
            return None
        asked = f"model {name[:200]!r}" + (f", version {version[:200]!r}" if version else "")
        return f"there is no {asked}; this server has model {self._name!r}, version {self._version!r}"

    async def _require_access(self, context: Context) -> None:
        if self._access is None:
            return
        verdict = self._access.check(_credentials(context))
        if isinstance(verdict, asyncio.Task):
            verdict = await verdict
        if isinstance(verdict, Refusal):
            await self._abort(verdict, context)

    async def _require_model(self, name: str, version: str, context: Context) -> None:
        complaint = self._not_served(name, version)
        if complaint is not None:
            await context.abort(grpc.StatusCode.NOT_FOUND, complaint)

    async def _abort(self, refusal: Refusal, context: Context) -> NoReturn:
        code = grpc.StatusCode.UNAVAILABLE if refusal.reason in _UNAVAILABLE_REASONS else _CODES[refusal.status]
        trailers = [("serinus-model-version", self._version)]
        if refusal.retry_seconds is not None:
            trailers.append(("grpc-retry-pushback-ms", str(ceil(refusal.retry_seconds * 1000))))
        await context.abort(code, refusal.message, tuple(trailers))

    def _log(
        self,
        status: int,
        started: float,
        raw: bytes | None,
        context: Context,
        client: str | None,
        details: Mapping[str, object],
    ) -> None:
        headers = _identifying(context)
        if client is not None:
            details = {**details, "client": client}
        seconds = time.perf_counter() - started
        self._access_log.write("POST", _INFER_PATH, status, seconds, len(raw or b""), headers, details)


def _identifying(context: Context) -> dict[bytes, bytes]:
    """The metadata that identify a call."""
    return {
        key.encode(): value if isinstance(value, bytes) else value.encode()
        for key, value in context.invocation_metadata() or ()
        if key in _IDENTIFYING
    }


def _credentials(context: Context) -> Credentials:
    """What the client shows of itself in the call's metadata."""
    shown = {
        key: value if isinstance(value, bytes) else value.encode() for key, value in context.invocation_metadata() or ()
    }
    return Credentials(shown.get("authorization"), shown.get("x-api-key"))


def _serialized(message: Message) -> bytes:
    content: bytes = message.SerializeToString()
    return content
