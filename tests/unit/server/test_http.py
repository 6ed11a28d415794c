"""HTTP/1.1 byte by byte, against a real server: what a connection may carry, and what ends it."""

import json
import socket
import time
from collections.abc import Iterator

import pytest

from tests.unit.server import models
from tests.unit.server.serving import Serving, serving, tensor

MAX_BODY = 100_000
BODY = json.dumps({"inputs": [tensor("x", "FP32", [1, 4], [1, 2, 3, 4])]}).encode()
INFER = b"POST /v2/models/m/infer HTTP/1.1\r\nHost: h\r\n"
LIVE = b"GET /v2/health/live HTTP/1.1\r\nHost: h\r\n\r\n"


def post(body: bytes, headers: bytes = b"") -> bytes:
    return INFER + b"Content-Length: %d\r\n%b\r\n%b" % (len(body), headers, body)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """Serves a tiny model with tight limits."""
    model = models.save(models.mlp(), tmp_path_factory.mktemp("http"))
    limits = ("--max-body-size", str(MAX_BODY), "--request-timeout", "1s", "--max-connection-age", "1h")
    with serving(model, *limits) as running:
        yield running


class Client:
    """Reads replies one by one from a raw connection."""

    def __init__(self, server: Serving) -> None:
        self.socket = server.connect()
        self._file = self.socket.makefile("rb")

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def reply(self, *, head_only: bool = False) -> tuple[int, dict[str, str], bytes]:
        """Status, headers in lower case, body."""
        status = int(self._file.readline().split()[1])
        headers = {}
        while (line := self._file.readline().strip()) != b"":
            name, _, text = line.decode().partition(": ")
            headers[name.lower()] = text
        size = 0 if head_only or status == 100 else int(headers["content-length"])
        return status, headers, self._file.read(size)

    def is_closed(self) -> bool:
        """Whether the server has closed its side, and sent nothing more."""
        return self._file.read(1) == b""


def test_keep_alive(server: Serving) -> None:
    with Client(server) as client:
        for _ in range(3):
            client.send(post(BODY))
            status, headers, _ = client.reply()
            assert status == 200
            assert "connection" not in headers
            assert headers["content-type"] == "application/json"
            assert "GMT" in headers["date"]


def test_pipelined_requests_are_answered_in_order(server: Serving) -> None:
    with Client(server) as client:
        ids = [str(number) for number in range(60)]
        document = json.loads(BODY)
        client.send(b"".join(post(json.dumps({"id": each, **document}).encode()) + LIVE for each in ids))
        for each in ids:
            status, _, body = client.reply()
            assert (status, json.loads(body)["id"]) == (200, each)
            assert client.reply()[2] == b'{"live":true}'


def test_a_request_in_single_bytes(server: Serving) -> None:
    with Client(server) as client:
        client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in post(BODY, b"X-Request-ID: bytewise\r\n") + LIVE:
            client.send(bytes([byte]))
        assert client.reply()[0] == 200
        assert client.reply()[0] == 200


def test_trailers_of_a_chunked_body_mean_nothing(server: Serving) -> None:
    chunks = b"".join(b"%x;ext=1\r\n%b\r\n" % (len(BODY[i : i + 7]), BODY[i : i + 7]) for i in range(0, len(BODY), 7))
    with Client(server) as client:
        client.send(INFER + b"Transfer-Encoding: chunked\r\n\r\n" + chunks)
        client.send(b"0\r\nContent-Encoding: br\r\n\r\n" + post(BODY))
        assert client.reply()[0] == 200
        assert client.reply()[0] == 200


@pytest.mark.parametrize(
    ("version", "header", "answered", "closed"),
    [
        (b"1.1", b"", None, False),
        (b"1.1", b"Connection: close\r\n", "close", True),
        (b"1.0", b"", "close", True),
        (b"1.0", b"Connection: keep-alive\r\n", "keep-alive", False),
    ],
)
def test_who_keeps_the_connection(
    server: Serving, version: bytes, header: bytes, answered: str | None, closed: bool
) -> None:
    with Client(server) as client:
        client.send(b"GET /v2 HTTP/%b\r\nHost: h\r\n%b\r\n" % (version, header))
        status, headers, _ = client.reply()
        assert (status, headers.get("connection")) == (200, answered)
        if closed:
            assert client.is_closed()
        else:
            client.send(LIVE)
            assert client.reply()[0] == 200


def test_head_has_the_headers_of_get_and_no_body(server: Serving) -> None:
    with Client(server) as client:
        client.send(b"HEAD /v2/health/live HTTP/1.1\r\nHost: h\r\n\r\n" + LIVE)
        assert client.reply(head_only=True)[1]["content-length"] == "13"
        assert client.reply()[2] == b'{"live":true}'
        client.send(b"HEAD /v2/models/m/infer HTTP/1.1\r\nHost: h\r\n\r\n" + LIVE)
        status, headers, _ = client.reply(head_only=True)
        assert (status, headers["allow"]) == (405, "POST")
        assert client.reply()[0] == 200


def test_expect_continue(server: Serving) -> None:
    with Client(server) as client:
        client.send(INFER + b"Content-Length: %d\r\nExpect: 100-continue\r\n\r\n" % len(BODY))
        assert client.reply()[0] == 100
        client.send(BODY)
        assert client.reply()[0] == 200
        client.send(INFER + b"Content-Length: %d\r\nExpect: 100-continue\r\n\r\n" % (MAX_BODY + 1))
        assert client.reply()[0] == 413
        assert client.is_closed()
    with Client(server) as client:
        client.send(INFER + b"Content-Length: 5\r\nExpect: magic\r\n\r\n")
        assert client.reply()[0] == 417


def test_oversized_body_413(server: Serving) -> None:
    refused = server.metric("serinus_rejected_requests_total", reason="body_size")
    with Client(server) as client:
        client.send(INFER + b"Content-Length: 99999999999\r\n\r\n")
        status, headers, body = client.reply()
        assert (status, headers["connection"]) == (413, "close")
        assert json.loads(body) == {"error": "the body has 99999999999 bytes or more; at most 100000 are allowed"}
    with Client(server) as client:
        # A client that sends it all before it reads still gets the answer, not a reset.
        client.send(post(b"x" * (MAX_BODY + 1_000_000)))
        assert client.reply()[0] == 413
        assert client.is_closed()
    with Client(server) as client:
        client.send(INFER + b"Transfer-Encoding: chunked\r\n\r\n")
        for _ in range(3):
            client.send(b"9c40\r\n" + b" " * 40_000 + b"\r\n")
        assert client.reply()[0] == 413
    assert server.metric("serinus_rejected_requests_total", reason="body_size") == refused + 3
    assert server.metric("serinus_in_flight_requests") == 0


def test_a_small_refused_body_keeps_the_connection(server: Serving) -> None:
    with Client(server) as client:
        client.send(b"POST /nowhere HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello" + post(BODY))
        assert client.reply()[0] == 404
        assert client.reply()[0] == 200


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"\r\n\r\nGET\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (b"GET /v2 HTTP/1.1\r\nHost: h\r\nContent-Length: x\r\n\r\n", 400),
        (b"GET /v2 HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n", 400),
        (b"GET /v2 HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999999999999999\r\n\r\n", 400),
        (b"POST /v2 HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400),
        (b"POST /v2 HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (INFER + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"GET /v2 HTTP/1.1\r\nHost : h\r\n\r\n", 400),
        (b"GET /v2 HTTP/1.1\r\n\r\n", 400),
        (b"CONNECT example:443 HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        (b"GET /v2 HTTP/1.1\r\nHost: h\r\nX: " + b"a" * 400_000, 431),
        (b"GET /" + b"a" * 400_000, 431),
        (INFER + b"Transfer-Encoding: chunked\r\n\r\n1;" + b"a" * 400_000, 431),
        (INFER + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: " + b"a" * 400_000, 431),
    ],
)
def test_malformed_http_is_a_clear_4xx(server: Serving, data: bytes, status: int) -> None:
    with Client(server) as client:
        client.send(LIVE + data)
        assert client.reply()[0] == 200
        answered, headers, body = client.reply()
        assert answered == status
        assert json.loads(body)["error"]
        if "connection" in headers:
            assert client.is_closed()
    assert server.get("/v2/health/live")[0] == 200


@pytest.mark.parametrize("body", [b"", BODY])
def test_an_offer_of_http_2_is_ignored(server: Serving, body: bytes) -> None:
    """What Java's client sends first."""
    offer = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAA\r\n"
    expected = 200 if body else 400
    with Client(server) as client:
        request = post(body, offer)
        client.send(request[:-10])
        time.sleep(0.05)
        client.send(request[-10:] + LIVE)
        assert client.reply()[0] == expected
        assert client.reply()[2] == b'{"live":true}'
        client.send(request + post(BODY))
        assert client.reply()[0] == expected
        assert client.reply()[0] == 200


def test_slow_senders_are_ended(server: Serving) -> None:
    counted = server.metric("serinus_requests_total", code="408")
    with Client(server) as head, Client(server) as body:
        head.send(b"POST /v2/models/m/infer HTTP/1.1\r\nHo")
        body.send(post(BODY)[:-1])
        for client in (head, body):
            status, headers, reply = client.reply()
            assert (status, headers["connection"]) == (408, "close")
            assert json.loads(reply) == {"error": "the request did not arrive within 1 s"}
            assert client.is_closed()
    assert server.metric("serinus_requests_total", code="408") == counted + 1  # the other never named a model
    assert server.metric("serinus_in_flight_requests") == 0


def test_a_client_that_leaves_halfway_leaves_nothing(server: Serving) -> None:
    left = server.metric("serinus_requests_total", code="499")
    client = Client(server)
    client.send(post(BODY)[:-1])
    time.sleep(0.05)
    client.__exit__()
    time.sleep(0.05)
    assert server.metric("serinus_requests_total", code="499") == left + 1
    assert server.metric("serinus_in_flight_requests") == 0


def test_a_client_that_does_not_read_does_not_stall_others(server: Serving) -> None:
    with Client(server) as client:
        client.socket.settimeout(0.3)
        with pytest.raises(TimeoutError):
            while True:
                client.send(LIVE * 1000)
        started = time.monotonic()
        assert server.get("/v2/health/live")[0] == 200
        assert time.monotonic() - started < 1


def test_connections_age(tmp_path_factory: pytest.TempPathFactory) -> None:
    model = models.save(models.mlp(), tmp_path_factory.mktemp("age"))
    with serving(model, "--max-connection-age", "200ms", "--keep-alive-timeout", "1s") as server:
        with Client(server) as client:
            client.send(post(BODY))
            assert "connection" not in client.reply()[1]
            time.sleep(0.3)
            client.send(post(BODY))  # an old connection is ended by a reply, so that no request is lost
            status, headers, _ = client.reply()
            assert (status, headers["connection"]) == (200, "close")
            assert client.is_closed()
        with Client(server) as idle:
            assert idle.is_closed()
