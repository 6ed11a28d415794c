"""Export of spans over OTLP (http/protobuf) with OpenTelemetry's SDK. Imported only where it is asked for.

It never slows or fails a request: a span is put into a bounded queue, which a thread of the SDK sends from.
"""

import logging
import os
import threading
import time
import uuid
from collections.abc import Sequence
from typing import Final

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_INSTANCE_ID, SERVICE_NAME, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from serinus_server import __version__
from serinus_server.log import JsonLog
from serinus_server.metrics import Metrics
from serinus_server.settings import ServeSettings
from serinus_server.span import EndedRequest, failed, name_and_attributes, stage_ends

CLOSE_SECONDS: Final = 5.0
_QUEUE_SIZE: Final = "OTEL_BSP_MAX_QUEUE_SIZE"
_PROPAGATOR: Final = TraceContextTextMapPropagator()
_PROPAGATED: Final = {b"traceparent": "traceparent", b"tracestate": "tracestate"}


class SpanExport:
    """Makes a span of each request that has ended. `ended` belongs to the event loop's thread."""

    def __init__(self, settings: ServeSettings, metrics: Metrics, log: JsonLog, exporter: SpanExporter) -> None:
        """Raises ValueError where the environment asks for what cannot be."""
        _log_through(log)
        self._log = log
        self._queue = _Queue(exporter, int(os.environ.get(_QUEUE_SIZE) or 2048), metrics)
        self._scheme = "https" if settings.tls_dir else "http"
        self._about = {
            "serinus.inferenceservice": settings.inferenceservice,
            "serinus.revision": settings.revision,
            "serinus.model.name": settings.model_name,
            "serinus.model.version": settings.model_version,
        }
        self._provider = TracerProvider(resource=_resource(settings.inferenceservice), shutdown_on_exit=False)
        self._provider.add_span_processor(self._queue)
        self._tracer = self._provider.get_tracer("serinus-server", __version__)

    def ended(self, request: EndedRequest, seconds: float) -> str | None:
        """Record a request that took so long until now; returns the id of its trace if it is sampled."""
        now = time.time_ns()
        start = now - int(seconds * 1e9)
        name, attributes = name_and_attributes(request, self._scheme)
        carrier = {
            name: request.headers[key].decode("latin-1") for key, name in _PROPAGATED.items() if key in request.headers
        }
        span = self._tracer.start_span(
            name,
            context=_PROPAGATOR.extract(carrier, Context()),
            kind=SpanKind.SERVER,
            attributes={**self._about, **attributes},
            start_time=start,
        )
        if not span.is_recording():
            return None
        for stage, elapsed, duration in stage_ends(request):
            span.add_event(stage, {"duration_us": duration // 1000}, start + elapsed)
        if failed(request):
            span.set_status(Status(StatusCode.ERROR))
        span.end(now)
        return f"{span.get_span_context().trace_id:032x}"

    def close(self) -> None:
        """Send what waits, if that takes no more than a few seconds."""
        # In a thread of its own, as the SDK would wait for longer.
        closing = threading.Thread(target=self._provider.shutdown, name="last spans", daemon=True)
        closing.start()
        closing.join(CLOSE_SECONDS)
        if self._queue.waiting:
            self._log.event("spans were not exported before the end", level="warning", spans=self._queue.waiting)


class _Queue(BatchSpanProcessor):
    """The SDK's queue, which takes no more than there is room for, so that what is dropped can be counted."""

    def __init__(self, exporter: SpanExporter, capacity: int, metrics: Metrics) -> None:
        self._capacity = capacity
        self._metrics = metrics
        self._exporter = _CountingExporter(exporter, metrics)
        self._taken = 0
        super().__init__(self._exporter, max_queue_size=capacity)

    @property
    def waiting(self) -> int:
        """Spans that were neither sent nor lost yet."""
        return self._taken - self._exporter.done

    def on_end(self, span: ReadableSpan) -> None:
        """Take a span, or count it as dropped."""
        if span.context is None or not span.context.trace_flags.sampled:
            return
        if self.waiting >= self._capacity:
            self._metrics.span_ended("dropped")
            return
        self._taken += 1
        super().on_end(span)


class _CountingExporter(SpanExporter):
    """Counts what becomes of spans. `done` is how many have been tried."""

    def __init__(self, exporter: SpanExporter, metrics: Metrics) -> None:
        self._exporter = exporter
        self._metrics = metrics
        self.done = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send a batch."""
        result = SpanExportResult.FAILURE
        try:
            result = self._exporter.export(spans)
        finally:
            self.done += len(spans)
            self._metrics.span_ended("exported" if result is SpanExportResult.SUCCESS else "failed", len(spans))
        return result

    def shutdown(self) -> None:
        """Give up what is being sent."""
        self._exporter.shutdown()


class _LogHandler(logging.Handler):
    """Brings what the SDK has to say into the server's log."""

    def __init__(self, log: JsonLog) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """Log one record."""
        self._log.event("opentelemetry", level=record.levelname.lower(), detail=record.getMessage())


def otlp_exporter() -> SpanExporter:
    """The exporter that the environment describes.

    Raises ValueError where it cannot be.
    """
    return OTLPSpanExporter()


def _log_through(log: JsonLog) -> None:
    for name in ("opentelemetry", "urllib3"):
        logger = logging.getLogger(name)
        logger.handlers = [_LogHandler(log)]
        logger.propagate = False


def _resource(service: str) -> Resource:
    """What the environment says of this process; by default its service's name and an id of its own."""
    default = {SERVICE_NAME: service, SERVICE_INSTANCE_ID: str(uuid.uuid4())}
    return Resource.create({**default, **OTELResourceDetector().detect().attributes})
