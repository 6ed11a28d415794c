"""ModelInfer: decode, run, encode, and what metadata say."""

from collections.abc import Mapping
from http import HTTPStatus
from time import perf_counter
from typing import Final

from google.protobuf.message import DecodeError, EncodeError

from serinus_server.access_log import AccessLog
from serinus_server.audit import identity
from serinus_server.credentials import NO_CREDENTIALS
from serinus_server.encode import NotRepresentableError
from serinus_server.grpc_api.call import Call
from serinus_server.grpc_api.decode import decode
from serinus_server.grpc_api.encode import encode
from serinus_server.grpc_api.open_inference_grpc_pb2 import ModelInferRequest
from serinus_server.grpc_api.served import Served
from serinus_server.infer_request import InferRequest, InvalidRequestError
from serinus_server.inference import CLIENT_CLOSED_REQUEST, Inference, failed_run
from serinus_server.inference import Call as Place
from serinus_server.job import Job
from serinus_server.refusal import Refusal

_OK: Final = HTTPStatus.OK.value
_LATE_SHARE: Final = 0.02  # clients round their timeouts up, and begin to count before the call is here
_LATE_SECONDS: Final = 0.02


class _Inference:
    """What is kept of one call: its place, once it has one, its message, and when that was there."""

    __slots__ = ("completed", "message", "place", "size")

    def __init__(self, place: Place | None, began: float) -> None:
        self.place = place
        self.completed = began
        self.message: bytes | None = None
        self.size = 0


class InferMethod:
    """Answers ModelInfer, by the same rules as over HTTP."""

    def __init__(self, served: Served, inference: Inference, log: AccessLog, path: str, message_limit: int) -> None:
        self._served = served
        self._inference = inference
        self._access_log = log
        self._path = path
        self.message_limit = message_limit

    def opened(self, call: Call) -> None:
        """Find a place, or refuse."""
        inference = self._inference
        credentials = call.head.credentials if inference.asks_for_credentials else NO_CREDENTIALS
        admitted = inference.admit(0, credentials)  # how large it is, is not known before it is there
        if isinstance(admitted, Refusal):
            call.note = _Inference(None, call.began)
            self._end(call, admitted, admitted.client)
            return
        call.note = _Inference(admitted, call.began)
        if admitted.undecided:
            inference.decide(admitted, lambda refusal: self._decided(call, refusal))

    def announced(self, call: Call, size: int) -> None:
        """Find a place for so many bytes, or refuse."""
        kept: _Inference = call.note
        assert kept.place is not None  # noqa: S101 - it has not been refused
        kept.size = size
        refusal = self._inference.announced(kept.place, size)
        if refusal is not None:
            self.failed(call, refusal)

    def asked(self, call: Call, message: bytes) -> None:
        """Decode and run, once it is known who asks."""
        kept: _Inference = call.note
        place = kept.place
        assert place is not None  # noqa: S101 - it has not been refused
        if len(message) != kept.size:  # it was compressed
            kept.size = len(message)
            self._inference.arrived(place, kept.size)
        kept.completed = perf_counter()
        if place.undecided:
            kept.message = message
        else:
            self._run(call, place, message)

    def _decided(self, call: Call, refusal: Refusal | None) -> None:
        kept: _Inference = call.note
        if call.over:
            return
        if refusal is not None:
            self.failed(call, refusal)
        elif kept.message is not None and kept.place is not None:
            message, kept.message = kept.message, None
            self._run(call, kept.place, message)

    def _run(self, call: Call, place: Place, message: bytes) -> None:
        inference = self._inference
        started = perf_counter()
        timeout = inference.timeout
        if call.deadline is not None:
            timeout = min(timeout, call.deadline - started)
            if timeout <= 0:
                self.failed(call, Refusal(HTTPStatus.GATEWAY_TIMEOUT, "the deadline has passed"))
                return
        decoded = self._decoded(message)
        if isinstance(decoded, Refusal):
            self.failed(call, decoded)
            return
        place.decode_seconds = perf_counter() - started
        inference.run(place, decoded, timeout, lambda job: self._ran(call, place, decoded, job, timeout))

    def _decoded(self, message: bytes) -> InferRequest | Refusal:
        try:
            request = ModelInferRequest.FromString(message)
        except DecodeError as error:
            return Refusal(HTTPStatus.BAD_REQUEST, f"the request is not a ModelInferRequest: {error}")
        refusal = self._served.refusal(request.model_name, request.model_version)
        if refusal is not None:
            return refusal
        try:
            return decode(request, self._inference.model.signature)
        except InvalidRequestError as error:
            return Refusal(HTTPStatus.BAD_REQUEST, str(error))

    def _ran(self, call: Call, place: Place, decoded: InferRequest, job: Job, timeout: float) -> None:
        if call.over:
            return
        if job.error is not None:
            self.failed(call, failed_run(job.error, timeout))
            return
        inference = self._inference
        started = perf_counter()
        try:
            reply: bytes = encode(inference.model, decoded, job.tensors).SerializeToString()
        except (NotRepresentableError, EncodeError) as error:  # the latter of more than 2 GiB
            self.failed(call, Refusal(HTTPStatus.INTERNAL_SERVER_ERROR, str(error)))
            return
        now = perf_counter()
        place.encode_seconds = now - started
        call.answer(reply)
        kept: _Inference = call.note
        inference.answered(place, _OK, now - kept.completed)
        if self._access_log.wants(_OK):
            self._log(call, _OK, place.client, {**place.stages(), "reply_bytes": len(reply)})
        if inference.audit is not None:
            who = lambda: identity(call.head.metadata, place.client)  # noqa: E731 - told only if it is recorded
            inference.audit.offer(inference.model, decoded, job.tensors, who)

    def failed(self, call: Call, refusal: Refusal) -> None:
        """Refuse a call that has, or had, a place."""
        place: Place | None = call.note.place
        if place is not None and place.job is not None and not place.job.finished:
            place.job.cancel()
        self._end(call, refusal, None if place is None else place.client)

    def _end(self, call: Call, refusal: Refusal, client: str | None) -> None:
        kept: _Inference = call.note
        place = kept.place
        call.refuse(refusal, self._served.version_field)
        status = refusal.status.value
        self._inference.answered(place, status, perf_counter() - kept.completed)
        if self._access_log.wants(status):
            self._log(call, status, client, {**(place.stages() if place else {}), "reply_bytes": 0})

    def abandoned(self, call: Call) -> None:
        """Account for a call that its client has given up."""
        kept: _Inference = call.note
        place = kept.place
        if place is None:
            return
        status = CLIENT_CLOSED_REQUEST
        if call.deadline is not None:
            margin = _LATE_SECONDS + _LATE_SHARE * (call.deadline - call.began)
            if perf_counter() >= call.deadline - margin:
                status = HTTPStatus.GATEWAY_TIMEOUT.value
        self._inference.abandoned(place, status)
        self._log(call, status, place.client, place.stages())

    def _log(self, call: Call, status: int, client: str | None, details: Mapping[str, object]) -> None:
        kept: _Inference = call.note
        if client is not None:
            details = {**details, "client": client}
        seconds = perf_counter() - kept.completed
        self._access_log.write("POST", self._path, status, seconds, kept.size, call.head.metadata, details)
