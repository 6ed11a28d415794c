"""Several worker processes that are one server: how many there are, what they share, and how they end."""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from serinus_server.admission import Admission
from serinus_server.api_keys import make_api_key, stored_form
from serinus_server.board import STUCK_SECONDS, Board
from serinus_server.cgroup import available_cpus
from serinus_server.metrics import Metrics, counters_needed
from serinus_server.readiness import Readiness
from serinus_server.workers import Choice, Situation, choose, most_workers
from tests.unit.server import models
from tests.unit.server.grpc_client import call, channel, infer_request
from tests.unit.server.mount import Mount
from tests.unit.server.serving import Serving, serving, tensor

GOOD = {"inputs": [tensor("x", "FP32", [1, 4], [1, 2, 3, 4])]}
MIB = 1 << 20


def situation(cpus: int = 4, *, brief: bool = True, resident: int = 100, memory: int = 4000) -> Situation:
    return Situation(cpus, brief, resident * MIB, memory * MIB)


@pytest.mark.parametrize(
    ("asked", "found", "choice"),
    [
        (None, situation(), Choice(4, "runs are short, one for each processor")),
        (None, situation(cpus=64), Choice(8, "runs are short")),
        (None, situation(cpus=1), Choice(1, "there is one processor")),
        (None, situation(brief=False), Choice(1, "runs are long enough for threads, or were not measured")),
        (None, situation(memory=350), Choice(3, "each takes 100 MiB, and there is room for 350")),
        (None, situation(memory=50), Choice(1, "each takes 100 MiB, and there is room for 50")),
        (None, situation(memory=-50), Choice(1, "each takes 100 MiB, and there is room for -50")),
        (1, situation(), Choice(1, "by --workers")),
        (9, situation(cpus=1, brief=False, memory=10), Choice(9, "by --workers")),
    ],
)
def test_as_many_as_pay(asked: int | None, found: Situation, choice: Choice) -> None:
    assert choose(asked, found) == choice
    assert choice.workers <= most_workers(asked, found.cpus)


def test_what_may_be_in_flight_is_divided() -> None:
    admission = Admission(256, 1000)
    admission.share(3)
    assert (admission.max_requests, admission.max_bytes) == (85, 333)
    admission = Admission(2, 1000)
    admission.share(3)
    assert admission.max_requests == 1


def test_each_worker_says_what_holds_for_all() -> None:
    first = Board(counters_needed(), capacity=3)
    second = Board(counters_needed(), capacity=3, number=1, descriptor=first.descriptor)
    readiness, other = Readiness(first), Readiness(second)
    first.serve()
    assert readiness.reason_not_ready == other.reason_not_ready == "the model is being loaded"
    first.expect(2)
    assert readiness.reason_not_ready == other.reason_not_ready == "the model is being loaded"
    second.serve()
    assert readiness.reason_not_ready is other.reason_not_ready is None
    first.beat(time.monotonic())
    second.beat(time.monotonic() - STUCK_SECONDS + 1)
    assert readiness.reason_not_alive is None
    second.beat(time.monotonic() - STUCK_SECONDS - 1)
    assert readiness.reason_not_alive == other.reason_not_alive == "worker 1 has done nothing for 10 s"
    second.drain()
    assert readiness.reason_not_ready == other.reason_not_ready == "the server is shutting down"


def test_policies_are_exposed_as_they_hold_for_all() -> None:
    board = Board(counters_needed(), capacity=2)
    first = Metrics("m", "", "1", board=board)
    second = Metrics("m", "", "1", board=Board(counters_needed(), 2, 1, board.descriptor))
    board.expect(2)

    def exposed(name: str) -> list[str]:
        lines = first.expose().decode().splitlines()
        assert lines[: len(lines) // 2] == second.expose().decode().splitlines()[: len(lines) // 2]
        return [line.partition('digest="')[2][:2] + line.rsplit(" ", 1)[1] for line in lines if line.startswith(name)]

    for metrics in (first, second):
        metrics.policy_in_force("00ab" * 16)
        metrics.reloaded("policy")
    assert exposed("serinus_policy_info") == ["001.0"]
    assert exposed("serinus_policy_last_reload_successful") == ["1.0"]
    first.policy_in_force("ffcd" * 16)
    second.reload_failed("policy")
    assert exposed("serinus_policy_info") == ["001.0", "ff1.0"]
    assert exposed("serinus_policy_last_reload_successful") == ["0.0"]
    assert exposed("serinus_policy_reload_failures_total") == ["1.0"]


@pytest.mark.skipif(available_cpus() == 1, reason="one processor takes one worker")
def test_short_runs_get_workers_and_long_ones_do_not(tmp_path: Path) -> None:
    with serving(models.save(models.mlp(), tmp_path), "--workers", "auto") as server:
        assert server.wait_for("ready")["workers"] == min(available_cpus(), 8)
        assert len(children(server)) == min(available_cpus(), 8) - 1
    with serving(models.save(models.slow(3000), tmp_path), "--workers", "auto") as server:
        assert server.wait_for("ready")["workers"] == 1
        assert children(server) == []


def test_a_quota_holds_for_all_workers_together_and_from_when_it_comes(tmp_path: Path) -> None:
    key = make_api_key()
    keys = Mount(tmp_path / "keys", {"web": stored_form(key)})
    policy = Mount(tmp_path / "policy", {"policy.json": "{}"})
    options = ("--workers", "3", "--policy-dir", str(policy.path), "--api-keys-dir", str(keys.path))

    def asked(times: int) -> "Counter[int]":
        """On a connection of its own each, so of all workers."""
        return Counter(server.infer(GOOD, X_API_Key=key)[0] for _ in range(times))

    def settle(limits: dict[str, object]) -> None:
        """Another policy holds for all."""
        before = reloads()
        policy.replace({"policy.json": json.dumps(limits)})
        deadline = time.monotonic() + 20
        while reloads() < before + 3:
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def reloads() -> int:
        return sum(line["message"] == "reloaded" for line in server.log)

    with serving(models.save(models.mlp(), tmp_path), *options) as server:
        assert asked(20) == {200: 20}
        settle({"quota": {"requestsPerSecond": 0.001, "burst": 7}})
        assert asked(60) == {200: 7, 429: 53}
        each = {"requestsPerSecond": 0.001, "burst": 5}
        settle({"quota": {"perClient": each}, "access": {"mode": "APIKey"}})
        assert asked(60) == {200: 5, 429: 55}


def test_requests_in_work_are_counted_over_all_workers(tmp_path: Path) -> None:
    """A request is in work from its head on, and one that is too much is refused before its body comes."""
    policy = Mount(tmp_path / "policy", {"policy.json": '{"quota": {"maxConcurrentRequests": 2}}'})
    body = json.dumps(GOOD).encode() + b" " * 1_000_000
    head = b"POST /v2/models/m/infer HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % len(body)
    options = ("--workers", "3", "--policy-dir", str(policy.path))
    with serving(models.save(models.mlp(), tmp_path), *options) as server, contextlib.ExitStack() as connections:
        clients = [connections.enter_context(server.connect()) for _ in range(12)]
        for client in clients:
            client.sendall(head)
        refused, _, _ = select.select(clients, [], [], 10)
        deadline = time.monotonic() + 10
        while len(refused) < 10 and time.monotonic() < deadline:
            time.sleep(0.05)
            refused, _, _ = select.select(clients, [], [], 0)
        assert [client.recv(65536).partition(b"\r\n")[0] for client in refused] == [
            b"HTTP/1.1 429 Too Many Requests"
        ] * 10
        let_in = [client for client in clients if client not in refused]
        for client in let_in:
            client.sendall(body)
            assert client.recv(65536).startswith(b"HTTP/1.1 200 OK")
        assert [server.infer(GOOD)[0] for _ in range(12)] == [200] * 12


def children(server: Serving) -> list[int]:
    pid = server.process.pid
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_several_workers_metrics_add_up(tmp_path: Path) -> None:
    with serving(models.save(models.mlp(), tmp_path), "--workers", "3", "--grpc-port", "0") as server:
        before = server.get("/metrics")[1]
        assert sum(float(line.rsplit(" ", 1)[1]) for line in before.splitlines() if "requests_total{" in line) == 0
        statuses: Counter[int] = Counter()
        clients = [threading.Thread(target=ask, args=(server, statuses)) for _ in range(6)]
        for client in clients:
            client.start()
        request = infer_request(("x", "FP32", [1, 4]), raw=[np.ones(4, np.float32).tobytes()])
        for _ in range(10):
            with channel(server) as opened:
                for _ in range(5):
                    call(opened, "ModelInfer", request)
        for client in clients:
            client.join()
        assert statuses == {200: 600, 400: 120}
        deadline = time.monotonic() + 5
        while server.metric("serinus_in_flight_requests") and time.monotonic() < deadline:
            time.sleep(0.01)
        scrapes = [figures(server) for _ in range(12)]  # on as many connections, so of all workers
        assert all(scrape == scrapes[0] for scrape in scrapes)
        assert server.metric("serinus_requests_total", code="200") == 650
        assert server.metric("serinus_requests_total", code="400") == 120
        assert server.metric("serinus_request_duration_seconds_count") == 650
        assert server.metric("serinus_request_duration_seconds_bucket", le="+Inf") == 650
        assert server.metric("serinus_batch_size_sum") == 650
        assert server.metric("serinus_stage_seconds_count", stage="run") >= 650
        assert server.metric("serinus_in_flight_requests") == 0
        server.terminate()
        assert server.exit_code() == 0
    requests = [line for line in server.log if line["message"] == "request"]
    assert Counter(line["status"] for line in requests) == {200: 650, 400: 120}
    assert len({line["id"].partition("-")[0] for line in requests}) == 3  # every worker had some, and logged them


def ask(server: Serving, statuses: "Counter[int]") -> None:
    for _ in range(20):
        for _ in range(5):
            statuses[server.infer(GOOD)[0]] += 1
        statuses[server.infer({"inputs": []})[0]] += 1


def figures(server: Serving) -> list[str]:
    return [line for line in server.get("/metrics")[1].splitlines() if line.startswith("serinus_")]


@pytest.mark.parametrize("killed", [signal.SIGKILL, signal.SIGSEGV])
def test_the_server_ends_with_a_worker(tmp_path: Path, killed: signal.Signals) -> None:
    with serving(models.save(models.mlp(), tmp_path), "--workers", "3", "--drain-delay", "1s") as server:
        os.kill(server.wait_for("worker started", worker=2)["pid"], killed)
        server.wait_for("draining")
        assert server.get("/v2/health/ready")[0] == 503
        assert server.infer(GOOD)[0] == 200  # those that are left go on for as long as clients may come
        assert server.exit_code() == 128 + killed
        assert server.termination_log.read_text().startswith(f"WorkerEnded: worker 2 was killed by signal {killed} ")
        server.wait_for("drained", worker=1)


def test_a_worker_that_hangs_is_not_alive(tmp_path: Path) -> None:
    with serving(models.save(models.mlp(), tmp_path), "--workers", "2") as server:
        os.kill(server.wait_for("worker started")["pid"], signal.SIGSTOP)
        deadline = time.monotonic() + STUCK_SECONDS + 10
        replies: list[object] = []
        while time.monotonic() < deadline and not replies:
            with contextlib.suppress(TimeoutError):  # as a probe has it that comes to the one that hangs
                status, body = server.call("GET", "/v2/health/live", timeout=0.3)
                replies += [body] if status == 503 else []
            time.sleep(0.1)
        assert replies == [{"live": False, "error": "worker 1 has done nothing for 10 s"}]


def test_workers_end_with_the_first_one(tmp_path: Path) -> None:
    with serving(models.save(models.mlp(), tmp_path), "--workers", "2") as server:
        worker = server.wait_for("worker started")["pid"]
        server.process.kill()
        deadline = time.monotonic() + 5
        while running(worker) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not running(worker)


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_ready_when_all_are(tmp_path: Path) -> None:
    with serving(models.save(models.mlp(), tmp_path), "--workers", "3", "--grpc-port", "0", wait=False) as server:
        last = server.wait_for("worker started", worker=2)["pid"]
        os.kill(last, signal.SIGSTOP)
        time.sleep(1.5)
        assert server.get("/v2/health/ready") == (503, {"ready": False, "error": "the model is being loaded"})
        assert server.get("/v2/health/live")[0] == 200
        os.kill(last, signal.SIGCONT)
        server.wait_for("ready")
        assert [server.get("/v2/health/ready")[0] for _ in range(12)] == [200] * 12


def test_a_worker_that_cannot_load_ends_all(tmp_path: Path) -> None:
    """The model is gone when the second worker looks for it."""
    path = models.save(models.mlp(), tmp_path)
    with serving(path, "--workers", "2", wait=False) as server:
        worker = server.wait_for("worker started")["pid"]
        os.kill(worker, signal.SIGSTOP)
        path.unlink()
        os.kill(worker, signal.SIGCONT)
        assert server.exit_code() == 21
        assert server.termination_log.read_text().startswith("ModelLoadFailed: ")
        server.wait_for(f"WorkerEnded: worker 1 ended with exit code {21}")


@pytest.mark.parametrize("port", ["--http-port", "--grpc-port"])
def test_a_port_of_somebody_else_is_not_shared(tmp_path: Path, port: str) -> None:
    model = models.save(models.mlp(), tmp_path)
    with serving(model, "--workers", "2", "--grpc-port", "0") as server:
        listening = server.wait_for("listening")
        taken = str(listening["port" if port == "--http-port" else "grpc_port"])
        with serving(model, "--workers", "2", port, taken, wait=False) as other:
            assert other.exit_code() == 1
            assert "in use" in other.log[-1]["message"]


WRITER = """
import sys
from serinus_server.log import JsonLog
log = JsonLog()
log.write_in_turns(int(sys.argv[1]))
for number in range(300):
    log.line({"number": number, "text": sys.argv[2] * 9000})
log.close()
"""


def test_lines_of_several_processes_stay_whole(tmp_path: Path) -> None:
    lock = os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT)
    reading, writing = os.pipe()
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(lock), letter], stderr=writing, pass_fds=(lock,))
        for letter in "abc"
    ]
    os.close(writing)
    with os.fdopen(reading, "rb") as lines:
        found = [json.loads(line) for line in lines]
    os.close(lock)
    assert [writer.wait(10) for writer in writers] == [0, 0, 0]
    assert Counter((line["text"][:1], set(line["text"]) == {line["text"][0]}) for line in found) == {
        (letter, True): 300 for letter in "abc"
    }
