"""Tensors to the body of a REST inference reply. Transport-neutral: tensors in, bytes out."""

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
import orjson

from serinus_server.infer_request import InferRequest
from serinus_server.known import Known
from serinus_server.model import Model, Tensor
from serinus_server.raw_tensor import to_raw


class NotRepresentableError(Exception):
    """An output has no form in the reply; the message names it."""


class Encoded(NamedTuple):
    """A body; `header_length` bytes at its start are JSON, all of it where that is None."""

    body: bytes
    header_length: int | None


_Content: TypeAlias = tuple[tuple[str, ...], tuple[tuple[int, ...], ...]]
KnownHeads: TypeAlias = Known[_Content, bytes]
"""The JSON of the last replies of one model that hold binary data alone, by the outputs and their shapes."""


def encode(model: Model, request: InferRequest, tensors: Sequence[Tensor], known: KnownHeads | None = None) -> Encoded:
    """The reply to a request whose outputs are `tensors`, in the order of `request.outputs`.

    `known` is the JSON of earlier replies of the same model.
    Raises NotRepresentableError if an output in JSON holds NaN or an infinity, or any one text that is
    not Unicode.
    """
    if known is None or (content := _content(request, tensors)) is None:
        return _encode(model, request, tensors)
    head = known.find(content)
    if head is not None:
        return Encoded(b"".join((head, *map(to_raw, tensors))), len(head))
    encoded = _encode(model, request, tensors)
    if encoded.header_length is not None:
        known.keep(content, encoded.body[: encoded.header_length], encoded.header_length)
    return encoded


def _content(request: InferRequest, tensors: Sequence[Tensor]) -> _Content | None:
    """All that the JSON of a reply depends on; None if there is more than the names and shapes of binary data."""
    if request.id is not None or request.parameters or len(request.binary_outputs) < len(request.outputs):
        return None
    for tensor in tensors:
        if tensor.dtype.kind == "O":  # how many bytes texts take does not follow from the shape
            return None
    return tuple(request.outputs), tuple([tensor.shape for tensor in tensors])


def _encode(model: Model, request: InferRequest, tensors: Sequence[Tensor]) -> Encoded:
    reply: dict[str, object] = {"model_name": model.name, "model_version": model.version}
    if request.id is not None:
        reply["id"] = request.id
    if request.parameters:
        reply["parameters"] = request.parameters
    specs, binary = model.signature.outputs, request.binary_outputs
    blobs: list[bytes] = []
    outputs: list[dict[str, object]] = []
    for name, tensor in zip(request.outputs, tensors, strict=True):
        output: dict[str, object] = {"name": name, "datatype": specs[name].datatype.name, "shape": tensor.shape}
        if name in binary:
            blobs.append(_raw(name, tensor))
            output["parameters"] = {"binary_data_size": len(blobs[-1])}
        else:
            output["data"] = _flat(tensor)
        outputs.append(output)
    reply["outputs"] = outputs
    try:
        header = orjson.dumps(reply, option=orjson.OPT_SERIALIZE_NUMPY)
    except orjson.JSONEncodeError as error:
        raise NotRepresentableError(f"the outputs have no JSON form: {error}") from error
    if b"null" in header:  # what orjson writes for NaN and infinities, or a text that says so
        _require_finite(request, tensors)
    if not blobs:
        return Encoded(header, None)
    return Encoded(b"".join((header, *blobs)), len(header))


def _flat(tensor: Tensor) -> object:
    """The elements in row-major order, in a form that orjson writes without a loop in Python."""
    flat = tensor.reshape(-1)
    return flat.tolist() if tensor.dtype.kind == "O" else flat


def _raw(name: str, tensor: Tensor) -> bytes:
    try:
        return to_raw(tensor)
    except UnicodeEncodeError as error:
        raise NotRepresentableError(f"output {name!r} holds a text that is not Unicode: {error}") from error


def _require_finite(request: InferRequest, tensors: Sequence[Tensor]) -> None:
    for name, tensor in zip(request.outputs, tensors, strict=True):
        if name in request.binary_outputs or tensor.dtype.kind != "f" or np.isfinite(tensor).all():
            continue
        index = int(np.flatnonzero(~np.isfinite(tensor))[0])
        raise NotRepresentableError(
            f"output {name!r}: element {index} is {tensor.flat[index]}, and JSON has no such number; "
            f"ask for it as binary data"
        )
