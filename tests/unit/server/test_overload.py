"""More requests than a server can take: refused at once and clearly, timed out, and then well again."""

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.unit.server import models
from tests.unit.server.serving import Serving, serving, tensor

REQUEST = {"inputs": [tensor("x", "FP32", [1], [0.5])]}


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """Serves a model that takes some 0.1 s, a few requests at a time."""
    model = models.save(models.slow(30_000), tmp_path_factory.mktemp("slow"))
    with serving(model, "--max-in-flight", "3") as server:
        yield server


def test_overload_sheds_and_recovers(slow: Serving) -> None:
    assert slow.wait_for("ready")["execution"].endswith("threads")
    refusals: list[float] = []

    def ask(_: int) -> int:
        started = time.monotonic()
        status, reply = slow.infer(REQUEST)
        if status == 503:
            refusals.append(time.monotonic() - started)
            assert reply == {"error": "too many requests are in work"}
        return int(status)

    with ThreadPoolExecutor(12) as clients:
        statuses = list(clients.map(ask, range(12)))
    assert set(statuses) == {200, 503}
    assert statuses.count(200) >= 3
    assert slow.metric("serinus_rejected_requests_total", reason="in_flight_requests") == statuses.count(503)
    assert slow.metric("serinus_requests_total", code="503") == statuses.count(503)
    assert slow.metric("serinus_in_flight_requests") == 0
    assert slow.infer(REQUEST)[0] == 200


def test_refusals_say_when_to_come_back(slow: Serving) -> None:
    with slow.connect() as connection:
        body = json.dumps(REQUEST).encode()
        request = b"POST /v2/models/m/infer HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
        connection.sendall(request * 6)
        received = b""
        while received.count(b"HTTP/1.1 ") < 6 or not received.endswith(b"}"):
            received += connection.recv(65536)
    assert received.count(b"HTTP/1.1 200") >= 3
    assert received.count(b"HTTP/1.1 503") == received.count(b"Retry-After: 1\r\n") > 0


def test_health_answers_during_runs(slow: Serving) -> None:
    with ThreadPoolExecutor(3) as clients:
        running = [clients.submit(slow.infer, REQUEST) for _ in range(3)]
        slowest = 0.0
        while not all(each.done() for each in running):
            started = time.monotonic()
            assert slow.get("/v2/health/live")[0] == 200
            slowest = max(slowest, time.monotonic() - started)
    assert slowest < 0.5


def test_client_disconnect(tmp_path: Path) -> None:
    """Nobody computes for a client that left, be its request queued or running."""
    model = models.save(models.slow(3_000_000), tmp_path)  # seconds each, which nobody waits for
    with serving(model, "--skip-warm-up") as server:
        connections = [server.connect() for _ in range(5)]
        body = json.dumps(REQUEST).encode()
        for connection in connections:
            head = b"POST /v2/models/m/infer HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % len(body)
            connection.sendall(head + body)
        _wait_until(lambda: server.metric("serinus_in_flight_requests") == 5)
        for connection in connections:
            connection.close()
        _wait_until(lambda: server.metric("serinus_requests_total", code="499") == 5)
        assert server.metric("serinus_in_flight_requests") == 0
        before = _cpu_seconds(server)
        time.sleep(0.5)
        assert _cpu_seconds(server) - before < 0.2


def test_timeout_is_504_and_stops_the_run(tmp_path: Path) -> None:
    model = models.save(models.slow(3_000_000), tmp_path)  # many seconds, which nobody waits for
    with serving(model, "--request-timeout", "300ms", "--skip-warm-up") as server:
        started = time.monotonic()
        status, reply = server.infer(REQUEST)
        assert (status, reply) == (504, {"error": "the model did not answer within 0.3 s"})
        assert time.monotonic() - started < 2
        assert server.metric("serinus_requests_total", code="504") == 1
        assert server.metric("serinus_request_duration_seconds_count") == 0
        assert server.metric("serinus_in_flight_requests") == 0
        time.sleep(0.1)
        before = _cpu_seconds(server)
        time.sleep(0.5)
        assert _cpu_seconds(server) - before < 0.2


def test_live_and_not_ready_during_a_load(tmp_path: Path) -> None:
    model = models.save(models.slow(2_000_000), tmp_path)  # the warm-up takes seconds
    with serving(model, wait=False) as server:
        server.wait_for("loading")
        assert server.get("/v2/health/live") == (200, {"live": True})
        assert server.get("/v2/health/ready") == (503, {"ready": False, "error": "the model is being loaded"})
        assert server.get("/v2/models/m")[0] == 503
        assert server.infer(REQUEST) == (503, {"error": "the model is being loaded"})
        assert server.metric("serinus_rejected_requests_total", reason="not_ready") == 1
        server.terminate()
        assert server.exit_code(5) == 0


def test_bytes_in_work_are_bounded(tmp_path: Path) -> None:
    model = models.save(models.mlp(), tmp_path)
    with serving(model, "--max-in-flight-bytes", "1Ki") as server:
        head = b"POST /v2/models/m/infer HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n"
        with server.connect() as large, server.connect() as second:
            large.sendall(head % 5000)  # alone it may be larger than the bound
            time.sleep(0.05)
            second.sendall(head % 100 + b" " * 100)
            assert b"503 Service Unavailable" in second.recv(65536)
        assert server.metric("serinus_rejected_requests_total", reason="in_flight_bytes") == 1


def _wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _cpu_seconds(server: Serving) -> float:
    _, text = server.get("/metrics")
    return float(next(line for line in text.splitlines() if line.startswith("process_cpu_seconds_total")).split()[1])
