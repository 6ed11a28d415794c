"""How writes to the Kubernetes API are held up: by the operator's own limit, and by a server that asks for patience."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from kubernetes import client

from serinus.adapters import kube
from serinus.adapters.kube import KubernetesApi, WriteLimit
from serinus.ports import ApiConflictError, ApiRefusedError, ApiUnavailableError, NotLeadingError

MANIFEST = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "fraud", "namespace": "risk"}}


class Server:
    """A loopback HTTP server that answers as the test says."""

    def __init__(self) -> None:
        self.status, self.headers, self.body = 200, {}, b"{}"  # type: tuple[int, dict[str, str], bytes]
        self.asked: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                outer.asked.append(self.command)
                self.send_response(outer.status)
                for name, value in outer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(outer.body)))
                self.end_headers()
                self.wfile.write(outer.body)

            def do_GET(self) -> None:
                self.do_POST()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()

    def answer(self, status: int, headers: dict[str, str] | None = None, body: bytes = b"{}") -> None:
        self.status, self.headers, self.body = status, headers or {}, body


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.http.shutdown()
    running.http.server_close()


class Clock:
    """Monotonic time, which passes where something sleeps."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(round(seconds, 6))
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    scripted = Clock()
    monkeypatch.setattr(kube, "time", scripted)
    return scripted


def api_of(server: Server, limit: WriteLimit | None = None, leads: bool = True) -> KubernetesApi:
    configuration = client.Configuration()
    configuration.host = f"http://127.0.0.1:{server.http.server_address[1]}"
    return KubernetesApi(client.ApiClient(configuration), lambda: leads, limit)


def test_writes_beyond_the_burst_wait_for_their_turn(server: Server, clock: Clock) -> None:
    api = api_of(server, WriteLimit(per_second=10, burst=2))
    for _ in range(4):
        api.create(MANIFEST)
    assert clock.slept == [0.1, 0.1]
    assert server.asked == ["POST"] * 4


def test_reads_do_not_wait(server: Server, clock: Clock) -> None:
    api = api_of(server, WriteLimit(per_second=1, burst=1))
    for _ in range(5):
        api.get(MANIFEST)
    assert clock.slept == []


@pytest.mark.parametrize("status", [429, 503])
def test_a_server_that_asks_for_patience_is_left_alone(status: int, server: Server, clock: Clock) -> None:
    api = api_of(server, WriteLimit(per_second=10, burst=2))
    server.answer(status, {"Retry-After": "7"})
    with pytest.raises(ApiUnavailableError) as caught:
        api.create(MANIFEST)
    assert caught.value.retry_after == 7.0
    clock.now += 3
    with pytest.raises(ApiUnavailableError) as caught:
        api.create(MANIFEST)
    assert caught.value.retry_after == 4.0
    assert server.asked == ["POST"]
    clock.now += 4
    server.answer(201)
    api.create(MANIFEST)
    assert server.asked == ["POST"] * 2


@pytest.mark.parametrize(
    ("status", "header", "seconds"),
    [
        pytest.param(429, None, 0.0, id="no header"),
        pytest.param(429, "0", 0.0, id="at once"),
        pytest.param(429, "-3", 0.0, id="in the past"),
        pytest.param(429, "Wed, 21 Oct 2026 07:28:00 GMT", 0.0, id="a date, which the API server never sends"),
        pytest.param(503, "999999", 60.0, id="beyond belief"),
        pytest.param(500, "9", 0.0, id="of a server that is not busy but broken"),
    ],
)
def test_what_a_retry_after_is_worth(
    status: int, header: str | None, seconds: float, server: Server, clock: Clock
) -> None:
    server.answer(status, {"Retry-After": header} if header else {})
    with pytest.raises(ApiUnavailableError) as caught:
        api_of(server, WriteLimit(per_second=10, burst=2)).create(MANIFEST)
    assert caught.value.retry_after == seconds


@pytest.mark.parametrize(
    ("status", "body", "error", "message"),
    [
        (409, {"message": "it is there"}, ApiConflictError, "it is there"),
        (422, {"message": "it is wrong"}, ApiRefusedError, "it is wrong"),
        (500, {"message": "etcd"}, ApiUnavailableError, "status 500: .*etcd"),
        (502, "<html>Bad Gateway</html>", ApiUnavailableError, "status 502: .*Bad Gateway"),
        (500, [1], ApiUnavailableError, "status 500"),
    ],
)
def test_what_is_wrong_is_told_in_the_servers_words(
    status: int, body: object, error: type[Exception], message: str, server: Server
) -> None:
    server.answer(status, body=body.encode() if isinstance(body, str) else json.dumps(body).encode())
    with pytest.raises(error, match=message):
        api_of(server).create(MANIFEST)


def test_one_that_ceases_to_lead_while_it_waits_sends_nothing(server: Server, clock: Clock) -> None:
    limit = WriteLimit(per_second=1, burst=1)
    api_of(server, limit).create(MANIFEST)
    with pytest.raises(NotLeadingError):
        api_of(server, limit, leads=False).create(MANIFEST)
    assert clock.slept == [1.0]
    assert server.asked == ["POST"]
