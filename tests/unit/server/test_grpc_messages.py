"""gRPC's messages to tensors and back: both forms, every type, and every refusal by name."""

from typing import Any, cast

import numpy as np
import pytest

from serinus_server.datatypes import BY_ONNX_TYPE
from serinus_server.grpc_api.decode import CONTENTS_FIELDS, decode
from serinus_server.grpc_api.encode import encode
from serinus_server.grpc_api.generate import generated
from serinus_server.grpc_api.open_inference_grpc_pb2 import DESCRIPTOR, ModelInferRequest
from serinus_server.infer_request import InferRequest, InvalidRequestError
from serinus_server.model import Model, Signature, Tensor, TensorSpec
from serinus_server.raw_tensor import to_raw
from tests.unit.server.grpc_client import infer_request

TYPES = {datatype.name: datatype for datatype in BY_ONNX_TYPE.values()}
VALUES: dict[str, list[Any]] = {
    "BOOL": [True, False],
    "UINT8": [0, 255],
    "UINT16": [0, 65535],
    "UINT32": [0, 2**32 - 1],
    "UINT64": [0, 2**64 - 1],
    "INT8": [-128, 127],
    "INT16": [-32768, 32767],
    "INT32": [-(2**31), 2**31 - 1],
    "INT64": [-(2**63), 2**63 - 1],
    "FP16": [0.5, float("inf")],
    "FP32": [0.5, float("-inf")],
    "FP64": [0.1, 1.7e308],
    "BYTES": ["", "é\0"],
}


def identity(**inputs: tuple[str, tuple[int | str | None, ...] | None]) -> Signature:
    """A model that gives back each input under its own name."""
    specs = {name: TensorSpec(name, TYPES[datatype], shape) for name, (datatype, shape) in inputs.items()}
    return Signature(specs, specs, {"scores": "seq(map(int64,float))"})


def answered(request: ModelInferRequest, signature: Signature) -> Any:  # noqa: ANN401 - a message
    model = Model("m", "7", signature, cast(Any, None), "digest", 0.0)
    decoded = decode(request, signature)
    return encode(model, decoded, [decoded.feeds[name] for name in decoded.outputs])


def array(datatype: str) -> Tensor:
    return np.array(VALUES[datatype], TYPES[datatype].dtype)


@pytest.mark.parametrize("datatype", VALUES)
def test_raw_contents_come_back_raw(datatype: str) -> None:
    raw = to_raw(array(datatype))
    reply = answered(infer_request(("x", datatype, [2, 1]), raw=[raw]), identity(x=(datatype, ("n", 1))))
    (output,) = reply.outputs
    assert (output.name, output.datatype, list(output.shape)) == ("x", datatype, [2, 1])
    assert list(reply.raw_output_contents) == [raw]
    assert not output.HasField("contents")


@pytest.mark.parametrize("datatype", CONTENTS_FIELDS)
def test_typed_contents_come_back_typed(datatype: str) -> None:
    request = infer_request(("x", datatype, [1, 2]))
    given = [text.encode() if isinstance(text, str) else text for text in VALUES[datatype]]
    getattr(request.inputs[0].contents, CONTENTS_FIELDS[datatype]).extend(given)
    reply = answered(request, identity(x=(datatype, (1, 2))))
    assert list(getattr(reply.outputs[0].contents, CONTENTS_FIELDS[datatype])) == given
    assert len(reply.raw_output_contents) == 0


def test_what_has_no_typed_form_is_answered_raw() -> None:
    request = infer_request(("x", "BOOL", [0]))
    signature = identity(x=("BOOL", (None,)))
    outputs = {**signature.outputs, "half": TensorSpec("half", TYPES["FP16"], (None,))}
    decoded = decode(request, Signature(signature.inputs, outputs, {}))
    assert decoded.binary_outputs == {"x", "half"}


def test_ids_parameters_and_requested_outputs() -> None:
    request = infer_request(("a", "BOOL", [1]), ("b", "BOOL", [1]), raw=[b"\0", b"\1"], id="é-7")
    request.parameters["count"].uint64_param = 2**64 - 1
    request.outputs.add(name="b")
    reply = answered(request, identity(a=("BOOL", (1,)), b=("BOOL", (1,))))
    assert (reply.model_name, reply.model_version, reply.id) == ("m", "7", "é-7")
    assert reply.parameters["count"].uint64_param == 2**64 - 1
    assert [output.name for output in reply.outputs] == ["b"]
    assert list(reply.raw_output_contents) == [b"\1"]


def typed(datatype: str, shape: list[int], **contents: list[Any]) -> ModelInferRequest:
    request = infer_request(("x", datatype, shape))
    for field, values in contents.items():
        getattr(request.inputs[0].contents, field).extend(values)
    return request


def classified() -> ModelInferRequest:
    request = infer_request(("x", "FP32", [1]), raw=[b"\0" * 4])
    request.outputs.add(name="x").parameters["classification"].int64_param = 1
    return request


def both() -> ModelInferRequest:
    request = typed("FP32", [1], fp32_contents=[1])
    request.raw_input_contents.append(b"\0" * 4)
    return request


@pytest.mark.parametrize(
    ("spec", "request_", "complaint"),
    [
        (("FP32", (1,)), both(), "input 'x' has contents next to raw_input_contents"),
        (("FP32", (1,)), infer_request(("x", "FP32", [1]), raw=[b"", b""]), "there are 1 inputs, but 2 raw_input_c"),
        (
            ("FP32", (1,)),
            infer_request(("x", "FP32", [1]), raw=[b"123"]),
            "needs 4 bytes as FP32, its bina",
        ),
        (("FP32", (1,)), infer_request(("x", "FP32", [1])), "shape [1] needs 1 elements, fp32_contents has 0"),
        (("FP32", (2,)), typed("FP32", [2], fp32_contents=[1]), "shape [2] needs 2 elements, fp32_contents has 1"),
        (("FP32", (1,)), typed("FP32", [1], fp64_contents=[1]), "FP32 is carried by fp32_contents, not fp64_contents"),
        (("FP16", (1,)), typed("FP16", [1], fp32_contents=[1]), "FP16 is carried by raw_input_contents alone"),
        (("INT8", (1,)), typed("INT8", [1], int_contents=[128]), "element 0 is 128, which INT8 cannot hold"),
        (("UINT16", (1,)), typed("UINT16", [1], uint_contents=[65536]), "element 0 is 65536, which UINT16 cannot hold"),
        (("BYTES", (1,)), typed("BYTES", [1], bytes_contents=[b"\xff"]), "input 'x': element 0 is not UTF-8"),
        (("FP32", ("n",)), infer_request(("x", "FP32", [-1])), "must be a list of non-negative integers, not [-1]"),
        (("FP32", ("n",)), infer_request(("x", "FP32", [2**62])), "needs 4611686018427387904 elements"),
        (("FP32", ("n",)), infer_request(("x", "FP64", [1])), "input 'x': datatype must be FP32, not 'FP64'"),
        (("FP32", ("n",)), infer_request(("y", "FP32", [1])), "there is no input 'y'; the inputs are 'x'"),
        (("FP32", ("n",)), infer_request(), "input 'x' is missing; it is a FP32 tensor of shape [n]"),
        (("FP32", ("n",)), infer_request(("x", "FP32", [0]), ("x", "FP32", [0])), "input 'x' is given twice"),
        (("FP32", (1,)), classified(), "output 'x' asks for classification, which is not supported"),
    ],
)
def test_wrong_requests_are_named(spec: Any, request_: ModelInferRequest, complaint: str) -> None:  # noqa: ANN401
    with pytest.raises(InvalidRequestError) as caught:
        decode(request_, identity(x=spec))
    assert complaint in str(caught.value)


@pytest.mark.parametrize(
    ("name", "complaint"), [("q", "there is no output 'q'"), ("scores", "is a seq(map(int64,float)), which the prot")]
)
def test_wrong_outputs_are_named(name: str, complaint: str) -> None:
    request = infer_request(("x", "BOOL", [0]))
    request.outputs.add(name=name)
    with pytest.raises(InvalidRequestError) as caught:
        decode(request, identity(x=("BOOL", (None,))))
    assert complaint in str(caught.value)


def test_a_decoded_request_is_the_common_one() -> None:
    decoded = decode(infer_request(("x", "BOOL", [0])), identity(x=("BOOL", (None,))))
    assert isinstance(decoded, InferRequest)
    assert (decoded.id, list(decoded.outputs)) == (None, ["x"])


def test_the_generated_module_is_what_the_proto_file_gives() -> None:
    module = generated()["open_inference_grpc_pb2.py"]
    assert repr(DESCRIPTOR.serialized_pb)[2:40] in module
    assert "_descriptor_pool.DescriptorPool()" in module
