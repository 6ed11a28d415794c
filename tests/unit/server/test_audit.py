"""The audit trail: what a record holds, where it goes, and that requests do not notice."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import orjson
import pytest

from serinus_server.audit import AuditTrail, identity, record
from serinus_server.audit_sink import FileSink
from serinus_server.infer_request import InferRequest
from serinus_server.metrics import Metrics
from serinus_server.model import Model, Tensor
from serinus_server.policy import AuditPolicy, AuditSink
from tests.unit.server import models
from tests.unit.server.grpc_client import call, channel, infer_request
from tests.unit.server.in_process import load_model
from tests.unit.server.mount import Mount
from tests.unit.server.serving import Serving, serving, tensor

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
BODY = {"id": "7", "inputs": [tensor("x", "FP32", [1, 4], [1, 2, 3, 4])]}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """Takes and gives every datatype, each input under its own name."""
    return load_model(models.save(models.every_type(), tmp_path_factory.mktemp("audit")))


@pytest.mark.parametrize(
    ("datatype", "values", "options", "kept"),
    [
        ("FP32", np.array([1.5, -2], np.float32), {}, {"data": [1.5, -2]}),
        ("FP16", np.array([0.5], np.float16), {}, {"data": [0.5]}),
        ("INT64", np.array([2**53 + 1]), {}, {"data": [2**53 + 1]}),
        ("BOOL", np.array([True, False]), {}, {"data": [True, False]}),
        ("BYTES", np.array(["é", ""], object), {}, {"data": ["é", ""]}),
        ("FP32", np.array([], np.float32), {}, {"data": []}),
        ("FP32", np.array([np.nan, np.inf], np.float32), {}, {"data": [None, None]}),
        ("FP32", np.arange(5, dtype=np.float32), {"max_tensor_bytes": 8}, {"data": [0, 1], "truncated": True}),
        ("FP32", np.arange(2, dtype=np.float32), {"max_tensor_bytes": 8}, {"data": [0, 1]}),
        ("FP64", np.arange(2.0), {"max_tensor_bytes": 7}, {"data": [], "truncated": True}),
        (
            "BYTES",
            np.array(["abc", "de", "f"], object),
            {"max_tensor_bytes": 5},
            {"data": ["abc", "de"], "truncated": True},
        ),
        ("BYTES", np.array(["é" * 3], object), {"max_tensor_bytes": 5}, {"data": [], "truncated": True}),
        ("FP32", np.array([1.5, -2], np.float32), {"redact": frozenset({"in_FP32"})}, {"redacted": True}),
        ("FP32", np.array([1.5], np.float32), {"redact": frozenset({"in_FP64"})}, {"data": [1.5]}),
    ],
)
def test_what_is_kept_of_a_tensor(
    model: Model, datatype: str, values: Tensor, options: dict[str, Any], kept: dict[str, Any]
) -> None:
    policy = AuditPolicy(100, AuditSink(file="/a"), **options)
    made = record(model, InferRequest(None, {f"in_{datatype}": values}, []), [], policy, {})
    (entry,) = orjson.loads(orjson.dumps(made, option=orjson.OPT_SERIALIZE_NUMPY))["inputs"]
    assert entry == {"name": f"in_{datatype}", "datatype": datatype, "shape": [len(values)], **kept}


def test_a_record_names_the_model_the_request_and_who_asked(model: Model) -> None:
    x = np.array([1, 2], np.float32)
    request = InferRequest("7", {"in_FP32": x}, ["out_FP64", "out_FP32"])
    policy = AuditPolicy(100, AuditSink(file="/a"), frozenset({"out_FP64"}))
    made = record(model, request, [np.array([3.0]), x], policy, {"client": "shop"})
    assert orjson.loads(orjson.dumps(made, option=orjson.OPT_SERIALIZE_NUMPY)) == {
        **{"model": "m", "version": "1", "digest": model.digest, "client": "shop", "request_id": "7"},
        "inputs": [{"name": "in_FP32", "datatype": "FP32", "shape": [2], "data": [1, 2]}],
        "outputs": [
            {"name": "out_FP64", "datatype": "FP64", "shape": [1], "redacted": True},
            {"name": "out_FP32", "datatype": "FP32", "shape": [2], "data": [1, 2]},
        ],
    }


@pytest.mark.parametrize(
    ("headers", "client", "expected"),
    [
        ({}, None, {}),
        ({b"x-request-id": b"a-1", b"authorization": b"secret"}, "shop", {"id": "a-1", "client": "shop"}),
        ({b"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01".encode()}, None, {"trace_id": TRACE}),
        ({b"traceparent": b"00-not-a-trace"}, None, {}),
    ],
)
def test_who_asked(headers: dict[bytes, bytes], client: str | None, expected: dict[str, str]) -> None:
    assert identity(headers, client) == expected


def test_a_file_is_rotated_between_lines(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    sink = FileSink(path, max_bytes=10)
    sink.write([b"aaaa\n", b"bbbb\n", b"cccc\n"])
    assert (path.read_bytes(), (tmp_path / "audit.jsonl.1").read_bytes()) == (b"cccc\n", b"aaaa\nbbbb\n")
    sink.write([b"dddddddddddddddd\n", b"e\n"])
    assert (path.read_bytes(), (tmp_path / "audit.jsonl.1").read_bytes()) == (b"e\n", b"dddddddddddddddd\n")


def test_several_writers_leave_lines_whole_and_rotate_once(tmp_path: Path) -> None:
    path, largest = tmp_path / "audit.jsonl", 20_000
    lines = [b"%d\n" % (number * 10**990) for number in range(1, 8)]  # of a kilobyte each

    def write() -> None:
        sink = FileSink(path, largest)
        for _ in range(100):
            sink.write(lines)

    writers = [threading.Thread(target=write) for _ in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    former = (tmp_path / "audit.jsonl.1").read_bytes()
    assert largest - len(lines[0]) < len(former) <= largest  # it was full when it was moved
    assert set((former + path.read_bytes()).splitlines(keepends=True)) <= set(lines)


def counted(metrics: Metrics, result: str) -> float:
    series = (line for line in metrics.expose().decode().splitlines() if line.startswith("serinus_audit_records_total"))
    (line,) = (line for line in series if f'result="{result}"' in line)
    return float(line.rsplit(" ", 1)[1])


def test_what_a_slow_sink_has_no_room_for_is_dropped_and_counted(model: Model) -> None:
    with http_sink(delay=0.2) as (url, _):
        metrics = Metrics("m", "", "1")
        trail = AuditTrail(metrics)
        trail.apply(AuditPolicy(100, AuditSink(url=url)))
        request, outputs = InferRequest(None, {"in_FP32": np.zeros(1, np.float32)}, []), list[Tensor]()
        started = time.perf_counter()
        for _ in range(1000):
            trail.offer(model, request, outputs, dict)
        assert time.perf_counter() - started < 5
        trail.close()
    assert counted(metrics, "dropped") >= 600
    assert counted(metrics, "written") + counted(metrics, "dropped") == 1000


def test_a_part_is_sampled_and_none_without_a_policy(model: Model, tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    metrics = Metrics("m", "", "1")
    trail = AuditTrail(metrics)
    request = InferRequest(None, {"in_FP32": np.zeros(1, np.float32)}, [])
    for policy in (None, AuditPolicy(10, AuditSink(file=str(path))), None):
        trail.apply(policy)
        for number in range(2000):
            trail.offer(model, request, [], dict)
            if number % 500 == 0:
                time.sleep(0.2)  # the queue has room for all
    trail.close()
    assert 100 < len(path.read_text().splitlines()) < 320
    assert counted(metrics, "written") == len(path.read_text().splitlines())


@contextmanager
def http_sink(status: int = 204, delay: float = 0.0) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A server that takes JSON lines; its address, and what it has taken."""
    taken: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            time.sleep(delay)
            body = self.rfile.read(int(self.headers["Content-Length"]))
            assert self.headers["Content-Type"] == "application/x-ndjson"
            taken.extend(json.loads(line) for line in body.splitlines())
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing on stderr."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/records", taken
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def audited(folder: Path, *options: str, **audit: Any) -> Iterator[tuple[Serving, Mount]]:  # noqa: ANN401 - JSON
    """A server with such a part of the policy, and where the policy is mounted."""
    mount = Mount(folder / "policy", {"policy.json": json.dumps({"audit": {"samplePercent": 100, **audit}})})
    (folder / "model").mkdir()
    model = models.save(models.mlp(), folder / "model")
    with serving(model, "--policy-dir", str(mount.path), *options) as server:
        yield server, mount


def wait_until(server: Serving, result: str, count: float) -> None:
    """Wait for the count of audit records."""
    deadline = time.monotonic() + 20
    while server.metric("serinus_audit_records_total", result=result) != count:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_audit_redacts(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    with audited(tmp_path, "--grpc-port", "0", sink={"file": str(path)}, redact=["x"]) as (server, mount):
        assert server.infer(BODY, X_Request_ID="a", traceparent=f"00-{TRACE}-00f067aa0ba902b7-01")[0] == 200
        assert server.infer({"inputs": []})[0] == 400
        with channel(server) as opened:
            raw = [np.array([1, 2, 3, 4], np.float32).tobytes()]
            message = infer_request(("x", "FP32", [1, 4]), raw=raw, id="8")
            call(opened, "ModelInfer", message, metadata=(("x-request-id", "b"),))
        wait_until(server, "written", 2)
        first, second = (json.loads(line) for line in path.read_text().splitlines())
        mount.replace({"policy.json": "{}"})
        server.wait_for("reloaded")
        assert server.infer(BODY)[0] == 200
        server.terminate()
        assert server.exit_code() == 0
    assert len(path.read_text().splitlines()) == 2
    assert (first["id"], first["request_id"], first["trace_id"]) == ("a", "7", TRACE)
    assert (second["id"], second["request_id"]) == ("b", "8")
    for line in (first, second):
        assert line["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [1, 4], "redacted": True}]
        assert sum(line["outputs"][0]["data"]) == pytest.approx(1)


def test_audit_never_fails_requests(tmp_path: Path) -> None:
    for number, sink in enumerate(({"file": str(tmp_path / "no folder" / "a")}, {"url": "http://127.0.0.1:1/"})):
        folder = tmp_path / str(number)
        folder.mkdir()
        with audited(folder, sink=sink) as (server, _):
            for _ in range(10):
                assert server.infer(BODY)[0] == 200
            wait_until(server, "failed", 10)


def test_a_url_gets_json_lines(tmp_path: Path) -> None:
    with http_sink() as (url, taken), audited(tmp_path, sink={"url": url}) as (server, _):
        for _ in range(3):
            assert server.infer(BODY)[0] == 200
        wait_until(server, "written", 3)
        assert [line["inputs"][0]["data"] for line in taken] == [[1, 2, 3, 4]] * 3


def test_records_that_wait_are_written_at_the_end(tmp_path: Path) -> None:
    with (
        http_sink(delay=0.3) as (url, taken),
        audited(tmp_path, "--drain-delay", "0s", sink={"url": url}) as (server, _),
    ):
        for _ in range(5):
            assert server.infer(BODY)[0] == 200
        server.terminate()
        assert server.exit_code() == 0
        assert len(taken) == 5
