"""The audit trail: some inferences with their inputs and outputs, redacted, for whoever has to look at them later.

It never slows or fails a request: a record is cut to size and put into a bounded queue; a thread writes it.
"""

import random
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from serinus_server.audit_sink import Sink, open_sink
from serinus_server.infer_request import InferRequest
from serinus_server.metrics import Metrics
from serinus_server.model import Model, Tensor, TensorSpec
from serinus_server.policy import AuditPolicy
from serinus_server.trace_context import trace_id

_MAX_WAITING: Final = 256
_BATCH: Final = 64
_CLOSE_SECONDS: Final = 5.0
_LINE: Final = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE


def record(
    model: Model,
    request: InferRequest,
    outputs: Iterable[Tensor],
    policy: AuditPolicy,
    identity: Mapping[str, str],
) -> dict[str, Any]:
    """What is kept of one inference: `identity` as it is, and its tensors as `policy` says."""
    signature = model.signature
    inputs = [_tensor(signature.inputs[name], tensor, policy) for name, tensor in request.feeds.items()]
    given = zip(request.outputs, outputs, strict=True)
    return {
        "model": model.name,
        "version": model.version,
        "digest": model.digest,
        **identity,
        **({} if request.id is None else {"request_id": request.id}),
        "inputs": inputs,
        "outputs": [_tensor(signature.outputs[name], tensor, policy) for name, tensor in given],
    }


def identity(headers: Mapping[bytes, bytes], client: str | None) -> dict[str, str]:
    """Who asked, and what the access log's line of the same request can be found by; header names in lower case."""
    found: dict[str, str] = {}
    if b"x-request-id" in headers:
        found["id"] = headers[b"x-request-id"][:128].decode(errors="replace")
    if b"traceparent" in headers and (trace := trace_id(headers[b"traceparent"])):
        found["trace_id"] = trace
    if client is not None:
        found["client"] = client
    return found


class AuditTrail:
    """Samples, queues, writes. All methods belong to the event loop's thread; writing has one of its own."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._policy: AuditPolicy | None = None
        self._sink: Sink | None = None
        self._waiting: deque[tuple[Sink, dict[str, Any]]] = deque()
        self._wake = threading.Event()
        self._closed = False
        self._thread: threading.Thread | None = None

    def apply(self, policy: AuditPolicy | None) -> None:
        """Put a policy in force; what waits goes where it was meant to go."""
        if policy is not None and (self._policy is None or self._policy.sink != policy.sink):
            self._sink = open_sink(policy.sink)
        self._policy = policy

    def offer(
        self, model: Model, request: InferRequest, outputs: list[Tensor], who: Callable[[], dict[str, str]]
    ) -> None:
        """Keep a record of an inference if it is one of the sample; `who` tells the identity of a request."""
        policy, sink = self._policy, self._sink
        if policy is None or sink is None or random.random() * 100 >= policy.sample_percent:  # noqa: S311 - a sample
            return
        if len(self._waiting) >= _MAX_WAITING:
            self._metrics.audited("dropped")
            return
        made = record(model, request, outputs, policy, who())
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._waiting.append((sink, {"time": now.replace("+00:00", "Z"), **made}))
        if self._thread is None:
            self._thread = threading.Thread(target=self._write, name="audit", daemon=True)
            self._thread.start()
        self._wake.set()

    def close(self) -> None:
        """Write what waits, if that takes no more than a few seconds."""
        self._closed = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(_CLOSE_SECONDS)

    def _write(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            while self._waiting:
                self._write_batch()
            if self._closed:
                return

    def _write_batch(self) -> None:
        """What waits for the first one's sink, up to a batch."""
        sink = self._waiting[0][0]
        records: list[dict[str, Any]] = []
        while self._waiting and self._waiting[0][0] is sink and len(records) < _BATCH:
            records.append(self._waiting.popleft()[1])
        try:
            sink.write([orjson.dumps(made, option=_LINE) for made in records])
        except Exception:  # whatever a sink fails with, the next records may fare better
            self._metrics.audited("failed", len(records))
        else:
            self._metrics.audited("written", len(records))


def _tensor(spec: TensorSpec, tensor: Tensor, policy: AuditPolicy) -> dict[str, Any]:
    """One tensor: name, datatype and shape always, and of its elements what may be seen and has room."""
    told: dict[str, Any] = {"name": spec.name, "datatype": spec.datatype.name, "shape": tensor.shape}
    if spec.name in policy.redact:
        return {**told, "redacted": True}
    excerpt = _texts(tensor, policy.max_tensor_bytes) if tensor.dtype.kind == "O" else _numbers(tensor, policy)
    if len(excerpt) < tensor.size:
        told["truncated"] = True
    return {**told, "data": excerpt}


def _numbers(tensor: Tensor, policy: AuditPolicy) -> Tensor:
    """The first elements, as a copy that does not keep the rest in memory."""
    return tensor.reshape(-1)[: policy.max_tensor_bytes // tensor.itemsize].copy()


def _texts(tensor: Tensor, room: int) -> list[str]:
    texts = []
    for text in tensor.flat:
        room -= len(text.encode(errors="replace"))
        if room < 0:
            break
        texts.append(text)
    return texts
