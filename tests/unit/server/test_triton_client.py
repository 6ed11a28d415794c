"""NVIDIA's clients, unchanged, over both transports, against a real server."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
from tritonclient.utils import InferenceServerException

from tests.unit.server import models
from tests.unit.server.serving import Serving, serving

VALUES: dict[str, Any] = {
    "BOOL": np.array([True, False]),
    "UINT8": np.array([0, 255], np.uint8),
    "UINT16": np.array([0, 65535], np.uint16),
    "UINT32": np.array([2**32 - 1], np.uint32),
    "UINT64": np.array([2**64 - 1, 0], np.uint64),
    "INT8": np.array([-128, 127], np.int8),
    "INT16": np.array([-32768], np.int16),
    "INT32": np.array([-(2**31)], np.int32),
    "INT64": np.array([-(2**63), 2**63 - 1], np.int64),
    "FP16": np.array([0.1, np.inf, np.nan, 6e-8], np.float16),
    "FP32": np.array([0.1, -np.inf, np.nan, 1e-45], np.float32),
    "FP64": np.array([], np.float64),
    "BYTES": np.array(["", "ünï 🐦".encode(), b"a\0b"], object),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """Serves a model that gives back one tensor of every type."""
    with serving(models.save(models.every_type(), tmp_path_factory.mktemp("types")), "--grpc-port", "0") as running:
        yield running


@pytest.fixture
def http(server: Serving) -> Iterator[Any]:
    """A client of the HTTP port."""
    with tritonclient.http.InferenceServerClient(f"127.0.0.1:{server.port}") as connected:
        yield connected


@pytest.fixture
def grpc(server: Serving) -> Iterator[Any]:
    """A client of the gRPC port."""
    port = server.wait_for("listening")["grpc_port"]
    with tritonclient.grpc.InferenceServerClient(f"127.0.0.1:{port}") as connected:
        yield connected


@pytest.mark.parametrize("transport", ["http", "grpc"])
def test_tritonclient_http_and_grpc(transport: str, request: pytest.FixtureRequest) -> None:
    client = request.getfixturevalue(transport)
    as_dicts = {"as_json": True} if transport == "grpc" else {}
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("m")
    assert client.is_model_ready("m", "1")
    assert client.get_server_metadata(**as_dicts)["extensions"] == ["binary_tensor_data"]
    metadata = client.get_model_metadata("m", **as_dicts)
    assert [each["name"] for each in metadata["inputs"]] == [f"in_{name}" for name in VALUES]


@pytest.mark.parametrize("listed", [True, False])
def test_every_type_over_grpc(grpc: Any, listed: bool) -> None:  # noqa: ANN401 - the library has no types
    inputs = []
    for name, values in VALUES.items():
        given = tritonclient.grpc.InferInput(f"in_{name}", list(values.shape), name)
        given.set_data_from_numpy(values)
        inputs.append(given)
    outputs = [tritonclient.grpc.InferRequestedOutput(f"out_{name}") for name in VALUES]
    result = grpc.infer("m", inputs, outputs=outputs if listed else None, request_id="7")
    assert result.get_response().id == "7"
    for name, values in VALUES.items():
        require_same(result.as_numpy(f"out_{name}"), values)


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("listed", [True, False])
def test_every_type_over_http(http: Any, binary: bool, listed: bool) -> None:  # noqa: ANN401
    inputs, expected = [], {}
    for name, values in VALUES.items():
        sent = values if binary or values.dtype.kind != "f" else np.nan_to_num(values, posinf=1, neginf=1)
        given = tritonclient.http.InferInput(f"in_{name}", list(sent.shape), name)
        # The client has no JSON form for FP16.
        given.set_data_from_numpy(sent, binary_data=binary or name == "FP16")
        inputs.append(given)
        expected[f"out_{name}"] = sent
    outputs = [tritonclient.http.InferRequestedOutput(name, binary_data=binary) for name in expected]
    result = http.infer("m", inputs, outputs=outputs if listed else None, request_id="7")
    assert result.get_response()["id"] == "7"
    for name, values in expected.items():
        require_same(result.as_numpy(name), values)


def require_same(received: Any, sent: Any) -> None:  # noqa: ANN401 - arrays of any type
    if sent.dtype.kind == "O":
        as_bytes = [[text if isinstance(text, bytes) else text.encode() for text in each] for each in (received, sent)]
        assert as_bytes[0] == as_bytes[1]
    else:
        assert received.dtype == sent.dtype
        assert received.tobytes() == sent.tobytes()


@pytest.mark.parametrize("library", [tritonclient.http, tritonclient.grpc])
def test_errors_are_told(library: Any, request: pytest.FixtureRequest) -> None:  # noqa: ANN401
    client = request.getfixturevalue("http" if library is tritonclient.http else "grpc")
    wrong = library.InferInput("in_FP32", [1, 1], "FP32")
    wrong.set_data_from_numpy(np.zeros((1, 1), np.float32))
    with pytest.raises(InferenceServerException, match=r"input 'in_FP32': shape must be \[FP32\], not \[1, 1\]"):
        client.infer("m", [wrong])
    with pytest.raises(InferenceServerException, match="this server has model 'm'"):
        client.infer("other", [wrong])
