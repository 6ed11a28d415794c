"""Connections of the gRPC port that do not behave, and what clients of other kinds see, against real servers."""

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serinus_server.grpc_api import open_inference_grpc_pb2 as messages
from serinus_server.grpc_api.framing import framed
from serinus_server.http2 import frames
from serinus_server.http2.errors import ErrorCode
from tests.unit.server import models
from tests.unit.server.grpc_client import call, channel, infer_request
from tests.unit.server.http2_client import ANY_PARTS, GREETING, HEAD, Frame, data, fields_of, headers, taken_apart
from tests.unit.server.serving import Serving, serving

REQUEST = infer_request(("x", "FP32", [1, 4]), raw=[np.ones(4, np.float32).tobytes()], id="42")
BODY = framed(REQUEST.SerializeToString())
LARGE = infer_request(("x", "FP32", [200_000, 4]), raw=[bytes(4 * 4 * 200_000)])
LARGE_REPLY_BYTES = 4 * 3 * 200_000
METHOD = "/inference.GRPCInferenceService/ModelInfer"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """Serves x[batch, 4] -> y[batch, 3]."""
    model = models.save(models.mlp(), tmp_path_factory.mktemp("mlp"))
    with serving(model, "--grpc-port", "0", "--access-log", "all") as running:
        yield running


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """The same, but it waits for nobody."""
    model = models.save(models.mlp(), tmp_path_factory.mktemp("mlp"))
    options = (
        "--request-timeout",
        "700ms",
        "--keep-alive-timeout",
        "700ms",
        "--max-in-flight",
        "4",
        "--max-in-flight-bytes",
        "1Mi",
    )
    with serving(model, "--grpc-port", "0", *options) as running:
        yield running


class Wire:
    """A raw connection to the gRPC port."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._received = b""
        self._seen = 0

    def send(self, *parts: bytes) -> None:
        self._connection.sendall(b"".join(parts))

    def until(self, wanted: Callable[[Frame], bool]) -> list[Frame]:
        """The frames up to the one that is wanted; or up to the end."""
        while True:
            found = list(taken_apart(self._received))[self._seen :]
            for number, frame in enumerate(found):
                if wanted(frame):
                    self._seen += number + 1
                    return found[: number + 1]
            more = self._connection.recv(1 << 20)
            if not more:
                self._seen += len(found)
                return found
            self._received += more

    def until_the_end(self) -> list[Frame]:
        """All frames until the server closes."""
        return self.until(lambda _: False)

    def reply(self, stream_id: int) -> list[Frame]:
        """What comes until a stream ends."""

        def ends(frame: Frame) -> bool:
            ended = frame.kind in {frames.DATA, frames.HEADERS} and frame.flags & frames.END_STREAM
            return frame.stream_id == stream_id and bool(ended or frame.kind == frames.RST_STREAM)

        return [frame for frame in self.until(ends) if frame.stream_id == stream_id]


@contextmanager
def wire(server: Serving) -> Iterator[Wire]:
    port = server.wait_for("listening")["grpc_port"]
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        yield Wire(connection)


def answers(server: Serving) -> None:
    """It is as it was: it answers, and nothing of anybody else is in work."""
    with channel(server) as opened:
        assert call(opened, "ModelInfer", REQUEST).id == "42"
    assert server.metric("serinus_in_flight_requests") == 0


# what other clients than gRPC's Python library see


def test_an_asyncio_client(server: Serving) -> None:
    async def ask() -> list[str]:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{server.wait_for('listening')['grpc_port']}") as opened:
            invoke: Any = opened.unary_unary(METHOD, response_deserializer=messages.ModelInferResponse.FromString)
            replies = await asyncio.gather(*(invoke(REQUEST.SerializeToString(), timeout=20) for _ in range(100)))
            return [reply.id for reply in replies]

    assert asyncio.run(ask()) == ["42"] * 100


@pytest.mark.parametrize("compression", [grpc.Compression.Gzip, grpc.Compression.Deflate])
def test_compressed_requests(server: Serving, compression: grpc.Compression) -> None:
    with channel(server) as opened:
        reply = call(opened, "ModelInfer", LARGE, compression=compression)
        assert len(reply.raw_output_contents[0]) == LARGE_REPLY_BYTES


def test_large_messages_fit_through_small_windows(server: Serving) -> None:
    options = [
        ("grpc.http2.lookahead_bytes", 1000),
        ("grpc.max_receive_message_length", -1),
        ("grpc.http2.bdp_probe", 0),
    ]
    address = f"127.0.0.1:{server.wait_for('listening')['grpc_port']}"
    with grpc.insecure_channel(address, options=options) as opened:
        for _ in range(3):
            assert len(call(opened, "ModelInfer", LARGE).raw_output_contents[0]) == LARGE_REPLY_BYTES


def test_many_calls_of_one_connection_at_once(server: Serving) -> None:
    with channel(server) as opened:
        invoke: Any = opened.unary_unary(METHOD, response_deserializer=messages.ModelInferResponse.FromString)
        futures = [invoke.future(REQUEST.SerializeToString(), timeout=20) for _ in range(64)]
        assert [future.result().id for future in futures] == ["42"] * 64


def test_methods_that_are_not_there(server: Serving) -> None:
    with channel(server) as opened, pytest.raises(grpc.RpcError) as caught:
        invoke: Any = opened.unary_unary("/inference.GRPCInferenceService/Other")
        invoke(b"", timeout=20)
    error: Any = caught.value
    assert error.code() == grpc.StatusCode.UNIMPLEMENTED
    assert error.details() == "there is no method '/inference.GRPCInferenceService/Other'"


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ([(":method", "GET"), *HEAD[1:]], b"405"),
        ([*HEAD[:-1], ("content-type", "application/json")], b"415"),
    ],
)
def test_what_is_not_grpc_is_answered_in_http(server: Serving, fields: list[tuple[str, str]], status: bytes) -> None:
    with wire(server) as connection:
        connection.send(GREETING, headers(1, fields), data(1, b"x" * 16_000) * 4)
        head, body = connection.reply(1)[:2]
        assert fields_of(head)[b":status"] == status
        assert body.payload.startswith(b"this port speaks gRPC")


def test_an_encoding_that_is_not_understood(server: Serving) -> None:
    with wire(server) as connection:
        connection.send(GREETING, headers(1, [*HEAD, ("grpc-encoding", "snappy")]), data(1, BODY, ends=True))
        found = fields_of(connection.reply(1)[0])
        assert found[b"grpc-status"] == b"12"
        assert found[b"grpc-accept-encoding"] == b"identity,deflate,gzip"


def test_metadata_that_are_too_large(server: Serving) -> None:
    with channel(server) as opened, pytest.raises(grpc.RpcError) as caught:
        call(opened, "ModelInfer", REQUEST, metadata=tuple((f"x-{number}", "v" * 4000) for number in range(5)))
    error: Any = caught.value
    assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    answers(server)


def test_messages_of_errors_come_as_they_are(server: Serving) -> None:
    with channel(server) as opened, pytest.raises(grpc.RpcError) as caught:
        call(opened, "ModelInfer", infer_request(model="é % \n"))
    error: Any = caught.value
    assert error.details() == "there is no model 'é % \\n'; this server has model 'm', version '1'"


def test_binary_metadata_are_no_trouble(server: Serving) -> None:
    with channel(server) as opened:
        assert call(opened, "ModelInfer", REQUEST, metadata=(("trace-bin", b"\0\xff"), ("x", "y"))).id == "42"


def test_a_call_of_several_messages_is_refused(server: Serving) -> None:
    with channel(server) as opened, pytest.raises(grpc.RpcError) as caught:
        opened.stream_unary(METHOD)(iter([REQUEST.SerializeToString()] * 2), timeout=20)
    error: Any = caught.value
    assert (error.code(), error.details()) == (grpc.StatusCode.INVALID_ARGUMENT, "the call has more than one message")
    answers(server)


def test_a_deadline_that_passes_before_the_message(server: Serving) -> None:
    with wire(server) as connection:
        connection.send(GREETING, headers(1, [*HEAD, ("grpc-timeout", "50m")]), data(1, BODY[:20]))
        assert fields_of(connection.reply(1)[0])[b"grpc-status"] == b"4"
    answers(server)


def test_watchers_are_told_until_the_server_leaves(tmp_path: Path) -> None:
    model = models.save(models.mlp(), tmp_path)
    with serving(model, "--grpc-port", "0", "--drain-delay", "300ms") as server, channel(server) as opened:
        seen: list[int] = []
        ended: list[grpc.StatusCode] = []
        unknown = health_pb2_grpc.HealthStub(opened).Watch(health_pb2.HealthCheckRequest(service="other"))
        assert next(unknown).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
        unknown.cancel()

        def watch() -> None:
            try:
                for response in health_pb2_grpc.HealthStub(opened).Watch(health_pb2.HealthCheckRequest()):
                    seen.append(response.status)  # noqa: PERF401 - one by one as they come
            except grpc.RpcError as error:
                refusal: Any = error
                ended.append(refusal.code())

        watcher = threading.Thread(target=watch)
        watcher.start()
        _wait_until(lambda: len(seen) == 1)
        server.terminate()
        watcher.join(10)
        assert server.exit_code(10) == 0
        assert seen == [health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING]
        assert ended == [grpc.StatusCode.UNAVAILABLE]


def test_bytes_in_work_are_bounded_by_what_messages_announce(hasty: Serving) -> None:
    with wire(hasty) as connection:
        connection.send(GREETING, headers(1), data(1, b"\0" + (600_000).to_bytes(4, "big")))
        connection.until(lambda frame: (frame.kind, frame.stream_id) == (frames.WINDOW_UPDATE, 1))
        connection.send(headers(3), data(3, b"\0" + (600_000).to_bytes(4, "big")))
        found = fields_of(connection.reply(3)[0])
        assert (found[b"grpc-status"], found[b"grpc-message"]) == (b"8", b"too many bytes of requests are in work")
        assert found[b"grpc-retry-pushback-ms"] == b"1000"
    _wait_until(lambda: hasty.metric("serinus_in_flight_requests") == 0)
    answers(hasty)


# connections that do not behave


def test_whoever_speaks_something_else_is_told_so(server: Serving) -> None:
    with wire(server) as connection:
        connection.send(b"GET /v2 HTTP/1.1\r\nHost: h\r\n\r\n")
        assert connection.until_the_end()[-1].kind == frames.GOAWAY
    answers(server)


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        GREETING[:10],
        GREETING,
        GREETING + headers(1, ends=True)[:20],
        GREETING + frames.frame(frames.HEADERS, 0, 1, b"\x83"),
        GREETING + headers(1) + data(1, BODY)[:-1],
        GREETING + headers(1, HEAD[:-1]),
    ],
    ids=[
        "nothing",
        "part of a greeting",
        "no call",
        "part of a frame",
        "part of a block",
        "part of a message",
        "no call of gRPC",
    ],
)
def test_slow_clients_are_not_waited_for(hasty: Serving, sent: bytes) -> None:
    with wire(hasty) as connection:
        connection.send(sent)
        assert frames.GOAWAY in [frame.kind for frame in connection.until_the_end()]
    answers(hasty)


def test_idle_connections_are_closed_but_not_before_calls_end(hasty: Serving) -> None:
    with wire(hasty) as connection:
        started = time.monotonic()
        connection.send(GREETING)
        connection.until(lambda frame: frame.kind == frames.GOAWAY)
        assert time.monotonic() - started > 0.6
        connection.send(headers(1), data(1, BODY, ends=True))  # it had not heard of it
        assert fields_of(connection.reply(1)[-1]) == {b"grpc-status": b"0"}
        (last,) = [frame for frame in connection.until_the_end() if frame.kind == frames.GOAWAY]
        assert (int.from_bytes(last.payload[:4], "big"), last.code) == (1, ErrorCode.NO_ERROR)


def test_a_client_that_takes_no_reply_is_given_up(hasty: Serving) -> None:
    """Neither its window nor its socket keeps anything of the server."""
    with wire(hasty) as connection:
        connection.send(GREETING, frames.settings({frames.SETTINGS_INITIAL_WINDOW_SIZE: 0}))
        connection.send(headers(1), data(1, BODY, ends=True))
        assert connection.reply(1)[-1].code == ErrorCode.CANCEL
    answers(hasty)


def test_a_client_that_reads_nothing_is_given_up(hasty: Serving) -> None:
    request = infer_request(("x", "FP32", [3_000, 4]), raw=[bytes(4 * 4 * 3_000)])
    body = framed(request.SerializeToString())
    pieces = [body[start : start + 16_000] for start in range(0, len(body), 16_000)]
    with wire(hasty) as connection:
        connection.send(GREETING, frames.window_update(0, 2**30))
        connection.send(frames.settings({frames.SETTINGS_INITIAL_WINDOW_SIZE: 2**30}))
        with pytest.raises(OSError, match=r"reset|pipe|timed out"):
            for number in range(1, 100_000, 2):
                connection.send(
                    headers(number), *(data(number, piece) for piece in pieces), data(number, b"", ends=True)
                )
    answers(hasty)


def test_clients_that_leave_keep_no_place(server: Serving) -> None:
    before = server.metric("serinus_requests_total", code="499")
    for _ in range(20):
        with wire(server) as connection:
            connection.send(GREETING, headers(1), data(1, BODY[:-1]))
            connection.until(lambda frame: frame.kind == frames.SETTINGS)
    _wait_until(lambda: server.metric("serinus_requests_total", code="499") == before + 20)
    answers(server)


def test_rapid_resets_end_the_connection(server: Serving) -> None:
    with wire(server) as connection:
        connection.send(GREETING)
        resets = (headers(number) + frames.rst_stream(number, ErrorCode.CANCEL) for number in range(1, 4000, 2))
        connection.send(*resets)
        last = connection.until(lambda frame: frame.kind == frames.GOAWAY)[-1]
        assert last.code == ErrorCode.ENHANCE_YOUR_CALM
    answers(server)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(ANY_PARTS | st.just(headers(1) + data(1, BODY, ends=True)), max_size=30))
def test_whatever_a_client_sends_disturbs_nobody(server: Serving, parts: list[bytes]) -> None:
    with wire(server) as connection, suppress(ConnectionError):
        connection.send(GREETING, *parts)
        connection.send(headers(21), data(21, BODY, ends=True), frames.goaway(0, ErrorCode.NO_ERROR))
        connection.until(lambda frame: frame.kind == frames.GOAWAY)
    _wait_until(lambda: server.metric("serinus_in_flight_requests") == 0)
    answers(server)


def test_old_connections_are_replaced_and_lose_nothing(tmp_path: Path) -> None:
    options = ("--grpc-port", "0", "--max-connection-age", "300ms")
    with serving(models.save(models.mlp(), tmp_path), *options) as server, channel(server) as opened:
        until = time.monotonic() + 3
        while time.monotonic() < until:
            assert call(opened, "ModelInfer", REQUEST).id == "42"
        with wire(server) as connection:
            connection.send(GREETING)
            assert connection.until(lambda frame: frame.kind == frames.GOAWAY)[-1].code == ErrorCode.NO_ERROR


def _wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
