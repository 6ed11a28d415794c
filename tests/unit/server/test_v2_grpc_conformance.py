"""The six gRPC calls and the standard health service, against a real server."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from serinus_server.grpc_api import open_inference_grpc_pb2 as messages
from tests.unit.server import models
from tests.unit.server.grpc_client import call, channel, infer_request
from tests.unit.server.serving import Serving, serving

X = np.arange(8, dtype=np.float32).reshape(2, 4)
REQUEST = infer_request(("x", "FP32", [2, 4]), raw=[X.tobytes()], id="42")
SLOW_REQUEST = infer_request(("x", "FP32", [1]), raw=[b"\0\0\0\0"])
MAX_BODY = 100_000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """Serves x[batch, 4] -> y[batch, 3]."""
    model = models.save(models.mlp(), tmp_path_factory.mktemp("mlp"))
    with serving(model, "--grpc-port", "0", "--max-body-size", str(MAX_BODY)) as running:
        yield running


@pytest.fixture(scope="module")
def opened(server: Serving) -> Iterator[grpc.Channel]:
    """A connection to it."""
    with channel(server) as connection:
        yield connection


def refused(opened: grpc.Channel, name: str, request: Any, **options: Any) -> grpc.RpcError:  # noqa: ANN401
    with pytest.raises(grpc.RpcError) as caught:
        call(opened, name, request, **options)
    return caught.value


def code(error: grpc.RpcError) -> grpc.StatusCode:
    found: Any = error
    return found.code()  # type: ignore[no-any-return]


def test_v2_grpc_conformance(opened: grpc.Channel) -> None:
    assert call(opened, "ServerLive", messages.ServerLiveRequest()).live
    assert call(opened, "ServerReady", messages.ServerReadyRequest()).ready
    assert call(opened, "ModelReady", messages.ModelReadyRequest(name="m")).ready
    assert call(opened, "ModelReady", messages.ModelReadyRequest(name="m", version="1")).ready
    server = call(opened, "ServerMetadata", messages.ServerMetadataRequest())
    assert (server.name, list(server.extensions)) == ("serinus-server", ["binary_tensor_data"])
    model = call(opened, "ModelMetadata", messages.ModelMetadataRequest(name="m"))
    assert (model.name, list(model.versions), model.platform) == ("m", ["1"], "onnxruntime_onnx")
    assert [(x.name, x.datatype, list(x.shape)) for x in model.inputs] == [("x", "FP32", [-1, 4])]
    assert [(y.name, y.datatype, list(y.shape)) for y in model.outputs] == [("y", "FP32", [-1, 3])]


def test_v2_grpc_conformance_infer(server: Serving, opened: grpc.Channel) -> None:
    counted = server.metric("serinus_requests_total", code="200")
    runs = server.metric("serinus_stage_seconds_count", stage="run")
    reply = call(opened, "ModelInfer", REQUEST, metadata=(("x-request-id", "grpc-id"),))
    assert (reply.model_name, reply.model_version, reply.id) == ("m", "1", "42")
    (output,) = reply.outputs
    assert (output.name, output.datatype, list(output.shape)) == ("y", "FP32", [2, 3])
    values = np.frombuffer(reply.raw_output_contents[0], np.float32).reshape(2, 3)
    logits = np.exp(X @ (np.arange(12, dtype=np.float32).reshape(4, 3) / 10))
    np.testing.assert_allclose(values, logits / logits.sum(1, keepdims=True), rtol=1e-5)
    line = server.wait_for(id="grpc-id")
    assert (line["path"], line["status"]) == ("/inference.GRPCInferenceService/ModelInfer", 200)
    assert (line["request_bytes"], line["reply_bytes"]) == (REQUEST.ByteSize(), reply.ByteSize())
    assert server.metric("serinus_requests_total", code="200") == counted + 1
    assert server.metric("serinus_stage_seconds_count", stage="run") == runs + 1
    assert server.metric("serinus_in_flight_requests") == 0


@pytest.mark.parametrize(
    ("name", "request_", "status", "details"),
    [
        ("ModelInfer", b"\xff\xff", grpc.StatusCode.INVALID_ARGUMENT, "the request is not a ModelInferRequest"),
        (
            "ModelInfer",
            infer_request(("x", "FP32", [1, 5]), raw=[b""]),
            grpc.StatusCode.INVALID_ARGUMENT,
            "input 'x': shape must be [batch, 4], not [1, 5]",
        ),
        (
            "ModelInfer",
            infer_request(model="other"),
            grpc.StatusCode.NOT_FOUND,
            "there is no model 'other'; this server has model 'm', version '1'",
        ),
        (
            "ModelInfer",
            infer_request(model_version="2"),
            grpc.StatusCode.NOT_FOUND,
            "there is no model 'm', version '2'; this server has model 'm', version '1'",
        ),
        ("ModelReady", messages.ModelReadyRequest(name="q"), grpc.StatusCode.NOT_FOUND, "there is no model 'q'"),
        ("ModelMetadata", messages.ModelMetadataRequest(), grpc.StatusCode.NOT_FOUND, "there is no model ''"),
        ("ModelInfer", b"\0" * (MAX_BODY + 1), grpc.StatusCode.RESOURCE_EXHAUSTED, "larger than max"),
    ],
)
def test_refusals_have_the_fitting_status(
    opened: grpc.Channel, name: str, request_: object, status: grpc.StatusCode, details: str
) -> None:
    error: Any = refused(opened, name, request_)
    assert code(error) == status
    assert details in error.details()
    assert call(opened, "ServerLive", messages.ServerLiveRequest()).live


def test_a_message_that_is_too_large_is_counted(server: Serving, opened: grpc.Channel) -> None:
    before = server.metric("serinus_rejected_requests_total", reason="body_size")
    counted = server.metric("serinus_requests_total", code="413")
    for _ in range(3):
        refused(opened, "ModelInfer", b"\0" * (MAX_BODY + 1), metadata=(("x-request-id", "too-large"),))
    _wait_until(lambda: server.metric("serinus_rejected_requests_total", reason="body_size") == before + 3)
    assert server.metric("serinus_requests_total", code="413") == counted + 3
    assert server.metric("serinus_in_flight_requests") == 0
    assert server.wait_for(id="too-large")["status"] == 413


def test_calls_without_a_message_keep_no_place(tmp_path: Path) -> None:
    """Neither those that say so at once nor those that leave it open."""
    silence = threading.Event()

    def nothing_yet() -> Iterator[bytes]:
        silence.wait(10)
        yield from ()

    options = ("--grpc-port", "0", "--request-timeout", "500ms", "--max-in-flight", "2")
    with serving(models.save(models.mlp(), tmp_path), *options) as server, channel(server) as opened:
        invoke: Any = opened.stream_unary("/inference.GRPCInferenceService/ModelInfer")
        open_ended = [invoke.future(nothing_yet(), timeout=10) for _ in range(2)]
        _wait_until(lambda: server.metric("serinus_in_flight_requests") == 2)
        assert code(refused(opened, "ModelInfer", REQUEST)) == grpc.StatusCode.RESOURCE_EXHAUSTED  # without its message
        for each in open_ended:
            assert each.exception().code() == grpc.StatusCode.DEADLINE_EXCEEDED
            assert each.exception().details() == "the request did not arrive within 0.5 s"
        assert server.metric("serinus_requests_total", code="408") == 2
        assert call(opened, "ModelInfer", REQUEST).id == "42"
        empty = invoke.future(iter(()), timeout=10).exception()
        assert (empty.code(), empty.details()) == (grpc.StatusCode.INVALID_ARGUMENT, "the call has no message")
        assert server.metric("serinus_in_flight_requests") == 0
        silence.set()


def test_an_error_names_the_version_that_answered(server: Serving, opened: grpc.Channel) -> None:
    counted = server.metric("serinus_requests_total", code="400")
    error: Any = refused(opened, "ModelInfer", infer_request())
    assert dict(error.trailing_metadata())["serinus-model-version"] == "1"
    assert server.metric("serinus_requests_total", code="400") == counted + 1


def test_a_failing_run_is_internal_and_the_next_one_is_fine(tmp_path: Path) -> None:
    def lookup(index: int) -> messages.ModelInferRequest:
        return infer_request(("i", "INT64", [1]), raw=[np.int64(index).tobytes()])

    with serving(models.save(models.lookup(), tmp_path), "--grpc-port", "0") as server, channel(server) as opened:
        error: Any = refused(opened, "ModelInfer", lookup(99))
        assert code(error) == grpc.StatusCode.INTERNAL
        assert "indices element out of data bounds" in error.details()
        reply = call(opened, "ModelInfer", lookup(0))
        assert np.isinf(np.frombuffer(reply.raw_output_contents[1], np.float32)).all()
        assert server.metric("serinus_requests_total", code="500") == 1


def test_overload_sheds_and_recovers(tmp_path: Path) -> None:
    model = models.save(models.slow(100_000), tmp_path)
    with serving(model, "--grpc-port", "0", "--max-in-flight", "2") as server, channel(server) as opened:
        codes: list[grpc.StatusCode] = []

        def ask(_: int) -> None:
            try:
                call(opened, "ModelInfer", SLOW_REQUEST)
                codes.append(grpc.StatusCode.OK)
            except grpc.RpcError as error:
                refusal: Any = error
                codes.append(refusal.code())
                assert dict(refusal.trailing_metadata())["grpc-retry-pushback-ms"] == "1000"

        with ThreadPoolExecutor(12) as clients:
            list(clients.map(ask, range(12)))
        assert set(codes) == {grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED}
        refusals = codes.count(grpc.StatusCode.RESOURCE_EXHAUSTED)
        assert server.metric("serinus_rejected_requests_total", reason="in_flight_requests") == refusals
        assert server.metric("serinus_requests_total", code="503") == refusals
        assert server.metric("serinus_in_flight_requests") == 0
        assert call(opened, "ModelInfer", SLOW_REQUEST).outputs


def test_deadlines_end_the_run(tmp_path: Path) -> None:
    """The server's own, and the client's when it is shorter."""
    model = models.save(models.slow(3_000_000), tmp_path)  # many seconds, which nobody waits for
    options = ("--grpc-port", "0", "--request-timeout", "400ms", "--skip-warm-up")
    with serving(model, *options) as server, channel(server) as opened:
        error: Any = refused(opened, "ModelInfer", SLOW_REQUEST)
        assert code(error) == grpc.StatusCode.DEADLINE_EXCEEDED
        assert error.details() == "the model did not answer within 0.4 s"
        assert code(refused(opened, "ModelInfer", SLOW_REQUEST, timeout=0.1)) == grpc.StatusCode.DEADLINE_EXCEEDED
        _wait_until(lambda: server.metric("serinus_requests_total", code="504") == 2)
        assert server.metric("serinus_in_flight_requests") == 0


def test_client_disconnect(tmp_path: Path) -> None:
    model = models.save(models.slow(3_000_000), tmp_path)
    with serving(model, "--grpc-port", "0", "--skip-warm-up") as server, channel(server) as opened:
        invoke: Any = opened.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        running = invoke.future(SLOW_REQUEST.SerializeToString())
        _wait_until(lambda: server.metric("serinus_in_flight_requests") == 1)
        running.cancel()
        _wait_until(lambda: server.metric("serinus_requests_total", code="499") == 1)
        assert server.metric("serinus_in_flight_requests") == 0


def test_health_follows_the_model(tmp_path: Path) -> None:
    model = models.save(models.slow(1_000_000), tmp_path)  # the warm-up takes a while
    options = ("--grpc-port", "0", "--drain-delay", "1s")
    with serving(model, *options, wait=False) as server, channel(server) as opened:
        health = health_pb2_grpc.HealthStub(opened)

        def status(service: str = "") -> int:
            return int(health.Check(health_pb2.HealthCheckRequest(service=service), timeout=5).status)

        server.wait_for("loading")
        assert status() == status("inference.GRPCInferenceService") == health_pb2.HealthCheckResponse.NOT_SERVING
        assert call(opened, "ServerLive", messages.ServerLiveRequest()).live
        assert not call(opened, "ServerReady", messages.ServerReadyRequest()).ready
        assert not call(opened, "ModelReady", messages.ModelReadyRequest(name="m")).ready
        error: Any = refused(opened, "ModelInfer", SLOW_REQUEST)
        assert (code(error), error.details()) == (grpc.StatusCode.UNAVAILABLE, "the model is being loaded")
        server.wait_for("ready")
        assert status() == status("inference.GRPCInferenceService") == health_pb2.HealthCheckResponse.SERVING
        with pytest.raises(grpc.RpcError):
            status("other")
        server.terminate()
        server.wait_for("draining")
        _wait_until(lambda: status() == health_pb2.HealthCheckResponse.NOT_SERVING)
        assert not call(opened, "ServerReady", messages.ServerReadyRequest()).ready
        assert server.exit_code() == 0


def test_drain_loses_nothing(tmp_path: Path) -> None:
    with serving(models.save(models.mlp(), tmp_path), "--grpc-port", "0", "--drain-delay", "500ms") as server:
        codes: list[Any] = []
        stop = threading.Event()

        def ask() -> None:
            with channel(server) as opened:
                while not stop.is_set():
                    try:
                        call(opened, "ModelInfer", REQUEST)
                        codes.append(grpc.StatusCode.OK)
                    except grpc.RpcError as error:
                        codes.append(code(error))

        clients = [threading.Thread(target=ask) for _ in range(4)]
        for client in clients:
            client.start()
        time.sleep(0.3)
        server.terminate()
        server.wait_for("draining")
        time.sleep(0.3)  # for so long the endpoints have not heard of it
        stop.set()
        for client in clients:
            client.join()
        assert server.exit_code(10) == 0
        assert len(codes) > 100
        assert set(codes) == {grpc.StatusCode.OK}


def test_what_is_in_work_is_finished_after_accepting_ended(tmp_path: Path) -> None:
    model = models.save(models.slow(300_000), tmp_path)
    with serving(model, "--grpc-port", "0", "--drain-delay", "0s") as server, channel(server) as opened:
        invoke: Any = opened.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        running = [invoke.future(SLOW_REQUEST.SerializeToString()) for _ in range(3)]
        _wait_until(lambda: server.metric("serinus_in_flight_requests") == 3)
        server.terminate()
        assert all(messages.ModelInferResponse.FromString(each.result()).outputs for each in running)
        assert server.exit_code() == 0


def test_a_taken_port_is_a_clear_error(server: Serving, tmp_path: Path) -> None:
    port = str(server.wait_for("listening")["grpc_port"])
    with serving(models.save(models.mlp(), tmp_path), "--grpc-port", port, wait=False) as second:
        assert second.exit_code() == 1
        assert f"cannot listen for gRPC on 127.0.0.1:{port}" in second.log[-1]["message"]


def test_without_a_port_nothing_of_grpc_is_loaded(tmp_path: Path) -> None:
    with serving(models.save(models.mlp(), tmp_path)) as server:
        assert server.wait_for("listening")["grpc_port"] is None
        assert "/google/_upb/" not in Path(f"/proc/{server.process.pid}/maps").read_text()


def _wait_until(condition: Any) -> None:  # noqa: ANN401 - a callable
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
