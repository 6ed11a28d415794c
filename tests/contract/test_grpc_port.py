"""The gRPC port as programs in Go see it: h2spec, the conformance test of HTTP/2 and HPACK, and a client of grpc-go."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from serinus_server import grpc_api
from tests.cluster.binaries import GHZ, H2SPEC, built
from tests.unit.server import models
from tests.unit.server.grpc_client import infer_request
from tests.unit.server.serving import Serving, serving


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """Serves x[batch, 4] -> y[batch, 3]."""
    with serving(models.save(models.mlp(), tmp_path_factory.mktemp("mlp")), "--grpc-port", "0") as running:
        yield running


def test_http2_and_hpack(served: Serving) -> None:
    """Every case of h2spec passes, and none is skipped."""
    port = str(served.wait_for("listening")["grpc_port"])
    command = [str(built(H2SPEC)), "--host", "127.0.0.1", "--port", port, "--timeout", "5"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    counts = re.search(r"(\d+) tests, (\d+) passed, (\d+) skipped, (\d+) failed", found.stdout)
    assert counts is not None, found.stdout + found.stderr
    total, passed, skipped, failed = map(int, counts.groups())
    assert (skipped, failed) == (0, 0), found.stdout[found.stdout.find("Failures:") :]
    assert total == passed >= 145
    assert served.metric("serinus_in_flight_requests") == 0


def test_a_client_of_grpc_go(served: Serving, tmp_path: Path) -> None:
    """Ghz is made of it, as kubelet's probes are."""
    request = infer_request(("x", "FP32", [1, 4]), raw=[np.ones(4, np.float32).tobytes()])
    message = tmp_path / "request.bin"
    message.write_bytes(request.SerializeToString())
    proto = Path(grpc_api.__file__).parent / "open_inference_grpc.proto"
    address = f"127.0.0.1:{served.wait_for('listening')['grpc_port']}"
    method = "inference.GRPCInferenceService.ModelInfer"
    command = [built(GHZ), "--insecure", "--proto", proto, "--call", method, "--binary-file", message]
    command += ["--total", "500", "--concurrency", "20", "--connections", "2", "--format", "json", address]
    ghz = subprocess.run(list(map(str, command)), capture_output=True, check=True)
    assert json.loads(ghz.stdout)["statusCodeDistribution"] == {"OK": 500}
