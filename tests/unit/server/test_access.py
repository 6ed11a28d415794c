"""Quota and API keys on a real server: who is let in, how often, and what changes while it runs."""

import json
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from serinus_server.api_keys import stored_form
from serinus_server.grpc_api import open_inference_grpc_pb2 as messages
from serinus_server.mounted_files import POLL_SECONDS
from tests.unit.server import models
from tests.unit.server.grpc_client import call, channel, infer_request
from tests.unit.server.mount import Mount
from tests.unit.server.serving import Serving, serving, tensor

BODY = {"inputs": [tensor("x", "FP32", [1, 4], [1, 2, 3, 4])]}
MESSAGE = infer_request(("x", "FP32", [1, 4]), raw=[np.ones(4, np.float32).tobytes()])
KEYS = {"access": {"mode": "APIKey"}}
NO_RATE = {"requestsPerSecond": 0.001, "burst": 1}


def policy(document: object) -> dict[str, str]:
    return {"policy.json": json.dumps(document)}


class Guarded:
    """A server with a policy, and keys of two clients."""

    def __init__(self, server: Serving, policy_mount: Mount, keys_mount: Mount) -> None:
        self.server = server
        self.policy = policy_mount
        self.keys = keys_mount

    def change_policy(self, document: object) -> None:
        """Replace it, and wait until it is in force."""
        files = policy(document)
        self.policy.replace(files)
        digest = sha256(files["policy.json"].encode()).hexdigest()
        wait_until(lambda: f'digest="{digest}"' in self.server.get("/metrics")[1])

    def change_keys(self, files: Mapping[str, str]) -> None:
        """Replace them, and wait until they are in force."""
        before = self.server.metric("serinus_policy_last_reload_success_timestamp_seconds", source="api_keys")
        self.keys.replace(files)
        wait_until(
            lambda: (
                self.server.metric("serinus_policy_last_reload_success_timestamp_seconds", source="api_keys") > before
            )
        )

    def status(self, **headers: str) -> int:
        return self.server.infer(BODY, **headers)[0]


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10 * POLL_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """Serves a tiny model over both ports."""
    folder = tmp_path_factory.mktemp("guarded")
    rules = Mount(folder / "policy", policy(KEYS))
    keys = Mount(folder / "keys", {"web": stored_form("web-key"), "job": stored_form("job-key")})
    mounts = ("--policy-dir", str(rules.path), "--api-keys-dir", str(keys.path))
    with serving(models.save(models.mlp(), folder), "--grpc-port", "0", *mounts) as server:
        yield Guarded(server, rules, keys)


@pytest.fixture(autouse=True)
def _as_at_first(guarded: Guarded) -> Iterator[None]:
    yield
    guarded.change_policy(KEYS)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"Authorization": "Bearer web-key"}, 200),
        ({"Authorization": "bearer  web-key "}, 200),
        ({"X-API-Key": "job-key"}, 200),
        ({"X-API-Key": "job-key", "Authorization": "Bearer of the gateway"}, 200),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Authorization": "Bearer "}, 401),
        ({"Authorization": "Basic web-key"}, 401),
        ({"X-API-Key": stored_form("web-key")}, 401),
        ({"X-API-Key": "wrong", "Authorization": "Bearer web-key"}, 401),
    ],
)
def test_a_key_opens_inferences_and_metadata(guarded: Guarded, headers: dict[str, str], status: int) -> None:
    assert guarded.status(**headers) == status
    assert guarded.server.call("GET", "/v2/models/m", headers=headers)[0] == status


def test_the_sentences_of_a_401(guarded: Guarded) -> None:
    assert guarded.server.infer(BODY) == (
        401,
        {"error": "this call needs an API key: X-API-Key: KEY, or Authorization: Bearer KEY"},
    )
    assert guarded.server.infer(BODY, Authorization="Bearer wrong")[1] == {"error": "the API key is not known"}
    request = urllib.request.Request(f"http://127.0.0.1:{guarded.server.port}/v2/models/m")
    with pytest.raises(urllib.error.HTTPError) as caught, urllib.request.urlopen(request):  # noqa: S310
        pass
    with caught.value as error:
        assert error.headers["WWW-Authenticate"] == 'Bearer realm="serinus"'


@pytest.mark.parametrize("path", ["/v2", "/v2/health/live", "/v2/health/ready", "/v2/models/m/ready", "/metrics"])
def test_probes_and_scrapes_need_no_key(guarded: Guarded, path: str) -> None:
    assert guarded.server.get(path)[0] == 200


def test_a_body_is_refused_before_it_is_sent(guarded: Guarded) -> None:
    with guarded.server.connect() as connection:
        connection.sendall(b"POST /v2/models/m/infer HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 401 Unauthorized\r\n")


def test_the_log_names_the_client_and_no_key(guarded: Guarded) -> None:
    for number, key in enumerate(("web-key", "job-key", "wrong")):
        guarded.server.infer(BODY, X_Request_ID=f"log-{number}", X_API_Key=key)
    lines = [guarded.server.wait_for(id=f"log-{number}") for number in range(3)]
    assert [line.get("client") for line in lines] == ["web", "job", None]
    guarded.server.call("GET", "/v2/models/m", headers={"X-API-Key": "web-key", "X-Request-ID": "metadata"})
    assert guarded.server.wait_for(id="metadata")["client"] == "web"
    with channel(guarded.server) as opened:
        call(opened, "ModelInfer", MESSAGE, metadata=(("x-api-key", "job-key"), ("x-request-id", "grpc")))
    assert guarded.server.wait_for(id="grpc")["client"] == "job"
    assert "web-key" not in json.dumps(guarded.server.log)


def failure(opened: grpc.Channel, name: str, request: Any, **metadata: str) -> tuple[grpc.StatusCode, str, Any]:  # noqa: ANN401
    with pytest.raises(grpc.RpcError) as caught:
        call(opened, name, request, metadata=[(key.replace("_", "-"), value) for key, value in metadata.items()])
    error: Any = caught.value
    return error.code(), error.details(), dict(error.trailing_metadata())


def test_keys_in_grpc(guarded: Guarded) -> None:
    asked = messages.ModelMetadataRequest(name="m")
    with channel(guarded.server) as opened:
        for metadata in ({"authorization": "Bearer web-key"}, {"x-api-key": "web-key"}):
            assert call(opened, "ModelInfer", MESSAGE, metadata=tuple(metadata.items())).model_name == "m"
            assert call(opened, "ModelMetadata", asked, metadata=tuple(metadata.items())).name == "m"
        assert call(opened, "ModelReady", messages.ModelReadyRequest(name="m")).ready
        assert call(opened, "ServerLive", messages.ServerLiveRequest()).live
        for name, request in (("ModelInfer", MESSAGE), ("ModelMetadata", asked)):
            code, message, _ = failure(opened, name, request)
            assert (code, message[:28]) == (grpc.StatusCode.UNAUTHENTICATED, "this call needs an API key: ")
            code, message, _ = failure(opened, name, request, x_api_key="wrong")
            assert (code, message) == (grpc.StatusCode.UNAUTHENTICATED, "the API key is not known")


def test_keys_rotate_while_it_runs(guarded: Guarded) -> None:
    both = f"{stored_form('web-key')}\n{stored_form('new-key')}\n"
    guarded.change_keys({"web": both})
    assert [guarded.status(X_API_Key=key) for key in ("web-key", "new-key", "job-key")] == [200, 200, 401]
    guarded.change_keys({"web": stored_form("new-key")})
    assert [guarded.status(X_API_Key=key) for key in ("web-key", "new-key")] == [401, 200]
    guarded.change_keys({})
    refused = (503, {"error": "this server has no API keys yet, so nobody can be let in"})
    assert guarded.server.infer(BODY, X_API_Key="new-key") == refused
    guarded.change_keys({"web": stored_form("web-key"), "job": stored_form("job-key")})
    assert [guarded.status(X_API_Key=key) for key in ("web-key", "job-key")] == [200, 200]


def test_files_that_cannot_be_used_leave_in_force_what_was(guarded: Guarded) -> None:
    failures = guarded.server.metric("serinus_policy_reload_failures_total", source="api_keys")
    guarded.keys.replace({"web": "not a digest"})
    line = guarded.server.wait_for(source="api_keys", level="error")
    assert "web, line 1: must be sha256:" in line["message"]
    assert line["message"].endswith("what was in force before stays so")
    assert guarded.status(X_API_Key="web-key") == 200
    assert guarded.server.metric("serinus_policy_reload_failures_total", source="api_keys") == failures + 1
    assert guarded.server.metric("serinus_policy_last_reload_successful", source="api_keys") == 0
    guarded.policy.replace(policy({"acess": None}))
    line = guarded.server.wait_for(source="policy", level="error")
    assert "policy.json: acess is not known" in line["message"]
    assert guarded.status() == 401
    assert guarded.server.metric("serinus_policy_last_reload_successful", source="policy") == 0
    guarded.change_keys({"web": stored_form("web-key"), "job": stored_form("job-key")})
    assert guarded.server.metric("serinus_policy_last_reload_successful", source="api_keys") == 1
    time.sleep(2 * POLL_SECONDS)  # one failure is counted once
    assert guarded.server.metric("serinus_policy_reload_failures_total", source="policy") == 1


def test_access_and_quota_change_while_it_runs(guarded: Guarded) -> None:
    assert guarded.status() == 401
    guarded.change_policy({})
    assert [guarded.status() for _ in range(3)] == [200] * 3
    guarded.change_policy({"quota": NO_RATE})
    assert [guarded.status() for _ in range(3)] == [200, 429, 429]
    guarded.change_policy(KEYS)
    assert [guarded.status(), guarded.status(X_API_Key="web-key")] == [401, 200]


def test_a_quota_for_all(guarded: Guarded) -> None:
    guarded.change_policy({"quota": {"requestsPerSecond": 0.1, "burst": 2}})
    before = guarded.server.metric("serinus_rejected_requests_total", reason="quota_rate")
    assert [guarded.status() for _ in range(2)] == [200, 200]
    assert guarded.server.infer(BODY) == (429, {"error": "all clients together may make 0.1 requests per second"})
    with guarded.server.connect() as connection:
        connection.sendall(b"POST /v2/models/m/infer HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n")
        head = connection.recv(65536).partition(b"\r\n\r\n")[0].split(b"\r\n")
    assert head[0] == b"HTTP/1.1 429 Too Many Requests"
    assert b"Retry-After: 10" in head
    with channel(guarded.server) as opened:
        code, message, trailers = failure(opened, "ModelInfer", MESSAGE)
    assert (code, message) == (
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "all clients together may make 0.1 requests per second",
    )
    assert 9000 < int(trailers["grpc-retry-pushback-ms"]) <= 10_000
    assert guarded.server.get("/v2/models/m")[0] == 200  # metadata is not counted
    assert guarded.server.metric("serinus_rejected_requests_total", reason="quota_rate") == before + 3


def test_a_quota_for_each_client(guarded: Guarded) -> None:
    guarded.change_policy({**KEYS, "quota": {"perClient": NO_RATE}})
    keys = ["web-key", "web-key", "job-key", "job-key", "wrong", "wrong"]
    assert [guarded.status(X_API_Key=key) for key in keys] == [200, 429, 200, 429, 401, 401]
    guarded.server.infer(BODY, X_API_Key="web-key", X_Request_ID="over")
    assert guarded.server.wait_for(id="over")["client"] == "web"


def test_concurrent_requests_are_bounded(tmp_path: Path) -> None:
    rules = Mount(tmp_path / "policy", policy({"quota": {"maxConcurrentRequests": 2}}))
    model = models.save(models.slow(100_000), tmp_path)
    with serving(model, "--policy-dir", str(rules.path)) as server, ThreadPoolExecutor(6) as clients:
        body = {"inputs": [tensor("x", "FP32", [1], [0.5])]}
        replies = list(clients.map(lambda _: server.infer(body), range(6)))
        statuses = [status for status, _ in replies]
        assert statuses.count(200) >= 2
        assert set(statuses) == {200, 429}
        refused = next(reply for status, reply in replies if status == 429)
        assert refused == {"error": "all clients together may have 2 requests in work at once"}
        assert server.metric("serinus_rejected_requests_total", reason="quota_concurrency") == statuses.count(429)
        assert server.infer(body)[0] == 200


def test_keys_that_nobody_asks_for_keep_no_server_from_starting(tmp_path: Path) -> None:
    rules, keys = Mount(tmp_path / "policy", policy({})), Mount(tmp_path / "keys", {"web": "not a digest"})
    options = ("--policy-dir", str(rules.path), "--api-keys-dir", str(keys.path))
    with serving(models.save(models.mlp(), tmp_path), *options) as server:
        assert "web, line 1: must be sha256:" in server.wait_for(source="api_keys", level="error")["message"]
        assert server.metric("serinus_policy_last_reload_successful", source="api_keys") == 0
        assert server.infer(BODY)[0] == 200
        rules.replace(policy(KEYS))
        server.wait_for("reloaded", source="policy")
        assert server.infer(BODY, X_API_Key="web-key")[0] == 503
        keys.replace({"web": stored_form("web-key")})
        server.wait_for("reloaded", source="api_keys")
        assert server.infer(BODY, X_API_Key="web-key")[0] == 200


def test_keys_asked_for_later_without_any_let_nobody_in(tmp_path: Path) -> None:
    rules = Mount(tmp_path / "policy", policy({}))
    with serving(models.save(models.mlp(), tmp_path), "--policy-dir", str(rules.path)) as server:
        assert server.infer(BODY)[0] == 200
        rules.replace(policy(KEYS))
        server.wait_for("reloaded")
        assert server.infer(BODY, X_API_Key="any")[0] == 503


@pytest.mark.parametrize(
    ("files", "keys", "line"),
    [
        ({}, None, "InvalidPolicy: cannot read {}/policy/..version-1/policy.json: No such file or directory"),
        (policy([]), None, "InvalidPolicy: policy.json: the whole must be an object, not []"),
        (policy(KEYS), None, "InvalidAPIKeys: {}/policy/policy.json asks for API keys, and there is no --api-keys-dir"),
        (policy(KEYS), {"web": "x"}, "InvalidAPIKeys: {}/keys/..version-1/web, line 1: must be sha256: and 64 hex"),
        (None, {}, "InvalidPolicy: --api-keys-dir needs --policy-dir"),
    ],
)
def test_a_server_does_not_start_without_what_it_was_told_to_heed(
    tmp_path: Path, files: dict[str, str] | None, keys: dict[str, str] | None, line: str
) -> None:
    options: list[str] = []
    if files is not None:
        options += ["--policy-dir", str(Mount(tmp_path / "policy", files).path)]
    if keys is not None:
        options += ["--api-keys-dir", str(Mount(tmp_path / "keys", keys).path)]
    with serving(models.save(models.mlp(), tmp_path), *options, wait=False) as server:
        assert server.exit_code() in {23, 24}
        assert server.termination_log.read_text().startswith(line.format(tmp_path))


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with serving(models.save(models.mlp(), tmp_path), "--policy-dir", "/no/such", wait=False) as server:
        assert server.exit_code() == 23
        assert server.termination_log.read_text() == "InvalidPolicy: cannot read /no/such: No such file or directory"
