"""A receiver of OTLP over HTTP, which reads messages with OpenTelemetry's own classes."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span


@dataclass
class Received:
    """One span, its attributes and those of the process that sent it."""

    span: Span
    attributes: dict[str, Any]
    resource: dict[str, Any]


@dataclass
class Receiver:
    """Where it listens, and what it got."""

    endpoint: str
    spans: list[Received] = field(default_factory=list)

    def wait_for(self, count: int, seconds: float = 20) -> list[Received]:
        """Wait until so many spans have come; returns them."""
        deadline = time.monotonic() + seconds
        while len(self.spans) < count:
            assert time.monotonic() < deadline, self.spans
            time.sleep(0.01)
        assert len(self.spans) == count
        return self.spans


@contextmanager
def receiving(status: int = 200, answers: threading.Event | None = None) -> Iterator[Receiver]:
    """Take spans until the block ends; answer with `status`, and with `answers` not before that is set."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if answers is not None:
                answers.wait()
            assert (self.path, self.headers["Content-Type"]) == ("/v1/traces", "application/x-protobuf")
            receiver.spans.extend(_spans(ExportTraceServiceRequest.FromString(body)))
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing on stderr."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver = Receiver(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        if answers is not None:
            answers.set()
        server.shutdown()
        thread.join()
        server.server_close()


def _spans(request: ExportTraceServiceRequest) -> Iterator[Received]:
    for sent in request.resource_spans:
        resource = _plain(sent.resource.attributes)
        for scope in sent.scope_spans:
            assert scope.scope.name == "serinus-server"
            yield from (Received(span, _plain(span.attributes), resource) for span in scope.spans)


def _plain(attributes: Any) -> dict[str, Any]:  # noqa: ANN401 - a repeated field has no public type
    return {attribute.key: _value(attribute.value) for attribute in attributes}


def _value(value: AnyValue) -> Any:  # noqa: ANN401 - of any type
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(each) for each in value.array_value.values]
    return getattr(value, str(kind))
