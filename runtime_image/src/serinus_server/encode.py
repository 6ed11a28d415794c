"""Tensors to a JSON inference reply. Transport-neutral: tensors in, bytes out."""

from collections.abc import Sequence

import numpy as np
import orjson

from serinus_server.decode import InferRequest
from serinus_server.model import Model, Tensor


class NotRepresentableError(Exception):
    """An output has no JSON form; the message names it."""


def encode(model: Model, request: InferRequest, tensors: Sequence[Tensor]) -> bytes:
    """The reply to a request whose outputs are `tensors`, in the order of `request.outputs`.

    Raises NotRepresentableError if an output holds NaN, an infinity, or text that is not Unicode.
    """
    reply: dict[str, object] = {"model_name": model.name, "model_version": model.version}
    if request.id is not None:
        reply["id"] = request.id
    outputs = model.signature.outputs
    reply["outputs"] = [
        {
            "name": name,
            "datatype": outputs[name].datatype.name,
            "shape": tensor.shape,
            "data": _flat(tensor),
        }
        for name, tensor in zip(request.outputs, tensors, strict=True)
    ]
    try:
        body = orjson.dumps(reply, option=orjson.OPT_SERIALIZE_NUMPY)
    except orjson.JSONEncodeError as error:
        raise NotRepresentableError(f"the outputs have no JSON form: {error}") from error
    if b"null" in body:  # what orjson writes for NaN and infinities, or a text that says so
        _require_finite(request.outputs, tensors)
    return body


def _flat(tensor: Tensor) -> object:
    """The elements in row-major order, in a form that orjson writes without a loop in Python."""
    flat = tensor.reshape(-1)
    return flat.tolist() if tensor.dtype.kind == "O" else flat


def _require_finite(names: Sequence[str], tensors: Sequence[Tensor]) -> None:
    for name, tensor in zip(names, tensors, strict=True):
        if tensor.dtype.kind == "f" and not np.isfinite(tensor).all():
            index = int(np.flatnonzero(~np.isfinite(tensor))[0])
            value = tensor.flat[index]
            raise NotRepresentableError(f"output {name!r}: element {index} is {value}, and JSON has no such number")
