"""An inference request as the model takes it, and the checks that hold for every transport."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from serinus_server.model import MAX_ELEMENTS, MAX_RANK, Signature, Tensor, TensorSpec
from serinus_server.wording import clipped, expected, shown, shown_shape

_UNSUPPORTED_PARAMETERS: Final = {
    "classification": "asks for classification, which is not supported",
    "shared_memory_region": "names a shared memory region, which is not supported",
}


class InvalidRequestError(Exception):
    """The request is at fault; the message says how."""


@dataclass(slots=True)
class InferRequest:
    """A decoded request.

    `outputs` are the names to answer with, in order; those in `binary_outputs` as raw bytes where the
    transport knows two forms. `parameters` are the request's own, which the reply repeats.
    """

    id: str | None
    feeds: Mapping[str, Tensor]
    outputs: Sequence[str]
    binary_outputs: frozenset[str] = frozenset()
    parameters: Mapping[str, Any] = field(default_factory=dict)


class Inputs:
    """Collects the inputs of one request while they are checked. Every method raises InvalidRequestError."""

    __slots__ = ("_feeds", "_signature", "_sizes")

    def __init__(self, signature: Signature) -> None:
        self._signature = signature
        self._feeds: dict[str, Tensor] = {}
        self._sizes: dict[str, tuple[int, str]] = {}  # of a symbolic dimension: its size, and the input that set it

    def spec(self, name: object, datatype: object) -> TensorSpec:
        """What the model says of an input of this name, which must be new and of this datatype."""
        if not isinstance(name, str):
            raise InvalidRequestError(f"an input's 'name' must be a string, not {shown(name)}")
        spec = self._signature.inputs.get(name)
        if spec is None:
            known = ", ".join(map(repr, self._signature.inputs))
            raise InvalidRequestError(f"there is no input {clipped(repr(name))}; the inputs are {known}")
        if name in self._feeds:
            raise InvalidRequestError(f"input {name!r} is given twice")
        if datatype != spec.datatype.name:
            raise InvalidRequestError(f"input {name!r}: datatype must be {spec.datatype.name}, not {shown(datatype)}")
        return spec

    def shape(self, spec: TensorSpec, shape: object) -> list[int]:
        """A declared shape, checked against the model's and, by symbolic dimension, against the other inputs'."""
        if not isinstance(shape, list):
            raise _no_shape(shape, spec)
        for size in shape:
            if type(size) is not int or size < 0:
                raise _no_shape(shape, spec)
        if len(shape) != (min(len(shape), MAX_RANK) if spec.shape is None else len(spec.shape)):
            raise _wrong_shape(shape, spec)
        # Without a zero the data bounds the sizes; with one, they could be anything and overflow later.
        if 0 in shape and math.prod(size or 1 for size in shape) > MAX_ELEMENTS:
            raise InvalidRequestError(f"input {spec.name!r}: shape {shown(shape)} is larger than any tensor can be")
        if spec.shape is None:
            return shape
        for size, wanted in zip(shape, spec.shape, strict=True):
            if isinstance(wanted, str):
                first, first_name = self._sizes.setdefault(wanted, (size, spec.name))
                if size != first:
                    raise InvalidRequestError(
                        f"input {spec.name!r}: dimension {wanted!r} is {size} in {shape}, "
                        f"but {first} in input {first_name!r}"
                    )
            elif wanted is not None and size != wanted:
                raise _wrong_shape(shape, spec)
        return shape

    def add(self, spec: TensorSpec, tensor: Tensor) -> None:
        """Keep a tensor that fits its spec."""
        self._feeds[spec.name] = tensor

    def complete(self) -> dict[str, Tensor]:
        """All of them, once none is missing."""
        feeds, inputs = self._feeds, self._signature.inputs
        if len(feeds) < len(inputs):
            for name, spec in inputs.items():
                if name not in feeds and not spec.optional:
                    raise InvalidRequestError(f"input {name!r} is missing; it is a {expected(spec)}")
        return feeds


def require_output(name: str, signature: Signature, requested: Sequence[str]) -> None:
    """Check the name of a requested output that comes after those `requested` already.

    Raises InvalidRequestError.
    """
    if name in signature.unsupported_outputs:
        type_ = signature.unsupported_outputs[name]
        raise InvalidRequestError(f"output {name!r} is a {type_}, which the protocol cannot carry")
    if name not in signature.outputs:
        known = ", ".join(map(repr, signature.outputs))
        raise InvalidRequestError(f"there is no output {clipped(repr(name))}; the outputs are {known}")
    if name in requested:
        raise InvalidRequestError(f"output {name!r} is requested twice")


def require_supported(parameters: Mapping[str, object], whose: str) -> None:
    """Refuse a parameter that asks for what would change the meaning of a request; others are free.

    Raises InvalidRequestError.
    """
    for name, complaint in _UNSUPPORTED_PARAMETERS.items():
        if name in parameters:
            raise InvalidRequestError(f"{whose} {complaint}")


def _no_shape(shape: object, spec: TensorSpec) -> InvalidRequestError:
    return InvalidRequestError(
        f"input {spec.name!r}: 'shape' must be a list of non-negative integers, not {shown(shape)}"
    )


def _wrong_shape(shape: list[int], spec: TensorSpec) -> InvalidRequestError:
    return InvalidRequestError(f"input {spec.name!r}: shape must be {shown_shape(spec)}, not {shown(shape)}")
