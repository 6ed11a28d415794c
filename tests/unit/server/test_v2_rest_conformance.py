"""The Open Inference Protocol's REST calls as its document lists them, against a real server."""

import http.client
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tests.unit.server import models
from tests.unit.server.serving import Serving, serving, tensor

X = np.arange(8, dtype=np.float32).reshape(2, 4)
JSON_REQUEST: dict[str, Any] = {"id": "42", "inputs": [tensor("x", "FP32", [2, 4], X.ravel().tolist())]}
BINARY_INPUT = {"name": "x", "datatype": "FP32", "shape": [2, 4], "parameters": {"binary_data_size": X.nbytes}}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """Serves x[batch, 4] -> y[batch, 3]."""
    with serving(models.save(models.mlp(), tmp_path_factory.mktemp("mlp"))) as running:
        yield running


def exchange(
    server: Serving, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
) -> tuple[int, dict[str, str], bytes]:
    """One request; status, headers in lower case, body."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    try:
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        return response.status, {name.lower(): text for name, text in response.getheaders()}, response.read()
    finally:
        connection.close()


MODEL = {
    "name": "m",
    "versions": ["1"],
    "platform": "onnxruntime_onnx",
    "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}],
    "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 3]}],
}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/v2/health/live", {"live": True}),
        ("/v2/health/ready", {"ready": True}),
        ("/v2/models/m/ready", {"name": "m", "ready": True}),
        ("/v2/models/m/versions/1/ready", {"name": "m", "ready": True}),
        ("/v2", {"name": "serinus-server", "extensions": ["binary_tensor_data"]}),
        ("/v2/models/m", MODEL),
        ("/v2/models/m/versions/1", MODEL),
    ],
)
def test_v2_rest_conformance(server: Serving, path: str, expected: dict[str, Any]) -> None:
    status, headers, body = exchange(server, "GET", path)
    assert (status, headers["content-type"]) == (200, "application/json")
    reply = json.loads(body)
    assert {**reply, **expected} == reply


@pytest.mark.parametrize("path", ["/v2/models/m/infer", "/v2/models/m/versions/1/infer"])
@pytest.mark.parametrize("binary_input", [False, True])
@pytest.mark.parametrize("binary_output", [False, True])
def test_v2_rest_conformance_infer(server: Serving, path: str, binary_input: bool, binary_output: bool) -> None:
    document: dict[str, Any] = {**JSON_REQUEST, "parameters": {"tag": "a", "binary_data_output": binary_output}}
    body, headers = json.dumps(document).encode(), {}
    if binary_input:
        header = json.dumps({**document, "inputs": [BINARY_INPUT]}).encode()
        body, headers = header + X.tobytes(), {"Inference-Header-Content-Length": str(len(header))}
    status, headers, content = exchange(server, "POST", path, body, headers)
    assert status == 200
    length = int(headers.get("inference-header-content-length", len(content)))
    reply = json.loads(content[:length])
    assert {**reply, "outputs": None} == {
        **{"model_name": "m", "model_version": "1", "id": "42", "parameters": {"tag": "a"}},
        "outputs": None,
    }
    (output,) = reply["outputs"]
    assert (output["name"], output["datatype"], output["shape"]) == ("y", "FP32", [2, 3])
    if binary_output:
        assert headers["content-type"] == "application/octet-stream"
        assert output["parameters"] == {"binary_data_size": 24}
        values = np.frombuffer(content[length:], np.float32)
    else:
        assert headers["content-type"] == "application/json"
        assert "inference-header-content-length" not in headers
        values = np.array(output["data"], np.float32)
    logits = X @ (np.arange(12, dtype=np.float32).reshape(4, 3) / 10)
    expected = np.exp(logits - logits.max(1, keepdims=True))
    np.testing.assert_allclose(values.reshape(2, 3), expected / expected.sum(1, keepdims=True), rtol=1e-5)


def test_a_body_of_binary_data_alone(server: Serving) -> None:
    headers = {"Inference-Header-Content-Length": "0"}
    status, headers, content = exchange(server, "POST", "/v2/models/m/infer", X.tobytes(), headers)
    length = int(headers["inference-header-content-length"])
    assert (status, json.loads(content[:length])["outputs"][0]["shape"], len(content) - length) == (200, [2, 3], 24)


def test_nan_inf(server: Serving) -> None:
    """Binary tensor data carries every number; JSON has none for these, in either direction."""
    bad = np.full((1, 4), np.nan, np.float32)
    header = json.dumps({"inputs": [{**BINARY_INPUT, "shape": [1, 4], "parameters": {"binary_data_size": 16}}]})
    for more, expected in ((b"", 500), (b',"parameters":{"binary_data_output":true}', 200)):
        head = header.encode()[:-1] + more + b"}"
        headers = {"Inference-Header-Content-Length": str(len(head))}
        status, headers, content = exchange(server, "POST", "/v2/models/m/infer", head + bad.tobytes(), headers)
        assert status == expected
        if status == 200:
            assert np.isnan(np.frombuffer(content[int(headers["inference-header-content-length"]) :], "<f4")).all()
        else:
            assert "output 'y': element 0 is nan, and JSON has no such number" in json.loads(content)["error"]
    status, _, content = exchange(server, "POST", "/v2/models/m/infer", b'{"inputs": [NaN]}')
    assert (status, json.loads(content)) == (400, {"error": "the body is not JSON: JSON has no NaN and no Infinity"})


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"shape": [2, 5]}, "input 'x': shape must be [batch, 4], not [2, 5]"),
        ({"shape": [8]}, "input 'x': shape must be [batch, 4], not [8]"),
        ({"shape": [1, 4]}, "input 'x': shape [1, 4] needs 4 elements, 'data' has 8"),
        ({"datatype": "FP64"}, "input 'x': datatype must be FP32, not 'FP64'"),
        ({"datatype": "float"}, "input 'x': datatype must be FP32, not 'float'"),
        ({"name": "X"}, "there is no input 'X'; the inputs are 'x'"),
        (None, "input 'x' is missing; it is a FP32 tensor of shape [batch, 4]"),
        ({"data": ["1"] * 8}, "input 'x': FP32 needs a number, but element 0 is '1'"),
    ],
)
def test_wrong_shape_dtype_name_missing_extra_input_is_400(
    server: Serving, change: dict[str, Any] | None, complaint: str
) -> None:
    inputs = [] if change is None else [{**JSON_REQUEST["inputs"][0], **change}]
    status, reply = server.infer({"inputs": inputs})
    assert (status, reply["error"]) == (400, complaint)
    extra = [*JSON_REQUEST["inputs"], tensor("extra", "FP32", [1], [1])]
    status, reply = server.infer({"inputs": extra})
    assert (status, reply["error"]) == (400, "there is no input 'extra'; the inputs are 'x'")
