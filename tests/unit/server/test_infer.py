"""The Open Inference Protocol over a real server: every call, every type, every refusal's status."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.server import models
from tests.unit.server.serving import Serving, serving, tensor

VALUES: dict[str, list[Any]] = {
    "BOOL": [True, False],
    "UINT8": [0, 255],
    "UINT16": [65535],
    "UINT32": [2**32 - 1],
    "UINT64": [2**64 - 1, 1],
    "INT8": [-128],
    "INT16": [-32768],
    "INT32": [-(2**31)],
    "INT64": [-(2**63), 2**63 - 1],
    "FP16": [0.5, -65504],
    "FP32": [0.1, -3.4e38],
    "FP64": [0.1, 1.7e308],
    "BYTES": ["", "ünï 🐦", "null"],
}


@pytest.fixture(scope="module")
def types(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """Serves a model that gives back one tensor of every type."""
    with serving(models.save(models.every_type(), tmp_path_factory.mktemp("types"))) as server:
        yield server


@pytest.fixture(scope="module")
def lookup(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """Serves a model that fails on some values."""
    with serving(models.save(models.lookup(), tmp_path_factory.mktemp("lookup"))) as server:
        yield server


def test_server_and_health(types: Serving) -> None:
    status, server = types.get("/v2")
    assert (status, server["name"], server["extensions"]) == (200, "serinus-server", ["binary_tensor_data"])
    assert types.get("/v2/health/live") == (200, {"live": True})
    assert types.get("/v2/health/ready") == (200, {"ready": True})
    assert types.get("/v2/models/m/ready") == (200, {"name": "m", "ready": True})
    assert types.get("/v2/models/m/versions/1/ready") == (200, {"name": "m", "ready": True})


@pytest.mark.parametrize("path", ["/v2/models/m", "/v2/models/m/versions/1", "/v2/models/m/?x=y", "/v2/models/%6D"])
def test_model_metadata(types: Serving, path: str) -> None:
    status, model = types.get(path)
    assert status == 200
    assert (model["name"], model["versions"], model["platform"]) == ("m", ["1"], "onnxruntime_onnx")
    assert model["inputs"] == [{"name": f"in_{name}", "datatype": name, "shape": [-1]} for name in models.DTYPES]
    assert model["outputs"] == [{"name": f"out_{name}", "datatype": name, "shape": [-1]} for name in models.DTYPES]


@pytest.mark.parametrize("path", ["/v2/models/m/infer", "/v2/models/m/versions/1/infer"])
def test_all_dtypes_round_trip(types: Serving, path: str) -> None:
    inputs = [tensor(f"in_{name}", name, [len(values)], values) for name, values in VALUES.items()]
    status, reply = types.call("POST", path, {"id": "7", "inputs": inputs})
    assert status == 200
    assert {key: reply[key] for key in ("model_name", "model_version", "id")} == {
        **{"model_name": "m", "model_version": "1"},
        "id": "7",
    }
    assert reply["outputs"] == [tensor(f"out_{name}", name, [len(values)], values) for name, values in VALUES.items()]


def test_requested_outputs_in_their_order(types: Serving) -> None:
    inputs = [tensor(f"in_{name}", name, [len(values)], values) for name, values in VALUES.items()]
    status, reply = types.infer({"inputs": inputs, "outputs": [{"name": "out_FP64"}, {"name": "out_BOOL"}]})
    assert status == 200
    assert "id" not in reply
    assert reply["outputs"] == [
        tensor("out_FP64", "FP64", [2], VALUES["FP64"]),
        tensor("out_BOOL", "BOOL", [2], VALUES["BOOL"]),
    ]


def test_empty_batch(lookup: Serving) -> None:
    status, reply = lookup.infer({"inputs": [tensor("i", "INT64", [0], [])]})
    assert status == 200
    assert reply["outputs"][0] == tensor("y", "FP32", [0], [])


def test_a_failing_run_is_500_and_the_next_one_is_fine(lookup: Serving) -> None:
    failed = lookup.metric("serinus_requests_total", code="500")
    status, reply = lookup.infer({"inputs": [tensor("i", "INT64", [1], [99])]})
    assert status == 500
    assert "the model failed on this request" in reply["error"]
    assert "indices element out of data bounds" in reply["error"]
    assert "onnxruntime_src" not in reply["error"]
    assert lookup.metric("serinus_requests_total", code="500") == failed + 1
    assert lookup.infer({"inputs": [tensor("i", "INT64", [1], [9])]})[0] == 200


def test_infinity_in_a_reply_is_an_error_unless_not_asked_for(lookup: Serving) -> None:
    inputs = [tensor("i", "INT64", [2], [1, 0])]
    status, reply = lookup.infer({"inputs": inputs})
    complaint = "output 'r': element 1 is inf, and JSON has no such number; ask for it as binary data"
    assert (status, reply) == (500, {"error": complaint})
    status, reply = lookup.infer({"inputs": inputs, "outputs": [{"name": "y"}]})
    assert (status, reply["outputs"][0]["data"]) == (200, [1.0, 0.0])


@pytest.mark.parametrize(
    ("status", "error", "body", "headers"),
    [
        (400, "the body is not JSON", b"{", {}),
        (400, "input 'i': shape must be [n], not [1, 1]", {"inputs": [tensor("i", "INT64", [1, 1], [1])]}, {}),
        (400, "input 'i': datatype must be INT64", {"inputs": [tensor("i", "INT32", [1], [1])]}, {}),
        (400, "there is no input 'j'", {"inputs": [tensor("j", "INT64", [1], [1])]}, {}),
        (400, "input 'i' is missing", {"inputs": []}, {}),
        (
            400,
            "Inference-Header-Content-Length must be a number of bytes, not '-2'",
            b"{}",
            {"Inference_Header_Content_Length": "-2"},
        ),
        (415, "Content-Encoding 'gzip' is not supported", b"\x1f\x8b", {"Content_Encoding": "gzip"}),
    ],
)
def test_refusals_are_counted_by_status(
    lookup: Serving, status: int, error: str, body: object, headers: dict[str, str]
) -> None:
    before = lookup.metric("serinus_requests_total", code=str(status))
    answered, reply = lookup.infer(body, **headers)
    assert answered == status
    assert error in reply["error"]
    assert lookup.metric("serinus_requests_total", code=str(status)) == before + 1


@pytest.mark.parametrize(
    ("method", "path", "status", "error"),
    [
        ("GET", "/", 404, "there is no /"),
        ("GET", "/v1/models/m", 404, "there is no /v1/models/m"),
        ("GET", "/v2/models/other", 404, "this server has model 'm', version '1'"),
        ("POST", "/v2/models/other/infer", 404, "this server has model 'm', version '1'"),
        ("POST", "/v2/models/m/versions/2/infer", 404, "this server has model 'm', version '1'"),
        ("GET", "/v2/models/m/infer", 405, "this path takes POST"),
        ("DELETE", "/v2/models/m", 405, "this path takes GET, HEAD"),
        ("POST", "/v2/health/live", 405, "this path takes GET, HEAD"),
    ],
)
def test_wrong_paths_and_methods(lookup: Serving, method: str, path: str, status: int, error: str) -> None:
    answered, reply = lookup.call(method, path)
    assert answered == status
    assert error in reply["error"]


def test_scalars_and_open_ranks(tmp_path: Path) -> None:
    with serving(models.save(models.any_rank(), tmp_path)) as server:
        assert server.get("/v2/models/m")[1]["inputs"][0]["shape"] == [-1]
        for shape, data in ([], [1.0]), ([2], [1.0, 2.0]), ([1, 2], [1.0, 2.0]):
            status, reply = server.infer({"inputs": [tensor("x", "FP32", shape, data)]})
            assert (status, reply["outputs"][0]) == (200, tensor("y", "FP32", shape, data))


def test_access_log_tells_all_but_the_payload(types: Serving) -> None:
    body = {"inputs": [tensor("in_BYTES", "BYTES", [1], ["secret-payload"])]}
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    types.infer(body, X_Request_Id="my-id", Traceparent=trace)
    line = types.wait_for(id="my-id")
    assert (line["method"], line["path"], line["status"]) == ("POST", "/v2/models/m/infer", 400)
    assert (line["model"], line["version"], line["trace_id"]) == ("m", "1", "4bf92f3577b34da6a3ce929d0e0e4736")
    assert line["request_bytes"] == len(json.dumps(body))
    assert line["duration_us"] >= 0
    assert "secret-payload" not in json.dumps(types.log)
    assert not any("/v2/health" in line.get("path", "") for line in types.log)


def test_an_error_names_the_version_that_answered(lookup: Serving) -> None:
    body = json.dumps({"inputs": [tensor("no such input", "INT64", [1], [1])]}).encode()
    head = b"POST /v2/models/m/infer HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b"
    with lookup.connect() as connection:
        connection.sendall(head % (len(body), body))
        reply = b"".join(iter(lambda: connection.recv(65536), b""))
    assert reply.startswith(b"HTTP/1.1 400 ")
    assert b"\r\nSerinus-Model-Version: 1\r\n" in reply
