"""HTTPS and gRPC over TLS: what clients are shown, which clients are let in, and certificates that are replaced."""

import http.client
import json
import socket
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from serinus_server.mounted_files import POLL_SECONDS
from tests.cluster import commands
from tests.unit.server import models
from tests.unit.server.grpc_client import call, infer_request
from tests.unit.server.mount import Mount
from tests.unit.server.serving import Serving, serving, tensor

BODY = json.dumps({"inputs": [tensor("x", "FP32", [1, 4], [1, 2, 3, 4])]}).encode()
SETTLED = "whether clients need certificates is settled at start; what was in force before stays so"
MESSAGE = infer_request(("x", "FP32", [1, 4]), raw=[np.ones(4, np.float32).tobytes()])


@dataclass(frozen=True)
class Pair:
    """A certificate that signs itself, and its key, both PEM and as files."""

    certificate_file: Path
    key_file: Path

    @property
    def certificate(self) -> bytes:
        return self.certificate_file.read_bytes()

    @property
    def key(self) -> bytes:
        return self.key_file.read_bytes()

    @property
    def secret(self) -> dict[str, str | bytes]:
        return {"tls.crt": self.certificate, "tls.key": self.key}


def pair(folder: Path, name: str) -> Pair:
    files = Pair(folder / f"{name}.crt", folder / f"{name}.key")
    commands.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-keyout", files.key_file, "-out", files.certificate_file, "-days", "2", "-subj", f"/CN={name}"),
            *("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
        ]
    )
    return files


def signed_anew(folder: Path, name: str, original: Pair, days: int, *extensions: str) -> Pair:
    """Another certificate of the same key, valid for so many days from now, or until some ago, with `extensions`."""
    request, described = folder / f"{name}.csr", folder / f"{name}.cnf"
    described.write_text("\n".join(("subjectAltName=DNS:localhost,IP:127.0.0.1", *extensions)))
    files = Pair(folder / f"{name}.crt", original.key_file)
    commands.run(["openssl", "req", "-new", "-key", files.key_file, "-subj", f"/CN={name}", "-out", request])
    commands.run(
        [
            *("openssl", "x509", "-req", "-in", request, "-signkey", files.key_file, "-days", str(days)),
            *("-extfile", described, "-out", files.certificate_file),
        ]
    )
    return files


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Pair]:
    """By name."""
    folder = tmp_path_factory.mktemp("pairs")
    made = {name: pair(folder, name) for name in ("first", "second", "client", "stranger")}
    made["expired"] = signed_anew(folder, "expired", made["first"], -1)
    made["for clients"] = signed_anew(folder, "for clients", made["first"], 2, "extendedKeyUsage=clientAuth")
    made["of a leaf"] = signed_anew(folder, "of a leaf", made["first"], 40, "basicConstraints=critical,CA:FALSE")
    return made


def expiry(pair: Pair) -> float:
    """In seconds since 1970, as openssl has it."""
    shown = commands.run(["openssl", "x509", "-in", pair.certificate_file, "-noout", "-enddate"])
    return ssl.cert_time_to_seconds(shown.strip().removeprefix("notAfter="))


@dataclass(frozen=True)
class Secure:
    """A server with a certificate, and clients for it."""

    server: Serving
    mount: Mount

    def context(self, trusted: Pair, shown: Pair | None = None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(trusted.certificate_file))
        if shown is not None:
            context.load_cert_chain(shown.certificate_file, shown.key_file)
        return context

    def call(self, method: str, path: str, trusted: Pair, shown: Pair | None = None) -> tuple[int, Any]:
        port = self.server.port
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=10, context=self.context(trusted, shown))
        try:
            connection.request(method, path, BODY if method == "POST" else None)
            reply = connection.getresponse()
            content = reply.read()
            return reply.status, json.loads(content) if content.startswith(b"{") else content.decode()
        finally:
            connection.close()

    def infer_over_grpc(self, trusted: Pair, shown: Pair | None = None) -> str:
        """The model's name, from a reply."""
        key, chain = (shown.key, shown.certificate) if shown else (None, None)
        address = f"localhost:{self.server.wait_for('listening')['grpc_port']}"
        credentials = grpc.ssl_channel_credentials(trusted.certificate, key, chain)
        with grpc.secure_channel(address, credentials) as opened:
            return str(call(opened, "ModelInfer", MESSAGE).model_name)


@pytest.fixture
def secure(tmp_path: Path, pairs: dict[str, Pair]) -> Iterator[Secure]:
    """Serves over both ports, with the first certificate."""
    mount = Mount(tmp_path / "tls", pairs["first"].secret)
    options = ("--grpc-port", "0", "--tls-dir", str(mount.path))
    with serving(models.save(models.mlp(), tmp_path), *options) as server:
        yield Secure(server, mount)


def test_inference_probes_and_scrapes_over_tls(secure: Secure, pairs: dict[str, Pair]) -> None:
    first = pairs["first"]
    assert secure.call("POST", "/v2/models/m/infer", first)[0] == 200
    assert secure.call("GET", "/v2/health/ready", first) == (200, {"ready": True})
    assert 'serinus_requests_total{code="200"' in secure.call("GET", "/metrics", first)[1]
    assert secure.infer_over_grpc(first) == "m"


def test_nothing_answers_in_the_clear(secure: Secure, pairs: dict[str, Pair]) -> None:
    with secure.server.connect() as connection:
        connection.sendall(b"GET /v2 HTTP/1.1\r\nHost: h\r\n\r\n")
        assert b"HTTP" not in connection.recv(65536)
    port = secure.server.wait_for("listening")["grpc_port"]
    with grpc.insecure_channel(f"localhost:{port}") as opened, pytest.raises(grpc.RpcError):
        call(opened, "ModelInfer", MESSAGE, timeout=1)
    assert secure.call("POST", "/v2/models/m/infer", pairs["first"])[0] == 200


@pytest.mark.parametrize(
    ("version", "accepted"),
    [(ssl.TLSVersion.TLSv1_1, False), (ssl.TLSVersion.TLSv1_2, True), (ssl.TLSVersion.TLSv1_3, True)],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_old_versions_of_tls_are_refused(
    secure: Secure, pairs: dict[str, Pair], version: ssl.TLSVersion, accepted: bool
) -> None:
    context = secure.context(pairs["first"])
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = version
    with secure.server.connect() as connection:
        try:
            with context.wrap_socket(connection, server_hostname="localhost") as tls:
                assert tls.selected_alpn_protocol() is None
                negotiated = True
        except ssl.SSLError:
            negotiated = False
    assert negotiated == accepted


def test_a_replaced_certificate_is_shown_to_new_connections(secure: Secure, pairs: dict[str, Pair]) -> None:
    first, second = pairs["first"], pairs["second"]
    old = secure.context(first).wrap_socket(secure.server.connect(), server_hostname="localhost")
    secure.mount.replace(second.secret)
    secure.server.wait_for("reloaded", source="tls")
    for _ in range(5):
        assert secure.call("POST", "/v2/models/m/infer", second)[0] == 200
        with pytest.raises(ssl.SSLCertVerificationError):
            secure.call("POST", "/v2/models/m/infer", first)
    assert secure.infer_over_grpc(second) == "m"
    with old:  # a connection that was there goes on
        old.sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: h\r\n\r\n")
        assert old.recv(65536).startswith(b"HTTP/1.1 200 OK")


def test_a_certificate_that_cannot_be_used_replaces_none(secure: Secure, pairs: dict[str, Pair]) -> None:
    first, second = pairs["first"], pairs["second"]
    secure.mount.replace({"tls.crt": second.certificate, "tls.key": first.key})
    told = secure.server.wait_for(level="error", source="tls")["message"]
    assert "tls.crt and tls.key are not a certificate and its key" in told
    assert secure.call("POST", "/v2/models/m/infer", first)[0] == 200
    assert secure.infer_over_grpc(first) == "m"
    scraped = secure.call("GET", "/metrics", first)[1]
    assert (
        'serinus_policy_last_reload_successful{inferenceservice="m",revision="",source="tls",version="1"} 0' in scraped
    )
    secure.mount.replace({**first.secret, "ca.crt": pairs["client"].certificate})
    secure.server.wait_for(level="error", message=f"ca.crt has come or gone; {SETTLED}")
    assert secure.infer_over_grpc(first) == "m"


def test_a_certificate_that_has_expired_replaces_none(secure: Secure, pairs: dict[str, Pair]) -> None:
    secure.mount.replace(pairs["expired"].secret)
    told = secure.server.wait_for(level="error", source="tls")["message"]
    assert "tls.crt has expired at " in told
    assert "what was in force before stays so" in told
    assert secure.call("POST", "/v2/models/m/infer", pairs["first"])[0] == 200


def test_metrics_tell_when_the_certificate_expires(secure: Secure, pairs: dict[str, Pair]) -> None:
    def told(trusted: Pair) -> float:
        name = "serinus_tls_certificate_expiry_timestamp_seconds{"
        scraped: str = secure.call("GET", "/metrics", trusted)[1]
        [line] = [line for line in scraped.splitlines() if line.startswith(name)]
        return float(line.rpartition(" ")[2])

    first, leaf = pairs["first"], pairs["of a leaf"]
    assert told(first) == expiry(first)
    secure.mount.replace(leaf.secret)
    secure.server.wait_for("reloaded", source="tls")
    context = secure.context(leaf)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    assert told(leaf) == expiry(leaf) > expiry(first) + 30 * 86400


@pytest.mark.parametrize("workers", ["1", "2"])
def test_probes_and_scrapes_in_the_clear_at_a_port_of_their_own(
    tmp_path: Path, pairs: dict[str, Pair], workers: str
) -> None:
    """Which has nothing else, not even where clients need certificates."""
    first, client = pairs["first"], pairs["client"]
    mount = Mount(tmp_path / "tls", {**first.secret, "ca.crt": client.certificate})
    options = ("--tls-dir", str(mount.path), "--monitoring-port", "0", "--workers", workers, "--drain-delay", "1s")
    with serving(models.save(models.mlp(), tmp_path), *options) as server:
        url = f"http://127.0.0.1:{server.wait_for('listening')['monitoring_port']}"

        def get(path: str, body: bytes | None = None) -> tuple[int, str]:
            try:
                with urllib.request.urlopen(f"{url}{path}", body, timeout=10) as reply:  # noqa: S310 - loopback
                    return reply.status, reply.read().decode()
            except urllib.error.HTTPError as error:
                with error:
                    return error.code, error.read().decode()

        for _ in range(3):
            assert Secure(server, mount).call("POST", "/v2/models/m/infer", first, client)[0] == 200
        assert get("/v2/health/live") == (200, '{"live":true}')
        assert get("/v2/health/ready") == (200, '{"ready":true}')
        assert (
            'serinus_requests_total{code="200",inferenceservice="m",revision="",version="1"} 3.0' in get("/metrics")[1]
        )
        for path, body in (("/v2", None), ("/v2/models/m", None), ("/v2/models/m/infer", BODY)):
            said = f"there is no {path} at this port, which has health and metrics alone"
            assert get(path, body) == (404, json.dumps({"error": said}, separators=(",", ":")))
        assert get("/v2/health/live", b"{}")[0] == 405
        server.terminate()
        server.wait_for("draining")
        assert get("/v2/health/ready")[0] == 503
        assert server.exit_code(10) == 0


def test_a_reply_that_ends_the_connection_arrives_whole(secure: Secure, pairs: dict[str, Pair]) -> None:
    """Even when the client has sent what nobody reads any more."""
    tls = secure.context(pairs["first"]).wrap_socket(secure.server.connect(), server_hostname="localhost")
    with tls:
        tls.sendall(
            b"POST /v2/models/m/infer HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000000\r\n\r\n" + b" " * 100_000
        )
        received = b""
        while more := tls.recv(65536):
            received += more
    assert received.startswith(b"HTTP/1.1 413")
    assert received.endswith(b'are allowed"}')


def test_client_certificates(tmp_path: Path, pairs: dict[str, Pair]) -> None:
    """Inference and metadata need one; probes and scrapes, which have none, do not."""
    first, client, stranger = (pairs[name] for name in ("first", "client", "stranger"))
    mount = Mount(tmp_path / "tls", {**first.secret, "ca.crt": client.certificate})
    options = ("--grpc-port", "0", "--tls-dir", str(mount.path))
    with serving(models.save(models.mlp(), tmp_path), *options) as server:
        secure = Secure(server, mount)
        refused = (403, {"error": "this call needs a client certificate"})
        for method, path in (("POST", "/v2/models/m/infer"), ("GET", "/v2/models/m")):
            assert secure.call(method, path, first, client)[0] == 200
            assert secure.call(method, path, first) == refused
        assert secure.call("GET", "/v2/health/live", first)[0] == 200
        scraped = secure.call("GET", "/metrics", first)[1]
        assert 'serinus_rejected_requests_total{inferenceservice="m",reason="no_client_certificate"' in scraped
        with pytest.raises((ssl.SSLError, ConnectionError)):
            secure.call("POST", "/v2/models/m/infer", first, stranger)
        assert secure.infer_over_grpc(first, client) == "m"
        for shown in (None, stranger):
            with pytest.raises(grpc.RpcError):
                secure.infer_over_grpc(first, shown)
        mount.replace({**first.secret, "ca.crt": stranger.certificate})
        server.wait_for("reloaded", source="tls")
        assert secure.call("POST", "/v2/models/m/infer", first, stranger)[0] == 200
        with pytest.raises((ssl.SSLError, ConnectionError)):
            secure.call("POST", "/v2/models/m/infer", first, client)
        assert secure.infer_over_grpc(first, stranger) == "m"
        with pytest.raises(grpc.RpcError):
            secure.infer_over_grpc(first, client)


def test_a_client_that_never_finishes_its_handshake_holds_up_nobody(secure: Secure, pairs: dict[str, Pair]) -> None:
    silent = [socket.create_connection(("127.0.0.1", secure.server.port)) for _ in range(20)]
    started = time.monotonic()
    assert secure.call("POST", "/v2/models/m/infer", pairs["first"])[0] == 200
    assert time.monotonic() - started < 5
    for each in silent:
        each.close()


def test_a_drain_over_tls_answers_what_is_in_work(tmp_path: Path, pairs: dict[str, Pair]) -> None:
    mount = Mount(tmp_path / "tls", pairs["first"].secret)
    with serving(models.save(models.mlp(), tmp_path), "--tls-dir", str(mount.path), "--drain-delay", "1s") as server:
        secure = Secure(server, mount)
        server.terminate()
        server.wait_for("draining")
        assert secure.call("POST", "/v2/models/m/infer", pairs["first"])[0] == 200
        assert server.exit_code(10) == 0
        assert server.wait_for("drained")["connections_cut_off"] == 0


@pytest.mark.parametrize(
    ("files", "line"),
    [
        ({}, "InvalidCertificate: cannot read {}/tls/..version-1/tls.crt: No such file or directory"),
        ({"tls.crt": "x", "tls.key": "y"}, "InvalidCertificate: {}/tls/..version-1: tls.crt and tls.key are not a"),
        ("expired", "InvalidCertificate: {}/tls/..version-1/tls.crt has expired at "),
        ("for clients", "InvalidCertificate: {}/tls/..version-1/tls.crt is no server's certificate: "),
        ({"ca.crt": "no certificate"}, "InvalidCertificate: {}/tls/..version-1/ca.crt holds no certificates in PEM"),
    ],
)
def test_a_server_does_not_start_in_the_clear_instead(
    tmp_path: Path, pairs: dict[str, Pair], files: dict[str, str | bytes] | str, line: str
) -> None:
    """`files` may be the name of a pair."""
    given = pairs[files].secret if isinstance(files, str) else files
    complete = {**pairs["first"].secret, **given} if "ca.crt" in given else given
    mount = Mount(tmp_path / "tls", complete)
    with serving(models.save(models.mlp(), tmp_path), "--tls-dir", str(mount.path), wait=False) as server:
        assert server.exit_code() == 25
        assert server.termination_log.read_text().startswith(line.format(tmp_path))


def test_no_connection_is_lost_while_certificates_are_replaced(secure: Secure, pairs: dict[str, Pair]) -> None:
    outcomes: list[object] = []
    over = threading.Event()
    context = ssl.create_default_context()
    for name in ("first", "second"):
        context.load_verify_locations(pairs[name].certificate_file)

    def ask() -> None:
        while not over.is_set():
            connection = http.client.HTTPSConnection("127.0.0.1", secure.server.port, timeout=10, context=context)
            try:
                connection.request("POST", "/v2/models/m/infer", BODY)
                outcomes.append(connection.getresponse().status)
            except OSError as error:
                outcomes.append(error)
            finally:
                connection.close()

    clients = [threading.Thread(target=ask) for _ in range(4)]
    for client in clients:
        client.start()
    for number in range(4):
        secure.mount.replace(pairs["second" if number % 2 == 0 else "first"].secret)
        time.sleep(1.5 * POLL_SECONDS)
    over.set()
    for client in clients:
        client.join()
    assert [line["source"] for line in secure.server.log if line["message"] == "reloaded"].count("tls") == 4
    assert len(outcomes) > 100
    assert set(outcomes) == {200}
