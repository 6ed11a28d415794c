"""A Kubernetes API without nodes and controllers: etcd and kube-apiserver alone, on loopback, without root.

What is written stays as it was written: no pod starts, nothing is garbage collected, no status changes by itself.
"""

import json
import secrets
import socket
import subprocess
import tempfile
import textwrap
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import yaml
from kubernetes import client
from kubernetes import config as kubernetes_config
from urllib3.exceptions import HTTPError

from tests.cluster import binaries, commands
from tests.cluster.child import child
from tests.cluster.errors import ClusterError

_COMPONENTS: Final = ("etcd", "kube-apiserver", "kubectl")
_READY_SECONDS: Final = 90.0
_LOG_LINES: Final = 20

# Every request in one line: who did what to which resource, and what came of it.
_AUDIT_POLICY: Final = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "None", "nonResourceURLs": ["/readyz*", "/livez*", "/openapi*"]}, {"level": "Metadata"}],
}


@dataclass(frozen=True)
class ControlPlane:
    """A running API server, and what its clients need."""

    directory: Path
    url: str
    api: client.ApiClient
    """A client with all rights."""

    @property
    def kubeconfig(self) -> Path:
        """The kubeconfig of an administrator."""
        return self.directory / "admin.kubeconfig"

    def kubectl(self, *arguments: str, input: str | None = None) -> str:  # noqa: A002
        """Run kubectl as an administrator, with `input` on its standard input; return what it prints.

        Raises ClusterError, with kubectl's own words, when it fails.
        """
        command = [str(self.directory / "bin" / "kubectl"), "--kubeconfig", str(self.kubeconfig), *arguments]
        # A home of its own: kubectl keeps a cache of what it discovers there.
        return commands.run(command, env={"HOME": str(self.directory)}, stdin=input)

    def kubeconfig_of(self, namespace: str, service_account: str) -> Path:
        """Write a kubeconfig with a token of a service account, which has to be there; return its path."""
        token = self.kubectl("create", "token", "-n", namespace, service_account, "--duration=1h").strip()
        path = self.directory / f"{namespace}.{service_account}.kubeconfig"
        _write_kubeconfig(path, self.url, self.directory / "apiserver.crt", token)
        return path

    def requests_of(self, user: str) -> list[dict[str, Any]]:
        """What `user` has asked of the API server so far: the audit events of the requests that are over."""
        lines = (self.directory / "audit.log").read_text().splitlines()
        return [event for event in map(json.loads, lines) if event["user"]["username"] == user]


@contextmanager
def control_plane(*options: str) -> Iterator[ControlPlane]:
    """Start etcd and kube-apiserver, with further `options`; end them, and remove all that they wrote, at the end.

    They also end when the thread that called this does. Raises ClusterError when they do not come up.
    """
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="serinus-control-plane-")))
        kubernetes = binaries.built(binaries.KUBERNETES)
        binaries.link(dict.fromkeys(_COMPONENTS, kubernetes), directory / "bin")
        token = _make_secrets(directory)
        client_port, peer_port, secure_port = _free_ports(3)
        url = f"https://127.0.0.1:{secure_port}"
        processes = [
            stack.enter_context(_process(directory, command))
            for command in (
                _etcd(directory, client_port, peer_port),
                [*_apiserver(directory, client_port, secure_port), *options],
            )
        ]
        _write_kubeconfig(directory / "admin.kubeconfig", url, directory / "apiserver.crt", token)
        api = stack.enter_context(_api_client(directory / "admin.kubeconfig"))
        _wait_until_ready(directory, api, processes)
        yield ControlPlane(directory, url, api)


def _etcd(directory: Path, client_port: int, peer_port: int) -> list[str]:
    client_url, peer_url = f"http://127.0.0.1:{client_port}", f"http://127.0.0.1:{peer_port}"
    return [
        "etcd",
        f"--data-dir={directory / 'etcd'}",
        "--unsafe-no-fsync",
        f"--listen-client-urls={client_url}",
        f"--advertise-client-urls={client_url}",
        f"--listen-peer-urls={peer_url}",
        f"--initial-advertise-peer-urls={peer_url}",
        f"--initial-cluster=default={peer_url}",
    ]


def _apiserver(directory: Path, etcd_port: int, secure_port: int) -> list[str]:
    certificate, key = directory / "apiserver.crt", directory / "apiserver.key"
    return [
        "kube-apiserver",
        f"--etcd-servers=http://127.0.0.1:{etcd_port}",
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        "--endpoint-reconciler-type=none",
        f"--secure-port={secure_port}",
        f"--tls-cert-file={certificate}",
        f"--tls-private-key-file={key}",
        f"--token-auth-file={directory / 'tokens.csv'}",
        "--authorization-mode=RBAC",
        "--service-cluster-ip-range=10.96.0.0/16",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={certificate}",
        f"--service-account-signing-key-file={key}",
        # Pods are written by tests, and no controller makes the service accounts that they would need.
        "--disable-admission-plugins=ServiceAccount",
        f"--audit-policy-file={directory / 'audit-policy.json'}",
        f"--audit-log-path={directory / 'audit.log'}",
        # The line is there before the client has its answer.
        "--audit-log-mode=blocking-strict",
    ]


def _make_secrets(directory: Path) -> str:
    """Make the certificate that signs itself, its key, and the file of tokens; return the administrator's token."""
    commands.run(
        [
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-keyout", directory / "apiserver.key", "-out", directory / "apiserver.crt",
            "-days", "30", "-subj", "/CN=serinus-control-plane", "-addext", "subjectAltName=IP:127.0.0.1",
        ]
    )  # fmt: skip
    token = secrets.token_hex(32)
    _write_private(directory / "tokens.csv", f'{token},admin,admin,"system:masters"\n')
    (directory / "audit-policy.json").write_text(json.dumps(_AUDIT_POLICY))
    return token


def _write_kubeconfig(path: Path, url: str, authority: Path, token: str) -> None:
    name = "serinus-control-plane"
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": {"server": url, "certificate-authority": str(authority)}}],
        "users": [{"name": name, "user": {"token": token}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    }
    _write_private(path, yaml.safe_dump(config))


def _write_private(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text)


def _free_ports(number: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]


@contextmanager
def _process(directory: Path, command: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a component until the context ends; its log is a file of its name in `directory`."""
    program, *arguments = command
    with child([str(directory / "bin" / program), *arguments], directory / f"{program}.log", cwd=directory) as process:
        yield process


def _api_client(kubeconfig: Path) -> client.ApiClient:
    configuration = client.Configuration()
    kubernetes_config.load_kube_config(str(kubeconfig), client_configuration=configuration)
    return client.ApiClient(configuration)


def _wait_until_ready(directory: Path, api: client.ApiClient, processes: Sequence[subprocess.Popen[bytes]]) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while not _is_ready(api):
        if any(process.poll() is not None for process in processes) or time.monotonic() > deadline:
            raise ClusterError(f"the control plane did not come up:\n{_last_words(directory)}")
        time.sleep(0.1)


def _is_ready(api: client.ApiClient) -> bool:
    """Whether it has done all that it does at its start, such as to make the cluster's own roles."""
    call = api.param_serialize("GET", "/readyz", auth_settings=["BearerToken"])
    try:
        response = api.call_api(*call, _request_timeout=5)
    except HTTPError:
        return False
    response.read()
    return bool(response.status == HTTPStatus.OK)


def _last_words(directory: Path) -> str:
    logs = ((log.stem, log.read_text().splitlines()[-_LOG_LINES:]) for log in sorted(directory.glob("*.log")))
    return "\n".join(f"{name}:\n{textwrap.indent(chr(10).join(lines), '  ')}" for name, lines in logs)
