"""Decoding: every type comes through exactly, and every refusal says what was expected and what came."""

from typing import Any

import numpy as np
import orjson
import pytest

from serinus_server.datatypes import BY_ONNX_TYPE, Datatype
from serinus_server.decode import decode
from serinus_server.infer_request import InferRequest, InvalidRequestError
from serinus_server.model import Signature, TensorSpec
from tests.unit.server.serving import tensor

TYPES = {datatype.name: datatype for datatype in BY_ONNX_TYPE.values()}


def spec(name: str, datatype: str, shape: tuple[int | str | None, ...] | None, optional: bool = False) -> TensorSpec:
    return TensorSpec(name, TYPES[datatype], shape, optional)


def signature(*inputs: TensorSpec, **unsupported_outputs: str) -> Signature:
    outputs = {name: spec(name, "FP32", (None,)) for name in ("y", "z")}
    return Signature({each.name: each for each in inputs}, outputs, unsupported_outputs)


def decode_one(datatype: str, data: list[Any], shape: list[int] | None = None) -> np.ndarray[Any, Any]:
    body = orjson.dumps({"inputs": [tensor("x", datatype, [len(data)] if shape is None else shape, data)]})
    feeds = decode(body, signature(spec("x", datatype, None))).feeds
    return feeds["x"]


@pytest.mark.parametrize(
    ("datatype", "data"),
    [
        ("BOOL", [True, False]),
        ("UINT8", [0, 255]),
        ("UINT16", [0, 65535]),
        ("UINT32", [0, 2**32 - 1]),
        ("UINT64", [0, 2**64 - 1, 1]),
        ("INT8", [-128, 127]),
        ("INT16", [-32768, 32767]),
        ("INT32", [-(2**31), 2**31 - 1]),
        ("INT64", [-(2**63), 2**63 - 1]),
        ("FP16", [0.5, -65504, 1]),
        ("FP32", [0.25, -1, 3.4e38]),
        ("FP64", [0.1, -1, 1.7e308]),
        ("BYTES", ["", "ascii", "ünïcode 🐦", "a\u0000b", "null", "true"]),
    ],
)
def test_every_type_comes_through(datatype: str, data: list[Any]) -> None:
    decoded = decode_one(datatype, data)
    assert decoded.dtype == TYPES[datatype].dtype
    assert decoded.tolist() == np.array(data, dtype=TYPES[datatype].dtype).tolist()
    assert decode_one(datatype, []).dtype == TYPES[datatype].dtype


def test_floats_round_to_the_nearest() -> None:
    assert decode_one("FP32", [16777217])[0] == np.float32(16777216)
    assert decode_one("FP32", [0.1])[0] == np.float32(0.1)
    assert np.signbit(decode_one("FP32", [-0.0])[0])


@pytest.mark.parametrize(
    ("shape", "data"),
    [([2, 2], [1, 2, 3, 4]), ([2, 2], [[1, 2], [3, 4]]), ([1, 2, 2], [[[1, 2], [3, 4]]]), ([4], [1, 2, 3, 4])],
)
def test_flat_and_nested_data_are_row_major(shape: list[int], data: list[Any]) -> None:
    decoded = decode_one("INT32", data, shape)
    assert decoded.shape == tuple(shape)
    assert decoded.ravel().tolist() == [1, 2, 3, 4]


def test_huge_shapes_are_refused_before_anything_is_made_of_them() -> None:
    for shape, complaint in (
        ([0, 2**62, 2**62], "is larger than any tensor can be"),
        ([1] * 65, "shape must be of at most 64 dimensions"),
        ([2**60] * 100_000, "shape must be of at most 64 dimensions"),
    ):
        with pytest.raises(InvalidRequestError, match=complaint):
            decode_one("FP32", [], shape)


def test_scalars_and_empty_batches() -> None:
    assert decode_one("FP32", [5], []).shape == ()
    assert decode_one("FP32", [], [0, 4]).shape == (0, 4)
    assert decode_one("FP32", [[], []], [2, 0]).shape == (2, 0)


@pytest.mark.parametrize(
    ("datatype", "data", "complaint"),
    [
        ("FP32", [1.0, "2"], "FP32 needs a number, but element 1 is '2'"),
        ("FP32", [1.0, None], "FP32 needs a number, but element 1 is null"),
        ("FP32", [True, 1.5], "FP32 needs a number, but element 0 is true"),
        ("FP32", [1e39], "element 0 is 1e+39, which FP32 cannot hold"),
        ("FP16", [1, 70000], "element 1 is 70000, which FP16 cannot hold"),
        ("INT32", [1, 1.5], "INT32 needs an integer, but element 1 is 1.5"),
        ("INT32", [1.0], "INT32 needs an integer, but element 0 is 1.0"),
        ("INT32", [False], "INT32 needs an integer, but element 0 is false"),
        ("INT8", [1, 128], "element 1 is 128, which INT8 cannot hold"),
        ("UINT8", [-1], "element 0 is -1, which UINT8 cannot hold"),
        ("UINT64", [-1], "element 0 is -1, which UINT64 cannot hold"),
        ("INT64", [2**63], f"element 0 is {2**63}, which INT64 cannot hold"),
        ("BOOL", [1], "BOOL needs true or false, but element 0 is 1"),
        ("BYTES", ["a", 1], "BYTES needs a string, but element 1 is 1"),
        ("BYTES", [None], "BYTES needs a string, but element 0 is null"),
        ("FP32", [{}], "FP32 needs a number, but element 0 is an object"),
        ("FP32", [1, [2]], "FP32 needs a number, but element 1 is [2]"),
        ("FP32", [[1, 2], [3]], "the lists in 'data' differ in length or depth"),
        ("FP32", [[1], 2], "the lists in 'data' differ in length or depth"),
    ],
)
def test_inexact_data_is_refused(datatype: str, data: list[Any], complaint: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        decode_one(datatype, data)
    assert complaint in str(caught.value)
    assert "input 'x'" in str(caught.value)


TWO = signature(spec("a", "FP32", ("batch", 4)), spec("b", "INT64", ("batch",)), scores="seq(map(int64,float))")
A = tensor("a", "FP32", [1, 4], [1, 2, 3, 4])
B = tensor("b", "INT64", [1], [7])


def without(entry: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in entry.items() if name != key}


@pytest.mark.parametrize(
    ("document", "complaint"),
    [
        ([1], "the body must be a JSON object, not [1]"),
        ({}, "'inputs' must be a list of tensors, not null"),
        ({"inputs": "a"}, "'inputs' must be a list of tensors, not 'a'"),
        ({"inputs": [7]}, "each of 'inputs' must be an object, not 7"),
        ({"inputs": [A]}, "input 'b' is missing; it is a INT64 tensor of shape [batch]"),
        ({"inputs": [A, A]}, "input 'a' is given twice"),
        ({"inputs": [A, B, {**B, "name": "c"}]}, "there is no input 'c'; the inputs are 'a', 'b'"),
        ({"inputs": [A, without(B, "name")]}, "an input's 'name' must be a string, not null"),
        ({"inputs": [A, {**B, "datatype": "INT32"}]}, "input 'b': datatype must be INT64, not 'INT32'"),
        ({"inputs": [A, without(B, "datatype")]}, "input 'b': datatype must be INT64, not null"),
        ({"inputs": [A, {**B, "shape": [1, 1]}]}, "input 'b': shape must be [batch], not [1, 1]"),
        ({"inputs": [{**A, "shape": [1, 5]}, B]}, "input 'a': shape must be [batch, 4], not [1, 5]"),
        ({"inputs": [A, {**B, "shape": [-1]}]}, "'shape' must be a list of non-negative integers, not [-1]"),
        ({"inputs": [A, {**B, "shape": [True]}]}, "'shape' must be a list of non-negative integers"),
        ({"inputs": [A, {**B, "shape": 1}]}, "'shape' must be a list of non-negative integers, not 1"),
        ({"inputs": [A, {**B, "shape": [1.0]}]}, "'shape' must be a list of non-negative integers"),
        ({"inputs": [{**A, "shape": [2**40, 4]}, B]}, "needs 4398046511104 elements, 'data' has 4"),
        ({"inputs": [{**A, "shape": [2**62, 4], "data": []}, B]}, "needs 18446744073709551616 elements, 'data' has 0"),
        ({"inputs": [A, {**B, "shape": [2], "data": [1, 2]}]}, "dimension 'batch' is 2 in [2], but 1 in input 'a'"),
        ({"inputs": [A, {**B, "data": [1, 2]}]}, "shape [1] needs 1 elements, 'data' has 2"),
        ({"inputs": [{**A, "data": [[1, 2], [3, 4]]}, B]}, "'data' is nested as [2, 2], but 'shape' says [1, 4]"),
        ({"inputs": [A, {**B, "data": 7}]}, "input 'b': 'data' must be a list, not 7"),
        ({"inputs": [A, without(B, "data")]}, "input 'b': 'data' must be a list, not null"),
        (
            {"inputs": [A, {**without(B, "data"), "parameters": {"binary_data_size": 8}}]},
            "input 'b' has 'binary_data_size', but the header Inference-Header-Content-Length is missing",
        ),
        ({"inputs": [A, {**B, "parameters": 1}]}, "'parameters' of input 'b' must be an object, not 1"),
        (
            {"inputs": [A, {**without(B, "data"), "parameters": {"shared_memory_region": "r"}}]},
            "input 'b' names a shared memory region, which is not supported",
        ),
        ({"inputs": [A, B], "id": 7}, "'id' must be a string, not 7"),
        ({"inputs": [A, B], "outputs": {}}, "'outputs' must be a list, not an object"),
        ({"inputs": [A, B], "outputs": ["y"]}, "each of 'outputs' must be an object with a 'name'"),
        ({"inputs": [A, B], "outputs": [{"name": "q"}]}, "there is no output 'q'; the outputs are 'y', 'z'"),
        ({"inputs": [A, B], "outputs": [{"name": "y"}, {"name": "y"}]}, "output 'y' is requested twice"),
        ({"inputs": [A, B], "outputs": [{"name": "scores"}]}, "is a seq(map(int64,float)), which the protocol"),
        (
            {"inputs": [A, B], "outputs": [{"name": "y", "parameters": {"binary_data": 1}}]},
            "'binary_data' of output 'y' must be true or false, not 1",
        ),
        (
            {"inputs": [A, B], "outputs": [{"name": "y", "parameters": {"classification": 2}}]},
            "output 'y' asks for classification",
        ),
        (
            {"inputs": [A, B], "parameters": {"binary_data_output": "yes"}},
            "'binary_data_output' of the request must be true or false, not 'yes'",
        ),
        ({"inputs": [A, B], "parameters": 1}, "'parameters' of the request must be an object, not 1"),
    ],
)
def test_wrong_requests_are_named(document: object, complaint: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        decode(orjson.dumps(document), TWO)
    assert complaint in str(caught.value)


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (b"", "the body is not JSON"),
        (b"{", "the body is not JSON"),
        (b'{"inputs": [NaN]}', "JSON has no NaN and no Infinity"),
        (b'{"inputs": [-Infinity]}', "JSON has no NaN and no Infinity"),
        (b"\xff\xfe", "the body is not JSON"),
        (b"[" * 100_000, "the body is not JSON"),
        (b'{"inputs": [1e999]}', "the body is not JSON"),
    ],
)
def test_what_is_not_json(body: bytes, complaint: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        decode(body, TWO)
    assert complaint in str(caught.value)


def test_requested_outputs_keep_their_order() -> None:
    def outputs(requested: object) -> list[str]:
        return list(decode(orjson.dumps({"inputs": [A, B], "outputs": requested}), TWO).outputs)

    assert outputs([{"name": "z"}, {"name": "y", "parameters": {"binary_data": False}}]) == ["z", "y"]
    assert outputs([]) == ["y", "z"]
    assert outputs(None) == ["y", "z"]


def test_id_and_unknown_members_pass() -> None:
    document = {"id": "é-1", "model_name": "m", "inputs": [A, {**B, "parameters": {"content_type": "np"}}]}
    decoded = decode(orjson.dumps(document), TWO)
    assert isinstance(decoded, InferRequest)
    assert decoded.id == "é-1"


def test_parameters_of_the_request_pass_but_those_for_the_server() -> None:
    parameters = {"session": "s-1", "priority": 3, "dry": True, "binary_data_output": False}
    document = {"inputs": [A, B], "parameters": parameters}
    assert decode(orjson.dumps(document), TWO).parameters == {"session": "s-1", "priority": 3, "dry": True}
    assert decode(orjson.dumps({"inputs": [A, B]}), TWO).parameters == {}


def test_optional_inputs_may_be_left_out() -> None:
    both = signature(spec("x", "FP32", ("n",)), spec("bias", "FP32", (1,), optional=True))
    x = tensor("x", "FP32", [1], [1])
    assert set(decode(orjson.dumps({"inputs": [x]}), both).feeds) == {"x"}
    given = decode(orjson.dumps({"inputs": [x, tensor("bias", "FP32", [1], [2])]}), both)
    assert set(given.feeds) == {"x", "bias"}


def test_long_texts_among_many_numbers_cost_no_memory() -> None:
    data: list[Any] = [0.5] * 100_000
    data[7] = "x" * 100_000  # numpy would make 100,000 texts of this width: 40 GB
    with pytest.raises(InvalidRequestError, match="element 7 is 'x"):
        decode_one("FP32", data)


def test_datatypes_are_those_of_the_protocol() -> None:
    assert set(TYPES) == {
        *("BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64"),
        *("FP16", "FP32", "FP64", "BYTES"),
    }
    assert all(isinstance(datatype, Datatype) for datatype in TYPES.values())
