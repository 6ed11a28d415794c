"""One inference from its admission to its account, whatever the transport that brought it."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Final

from serinus_server.access import PendingVerdict
from serinus_server.admission import Admission
from serinus_server.audit import AuditTrail
from serinus_server.credentials import NO_CREDENTIALS, Credentials
from serinus_server.gate import Entry, Gate
from serinus_server.infer_request import InferRequest
from serinus_server.job import DeadlineExceededError, Job
from serinus_server.metrics import Metrics
from serinus_server.model import Model
from serinus_server.readiness import Readiness
from serinus_server.refusal import Refusal
from serinus_server.runtime_error import explained

CLIENT_CLOSED_REQUEST: Final = 499
NOT_READY: Final = "not_ready"
_RETRY_SECONDS: Final = 1.0
_TOO_LARGE: Final = HTTPStatus.REQUEST_ENTITY_TOO_LARGE.value
_REFUSALS: Final = {
    NOT_READY: "the model is being loaded",
    "in_flight_requests": "too many requests are in work",
    "in_flight_bytes": "too many bytes of requests are in work",
    "deadline": "the requests ahead would take longer than the timeout",
}


def failed_run(error: Exception, timeout: float) -> Refusal:
    """What a job's error means to the client that allowed `timeout` seconds."""
    if isinstance(error, DeadlineExceededError):
        return Refusal(HTTPStatus.GATEWAY_TIMEOUT, f"the model did not answer within {timeout:.3g} s")
    return Refusal(HTTPStatus.INTERNAL_SERVER_ERROR, f"the model failed on this request: {explained(error)}")


class Call:
    """What is kept of one inference: its places, its job, and the seconds of its stages.

    There is an `entry` where requests are let in through a gate.
    """

    __slots__ = ("admitted_bytes", "decode_seconds", "encode_seconds", "entry", "job")

    def __init__(self, admitted_bytes: int) -> None:
        self.admitted_bytes = admitted_bytes
        self.entry: Entry | None = None
        self.job: Job | None = None
        self.decode_seconds = 0.0
        self.encode_seconds = 0.0

    @property
    def client(self) -> str | None:
        """Who asks, as far as that is known and matters."""
        return None if self.entry is None else self.entry.client

    @property
    def undecided(self) -> bool:
        """Whether it has to be waited for who asks."""
        return self.entry is not None and self.entry.pending is not None

    def stages(self) -> dict[str, int]:
        """The microseconds of each stage, for the log; nothing if it was not run."""
        job = self.job
        if job is None:
            return {}
        return {
            "decode_us": int(self.decode_seconds * 1e6),
            "queue_us": int(job.queue_seconds * 1e6),
            "run_us": int(job.run_seconds * 1e6),
            "encode_us": int(self.encode_seconds * 1e6),
        }


class Inference:
    """Admits, runs and accounts for the inferences of one model. All methods belong to the event loop's thread."""

    def __init__(
        self,
        readiness: Readiness,
        admission: Admission,
        metrics: Metrics,
        request_timeout: float,
        gate: Gate | None = None,
        audit: AuditTrail | None = None,
    ) -> None:
        self._readiness = readiness
        self._admission = admission
        self._metrics = metrics
        self._gate = gate
        self.audit = audit
        self.timeout = request_timeout

    @property
    def model(self) -> Model:
        """What is served; there is one for whoever has been admitted."""
        model = self._readiness.model
        assert model is not None  # noqa: S101 - admit() lets nothing in before
        return model

    @property
    def asks_for_credentials(self) -> bool:
        """Whether it matters who asks."""
        return self._gate is not None and self._gate.asks_who

    def admit(self, size: int, credentials: Credentials = NO_CREDENTIALS) -> Call | Refusal:
        """A place for a request of `size` bytes, or why there is none now.

        Who asks may not be known yet: then the call is `undecided`, and has to be decided before it is run.
        """
        executor = self._readiness.executor
        if executor is None:
            return self._refuse(NOT_READY)
        reason = self._admission.refusal(size)
        if reason is None and not executor.can_answer_within(self.timeout):
            reason = "deadline"
        if reason is not None:
            return self._refuse(reason)
        call = Call(size)
        if self._gate is not None:
            entry = self._gate.enter(credentials)
            if isinstance(entry, Refusal):
                return self.rejected(entry)
            call.entry = entry
        self._admission.enter(size)
        self._metrics.in_flight(self._admission.requests)
        return call

    def decide(self, call: Call, decided: Callable[[Refusal | None], None]) -> None:
        """Call `decided` once it is known who makes an undecided call, with the reason if it may not go on."""
        gate, entry = self._gate, call.entry
        assert gate is not None and entry is not None and entry.pending is not None  # noqa: S101 - undecided

        def identified(pending: PendingVerdict) -> None:
            if entry.pending is pending and not pending.cancelled():  # otherwise the call has ended meanwhile
                refusal = gate.identify(entry, pending.result())
                decided(refusal and self.rejected(refusal))

        entry.pending.add_done_callback(identified)

    def announced(self, call: Call, size: int) -> Refusal | None:
        """A request that was let in without telling its size will have so many bytes; why it may not go on, or None."""
        self._admission.leave(call.admitted_bytes)
        reason = self._admission.refusal(size)
        self._admission.enter(call.admitted_bytes)
        if reason is not None:
            return self._refuse(reason)
        self.arrived(call, size)
        return None

    def arrived(self, call: Call, size: int) -> None:
        """The whole request has come, and has `size` bytes."""
        if size != call.admitted_bytes:
            self._admission.resize(call.admitted_bytes, size)
            call.admitted_bytes = size

    def run(self, call: Call, request: InferRequest, timeout: float, on_done: Callable[[Job], None]) -> None:
        """Run within `timeout` seconds; `on_done` is called once, perhaps before this returns."""
        executor = self._readiness.executor
        assert executor is not None  # noqa: S101 - admit() lets nothing in before
        call.job = Job(request.feeds, request.outputs, on_done)
        executor.submit(call.job, timeout)

    def answered(self, call: Call | None, status: int, seconds: float) -> None:
        """Account for an answer that took `seconds`."""
        self._metrics.answered(status, seconds)
        if status == _TOO_LARGE:
            self._metrics.rejected("body_size")
        if call is not None:
            self._leave(call)

    def abandoned(self, call: Call | None, status: int = CLIENT_CLOSED_REQUEST) -> None:
        """Stop working for a client that has left."""
        if call is not None and call.job is not None:
            call.job.cancel()
        self.answered(call, status, 0.0)

    def _refuse(self, reason: str) -> Refusal:
        self._metrics.rejected(reason)
        if self._readiness.executor is not None:
            self._readiness.executor.hurry()
        return Refusal(HTTPStatus.SERVICE_UNAVAILABLE, _REFUSALS[reason], reason, _RETRY_SECONDS)

    def rejected(self, refusal: Refusal) -> Refusal:
        """Count a refusal of a request that has no place."""
        if refusal.reason is not None:
            self._metrics.rejected(refusal.reason)
        return refusal

    def _leave(self, call: Call) -> None:
        """Give the place back."""
        if call.entry is not None and self._gate is not None:
            self._gate.leave(call.entry)
        self._admission.leave(call.admitted_bytes)
        self._metrics.in_flight(self._admission.requests)
        job = call.job
        if job is not None:
            self._metrics.ran(call.decode_seconds, job.queue_seconds, job.run_seconds, call.encode_seconds)
