"""Spans for OpenTelemetry: when there are any, what they say, and that requests do not notice."""

import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from serinus_server.log import JsonLog
from serinus_server.metrics import Metrics
from serinus_server.span import EndedRequest, name_and_attributes, stage_ends
from serinus_server.tracing import asked_for, open_span_export, unsupported
from tests.unit.server import models
from tests.unit.server.grpc_client import call, channel, infer_request
from tests.unit.server.in_process import serve_settings
from tests.unit.server.otlp_receiver import Receiver, receiving
from tests.unit.server.serving import Serving, serving, tensor

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"
SAMPLED = f"00-{TRACE}-{PARENT}-01"
BODY = {"inputs": [tensor("x", "FP32", [1, 4], [1, 2, 3, 4])]}
ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}
INFER = "/v2/models/m/infer"
GRPC = "/inference.GRPCInferenceService/ModelInfer"


@pytest.mark.parametrize(
    ("environment", "asked"),
    [
        ({}, False),
        ({"OTEL_SERVICE_NAME": "fraud", "OTEL_TRACES_SAMPLER": "always_on"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, False),
        (ENDPOINT, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4318/v1/traces"}, True),
        ({**ENDPOINT, "OTEL_TRACES_EXPORTER": "none"}, False),
        ({**ENDPOINT, "OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({**ENDPOINT, "OTEL_SDK_DISABLED": "True"}, False),
    ],
)
def test_off_unless_there_is_an_endpoint(environment: dict[str, str], asked: bool) -> None:
    assert asked_for(environment) == asked


@pytest.mark.parametrize(
    ("environment", "complaint"),
    [
        ({}, None),
        ({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, None),
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "OTEL_TRACES_EXPORTER is 'zipkin'; there are otlp and none"),
        (
            {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
            "OTEL_EXPORTER_OTLP_PROTOCOL is 'grpc'; there is http/protobuf, which collectors take at port 4318",
        ),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf"}, None),
    ],
)
def test_what_there_is_not_is_said(environment: dict[str, str], complaint: str | None) -> None:
    assert unsupported(environment) == complaint


def ended(
    method: str = "POST",
    path: str = INFER,
    status: int = 200,
    headers: Mapping[bytes, bytes] | None = None,
    **details: object,
) -> EndedRequest:
    return EndedRequest(method, path, status, 10, headers or {}, details)


HTTP = {
    "http.request.method": "POST",
    "url.scheme": "http",
    "url.path": INFER,
    "http.route": "/v2/models/{model}/infer",
}
SIZE = {"http.request.body.size": 10}


@pytest.mark.parametrize(
    ("request_", "name", "attributes"),
    [
        (ended(), "POST /v2/models/{model}/infer", {**HTTP, "http.response.status_code": 200}),
        (
            ended(path="/v2/models/m/versions/7/infer?a=secret", status=400),
            "POST /v2/models/{model}/versions/{version}/infer",
            {
                **HTTP,
                "url.path": "/v2/models/m/versions/7/infer",
                "http.route": "/v2/models/{model}/versions/{version}/infer",
                "http.response.status_code": 400,
            },
        ),
        (
            ended(status=503),
            "POST /v2/models/{model}/infer",
            {**HTTP, "http.response.status_code": 503, "error.type": "503"},
        ),
        (ended(status=499), "POST /v2/models/{model}/infer", {**HTTP, "http.response.status_code": 499}),
        (
            ended(method="GET", path="/v2"),
            "GET /v2",
            {
                "http.request.method": "GET",
                "url.scheme": "http",
                "url.path": "/v2",
                "http.route": "/v2",
                "http.response.status_code": 200,
            },
        ),
        (
            ended(path="/v2/models/made-up/infer", status=404),
            "POST",
            {
                "http.request.method": "POST",
                "url.scheme": "http",
                "url.path": "/v2/models/made-up/infer",
                "http.response.status_code": 404,
            },
        ),
        (
            ended(path=GRPC, status=504),
            "inference.GRPCInferenceService/ModelInfer",
            {
                "rpc.system": "grpc",
                "rpc.service": "inference.GRPCInferenceService",
                "rpc.method": "ModelInfer",
                "http.response.status_code": 504,
                "error.type": "504",
            },
        ),
        (
            ended(headers={b"x-request-id": b"a" * 200}, reply_bytes=7, client="shop"),
            "POST /v2/models/{model}/infer",
            {
                **HTTP,
                "http.response.status_code": 200,
                "http.response.body.size": 7,
                "enduser.id": "shop",
                "http.request.header.x-request-id": ["a" * 128],
            },
        ),
    ],
)
def test_what_a_span_says(request_: EndedRequest, name: str, attributes: dict[str, Any]) -> None:
    assert name_and_attributes(request_, "http") == (name, {**SIZE, **attributes})


def test_stages_end_one_after_the_other() -> None:
    assert list(stage_ends(ended(decode_us=5, queue_us=0, run_us=100, encode_us=7))) == [
        ("decode", 5_000, 5_000),
        ("queue", 5_000, 0),
        ("run", 105_000, 100_000),
        ("encode", 112_000, 7_000),
    ]
    assert list(stage_ends(ended(status=503))) == []


@pytest.mark.parametrize(
    ("environment", "complaint"),
    [
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "'zipkin'; there are otlp and none"),
        ({"OTEL_BSP_MAX_QUEUE_SIZE": "many"}, "'many'"),
        ({"OTEL_BSP_MAX_QUEUE_SIZE": "1"}, "max_export_batch_size must be less than or equal to max_queue_size"),
    ],
)
def test_serves_without_what_cannot_be(
    environment: dict[str, str], complaint: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, text in {**ENDPOINT, **environment}.items():
        monkeypatch.setenv(name, text)
    assert complaint in warned(tmp_path, {**ENDPOINT, **environment})


def test_serves_without_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delitem(sys.modules, "serinus_server.span_export", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry.context", None)
    assert "install serinus-server[opentelemetry]" in warned(tmp_path, ENDPOINT)


def warned(folder: Path, environment: Mapping[str, str]) -> str:
    """What is logged where nothing is exported."""
    with (folder / "log").open("wb") as file:
        log = JsonLog(file.fileno())
        assert open_span_export(serve_settings(), Metrics("m", "", "1"), log, environment) is None
        log.close()
    return (folder / "log").read_text()


def test_nothing_is_loaded_where_it_is_off() -> None:
    code = (
        "import sys, serinus_server.lifecycle; sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert open_span_export(serve_settings(), Metrics("m", "", "1"), JsonLog(), {}) is None


def traced(
    folder: Path, receiver: Receiver, *options: str, model: onnx.ModelProto | None = None, **environment: str
) -> AbstractContextManager[Serving]:
    """A server that exports to the receiver, at once unless the environment says otherwise."""
    path = models.save(model or models.mlp(), folder)
    named = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint, "SERINUS_INFERENCESERVICE": "fraud"}
    return serving(
        path, "--drain-delay", "0s", *options, environment={**named, "OTEL_BSP_SCHEDULE_DELAY": "20", **environment}
    )


def test_a_span_of_the_clients_trace(tmp_path: Path) -> None:
    with receiving() as receiver, traced(tmp_path, receiver, SERINUS_REVISION="fraud-1") as server:
        assert server.infer(BODY, traceparent=SAMPLED, tracestate="vendor=1", X_Request_ID="a")[0] == 200
        (received,) = receiver.wait_for(1)
        line = server.wait_for("request", path=INFER)
    span = received.span
    assert (span.trace_id.hex(), span.parent_span_id.hex(), span.trace_state) == (TRACE, PARENT, "vendor=1")
    assert (span.name, span.kind) == ("POST /v2/models/{model}/infer", Span.SPAN_KIND_SERVER)
    assert span.status.code == Status.STATUS_CODE_UNSET
    assert received.resource["service.name"] == "fraud"
    assert (
        received.attributes.items()
        >= {
            "serinus.inferenceservice": "fraud",
            "serinus.revision": "fraud-1",
            "serinus.model.name": "m",
            "serinus.model.version": "1",
            "http.response.status_code": 200,
            "http.request.header.x-request-id": ["a"],
        }.items()
    )
    assert [event.name for event in span.events] == ["decode", "queue", "run", "encode"]
    times = [span.start_time_unix_nano, *(event.time_unix_nano for event in span.events), span.end_time_unix_nano]
    assert times == sorted(times)
    assert (span.end_time_unix_nano - span.start_time_unix_nano) // 1000 == line["duration_us"]
    assert line["trace_id"] == TRACE


@pytest.mark.parametrize(
    ("sampler", "traceparent", "spans"),
    [
        ({}, f"00-{TRACE}-{PARENT}-00", 0),
        ({}, None, 1),
        ({}, "not-a-trace", 1),
        ({}, f"00-{TRACE}-{PARENT}-\xff", 1),
        ({"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0"}, None, 0),
        ({"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0"}, SAMPLED, 1),
    ],
)
def test_sampled_as_the_client_and_the_platform_say(
    sampler: dict[str, str], traceparent: str | None, spans: int, tmp_path: Path
) -> None:
    with receiving() as receiver, traced(tmp_path, receiver, **sampler) as server:
        assert server.infer(BODY, **({"traceparent": traceparent} if traceparent else {}))[0] == 200
        line = server.wait_for("request", path=INFER)
        server.terminate()
        assert server.exit_code() == 0
        receiver.wait_for(spans)
    if spans and traceparent != SAMPLED:
        assert line["trace_id"] == receiver.spans[0].span.trace_id.hex()


def test_every_request_but_probes_and_scrapes_has_one_and_grpc_too(tmp_path: Path) -> None:
    with (
        receiving() as receiver,
        traced(tmp_path, receiver, "--grpc-port", "0", "--access-log", "off", OTEL_SERVICE_NAME="mine") as server,
        channel(server) as opened,
    ):
        raw = [np.array([1, 2, 3, 4], np.float32).tobytes()]
        call(opened, "ModelInfer", infer_request(("x", "FP32", [1, 4]), raw=raw), metadata=(("traceparent", SAMPLED),))
        assert [server.get(path)[0] for path in ("/v2/health/ready", "/metrics", "/v2", "/none")] == [
            200,
            200,
            200,
            404,
        ]
        assert server.infer({"inputs": []})[0] == 400
        server.terminate()
        assert server.exit_code() == 0
        spans = {received.span.name: received for received in receiver.wait_for(4)}
        assert not [line for line in server.log if line["message"] == "request"]
    assert set(spans) == {
        "inference.GRPCInferenceService/ModelInfer",
        "GET /v2",
        "GET",
        "POST /v2/models/{model}/infer",
    }
    grpc = spans["inference.GRPCInferenceService/ModelInfer"]
    assert grpc.span.trace_id.hex() == TRACE
    assert [event.name for event in grpc.span.events] == ["decode", "queue", "run", "encode"]
    assert {received.resource["service.name"] for received in spans.values()} == {"mine"}


def test_a_request_that_the_server_failed_is_an_error(tmp_path: Path) -> None:
    with receiving() as receiver, traced(tmp_path, receiver, model=models.lookup()) as server:
        assert server.infer({"inputs": [tensor("i", "INT64", [1], [99])]})[0] == 500
        (received,) = receiver.wait_for(1)
    assert received.attributes["error.type"] == "500"
    assert received.span.status.code == Status.STATUS_CODE_ERROR


def test_spans_that_wait_are_sent_at_the_end(tmp_path: Path) -> None:
    with receiving() as receiver, traced(tmp_path, receiver, OTEL_BSP_SCHEDULE_DELAY="600000") as server:
        for _ in range(5):
            assert server.infer(BODY)[0] == 200
        assert receiver.spans == []
        server.terminate()
        assert server.exit_code() == 0
        receiver.wait_for(5)


def counts(server: Serving) -> dict[str, float]:
    return {
        result: server.metric("serinus_trace_spans_total", result=result)
        for result in ("exported", "failed", "dropped")
    }


def test_a_collector_that_hangs_stops_neither_requests_nor_the_end(tmp_path: Path) -> None:
    room = {"OTEL_BSP_MAX_QUEUE_SIZE": "4", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "2"}
    with (
        receiving(answers=threading.Event()) as receiver,
        traced(tmp_path, receiver, **room, OTEL_EXPORTER_OTLP_TIMEOUT="600") as server,
    ):
        for _ in range(20):
            assert server.infer(BODY)[0] == 200
        assert counts(server) == {"exported": 0, "failed": 0, "dropped": 16}
        server.terminate()
        assert server.exit_code() == 0
        assert server.wait_for("spans were not exported before the end")["spans"] == 4


def test_what_a_collector_refuses_is_counted_and_said(tmp_path: Path) -> None:
    with receiving(status=400) as receiver, traced(tmp_path, receiver) as server:
        assert server.infer(BODY)[0] == 200
        receiver.wait_for(1)
        assert "400" in server.wait_for("opentelemetry")["detail"]
        server.wait_for("opentelemetry", level="error")
        assert counts(server) == {"exported": 0, "failed": 1, "dropped": 0}


def test_each_worker_sends_its_own(tmp_path: Path) -> None:
    with (
        receiving() as receiver,
        traced(tmp_path, receiver, "--workers", "2", OTEL_BSP_SCHEDULE_DELAY="600000") as server,
    ):
        for _ in range(40):
            assert server.infer(BODY)[0] == 200
        server.terminate()
        assert server.exit_code() == 0
        received = receiver.wait_for(40)
    assert len({each.resource["service.instance.id"] for each in received}) == 2
    assert len({each.span.span_id for each in received}) == 40
