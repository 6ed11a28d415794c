"""TLS from a Secret: what waits for it, who is answered, how it is judged, and a certificate that is renewed."""

import base64
import json
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest

from tests.cluster import commands
from tests.cluster.inference_service import InferenceServiceHandle, condition
from tests.cluster.traffic import Exchange, flowing
from tests.e2e.expectations import (
    DEPLOY_SECONDS,
    KUBELET_SECONDS,
    RATE,
    assert_nothing_lost,
    deploy,
    is_being_judged,
    wait_promoted,
    within,
)
from tests.e2e.manifests import SERVICE, canary, digits

SECRET = "digits-tls"  # noqa: S105 - its name
TLS = {"protocols": ["REST", "gRPC"], "tls": {"secretName": SECRET}}


class Authority:
    """A certificate authority, and what it issues."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key, self.file = folder / "ca.key", folder / "ca.crt"
        made = ("openssl", "req", "-x509", *_key_at(self._key), "-out", self.file, "-days", "2", "-subj", "/CN=test")
        commands.run(list(made))

    def issue(self, host: str) -> dict[str, bytes]:
        """A certificate for `host` and the loopback address, in a Secret as cert-manager writes it."""
        key, request, certificate = (self._folder / name for name in ("tls.key", "tls.csr", "tls.crt"))
        names = self._folder / "names.cnf"
        names.write_text(f"subjectAltName=DNS:{host},IP:127.0.0.1")
        commands.run(["openssl", "req", *_key_at(key), "-new", "-subj", f"/CN={SERVICE}", "-out", request])
        signing = ("-CA", self.file, "-CAkey", self._key, "-CAcreateserial", "-days", "1", "-extfile", names)
        commands.run(["openssl", "x509", "-req", "-in", request, *signing, "-out", certificate])
        return {"tls.crt": certificate.read_bytes(), "tls.key": key.read_bytes(), "ca.crt": self.file.read_bytes()}


def _key_at(path: Path) -> tuple[str | Path, ...]:
    return ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", path)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def put(service: InferenceServiceHandle, files: dict[str, bytes]) -> None:
    """Have the Secret hold these files."""
    data = {name: base64.b64encode(content).decode() for name, content in files.items()}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET}, "type": "kubernetes.io/tls"}
    service.cluster.kubectl("apply", "-n", service.namespace, "-f", "-", input=json.dumps(secret | {"data": data}))


@contextmanager
def address(service: InferenceServiceHandle, port: int) -> Iterator[tuple[str, int]]:
    """Host and port that lead to a port of the Service."""
    with service.cluster.port_forward(service.namespace, SERVICE, port) as url:
        host, _, forwarded = url.removeprefix("http://").partition(":")
        yield host, int(forwarded)


def shown(service: InferenceServiceHandle) -> bytes:
    """The certificate that a client is shown, in PEM."""
    with address(service, 443) as there:
        return ssl.get_server_certificate(there).encode()


def test_a_service_with_tls_is_judged_and_its_certificate_renewed(
    service: InferenceServiceHandle, exchanges: list[Exchange], authority: Authority
) -> None:
    host = f"{SERVICE}.{service.namespace}.svc"
    service.apply(digits("1", replicas=1, server=TLS))
    missing = f'secret "{SECRET}" not found'
    service.wait_until(lambda status: missing in condition(status, "Stalled")[2], "it says so", DEPLOY_SECONDS)
    first = authority.issue(host)
    put(service, first)
    status = deploy(service, digits("1", replicas=1, server=TLS))
    assert status.url == f"https://{host}"
    assert shown(service) == first["tls.crt"]
    with address(service, 9443) as (name, port), _channel(f"{name}:{port}", authority) as channel:
        grpc.channel_ready_future(channel).result(timeout=20)

    renewed = authority.issue(host)
    trusted = authority.file.read_text()
    with flowing(service.cluster, service.namespace, SERVICE, exchanges, RATE, authorities=trusted) as traffic:
        service.apply(digits("2", replicas=1, server=TLS, canary=canary(seconds=10)))
        service.wait_until(is_being_judged, "version 2 is being judged", 60)
        put(service, renewed)
        wait_promoted(service, "2")
        pods = service.pod_uids()
        within(KUBELET_SECONDS, lambda: shown(service) == renewed["tls.crt"], "the renewed certificate is shown")
        totals = traffic.stop()
    assert_nothing_lost(totals)
    assert totals.of("2").succeeded > 0
    assert service.pod_uids() <= pods, "none was started for the certificate"


def _channel(target: str, authority: Authority) -> grpc.Channel:
    return grpc.secure_channel(target, grpc.ssl_channel_credentials(authority.file.read_bytes()))
