"""Kubernetes tokens as a server's clients show them, checked by a real API server."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import grpc
import numpy as np
import pytest

from tests.cluster.control_plane import ControlPlane
from tests.unit.server import models
from tests.unit.server.grpc_client import call, channel, infer_request
from tests.unit.server.serving import Serving, serving, tensor

BODY: Final = {"inputs": [tensor("x", "FP32", [1, 4], [1, 2, 3, 4])]}
MESSAGE: Final = infer_request(("x", "FP32", [1, 4]), raw=[np.ones(4, np.float32).tobytes()])
AUDIENCE: Final = "fraud.risk"


class Line:
    """A way to the API server that can be cut: then connections are accepted, and nothing comes back."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._target = (parts.hostname, parts.port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.cut = False
        self._silent: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()
        for each in self._silent:
            each.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.cut:
                self._silent.append(client)
                continue
            server = socket.create_connection(self._target)
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=_copy, args=(source, sink), daemon=True).start()


def _copy(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        source.close()
        sink.close()


class Clients:
    """Tokens of service accounts."""

    def __init__(self, server: ControlPlane, namespace: str) -> None:
        self._server = server
        self.namespace = namespace
        self.line = Line(server.url)
        for name in ("model", "web", "job"):
            server.kubectl("create", "serviceaccount", "-n", namespace, name)

    def token(self, account: str, *options: str) -> str:
        return self._server.kubectl("create", "token", "-n", self.namespace, account, *options).strip()

    def user(self, account: str) -> str:
        return f"system:serviceaccount:{self.namespace}:{account}"

    def let_review(self) -> None:
        """The server's own account may ask whose tokens are."""
        binding = ("clusterrolebinding", f"review-{self.namespace}", "--clusterrole=system:auth-delegator")
        self._server.kubectl("create", *binding, f"--serviceaccount={self.namespace}:model")

    def serving(self, folder: Path, **access: object) -> Any:  # noqa: ANN401 - a context manager
        """Serve a model in the namespace, as the account model."""
        account, policy = folder / "account", folder / "policy"
        account.mkdir()
        policy.mkdir()
        (account / "ca.crt").write_bytes((self._server.directory / "apiserver.crt").read_bytes())
        (account / "token").write_text(self.token("model"))
        rules = {"access": {"mode": "KubernetesToken", "audience": AUDIENCE, **access}}
        (policy / "policy.json").write_text(json.dumps(rules))
        return serving(
            models.save(models.mlp(), folder),
            *("--grpc-port", "0", "--policy-dir", str(policy), "--service-account-dir", str(account)),
            environment={"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(self.line.port)},
        )


@pytest.fixture
def clients(server: ControlPlane, namespace: str) -> Iterator[Clients]:
    """Service accounts in a namespace of the test's own."""
    made = Clients(server, namespace)
    yield made
    made.line.close()


def ask(running: Serving, token: str) -> tuple[int, str]:
    """The status, and the error."""
    status, reply = running.infer(BODY, Authorization=f"Bearer {token}")
    return status, reply.get("error", "")


def test_tokens_of_service_accounts(clients: Clients, tmp_path: Path) -> None:
    clients.let_review()
    web, job = (clients.token(name, f"--audience={AUDIENCE}") for name in ("web", "job"))
    with clients.serving(tmp_path, allowed=[clients.user("web")]) as running:
        assert ask(running, web) == (200, "")
        assert ask(running, job) == (403, f"'{clients.user('job')}' may not call this model")
        wrong = (401, "the token is not one that Kubernetes knows for the audience 'fraud.risk'")
        assert ask(running, clients.token("web")) == wrong  # for the API server itself
        assert ask(running, clients.token("web", "--audience=other")) == wrong
        assert ask(running, web[:-5] + "AAAAA") == wrong
        assert ask(running, "nonsense") == wrong
        assert running.infer(BODY)[0] == 401
        headers = {"Authorization": f"Bearer {web}", "X-Request-ID": "metadata"}
        assert running.call("GET", "/v2/models/m", headers=headers)[0] == 200
        assert running.wait_for(id="metadata")["client"] == clients.user("web")
        assert running.call("GET", "/v2/models/m", headers={"Authorization": f"Bearer {job}"})[0] == 403
        assert running.metric("serinus_rejected_requests_total", reason="forbidden") == 1
        assert web not in json.dumps(running.log)


def test_tokens_in_grpc(clients: Clients, tmp_path: Path) -> None:
    clients.let_review()
    web, job = (clients.token(name, f"--audience={AUDIENCE}") for name in ("web", "job"))
    with clients.serving(tmp_path, allowed=[clients.user("web")]) as running, channel(running) as opened:
        for _ in range(2):  # asked about, and remembered
            metadata = (("authorization", f"Bearer {web}"), ("x-request-id", "by-grpc"))
            assert call(opened, "ModelInfer", MESSAGE, metadata=metadata).model_name == "m"
            for token, code in ((job, "PERMISSION_DENIED"), ("nonsense", "UNAUTHENTICATED")):
                with pytest.raises(grpc.RpcError) as caught:
                    call(opened, "ModelInfer", MESSAGE, metadata=(("authorization", f"Bearer {token}"),))
                error: Any = caught.value
                assert error.code() is grpc.StatusCode[code]
        assert running.wait_for(id="by-grpc")["client"] == clients.user("web")


def test_groups_of_service_accounts(clients: Clients, tmp_path: Path) -> None:
    clients.let_review()
    group = f"system:serviceaccounts:{clients.namespace}"
    with clients.serving(tmp_path, allowedGroups=[group]) as running:
        assert ask(running, clients.token("web", f"--audience={AUDIENCE}")) == (200, "")


def test_a_server_that_may_not_ask_lets_nobody_in(clients: Clients, tmp_path: Path) -> None:
    with clients.serving(tmp_path) as running:
        status, error = ask(running, clients.token("web", f"--audience={AUDIENCE}"))
        assert status == 503
        assert error.startswith("the token cannot be checked now: the API server answered 403: tokenreviews")


def test_an_api_server_that_does_not_answer(clients: Clients, tmp_path: Path) -> None:
    clients.let_review()
    web, job = (clients.token(name, f"--audience={AUDIENCE}") for name in ("web", "job"))
    with clients.serving(tmp_path) as running:
        assert ask(running, web) == (200, "")
        clients.line.cut = True
        assert ask(running, web) == (200, "")
        assert ask(running, job) == (
            503,
            "the token cannot be checked now: the API server did not answer within 3 s",
        )
        assert running.get("/v2/health/ready")[0] == 200
        clients.line.cut = False
        threading.Event().wait(1.1)
        assert ask(running, job) == (200, "")
        assert running.metric("serinus_rejected_requests_total", reason="authentication_unavailable") == 1


def test_clients_that_leave_while_their_tokens_are_checked_keep_no_place(clients: Clients, tmp_path: Path) -> None:
    with clients.serving(tmp_path) as running, channel(running) as opened:
        clients.line.cut = True
        body = json.dumps(BODY).encode()
        head = b"POST /v2/models/m/infer HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer a\r\nContent-Length: %d\r\n\r\n"
        invoke: Any = opened.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        with running.connect() as connection:
            connection.sendall(head % len(body) + body)
            called = invoke.future(MESSAGE.SerializeToString(), metadata=(("authorization", "Bearer b"),))
            _wait_until(lambda: running.metric("serinus_in_flight_requests") == 2)
        called.cancel()
        _wait_until(lambda: running.metric("serinus_requests_total", code="499") == 2)
        assert running.metric("serinus_in_flight_requests") == 0


def _wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
