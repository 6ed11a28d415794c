"""Encoding: dtype, shape and order are the model's, and numbers read back to the same bits."""

import json
from typing import Any, cast

import numpy as np
import pytest

from serinus_server.datatypes import BY_ONNX_TYPE
from serinus_server.encode import NotRepresentableError, encode
from serinus_server.infer_request import InferRequest
from serinus_server.model import Model, Signature, Tensor, TensorSpec

TYPES = {datatype.name: datatype for datatype in BY_ONNX_TYPE.values()}
ANY_SESSION = cast(Any, None)  # encoding never touches it


def encoded(request_id: str | None = None, **tensors: tuple[str, Tensor]) -> dict[str, Any]:
    outputs = {name: TensorSpec(name, TYPES[datatype], None) for name, (datatype, _) in tensors.items()}
    model = Model("m", "7", Signature({}, outputs, {}), ANY_SESSION, "digest", 0.0)
    request = InferRequest(request_id, {}, list(tensors))
    reply: dict[str, Any] = json.loads(encode(model, request, [values for _, values in tensors.values()]).body)
    return reply


def array(datatype: str, values: Any, shape: tuple[int, ...] | None = None) -> tuple[str, Tensor]:  # noqa: ANN401 - nested lists
    tensor = np.array(values, dtype=TYPES[datatype].dtype)
    return datatype, tensor if shape is None else tensor.reshape(shape)


@pytest.mark.parametrize(
    ("datatype", "values"),
    [
        ("BOOL", [True, False]),
        ("UINT8", [0, 255]),
        ("UINT16", [0, 65535]),
        ("UINT32", [0, 2**32 - 1]),
        ("UINT64", [0, 2**64 - 1]),
        ("INT8", [-128, 127]),
        ("INT16", [-32768, 32767]),
        ("INT32", [-(2**31), 2**31 - 1]),
        ("INT64", [-(2**63), 2**63 - 1]),
        ("FP16", [0.1, 65504, 6e-8]),
        ("FP32", [0.1, 3.4e38, 1e-45]),
        ("FP64", [0.1, 1.7e308, 5e-324]),
        ("BYTES", ["", "null", "ünï\u0000", '"']),
    ],
)
def test_every_type_reads_back(datatype: str, values: list[Any]) -> None:
    written = array(datatype, values)
    (output,) = encoded(y=written)["outputs"]
    assert (output["name"], output["datatype"], output["shape"]) == ("y", datatype, [len(values)])
    read = np.array(output["data"], dtype=TYPES[datatype].dtype)
    assert read.tolist() == written[1].tolist()


def test_shape_is_kept_and_data_is_flat_row_major() -> None:
    outputs = encoded(
        matrix=array("INT32", [[1, 2], [3, 4]]),
        transposed=("INT32", np.array([[1, 2], [3, 4]], dtype=np.int32).T),
        scalar=array("FP32", 5),
        empty=array("FP32", [], (0, 3)),
        texts=array("BYTES", [["a"], ["b"]]),
    )["outputs"]
    assert [(output["shape"], output["data"]) for output in outputs] == [
        ([2, 2], [1, 2, 3, 4]),
        ([2, 2], [1, 3, 2, 4]),
        ([], [5.0]),
        ([0, 3], []),
        ([2, 1], ["a", "b"]),
    ]


def test_id_only_if_the_request_had_one() -> None:
    assert encoded("é", y=array("BOOL", [True]))["id"] == "é"
    reply = encoded(y=array("BOOL", [True]))
    assert list(reply) == ["model_name", "model_version", "outputs"]
    assert (reply["model_name"], reply["model_version"]) == ("m", "7")


@pytest.mark.parametrize("datatype", ["FP16", "FP32", "FP64"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_json_lacks_is_named(datatype: str, value: float) -> None:
    with pytest.raises(NotRepresentableError, match=f"output 'y': element 1 is {value}, and JSON has no such number"):
        encoded(x=array("FP32", [1]), y=array(datatype, [0, value]))
