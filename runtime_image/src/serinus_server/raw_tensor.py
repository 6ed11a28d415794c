"""Tensors as raw bytes, the form that the binary extension and gRPC share.

Elements are little-endian, in row-major order, without padding. A BOOL is one byte, 0 or 1; an element of
BYTES is its length in four bytes and then its bytes, which must be UTF-8, since ONNX's strings are text.
"""

import math
import struct
from collections.abc import Sequence
from typing import Final

import numpy as np

from serinus_server.infer_request import InvalidRequestError
from serinus_server.model import Tensor, TensorSpec
from serinus_server.wording import shown

_LENGTH: Final = struct.Struct("<I")


def from_raw(raw: bytes | memoryview, shape: Sequence[int], spec: TensorSpec) -> Tensor:
    """The tensor that `raw` holds, without a copy where its bytes are aligned.

    Raises InvalidRequestError.
    """
    if spec.datatype.kind == "O":
        return _texts(raw, shape, spec)
    size = math.prod(shape) * spec.datatype.dtype.itemsize
    if len(raw) != size:
        raise InvalidRequestError(
            f"input {spec.name!r}: shape {shown(shape)} needs {size} bytes as {spec.datatype.name}, "
            f"its binary data has {len(raw)}"
        )
    tensor: Tensor = np.frombuffer(raw, spec.datatype.dtype)
    if spec.datatype.kind == "b" and tensor.view(np.uint8).max(initial=0) > 1:
        index = int(np.flatnonzero(tensor.view(np.uint8) > 1)[0])
        raise InvalidRequestError(f"input {spec.name!r}: BOOL needs 0 or 1, but element {index} is {raw[index]}")
    return (tensor if tensor.flags.aligned else tensor.copy()).reshape(shape)


def to_raw(tensor: Tensor) -> bytes:
    """The bytes of a tensor.

    Raises UnicodeEncodeError for a text that is not Unicode.
    """
    if tensor.dtype.kind != "O":
        return tensor.tobytes()
    encoded = [text.encode() for text in tensor.flat]
    return b"".join(part for text in encoded for part in (_LENGTH.pack(len(text)), text))


def text_element(element: bytes | memoryview, index: int, spec: TensorSpec) -> str:
    """One element of BYTES as a text.

    Raises InvalidRequestError.
    """
    try:
        return str(element, "utf-8")
    except UnicodeDecodeError as error:
        raise InvalidRequestError(
            f"input {spec.name!r}: element {index} is not UTF-8, and ONNX's strings are text"
        ) from error


def _texts(raw: bytes | memoryview, shape: Sequence[int], spec: TensorSpec) -> Tensor:
    count = math.prod(shape)
    if count * _LENGTH.size > len(raw):
        raise InvalidRequestError(
            f"input {spec.name!r}: shape {shown(shape)} needs {count} elements of at least {_LENGTH.size} bytes, "
            f"its binary data has {len(raw)} bytes"
        )
    elements: Tensor = np.empty(count, object)
    view = memoryview(raw)
    position = 0
    for index in range(count):
        start = position + _LENGTH.size
        if start > len(raw):
            raise InvalidRequestError(f"input {spec.name!r}: its binary data ends before element {index}")
        position = start + _LENGTH.unpack_from(raw, start - _LENGTH.size)[0]
        if position > len(raw):
            raise InvalidRequestError(
                f"input {spec.name!r}: element {index} would have {position - start} bytes, "
                f"but its binary data has only {len(raw) - start} left"
            )
        elements[index] = text_element(view[start:position], index, spec)
    if position != len(raw):
        raise InvalidRequestError(
            f"input {spec.name!r}: shape {shown(shape)} needs {count} elements, "
            f"but {len(raw) - position} bytes follow the last one"
        )
    return elements.reshape(shape)
