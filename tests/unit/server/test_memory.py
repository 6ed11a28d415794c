"""A server's memory after many requests."""

import json
from pathlib import Path

import numpy as np

from tests.unit.server import models
from tests.unit.server.grpc_client import call, channel, infer_request
from tests.unit.server.serving import Serving, serving, tensor

REQUESTS = 200_000
PIPELINED = 200
GROWTH_BYTES = 4 << 20
GOOD = json.dumps({"id": "1", "inputs": [tensor("x", "FP32", [1, 4], [1, 2, 3, 4])]}).encode()
BINARY = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "parameters": {"binary_data_size": 16}}]}


def post(body: bytes, header_length: int | None = None) -> bytes:
    header = b"" if header_length is None else b"Inference-Header-Content-Length: %d\r\n" % header_length
    head = b"POST /v2/models/m/infer HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n%b\r\n" % (len(body), header)
    return head + body


def resident_bytes(server: Serving) -> int:
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:"))) * 1024


def test_rss_flat_over_200000_requests(tmp_path: Path) -> None:
    """Good ones in JSON and binary, wrong ones, ones for other models, over many connections."""
    json_part = json.dumps(BINARY).encode()
    binary = post(json_part + np.ones(4, np.float32).tobytes(), len(json_part))
    other = post(GOOD).replace(b"/models/m/", b"/models/q/")
    mixture = (post(GOOD) * 3 + binary * 3 + post(b'{"inputs": []}') + post(b"{") + other * 2) * (PIPELINED // 10)
    with serving(models.save(models.mlp(), tmp_path), "--access-log", "off", "--max-connection-age", "1h") as server:

        def send(rounds: int) -> None:
            for _ in range(rounds // 50):
                with server.connect() as connection:
                    for _ in range(50):
                        connection.sendall(mixture)
                        received = b""
                        while received.count(b"HTTP/1.1 ") < PIPELINED:
                            received += connection.recv(1 << 20)

        send(100)
        before = resident_bytes(server)
        send(REQUESTS // PIPELINED)
        assert resident_bytes(server) - before < GROWTH_BYTES
        assert server.metric("serinus_requests_total", code="200") >= 0.6 * REQUESTS


def test_rss_flat_over_grpc(tmp_path: Path) -> None:
    request = infer_request(("x", "FP32", [1, 4]), raw=[np.ones(4, np.float32).tobytes()])
    options = ("--access-log", "off", "--grpc-port", "0")
    with serving(models.save(models.mlp(), tmp_path), *options) as server, channel(server) as opened:
        for _ in range(2_000):
            call(opened, "ModelInfer", request)
        before = resident_bytes(server)
        for _ in range(10_000):
            call(opened, "ModelInfer", request)
        assert resident_bytes(server) - before < GROWTH_BYTES


def test_trying_batches_takes_no_memory_for_good(tmp_path: Path) -> None:
    """A batch of eight holds 64 MiB of each tensor of this model, and a pod is given what requests need."""
    path = models.save(models.chain(1 << 21, 2), tmp_path)
    with serving(path, "--batching", "off") as never_tried, serving(path) as tried:
        assert "off: a row takes" in tried.wait_for("ready")["batching"]
        # glibc keeps up to 64 MiB of what was freed, for whatever comes next; onnxruntime would keep 230 of its own.
        assert resident_bytes(tried) - resident_bytes(never_tried) < 80 << 20
