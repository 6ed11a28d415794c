"""A JSON inference request to tensors: exact, and every refusal says what was expected and what came.

Exact means: no number is rounded to an integer, no boolean or text is read as a number, nothing that does
not fit its datatype wraps around, and null is not NaN. Transport-neutral: bytes in, tensors out.
"""

import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

import numpy as np
import orjson

from serinus_server.model import Signature, Tensor, TensorSpec

_MAX_ELEMENTS: Final = 1 << 31
_MAX_RANK: Final = 64  # numpy's
_SHOWN_CHARACTERS: Final = 60
_ELEMENT_TYPES: Final[dict[str, frozenset[type]]] = {
    "b": frozenset({bool}),
    "i": frozenset({int}),
    "u": frozenset({int}),
    "f": frozenset({int, float}),
    "O": frozenset({str}),
}
_WANTED: Final = {"b": "true or false", "i": "an integer", "u": "an integer", "f": "a number", "O": "a string"}


class InvalidRequestError(Exception):
    """The request is at fault; the message says how."""


@dataclass(frozen=True, slots=True)
class InferRequest:
    """A decoded request: `outputs` are the names to answer with, in order."""

    id: str | None
    feeds: Mapping[str, Tensor]
    outputs: Sequence[str]


def decode(body: bytes, signature: Signature) -> InferRequest:
    """Decode the body of an infer call.

    Raises InvalidRequestError.
    """
    document = _parse(body)
    request_id = document.get("id")
    if request_id is not None and not isinstance(request_id, str):
        raise InvalidRequestError(f"'id' must be a string, not {_shown(request_id)}")
    _refuse_binary_outputs(document.get("parameters"), "the request")
    inputs = document.get("inputs")
    if not isinstance(inputs, list):
        raise InvalidRequestError(f"'inputs' must be a list of tensors, not {_shown(inputs)}")
    feeds: dict[str, Tensor] = {}
    sizes: dict[str, tuple[int, str]] = {}
    for entry in inputs:
        spec = _spec_of(entry, signature)
        if spec.name in feeds:
            raise InvalidRequestError(f"input {spec.name!r} is given twice")
        feeds[spec.name] = _tensor(entry, spec, sizes)
    if len(feeds) < len(signature.inputs):
        _require_all(feeds, signature)
    return InferRequest(request_id, feeds, _requested_outputs(document.get("outputs"), signature))


def _require_all(feeds: Mapping[str, Tensor], signature: Signature) -> None:
    for name, spec in signature.inputs.items():
        if name not in feeds and not spec.optional:
            raise InvalidRequestError(f"input {name!r} is missing; it is a {_expected(spec)}")


def _parse(body: bytes) -> dict[str, Any]:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        if b"NaN" in body or b"Infinity" in body:
            raise InvalidRequestError("the body is not JSON: JSON has no NaN and no Infinity") from error
        raise InvalidRequestError(f"the body is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise InvalidRequestError(f"the body must be a JSON object, not {_shown(document)}")
    return document


def _spec_of(entry: object, signature: Signature) -> TensorSpec:
    if not isinstance(entry, dict):
        raise InvalidRequestError(f"each of 'inputs' must be an object, not {_shown(entry)}")
    name = entry.get("name")
    if not isinstance(name, str):
        raise InvalidRequestError(f"an input's 'name' must be a string, not {_shown(name)}")
    spec = signature.inputs.get(name)
    if spec is None:
        known = ", ".join(map(repr, signature.inputs))
        raise InvalidRequestError(f"there is no input {_clipped(repr(name))}; the inputs are {known}")
    return spec


def _tensor(entry: dict[str, Any], spec: TensorSpec, sizes: dict[str, tuple[int, str]]) -> Tensor:
    parameters = entry.get("parameters")
    if isinstance(parameters, dict) and "binary_data_size" in parameters:
        raise InvalidRequestError(f"input {spec.name!r}: binary tensor data is not supported; send 'data' as JSON")
    datatype = entry.get("datatype")
    if datatype != spec.datatype.name:
        raise InvalidRequestError(f"input {spec.name!r}: datatype must be {spec.datatype.name}, not {_shown(datatype)}")
    shape = _shape(entry.get("shape"), spec, sizes)
    data = entry.get("data")
    if not isinstance(data, list):
        raise InvalidRequestError(f"input {spec.name!r}: 'data' must be a list, not {_shown(data)}")
    elements, nesting = _flattened(data, spec)
    if len(nesting) > 1 and nesting != shape:
        raise InvalidRequestError(f"input {spec.name!r}: 'data' is nested as {nesting}, but 'shape' says {shape}")
    if len(elements) != math.prod(shape):
        raise InvalidRequestError(
            f"input {spec.name!r}: shape {_shown(shape)} needs {math.prod(shape)} elements, 'data' has {len(elements)}"
        )
    return _values(elements, spec).reshape(shape)


def _shape(shape: object, spec: TensorSpec, sizes: dict[str, tuple[int, str]]) -> list[int]:
    """Check a declared shape; `sizes` collects what each symbolic dimension is in this request."""
    if not isinstance(shape, list):
        raise _no_shape(shape, spec)
    for size in shape:
        if type(size) is not int or size < 0:
            raise _no_shape(shape, spec)
    if len(shape) != (min(len(shape), _MAX_RANK) if spec.shape is None else len(spec.shape)):
        raise _wrong_shape(shape, spec)
    # Without a zero the data bounds the sizes; with one, they could be anything and overflow later.
    if 0 in shape and math.prod(size or 1 for size in shape) > _MAX_ELEMENTS:
        raise InvalidRequestError(f"input {spec.name!r}: shape {_shown(shape)} is larger than any tensor can be")
    if spec.shape is None:
        return shape
    for size, expected in zip(shape, spec.shape, strict=True):
        if isinstance(expected, str):
            first, first_name = sizes.setdefault(expected, (size, spec.name))
            if size != first:
                raise InvalidRequestError(
                    f"input {spec.name!r}: dimension {expected!r} is {size} in {shape}, "
                    f"but {first} in input {first_name!r}"
                )
        elif expected is not None and size != expected:
            raise _wrong_shape(shape, spec)
    return shape


def _no_shape(shape: object, spec: TensorSpec) -> InvalidRequestError:
    return InvalidRequestError(
        f"input {spec.name!r}: 'shape' must be a list of non-negative integers, not {_shown(shape)}"
    )


def _wrong_shape(shape: list[int], spec: TensorSpec) -> InvalidRequestError:
    return InvalidRequestError(f"input {spec.name!r}: shape must be {shown_shape(spec)}, not {_shown(shape)}")


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


def _values(elements: list[Any], spec: TensorSpec) -> Tensor:
    """The elements as a one-dimensional array of the input's dtype.

    struct converts faster than numpy and refuses what is out of range, where numpy wraps or gives
    infinity. Both would take booleans and numpy texts as numbers, hence the look at each type.
    """
    dtype, code = spec.datatype.dtype, spec.datatype.struct_code
    if not _ELEMENT_TYPES[dtype.kind].issuperset(map(type, elements)):
        raise _unfit(elements, spec)
    if not code:
        return np.array(elements, dtype)
    try:
        return np.frombuffer(struct.pack(f"<{len(elements)}{code}", *elements), dtype)
    except (struct.error, OverflowError) as error:
        raise _unfit(elements, spec) from error


def _unfit(elements: list[Any], spec: TensorSpec) -> InvalidRequestError:
    """Find the first element that the datatype cannot hold."""
    kind = spec.datatype.kind
    allowed = _ELEMENT_TYPES[kind]
    for index, element in enumerate(elements):
        if type(element) not in allowed:
            reason = f"{spec.datatype.name} needs {_WANTED[kind]}, but element {index} is {_shown(element)}"
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


def _requested_outputs(outputs: object, signature: Signature) -> list[str]:
    """The names to answer with: what the request lists, or everything."""
    if outputs is None or outputs == []:
        return list(signature.outputs)
    if not isinstance(outputs, list):
        raise InvalidRequestError(f"'outputs' must be a list, not {_shown(outputs)}")
    names: list[str] = []
    for entry in outputs:
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
            raise InvalidRequestError(f"each of 'outputs' must be an object with a 'name', not {_shown(entry)}")
        name = entry["name"]
        if name in signature.unsupported_outputs:
            type_ = signature.unsupported_outputs[name]
            raise InvalidRequestError(f"output {name!r} is a {type_}, which the protocol cannot carry")
        if name not in signature.outputs:
            known = ", ".join(map(repr, signature.outputs))
            raise InvalidRequestError(f"there is no output {_clipped(repr(name))}; the outputs are {known}")
        if name in names:
            raise InvalidRequestError(f"output {name!r} is requested twice")
        _refuse_binary_outputs(entry.get("parameters"), f"output {name!r}")
        names.append(name)
    return names


def _refuse_binary_outputs(parameters: object, whose: str) -> None:
    if parameters is None:
        return
    if not isinstance(parameters, dict):
        raise InvalidRequestError(f"'parameters' of {whose} must be an object, not {_shown(parameters)}")
    for parameter in ("binary_data", "binary_data_output"):
        if parameters.get(parameter):
            raise InvalidRequestError(f"{whose} asks for {parameter}: binary tensor data is not supported, only JSON")
    if "classification" in parameters:
        raise InvalidRequestError(f"{whose} asks for classification, which is not supported")


def shown_shape(spec: TensorSpec) -> str:
    """A spec's shape for people: `[batch, 4]`, with -1 for an unnamed open dimension."""
    if spec.shape is None:
        return f"of at most {_MAX_RANK} dimensions"
    return "[" + ", ".join("-1" if size is None else str(size) for size in spec.shape) + "]"


def _expected(spec: TensorSpec) -> str:
    return f"{spec.datatype.name} tensor of shape {shown_shape(spec)}"


def _shown(value: object) -> str:
    """A short form of what came, for a message."""
    if value is None:
        return "null"
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, bool):
        return str(value).lower()
    return _clipped(repr(value))


def _clipped(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…"
