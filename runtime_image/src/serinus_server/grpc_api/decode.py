"""A gRPC inference request to tensors."""

from typing import Final

import numpy as np

from serinus_server.grpc_api.open_inference_grpc_pb2 import InferTensorContents, ModelInferRequest
from serinus_server.infer_request import (
    InferRequest,
    Inputs,
    InvalidRequestError,
    require_output,
    require_supported,
)
from serinus_server.json_tensor import exact
from serinus_server.model import Signature, Tensor, TensorSpec
from serinus_server.raw_tensor import from_raw, text_element
from serinus_server.wording import shown

CONTENTS_FIELDS: Final = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
"""Datatype -> the field of InferTensorContents that carries it. FP16 has none."""


def decode(request: ModelInferRequest, signature: Signature) -> InferRequest:
    """Decode a request. It is answered in the form it came in: raw, or typed where it can be.

    Raises InvalidRequestError.
    """
    require_supported(request.parameters, "the request")
    raw = request.raw_input_contents
    if raw and len(raw) != len(request.inputs):
        raise InvalidRequestError(
            f"there are {len(request.inputs)} inputs, but {len(raw)} raw_input_contents; each input needs one"
        )
    inputs = Inputs(signature)
    for index, entry in enumerate(request.inputs):
        spec = inputs.spec(entry.name, entry.datatype)
        if entry.parameters:
            require_supported(entry.parameters, f"input {spec.name!r}")
        shape = inputs.shape(spec, list(entry.shape))
        if not raw:
            inputs.add(spec, _typed(entry.contents, shape, spec))
        elif entry.HasField("contents"):
            raise InvalidRequestError(f"input {spec.name!r} has contents next to raw_input_contents")
        else:
            inputs.add(spec, from_raw(raw[index], shape, spec))
    outputs = _outputs(request, signature)
    typed = not raw and all(signature.outputs[name].datatype.name in CONTENTS_FIELDS for name in outputs)
    return InferRequest(
        request.id or None,
        inputs.complete(),
        outputs,
        frozenset() if typed else frozenset(outputs),
        request.parameters,
    )


def _outputs(request: ModelInferRequest, signature: Signature) -> list[str]:
    """The names to answer with: what the request lists, or everything."""
    names: list[str] = []
    for entry in request.outputs:
        require_output(entry.name, signature, names)
        if entry.parameters:
            require_supported(entry.parameters, f"output {entry.name!r}")
        names.append(entry.name)
    return names or list(signature.outputs)


def _typed(contents: InferTensorContents, shape: list[int], spec: TensorSpec) -> Tensor:
    """The tensor in the one field that is there for its datatype."""
    field = CONTENTS_FIELDS.get(spec.datatype.name)
    if field is None:
        raise InvalidRequestError(f"input {spec.name!r}: {spec.datatype.name} is carried by raw_input_contents alone")
    for other, _ in contents.ListFields():
        if other.name != field:
            raise InvalidRequestError(
                f"input {spec.name!r}: {spec.datatype.name} is carried by {field}, not {other.name}"
            )
    elements = getattr(contents, field)
    count = 1
    for size in shape:
        count *= size
    if len(elements) != count:
        raise InvalidRequestError(
            f"input {spec.name!r}: shape {shown(shape)} needs {count} elements, {field} has {len(elements)}"
        )
    if spec.datatype.kind == "O":
        texts: Tensor = np.empty(count, object)
        texts[:] = [text_element(element, index, spec) for index, element in enumerate(elements)]
        return texts.reshape(shape)
    if spec.datatype.kind in "iu":  # the field may be wider than the datatype
        return exact(list(elements), spec, booleans=False).reshape(shape)
    return np.array(elements, spec.datatype.dtype).reshape(shape)
