"""JSON lists to tensors: exact.

No number is rounded to an integer, no boolean or text is read as a number, nothing that does not fit its
datatype wraps around, and null is not NaN.
"""

import struct
from itertools import chain
from math import prod
from typing import Any, Final

import numpy as np

from serinus_server.infer_request import InvalidRequestError
from serinus_server.model import Tensor, TensorSpec
from serinus_server.wording import shown

_ELEMENT_TYPES: Final[dict[str, frozenset[type]]] = {
    "b": frozenset({bool}),
    "i": frozenset({int}),
    "u": frozenset({int}),
    "f": frozenset({int, float}),
    "O": frozenset({str}),
}
_WANTED: Final = {"b": "true or false", "i": "an integer", "u": "an integer", "f": "a number", "O": "a string"}


def from_json(data: object, shape: list[int], spec: TensorSpec, *, booleans: bool) -> Tensor:
    """The tensor of a flat list, or of lists nested as `shape` says; `booleans` as in `exact`.

    Raises InvalidRequestError.
    """
    if not isinstance(data, list):
        raise InvalidRequestError(f"input {spec.name!r}: 'data' must be a list, not {shown(data)}")
    elements, nesting = _flattened(data, spec)
    if len(nesting) > 1 and nesting != shape:
        raise InvalidRequestError(f"input {spec.name!r}: 'data' is nested as {nesting}, but 'shape' says {shape}")
    if len(elements) != prod(shape):
        raise InvalidRequestError(
            f"input {spec.name!r}: shape {shown(shape)} needs {prod(shape)} elements, 'data' has {len(elements)}"
        )
    return exact(elements, spec, booleans=booleans).reshape(shape)


def exact(elements: list[Any], spec: TensorSpec, *, booleans: bool) -> Tensor:
    """The elements as a one-dimensional array of the input's dtype.

    struct converts faster than numpy and refuses what is no number or out of range, where numpy reads texts,
    wraps or gives infinity. Both would take booleans as numbers, so each element is looked at if there may
    be `booleans` among them.
    Raises InvalidRequestError.
    """
    dtype, code = spec.datatype.dtype, spec.datatype.struct_code
    if (booleans or not code) and not _ELEMENT_TYPES[dtype.kind].issuperset(map(type, elements)):
        raise _unfit(elements, spec)
    if not code:
        return np.array(elements, dtype)
    try:
        return np.frombuffer(struct.pack(f"<{len(elements)}{code}", *elements), dtype)
    except (struct.error, OverflowError) as error:
        raise _unfit(elements, spec) from error


def _flattened(data: list[Any], spec: TensorSpec) -> tuple[list[Any], list[int]]:
    """The elements in row-major order, and the lengths of the lists that held them, outermost first."""
    nesting = [len(data)]
    while data and type(data[0]) is list:
        width = len(data[0])
        if not all(type(row) is list and len(row) == width for row in data):
            raise InvalidRequestError(f"input {spec.name!r}: the lists in 'data' differ in length or depth")
        nesting.append(width)
        data = list(chain.from_iterable(data))
    return data, nesting


def _unfit(elements: list[Any], spec: TensorSpec) -> InvalidRequestError:
    """Find the first element that the datatype cannot hold."""
    kind = spec.datatype.kind
    allowed = _ELEMENT_TYPES[kind]
    for index, element in enumerate(elements):
        if type(element) not in allowed:
            reason = f"{spec.datatype.name} needs {_WANTED[kind]}, but element {index} is {shown(element)}"
            break
        if kind in "iuf" and not _holds(spec, element):
            reason = f"element {index} is {element}, which {spec.datatype.name} cannot hold"
            break
    else:
        reason = f"'data' is no list of {spec.datatype.name}"
    return InvalidRequestError(f"input {spec.name!r}: {reason}")


def _holds(spec: TensorSpec, element: float) -> bool:
    dtype = spec.datatype.dtype
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            return bool(np.isfinite(np.float64(element).astype(dtype)))
    limits = np.iinfo(dtype)
    return bool(limits.min <= element <= limits.max)
