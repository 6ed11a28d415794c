"""`serinus-server fetch` against local servers: what arrives, what is left behind, and how failures read."""

import base64
import errno
import hashlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from serinus_server.failure import FatalError, Reason
from serinus_server.fetching import source, transfer
from serinus_server.fetching.uri import parse
from tests.unit.server.fetch_command import fetch_command
from tests.unit.server.local_server import local_server

CONTENT = bytes(range(256)) * 5000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


ENDPOINTS = ("AWS_ENDPOINT_URL", "GOOGLE_BASE_URL", "AZURE_STORAGE_ENDPOINT")
SETTINGS = {
    "AWS_REGION": "us-east-1",
    "AWS_ALLOW_HTTP": "true",
    "GOOGLE_ALLOW_HTTP": "true",
    "AZURE_ALLOW_HTTP": "true",
    "AZURE_STORAGE_ACCOUNT_NAME": "account",
}
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "key-id",
    "AWS_SECRET_ACCESS_KEY": "the-secret",
    "GOOGLE_BEARER_TOKEN": "the-token",
    "AZURE_STORAGE_ACCOUNT_KEY": base64.b64encode(b"the-secret").decode(),
}
STORES = ("s3", "gs", "az")
KINDS = (*STORES, "http")


@dataclass
class Store:
    """A web server that is also an S3, Google and Azure endpoint: objects by path, and a script of failures by path."""

    objects: dict[str, bytes] = field(default_factory=dict)
    failing: dict[str, list[Callable[["_Handler"], None]]] = field(default_factory=dict)
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    url: str = ""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    store: Store

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        self.store.requests.append((self.path, {name.lower(): text for name, text in self.headers.items()}))
        path = unquote(parts.path)
        failures = self.store.failing.get(path)
        if failures:
            failures.pop(0)(self)
        elif "list-type" in parts.query:
            self._list(path.strip("/"), parse_qs(parts.query)["prefix"][0])
        elif "comp=list" in parts.query:
            self._list_azure(path.strip("/"), parse_qs(parts.query)["prefix"][0])
        elif path in self.store.objects:
            self.answer(200, self.store.objects[path])
        else:
            self.answer(404, b"<Error><Code>NoSuchKey</Code><Message>No such key.</Message></Error>")

    def do_CONNECT(self) -> None:
        """As a proxy that reaches nobody."""
        self.store.requests.append((f"CONNECT {self.path}", {}))
        self.answer(502)

    def end_headers(self) -> None:
        """With what every object store says of an object."""
        self.send_header("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
        self.send_header("ETag", '"x"')
        super().end_headers()

    def _sizes(self, bucket: str, prefix: str) -> dict[str, int]:
        start = f"/{bucket}/"
        keys = sorted(name.removeprefix(start) for name in self.store.objects if name.startswith(start + prefix))
        return {key: len(self.store.objects[start + key]) for key in keys}

    def _list_azure(self, container: str, prefix: str) -> None:
        blobs = "".join(
            f"<Blob><Name>{key}</Name><Properties><Content-Length>{size}</Content-Length><Content-Type>x</Content-Type>"
            f"<Last-Modified>Thu, 01 Jan 2026 00:00:00 GMT</Last-Modified><Etag>x</Etag></Properties></Blob>"
            for key, size in self._sizes(container, prefix).items()
        )
        self.answer(200, f"<EnumerationResults><Blobs>{blobs}</Blobs><NextMarker/></EnumerationResults>".encode())

    def _list(self, bucket: str, prefix: str) -> None:
        contents = "".join(
            f"<Contents><Key>{key}</Key><Size>{size}</Size>"
            f'<LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>"x"</ETag></Contents>'
            for key, size in self._sizes(bucket, prefix).items()
        )
        self.answer(200, f"<ListBucketResult><IsTruncated>false</IsTruncated>{contents}</ListBucketResult>".encode())

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, text in headers.items():
            self.send_header(name, text)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """A fresh store, with the settings of all kinds pointing at it, and no waiting between tries."""
    contents = Store()
    for name in list(os.environ):
        if name.startswith(("AWS_", "GOOGLE_", "AZURE_")):
            monkeypatch.delenv(name)
    monkeypatch.setattr(transfer, "_FIRST_PAUSE_SECONDS", 0.01)
    with local_server(_Handler, store=contents) as contents.url:
        for settings in (SETTINGS, CREDENTIALS, dict.fromkeys(ENDPOINTS, contents.url)):
            for name, value in settings.items():
                monkeypatch.setenv(name, value)
        yield contents


@pytest.fixture
def fetch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str]]:
    """Runs the command into tmp_path/models; returns the exit code and the termination message."""
    return fetch_command(tmp_path, monkeypatch)


def left(tmp_path: Path) -> dict[str, bytes]:
    """Every file in the target folder, hidden and temporary ones too."""
    folder = tmp_path / "models"
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


Fetch = Callable[..., tuple[int, str]]


@pytest.mark.parametrize(
    ("kind", "authorization"),
    [
        ("s3", "AWS4-HMAC-SHA256 Credential=key-id/"),
        ("gs", "Bearer the-token"),
        ("az", "SharedKey account:"),
    ],
)
def test_object(tmp_path: Path, store: Store, fetch: Fetch, kind: str, authorization: str) -> None:
    store.objects["/bucket/a/7/model.onnx"] = CONTENT
    assert fetch(f"{kind}://bucket/a/7/model.onnx", "--sha256", SHA256.upper()) == (0, "")
    assert left(tmp_path) == {"model.onnx": CONTENT}
    assert store.requests[0][1]["authorization"].startswith(authorization)


@pytest.mark.parametrize("kind", STORES)
def test_without_credentials_requests_are_anonymous(
    tmp_path: Path, store: Store, fetch: Fetch, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    for name in CREDENTIALS:
        monkeypatch.delenv(name)
    store.objects["/bucket/model.onnx"] = CONTENT
    assert fetch(f"{kind}://bucket/model.onnx") == (0, "")
    assert "authorization" not in store.requests[0][1]


@pytest.mark.parametrize("kind", STORES)
def test_folder(tmp_path: Path, store: Store, fetch: Fetch, kind: str) -> None:
    uri = f"{kind}://bucket/v1/"
    files = {"model.onnx": b"model", "data/weights.bin": b"weights", ".note": b"hidden"}
    store.objects |= {f"/bucket/v1/{name}": content for name, content in files.items()}
    store.objects |= {"/bucket/v1/": b"", "/bucket/v1/data/": b"", "/bucket/v10/model.onnx": b"another version"}
    manifest = "".join(f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in sorted(files))
    digest = hashlib.sha256(manifest.encode()).hexdigest()
    assert fetch(uri, "--sha256", digest) == (0, "")
    assert left(tmp_path) == files
    store.objects["/bucket/v1/data/weights.bin"] = b"other weights"
    assert fetch(uri, "--sha256", digest)[0] == 14
    assert left(tmp_path) == files
    assert fetch(uri)[0] == 0  # over what an earlier run left in the volume
    assert left(tmp_path) == {**files, "data/weights.bin": b"other weights"}


@pytest.mark.parametrize("kind", STORES)
def test_an_empty_folder(store: Store, fetch: Fetch, kind: str) -> None:
    assert fetch(f"{kind}://bucket/v1/") == (11, f"NotFound: there is no object under {kind}://bucket/v1/")


@pytest.mark.parametrize("kind", STORES)
@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/etc/evil", "a//b"])
def test_object_names_cannot_leave_the_folder(tmp_path: Path, store: Store, fetch: Fetch, kind: str, name: str) -> None:
    store.objects["/bucket/v1/model.onnx"] = b"model"
    store.objects[f"/bucket/v1/{name}"] = b"evil"
    code, message = fetch(f"{kind}://bucket/v1/")
    assert code != 0
    assert message
    assert left(tmp_path) == {}
    assert not (tmp_path / "evil").exists()


def test_web_file(tmp_path: Path, store: Store, fetch: Fetch) -> None:
    store.objects["/a b/model.onnx"] = CONTENT
    uri = f"{store.url}/a%20b/model.onnx?X-Signature=a%2Fb%3D&x=1"
    assert fetch(uri, "--allow-http", "--sha256", SHA256) == (0, "")
    assert left(tmp_path) == {"model.onnx": CONTENT}
    assert store.requests[0][0] == "/a%20b/model.onnx?X-Signature=a%2Fb%3D&x=1"


def test_signatures_in_a_uri_are_not_repeated(
    tmp_path: Path, store: Store, fetch: Fetch, capfd: pytest.CaptureFixture[str]
) -> None:
    code, message = fetch(f"{store.url}/none.onnx?signature=topsecret", "--allow-http")
    assert (code, message) == (11, f"NotFound: {store.url}/none.onnx: HTTP status 404 Not Found")
    assert "topsecret" not in capfd.readouterr().err


def chunked(handler: _Handler) -> None:
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    handler.wfile.write(b"5\r\nhello\r\n0\r\n\r\n")


def test_web_file_of_undeclared_length(tmp_path: Path, store: Store, fetch: Fetch) -> None:
    store.failing["/m.onnx"] = [chunked]
    assert fetch(f"{store.url}/m.onnx", "--allow-http")[0] == 0
    assert left(tmp_path) == {"m.onnx": b"hello"}
    store.failing["/m.onnx"] = [chunked]
    assert fetch(f"{store.url}/m.onnx", "--allow-http", "--max-size", "4")[0] == 15


def status(code: int) -> Callable[[_Handler], None]:
    return lambda handler: handler.answer(code)


def broken(handler: _Handler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    handler.wfile.write(b"only the beginning")
    handler.close_connection = True


@pytest.mark.parametrize(
    ("failures", "code", "message"),
    [
        ([status(503), broken], 0, ""),
        ([status(500)] * 4, 13, "Unreachable: {uri}: HTTP status 500 Internal Server Error"),
        ([status(429)] * 4, 13, "Unreachable: {uri}: HTTP status 429 Too Many Requests"),
        ([status(401)], 12, "AccessDenied: {uri}: HTTP status 401 Unauthorized"),
        ([status(403)], 12, "AccessDenied: {uri}: HTTP status 403 Forbidden"),
        ([status(404)], 11, "NotFound: {uri}: HTTP status 404 Not Found"),
        ([status(400)], 10, "InvalidURI: {uri}: HTTP status 400 Bad Request"),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_transient_failures_are_retried_and_others_named(
    tmp_path: Path,
    store: Store,
    fetch: Fetch,
    kind: str,
    failures: list[Callable[[_Handler], None]],
    code: int,
    message: str,
) -> None:
    store.objects["/bucket/m.onnx"] = CONTENT
    store.failing["/bucket/m.onnx"] = list(failures)
    uri, *options = uri_of(store, kind)
    answered, said = fetch(uri, *options)
    assert answered == code
    assert said.startswith(message.format(uri=uri))
    assert left(tmp_path) == ({"m.onnx": CONTENT} if code == 0 else {})
    assert len(store.requests) == min(len(failures) + 1, 4) if code in {0, 13} else 1


def test_equal_failures_read_equal(store: Store, fetch: Fetch) -> None:
    """Whatever the store says of the one request: events and conditions would change with each try otherwise."""
    said = b"<Error><Code>BlobNotFound</Code><Message>No such blob.\nRequestId:%d\nTime:2026-01-01</Message></Error>"
    store.failing["/bucket/m.onnx"] = [lambda handler: handler.answer(404, said % 1)]
    message = "NotFound: az://bucket/m.onnx: HTTP status 404 Not Found (BlobNotFound, No such blob.)"
    assert fetch("az://bucket/m.onnx") == (11, message)


def uri_of(store: Store, kind: str) -> tuple[str, ...]:
    """What to fetch, with the options that it takes."""
    return (f"{store.url}/bucket/m.onnx", "--allow-http") if kind == "http" else (f"{kind}://bucket/m.onnx",)


@pytest.mark.parametrize("kind", KINDS)
def test_truncated_download(tmp_path: Path, store: Store, fetch: Fetch, kind: str) -> None:
    """What ends before its length is reached is no model, though no digest is asked for."""
    store.objects["/bucket/m.onnx"] = CONTENT
    store.failing["/bucket/m.onnx"] = [broken] * 4
    code, message = fetch(*uri_of(store, kind))
    assert code == 17
    assert message.startswith("TransferFailed: ")
    assert left(tmp_path) == {}
    store.failing["/bucket/m.onnx"] = [broken] * 3
    assert fetch(*uri_of(store, kind))[0] == 0
    assert left(tmp_path) == {"m.onnx": CONTENT}


def in_pieces(sent: int, pause_seconds: float, then_seconds: float) -> Callable[[_Handler], None]:
    """Sends so many tenths of the content with a pause after each, and then nothing for a while."""

    def answer(handler: _Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(CONTENT)))
        handler.end_headers()
        tenth = len(CONTENT) // 10
        for number in range(sent):
            handler.wfile.write(CONTENT[number * tenth : (number + 1) * tenth])
            handler.wfile.flush()
            time.sleep(pause_seconds)
        time.sleep(then_seconds)
        handler.close_connection = True

    return answer


@pytest.mark.parametrize("kind", KINDS)
def test_slow_storage(tmp_path: Path, store: Store, fetch: Fetch, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """A transfer may take as long as it likes while it goes on; one that stands still is given up and begun anew."""
    monkeypatch.setattr(source, "READ_TIMEOUT_SECONDS", 1.0)
    store.objects["/bucket/m.onnx"] = CONTENT
    slow, stalled = in_pieces(10, 0.2, 0), in_pieces(5, 0, 3)
    store.failing["/bucket/m.onnx"] = [slow]
    assert fetch(*uri_of(store, kind)) == (0, "")
    assert len(store.requests) == 1
    store.failing["/bucket/m.onnx"] = [stalled]
    assert fetch(*uri_of(store, kind)) == (0, "")
    assert len(store.requests) == 3
    assert left(tmp_path) == {"m.onnx": CONTENT}


@pytest.mark.parametrize("kind", STORES)
def test_nobody_there(store: Store, fetch: Fetch, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    for name in ENDPOINTS:
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    message = f"Unreachable: {kind}://bucket/m.onnx: cannot reach http://127.0.0.1:1: Connection refused"
    assert fetch(f"{kind}://bucket/m.onnx") == (13, message)


def test_no_web_server_there(store: Store, fetch: Fetch) -> None:
    code, message = fetch("http://127.0.0.1:1/m.onnx", "--allow-http")
    assert (code, message) == (13, "Unreachable: http://127.0.0.1:1/m.onnx: [Errno 111] Connection refused")


def test_size_is_bounded_over_all_files(tmp_path: Path, store: Store, fetch: Fetch) -> None:
    store.objects |= {"/bucket/v1/a": bytes(600), "/bucket/v1/b": bytes(600)}
    assert fetch("s3://bucket/v1/", "--max-size", "1Ki") == (15, "TooLarge: b is 600 bytes; at most 424 are allowed")
    assert left(tmp_path) == {}


def test_digest_mismatch(tmp_path: Path, store: Store, fetch: Fetch) -> None:
    store.objects["/bucket/m.onnx"] = CONTENT
    code, message = fetch("s3://bucket/m.onnx", "--sha256", "0" * 64)
    assert (code, message) == (
        14,
        f"DigestMismatch: s3://bucket/m.onnx has sha256 {SHA256}, expected {'0' * 64}",
    )
    assert left(tmp_path) == {}


def test_disk_full(tmp_path: Path, store: Store) -> None:
    """On a real file system of 256 KiB."""
    store.objects["/bucket/m.onnx"] = CONTENT
    folder, message = tmp_path / "models", tmp_path / "termination-log"
    folder.mkdir()
    script = 'mount -t tmpfs -o size=256k none "$1" && "$2" -c "$3" fetch "$4" "$1"; echo $?; ls -A "$1"'
    apart = ["unshare", "--user", "--map-root-user", "--mount"]
    if subprocess.run([*apart, "true"], check=False).returncode:
        pytest.skip("no file system can be mounted here")
    program = "from serinus_server.cli import main; main()"
    command = [*apart, "sh", "-c", script, "sh", str(folder), sys.executable, program, "s3://bucket/m.onnx"]
    environment = {**os.environ, "SERINUS_TERMINATION_LOG": str(message)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "16\n", "nothing is left"
    assert message.read_text() == f"NoSpace: no space left in {folder}: No space left on device"


def test_a_disk_that_is_full_when_all_is_written(
    tmp_path: Path, store: Store, fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.objects["/bucket/m.onnx"] = CONTENT

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    code, message = fetch("s3://bucket/m.onnx")
    assert (code, message) == (16, f"NoSpace: no space left in {tmp_path}/models: No space left on device")
    assert left(tmp_path) == {}


def test_a_redirect_to_another_place(tmp_path: Path, store: Store, fetch: Fetch) -> None:
    store.objects["/real"] = b"model"
    store.failing["/m.onnx"] = [lambda handler: handler.answer(302, Location="/real?token=1")]
    assert fetch(f"{store.url}/m.onnx", "--allow-http")[0] == 0
    assert left(tmp_path) == {"m.onnx": b"model"}
    store.failing["/m.onnx"] = [lambda handler: handler.answer(302, Location="file:///etc/hostname")]
    code, message = fetch(f"{store.url}/m.onnx", "--allow-http")
    assert (code, message) == (10, f"InvalidURI: {store.url}/m.onnx: HTTP status 302 a redirect that is not followed")
    store.failing["/m.onnx"] = [lambda handler: handler.answer(302, Location="ftp://host/m?token=1")]
    code, message = fetch(f"{store.url}/m.onnx", "--allow-http")
    assert (code, message) == (10, "InvalidURI: refused a redirect to 'ftp://host/m': not https")


def test_a_proxy_is_asked_for_a_tunnel(store: Store, fetch: Fetch, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the environment of the container names one."""
    monkeypatch.setenv("https_proxy", store.url)
    code, message = fetch("https://models.example/m.onnx")
    assert (code, message) == (
        13,
        "Unreachable: https://models.example/m.onnx: Tunnel connection failed: 502 Bad Gateway",
    )
    assert {path for path, _ in store.requests} == {"CONNECT models.example:443"}


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ("169.254.169.254", "169.254.169.254"),
        ("[fe80::1]", "fe80::1"),
        ("[::ffff:169.254.169.254]", "::ffff:169.254.169.254"),
        ("[fd00:ec2::254]", "fd00:ec2::254"),
    ],
)
def test_no_link_local_address_is_spoken_to(store: Store, fetch: Fetch, host: str, shown: str) -> None:
    """Neither at once nor by a redirect: a cloud's metadata service is there, with the identity of the node."""
    message = f"InvalidURI: refused to connect to {host.strip('[]')}: {shown} is link-local"
    assert fetch(f"http://{host}/latest/meta-data/m.onnx", "--allow-http") == (10, message)
    assert fetch(f"https://{host}/m.onnx") == (10, message)
    store.failing["/m.onnx"] = [lambda handler: handler.answer(302, Location=f"http://{host}/latest/meta-data/")]
    assert fetch(f"{store.url}/m.onnx", "--allow-http") == (10, message)


def test_a_name_of_a_link_local_address_is_not_spoken_to(
    fetch: Fetch, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The address that is looked at is the one that is connected to: a name may be told differently the next time."""
    told = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("169.254.169.254", 80))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: told)
    code, message = fetch("https://models.example/m.onnx")
    assert (code, message) == (10, "InvalidURI: refused to connect to models.example: 169.254.169.254 is link-local")


@pytest.mark.parametrize(
    ("uri", "complaint"),
    [
        ("ftp://host/m.onnx", "unknown scheme 'ftp'"),
        ("model.onnx", "unknown scheme ''"),
        ("file:///etc/passwd", "unknown scheme 'file'"),
        ("http://host/m.onnx", "http:// is not encrypted"),
        ("https:///m.onnx", "names no host"),
        ("https://user:pass@host/m.onnx", "must not hold a user or password"),
        ("https://host/folder/", "https has no folders"),
        ("https://host", "https has no folders"),
        ("https://host/..", "'..' is not a usable file name"),
        ("https://host/%2e%2e", "'..' is not a usable file name"),
        ("https://host/a%2Fb%2F..", "'..' is not a usable file name"),
        ("https://host:port/m.onnx", "is not a URI"),
        ("s3://bucket", "names no object"),
        ("s3://bucket/", "names no object"),
        ("s3://Bucket_/k", "'Bucket_' is not the name of an S3 bucket"),
        ("s3:///k", "'' is not the name of an S3 bucket"),
        ("gs://b", "'b' is not the name of a Google Cloud Storage bucket"),
        ("gs://bucket/", "names no object"),
        ("az://under_score/k", "'under_score' is not the name of an Azure container"),
        ("az://account@container/k", "'account@container' is not the name of an Azure container"),
        ("s3://bucket/.hidden", "'.hidden' is not a usable file name"),
    ],
)
def test_uris_that_are_refused(uri: str, complaint: str) -> None:
    with pytest.raises(FatalError) as caught:
        parse(uri, allow_http=False)
    assert caught.value.reason is Reason.INVALID_URI
    assert complaint in str(caught.value)
    assert "pass" not in str(caught.value) or "password" in str(caught.value) or "passwd" in uri


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("s3://bucket/a/b?c#d.onnx", {"bucket": "bucket", "location": "a/b?c#d.onnx", "file_name": "b?c#d.onnx"}),
        ("s3://bucket/v1/", {"is_folder": True, "location": "v1/"}),
        ("gs://under_score/a#b.onnx", {"bucket": "under_score", "shown": "gs://under_score/a#b.onnx"}),
        ("az://$web/m.onnx", {"bucket": "$web", "location": "m.onnx"}),
        ("https://host:8443/a/m.onnx?s=1", {"file_name": "m.onnx", "shown": "https://host:8443/a/m.onnx"}),
        ("https://host/m%20v2.onnx", {"file_name": "m v2.onnx"}),
    ],
)
def test_what_a_uri_means(uri: str, expected: dict[str, Any]) -> None:
    parsed = parse(uri, allow_http=False)
    assert {name: getattr(parsed, name) for name in expected} == expected


@pytest.mark.parametrize(("kind", "name"), [("s3", "S3"), ("gs", "Google Cloud Storage"), ("az", "Azure")])
def test_an_unencrypted_endpoint_must_be_allowed(
    store: Store, fetch: Fetch, monkeypatch: pytest.MonkeyPatch, kind: str, name: str
) -> None:
    allow = {"s3": "AWS_ALLOW_HTTP", "gs": "GOOGLE_ALLOW_HTTP", "az": "AZURE_ALLOW_HTTP"}[kind]
    monkeypatch.delenv(allow)
    code, message = fetch(f"{kind}://bucket/m.onnx")
    assert code == 10
    assert f"the {name} endpoint {store.url} is not encrypted; use https://, or set {allow}=true" in message
    assert store.requests == []


def test_azure_needs_the_name_of_the_account(store: Store, fetch: Fetch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME")
    message = "InvalidURI: az:// needs AZURE_STORAGE_ACCOUNT_NAME: the storage account that the container is in"
    assert fetch("az://bucket/m.onnx") == (10, message)


@pytest.mark.parametrize(
    ("kind", "variable", "value"),
    [("gs", "GOOGLE_SERVICE_ACCOUNT_KEY", "{not json"), ("az", "AZURE_STORAGE_ACCOUNT_KEY", "no base64!")],
)
def test_credentials_of_the_wrong_form(
    store: Store, fetch: Fetch, monkeypatch: pytest.MonkeyPatch, kind: str, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    code, message = fetch(f"{kind}://bucket/m.onnx")
    assert code == 10
    assert " settings do not work: " in message
    assert value not in message
    assert store.requests == []
