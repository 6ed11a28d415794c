"""Spans of requests for OpenTelemetry: off unless its standard environment variables say where to send them.

What is known of a request when it has ended comes by in the access log; with tracing on, it takes another form there.
Without, nothing is done for it.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from serinus_server.access_log import AccessLog, AccessLogMode
from serinus_server.log import JsonLog
from serinus_server.metrics import Metrics
from serinus_server.settings import ServeSettings
from serinus_server.span import EndedRequest

if TYPE_CHECKING:
    from serinus_server.span_export import SpanExport

_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_EXPORTER: Final = "OTEL_TRACES_EXPORTER"
_DISABLED: Final = "OTEL_SDK_DISABLED"
_PROTOCOL: Final = "http/protobuf"


def asked_for(environment: Mapping[str, str]) -> bool:
    """Whether spans are to be exported."""
    if environment.get(_DISABLED, "").lower() == "true" or environment.get(_EXPORTER) == "none":
        return False
    return any(environment.get(name) for name in _ENDPOINTS)


def unsupported(environment: Mapping[str, str]) -> str | None:
    """What the environment asks for that there is not, if anything."""
    exporter = environment.get(_EXPORTER) or "otlp"
    if exporter != "otlp":
        return f"{_EXPORTER} is {exporter!r}; there are otlp and none"
    name = next((name for name in _PROTOCOLS if environment.get(name)), None)
    if name is not None and environment[name] != _PROTOCOL:
        return f"{name} is {environment[name]!r}; there is {_PROTOCOL}, which collectors take at port 4318"
    return None


def open_span_export(
    settings: ServeSettings, metrics: Metrics, log: JsonLog, environment: Mapping[str, str]
) -> "SpanExport | None":
    """Begin to export spans if the environment asks for it; what hinders that is logged, and hinders no request."""
    if not asked_for(environment):
        return None
    complaint = unsupported(environment)
    if complaint is None:
        try:
            from serinus_server.span_export import SpanExport, otlp_exporter  # noqa: PLC0415 - it takes a while

            return SpanExport(settings, metrics, log, otlp_exporter())
        except ModuleNotFoundError as error:
            complaint = f"{error}: install serinus-server[opentelemetry]"
        except ValueError as error:
            complaint = str(error)
    log.event("no spans are exported", level="warning", error=complaint)
    return None


class TracedAccessLog(AccessLog):
    """An access log that exports the span of each request, whether it is logged or not."""

    def __init__(self, log: JsonLog, mode: AccessLogMode, model: str, version: str, export: "SpanExport") -> None:
        super().__init__(log, AccessLogMode.ALL, model, version)
        self._logged = AccessLog(log, mode, model, version)
        self._export = export

    def write(
        self,
        method: str,
        path: str,
        status: int,
        seconds: float,
        request_bytes: int,
        headers: Mapping[bytes, bytes],
        details: Mapping[str, object],
    ) -> None:
        """Export the span, and log the request if it is to be, with the trace that it began if it is part of none."""
        trace = self._export.ended(EndedRequest(method, path, status, request_bytes, headers, details), seconds)
        if trace is not None:
            details = {**details, "trace_id": trace}
        self._logged.write(method, path, status, seconds, request_bytes, headers, details)
