"""Binary tensor data after the JSON: every type in and out, every mixture, and headers that lie."""

import json
import struct
from typing import Any, cast

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serinus_server.datatypes import BY_ONNX_TYPE
from serinus_server.decode import decode
from serinus_server.encode import KnownHeads, NotRepresentableError, encode
from serinus_server.infer_request import InferRequest, InvalidRequestError
from serinus_server.known_headers import KnownHeaders
from serinus_server.model import Model, Signature, Tensor, TensorSpec
from serinus_server.raw_tensor import from_raw, to_raw

TYPES = {datatype.name: datatype for datatype in BY_ONNX_TYPE.values()}
ANY_SESSION = cast(Any, None)  # neither side touches it


def signature(**inputs: tuple[str, tuple[int | str | None, ...]]) -> Signature:
    """Inputs as given; the outputs are y and z."""
    specs = {name: TensorSpec(name, TYPES[datatype], shape) for name, (datatype, shape) in inputs.items()}
    outputs = {name: TensorSpec(name, TYPES["FP32"], (None,)) for name in ("y", "z")}
    return Signature(specs, outputs, {})


TWO = signature(a=("FP32", ("n", 2)), b=("BYTES", ("n",)))
A = np.array([[1.5, -2.0], [np.nan, np.inf]], dtype="<f4").tobytes()
B = struct.pack("<I", 2) + "é".encode() + struct.pack("<I", 0)


def entry(name: str, datatype: str, shape: list[int], size: object) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape, "parameters": {"binary_data_size": size}}


def two(size_a: object = len(A), size_b: object = len(B), **more: object) -> dict[str, Any]:
    return {"inputs": [entry("a", "FP32", [2, 2], size_a), entry("b", "BYTES", [2], size_b)], **more}


def body(document: object, *blobs: bytes) -> tuple[bytes, int]:
    """A request body and the length of its JSON."""
    header = json.dumps(document).encode()
    return b"".join((header, *blobs)), len(header)


def test_inputs_are_taken_in_the_order_of_the_json() -> None:
    content, length = body(two(), A, B)
    feeds = decode(content, TWO, length).feeds
    assert feeds["a"].tobytes() == A
    assert feeds["a"].shape == (2, 2)
    assert feeds["a"].flags.aligned
    assert feeds["b"].tolist() == ["é", ""]


def test_json_and_binary_inputs_mix() -> None:
    document = {"inputs": [{"name": "b", "datatype": "BYTES", "shape": [2], "data": ["x", "y"]}, two()["inputs"][0]]}
    content, length = body(document, A)
    feeds = decode(content, TWO, length).feeds
    assert (feeds["a"].tobytes(), feeds["b"].tolist()) == (A, ["x", "y"])


@pytest.mark.parametrize("padding", range(8))
@pytest.mark.parametrize("datatype", [name for name in TYPES if name != "BYTES"])
def test_every_alignment_is_read(datatype: str, padding: int) -> None:
    values = np.array([0, 1, 1], TYPES[datatype].dtype)
    raw = memoryview(b" " * padding + values.tobytes())[padding:]
    tensor = from_raw(raw, [3], TensorSpec("x", TYPES[datatype], (None,)))
    assert tensor.tolist() == values.tolist()
    assert tensor.flags.aligned


@pytest.mark.parametrize(
    ("parameters", "outputs", "binary"),
    [
        ({}, None, set()),
        ({"binary_data_output": True}, None, {"y", "z"}),
        ({"binary_data_output": True}, [], {"y", "z"}),
        ({"binary_data_output": True}, [("z", {})], {"z"}),
        ({"binary_data_output": True}, [("z", {"binary_data": False}), ("y", {})], {"y"}),
        ({}, [("z", {"binary_data": True}), ("y", {})], {"z"}),
        ({"binary_data_output": False}, [("z", {"binary_data": True})], {"z"}),
    ],
)
def test_who_is_answered_in_binary(parameters: dict[str, Any], outputs: list[Any] | None, binary: set[str]) -> None:
    document = two(parameters=parameters)
    if outputs is not None:
        document["outputs"] = [{"name": name, "parameters": each} for name, each in outputs]
    content, length = body(document, A, B)
    assert decode(content, TWO, length).binary_outputs == binary


@pytest.mark.parametrize(
    ("document", "blobs", "length", "complaint"),
    [
        (two(), (A, B), 10**9, "Inference-Header-Content-Length is 1000000000, but the body has only"),
        (two(), (A, B), 5, "the body is not JSON"),
        (two(), (A, B), -1, "the body is not JSON"),
        (two(), (A, B), 1, "the body is not JSON"),
        (two(), (A,), 0, "input 'b': 'binary_data_size' is 10, but only 0 bytes are left"),
        (two(), (A, B, b"!"), 0, "1 bytes of binary data at the end of the body belong to no input"),
        (two(size_a=15), (A, B), 0, "input 'a': shape [2, 2] needs 16 bytes as FP32, its binary data has 15"),
        (two(size_a=0), (A, B), 0, "input 'a': shape [2, 2] needs 16 bytes as FP32, its binary data has 0"),
        (two(size_a=-16), (A, B), 0, "input 'a': 'binary_data_size' must be a number of bytes, not -16"),
        (two(size_a=16.0), (A, B), 0, "input 'a': 'binary_data_size' must be a number of bytes, not 16.0"),
        (two(size_a=True), (A, B), 0, "input 'a': 'binary_data_size' must be a number of bytes, not true"),
        (two(size_a="16"), (A, B), 0, "input 'a': 'binary_data_size' must be a number of bytes, not '16'"),
        (two(size_a=None), (A, B), 0, "input 'a': 'binary_data_size' must be a number of bytes, not null"),
        (two(size_a=2**63 - 1), (A, B), 0, "input 'a': 'binary_data_size' is 9223372036854775807, but only 26 bytes"),
        (
            {"inputs": [{**two()["inputs"][0], "data": [1, 2, 3, 4]}, two()["inputs"][1]]},
            (A, B),
            0,
            "input 'a' has both 'data' and 'binary_data_size'",
        ),
        (two(), (A, b"\xff\xff\xff\xff" + B[4:]), 0, "input 'b': element 0 would have 4294967295 bytes"),
        (two(), (A, struct.pack("<I", 3) + B[4:]), 0, "input 'b': its binary data ends before element 1"),
        (two(), (A, struct.pack("<I", 0) + B[4:]), 0, "input 'b': element 1 would have 43459 bytes"),
        (two(size_b=11), (A, B + b"!"), 0, "input 'b': shape [2] needs 2 elements, but 1 bytes follow the last one"),
        (two(), (A, B.replace("é".encode(), b"\xff\xfe")), 0, "input 'b': element 0 is not UTF-8"),
        (
            {"inputs": [two()["inputs"][0], entry("b", "BYTES", [2], 7)]},
            (A, B[:7]),
            0,
            "input 'b': shape [2] needs 2 elements of at least 4 bytes, its binary data has 7 bytes",
        ),
    ],
)
def test_lies_are_named(document: object, blobs: tuple[bytes, ...], length: int, complaint: str) -> None:
    """`length` is added to the true one where it is 0 or -1, and taken as it is otherwise."""
    content, true_length = body(document, *blobs)
    with pytest.raises(InvalidRequestError) as caught:
        decode(content, TWO, true_length + length if length < 1 else length)
    assert complaint in str(caught.value)


def test_booleans_are_0_or_1() -> None:
    spec = TensorSpec("x", TYPES["BOOL"], (None,))
    assert from_raw(b"\0\1", [2], spec).tolist() == [False, True]
    assert from_raw(b"", [0], spec).tolist() == []
    with pytest.raises(InvalidRequestError, match="input 'x': BOOL needs 0 or 1, but element 1 is 2"):
        from_raw(b"\1\2\3", [3], spec)


@pytest.mark.parametrize(
    ("only", "content", "shape"),
    [
        (("FP32", ("n", 2)), A, (2, 2)),
        (("FP32", (2, 2)), A, (2, 2)),
        (("UINT8", (None,)), A, (16,)),
        (("FP32", ("n", 2)), b"", (0, 2)),
    ],
)
def test_a_body_of_the_only_input_alone(only: tuple[str, tuple[int | str, ...]], content: bytes, shape: object) -> None:
    """Inference-Header-Content-Length: 0."""
    decoded = decode(content, signature(x=only), 0)
    assert (decoded.feeds["x"].shape, decoded.feeds["x"].tobytes()) == (shape, content)
    assert decoded.outputs == ["y", "z"]
    assert decoded.binary_outputs == {"y", "z"}
    assert decoded.id is None


@pytest.mark.parametrize(
    ("inputs", "content", "complaint"),
    [
        (TWO, A, "needs a model of one input; the inputs are 'a', 'b'"),
        (signature(x=("FP32", ("n", "m"))), A, "input 'x' cannot be sent as binary data alone"),
        (signature(x=("BYTES", ("n",))), B, "input 'x' cannot be sent as binary data alone"),
        (
            signature(x=("FP32", ("n", 2))),
            A[:9],
            "input 'x': shape [1, 2] needs 8 bytes as FP32, its binary data has 9",
        ),
        (signature(x=("FP32", (3,))), A, "input 'x': shape [3] needs 12 bytes as FP32, its binary data has 16"),
        (signature(x=("FP32", ("n", 0))), A, "input 'x': shape [0, 0] needs 0 bytes as FP32, its binary data has 16"),
    ],
)
def test_a_body_of_one_tensor_that_does_not_fit(inputs: Signature, content: bytes, complaint: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        decode(content, inputs, 0)
    assert complaint in str(caught.value)


def encoded(binary: set[str], **tensors: tuple[str, Tensor]) -> tuple[dict[str, Any], bytes]:
    """The JSON of a reply and the binary data after it."""
    outputs = {name: TensorSpec(name, TYPES[datatype], None) for name, (datatype, _) in tensors.items()}
    model = Model("m", "7", Signature({}, outputs, {}), ANY_SESSION, "digest", 0.0)
    request = InferRequest("i", {}, list(tensors), frozenset(binary), {"p": 1})
    content, length = encode(model, request, [values for _, values in tensors.values()])
    return orjson.loads(content[:length]), content[length:] if length else b""


def test_outputs_follow_in_the_order_of_the_json() -> None:
    numbers = np.array([[np.nan, 1], [2, np.inf]], np.float32)
    reply, blobs = encoded(
        {"t", "x"},
        t=("FP32", numbers.T),
        j=("INT64", np.array([7])),
        x=("BYTES", np.array(["é", ""], object)),
    )
    assert reply == {
        **{"model_name": "m", "model_version": "7", "id": "i", "parameters": {"p": 1}},
        "outputs": [
            entry("t", "FP32", [2, 2], 16),
            {"name": "j", "datatype": "INT64", "shape": [1], "data": [7]},
            entry("x", "BYTES", [2], len(B)),
        ],
    }
    assert blobs == np.ascontiguousarray(numbers.T).tobytes() + B


def test_what_has_no_form_is_named() -> None:
    bad = np.array([np.nan], np.float32)
    with pytest.raises(NotRepresentableError, match="output 'y': element 0 is nan, and JSON has no such number; ask"):
        encoded({"x"}, x=("FP32", bad), y=("FP32", bad))
    with pytest.raises(NotRepresentableError, match="output 'x' holds a text that is not Unicode"):
        encoded({"x"}, x=("BYTES", np.array(["\ud800"], object)))


@given(st.lists(st.text()))
def test_texts_survive(texts: list[str]) -> None:
    tensor = np.array([*texts, None], object)[:-1]
    if not any("\ud800" <= character <= "\udfff" for text in texts for character in text):
        spec = TensorSpec("x", TYPES["BYTES"], (None,))
        assert from_raw(to_raw(tensor), [len(texts)], spec).tolist() == texts


SIZES = st.one_of(st.integers(-1, 40), st.integers(), st.none(), st.floats(), st.text(max_size=3))


@settings(max_examples=400)
@given(
    document=st.builds(
        lambda shape_a, shape_b, size_a, size_b: {
            "inputs": [entry("a", "FP32", shape_a, size_a), entry("b", "BYTES", shape_b, size_b)]
        },
        *[st.lists(st.integers(-1, 2**62), max_size=3) | st.just([2, 2])] * 2,
        *[SIZES] * 2,
    ),
    blobs=st.binary(max_size=60),
    change=st.integers(-20, 20),
)
def test_malformed_binary_fuzz(document: object, blobs: bytes, change: int) -> None:
    """Whatever the sizes claim: a request, or a refusal that says why."""
    content, length = body(document, blobs)
    try:
        decoded = decode(content, TWO, max(0, length + change))
    except InvalidRequestError as refusal:
        assert str(refusal)
    else:
        assert set(decoded.feeds) == {"a", "b"}


def test_a_known_header_means_the_same_again() -> None:
    known = KnownHeaders()
    content, length = body(two(), A, B)
    first = decode(content, TWO, length, known)
    other = struct.pack("<4f", 1, 2, 3, 4)
    again = decode(body(two(), other, B)[0], TWO, length, known)
    assert known.find(content[:length]) is not None
    assert (again.feeds["a"].tobytes(), again.feeds["b"].tolist()) == (other, ["é", ""])
    assert (again.outputs, again.binary_outputs) == (first.outputs, first.binary_outputs)


@pytest.mark.parametrize("blobs", [(A,), (A, B, b"x"), ()])
def test_a_known_header_with_other_data_is_refused_as_ever(blobs: tuple[bytes, ...]) -> None:
    known = KnownHeaders()
    content, length = body(two(), A, B)
    decode(content, TWO, length, known)
    with pytest.raises(InvalidRequestError, match="bytes"):
        decode(body(two(), *blobs)[0], TWO, length, known)


def test_a_header_with_an_id_is_not_kept() -> None:
    known = KnownHeaders()
    content, length = body(two(id="7"), A, B)
    assert decode(content, TWO, length, known).id == "7"
    assert known.find(content[:length]) is None


MODEL = Model("m", "1", TWO, ANY_SESSION, "", 0.0)


def reply(known: KnownHeads | None, values: list[float], changed: dict[str, Any]) -> tuple[Any, bytes]:
    """The JSON of a reply whose outputs y and z have these values, and the data after it."""
    asked = {"id": None, "parameters": {}, "binary_outputs": ("y", "z"), "shape": -1} | changed
    tensor = np.array(values, np.float32).reshape(asked["shape"])
    request = InferRequest(asked["id"], {}, ["y", "z"], frozenset(asked["binary_outputs"]), asked["parameters"])
    content, length = encode(MODEL, request, [tensor, tensor + 1], known)
    return orjson.loads(content[:length]), content[len(content) if length is None else length :]


@pytest.mark.parametrize(
    "other",
    [
        {},
        {"shape": (2, 1)},
        {"id": "7"},
        {"parameters": {"a": 1}},
        {"binary_outputs": ["y"]},
        {"binary_outputs": []},
    ],
)
def test_a_known_head_is_said_again_only_where_it_is_right(other: dict[str, Any]) -> None:
    known = KnownHeads()
    for values, changed in (([1.0, 2.0], {}), ([3.0, 4.0], other), ([5.0, 6.0], {}), ([7.0], {})):
        assert reply(known, values, changed) == reply(None, values, changed)


def test_texts_of_one_shape_have_another_size_each_time() -> None:
    texts = Signature({}, {"y": TensorSpec("y", TYPES["BYTES"], (None,))}, {})
    model = Model("m", "1", texts, ANY_SESSION, "", 0.0)
    request = InferRequest(None, {}, ["y"], frozenset(("y",)))
    known = KnownHeads()
    for text in ("a", "longer"):
        tensors = [np.array([text], object)]
        assert encode(model, request, tensors, known) == encode(model, request, tensors)
