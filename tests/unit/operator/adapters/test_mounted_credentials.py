"""How the operator authenticates at Prometheus: by what a mounted Secret holds at the time."""

import base64
import ssl
import subprocess
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from serinus.adapters.mounted_credentials import MountedCredentials
from serinus.adapters.prometheus import PrometheusMetrics
from serinus.ports import MetricsQuery, MetricsUnavailableError
from tests.unit.operator.adapters.canned_prometheus import CannedPrometheus, answers

QUERY = MetricsQuery(
    namespace="vision",
    service="digits",
    ready_pods={"aaa": 0},
    since=None,
    now=datetime(2026, 3, 1, 3, 0, tzinfo=UTC),
    interval=timedelta(seconds=60),
    latency_thresholds={95: 0.1},
)


@pytest.fixture
def canned() -> Iterator[CannedPrometheus]:
    server = CannedPrometheus(answers())
    with server.running():
        yield server


def asked(url: str, folder: Path) -> None:
    credentials = MountedCredentials(folder)
    PrometheusMetrics(
        url,
        scrape_interval=timedelta(seconds=15),
        timeout=timedelta(seconds=10),
        namespace_label="namespace",
        credentials=credentials,
    ).sample(QUERY)


def write(folder: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        (folder / name).write_text(text)


@pytest.mark.parametrize(
    ("files", "authorization"),
    [
        ({"token": "abc\n"}, "Bearer abc"),
        ({"username": "ops", "password": "pä:ss\n"}, f"Basic {base64.b64encode('ops:pä:ss'.encode()).decode()}"),
        ({"token": "abc", "username": "ops", "password": "x"}, "Bearer abc"),
    ],
)
def test_what_is_sent(canned: CannedPrometheus, tmp_path: Path, files: dict[str, str], authorization: str) -> None:
    write(tmp_path, files)
    asked(canned.url, tmp_path)
    assert {one.authorization for one in canned.asked} == {authorization}


def test_a_rotated_secret_counts_at_once(canned: CannedPrometheus, tmp_path: Path) -> None:
    write(tmp_path, {"token": "old"})
    asked(canned.url, tmp_path)
    write(tmp_path, {"token": "new"})
    canned.asked.clear()
    asked(canned.url, tmp_path)
    assert {one.authorization for one in canned.asked} == {"Bearer new"}


@pytest.mark.parametrize("files", [{}, {"username": "ops"}, {"password": "x"}, {"Token": "abc"}])
def test_a_secret_with_something_else_in_it_is_said(
    canned: CannedPrometheus, tmp_path: Path, files: dict[str, str]
) -> None:
    write(tmp_path, files)
    with pytest.raises(MetricsUnavailableError, match="neither token, nor username and password"):
        asked(canned.url, tmp_path)


@pytest.fixture
def own_authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a certificate for 127.0.0.1, its key, and itself as the authority to trust."""
    folder = tmp_path_factory.mktemp("authority")
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    subprocess.run(
        ["openssl", "req", "-x509", *key, "-keyout", "tls.key", "-out", "ca.crt", "-days", "2", "-subj", "/CN=test",
         "-addext", "subjectAltName=IP:127.0.0.1"],
        cwd=folder, check=True, capture_output=True,
    )  # fmt: skip
    return folder


def test_tls_is_checked_against_the_authority_in_the_secret(own_authority: Path, tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(own_authority / "ca.crt", own_authority / "tls.key")
    server = CannedPrometheus(answers(), context)
    with server.running():
        write(tmp_path, {"token": "abc"})
        with pytest.raises(MetricsUnavailableError, match="certificate"):
            asked(server.url, tmp_path)
        write(tmp_path, {"ca.crt": (own_authority / "ca.crt").read_text()})
        asked(server.url, tmp_path)
    assert {one.authorization for one in server.asked} == {"Bearer abc"}
