"""One inference from its admission to its account, whatever the transport that brought it."""

from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from serinus_server.admission import Admission
from serinus_server.infer_request import InferRequest
from serinus_server.job import DeadlineExceededError, Job
from serinus_server.metrics import Metrics
from serinus_server.model import Model
from serinus_server.readiness import Readiness
from serinus_server.runtime_error import explained

CLIENT_CLOSED_REQUEST: Final = 499
NOT_READY: Final = "not_ready"
_TOO_LARGE: Final = HTTPStatus.REQUEST_ENTITY_TOO_LARGE.value
_REFUSALS: Final = {
    NOT_READY: "the model is being loaded",
    "in_flight_requests": "too many requests are in work",
    "in_flight_bytes": "too many bytes of requests are in work",
    "deadline": "the requests ahead would take longer than the timeout",
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why there is no answer, with HTTP's status for it; `reason` is the metric's label if it was never run."""

    status: HTTPStatus
    message: str
    reason: str | None = None


def failed_run(error: Exception, timeout: float) -> Refusal:
    """What a job's error means to the client that allowed `timeout` seconds."""
    if isinstance(error, DeadlineExceededError):
        return Refusal(HTTPStatus.GATEWAY_TIMEOUT, f"the model did not answer within {timeout:.3g} s")
    return Refusal(HTTPStatus.INTERNAL_SERVER_ERROR, f"the model failed on this request: {explained(error)}")


class Call:
    """What is kept of one inference: its place in the admission, its job, and the seconds of its stages."""

    __slots__ = ("admitted_bytes", "decode_seconds", "encode_seconds", "job")

    def __init__(self, admitted_bytes: int) -> None:
        self.admitted_bytes = admitted_bytes
        self.job: Job | None = None
        self.decode_seconds = 0.0
        self.encode_seconds = 0.0

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

    def __init__(self, readiness: Readiness, admission: Admission, metrics: Metrics, request_timeout: float) -> None:
        self._readiness = readiness
        self._admission = admission
        self._metrics = metrics
        self.timeout = request_timeout

    @property
    def model(self) -> Model:
        """What is served; there is one for whoever has been admitted."""
        model = self._readiness.model
        assert model is not None  # noqa: S101 - admit() lets nothing in before
        return model

    def admit(self, size: int) -> Call | Refusal:
        """A place for a request of `size` bytes, or why there is none now."""
        executor = self._readiness.executor
        if executor is None:
            return self._refuse(NOT_READY)
        reason = self._admission.refusal(size)
        if reason is None and executor.expected_wait() > self.timeout:
            reason = "deadline"
        if reason is not None:
            return self._refuse(reason)
        self._admission.enter(size)
        self._metrics.in_flight = self._admission.requests
        return Call(size)

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
        self._metrics.answered(status, 0.0)
        if call is not None:
            if call.job is not None:
                call.job.cancel()
            self._leave(call)

    def _refuse(self, reason: str) -> Refusal:
        self._metrics.rejected(reason)
        return Refusal(HTTPStatus.SERVICE_UNAVAILABLE, _REFUSALS[reason], reason)

    def _leave(self, call: Call) -> None:
        """Give the place back."""
        self._admission.leave(call.admitted_bytes)
        self._metrics.in_flight = self._admission.requests
        job = call.job
        if job is not None:
            self._metrics.ran(call.decode_seconds, job.queue_seconds, job.run_seconds, call.encode_seconds)
