"""The body of a REST inference request to tensors: JSON, with or without binary tensor data after it.

Transport-neutral: bytes in, tensors out, and every refusal says what was expected and what came.
"""

from collections.abc import Mapping
from typing import Any, Final

import orjson

from serinus_server.infer_request import (
    InferRequest,
    Inputs,
    InvalidRequestError,
    require_output,
    require_supported,
)
from serinus_server.json_tensor import from_json
from serinus_server.known_headers import BinaryInput, KnownHeader, KnownHeaders
from serinus_server.model import Signature, Tensor, TensorSpec
from serinus_server.raw_tensor import from_raw
from serinus_server.wording import shown

_NO_PARAMETERS: Final[dict[str, Any]] = {}
_ALL_BINARY: Final = "binary_data_output"


def decode(
    body: bytes, signature: Signature, header_length: int | None = None, known: KnownHeaders | None = None
) -> InferRequest:
    """Decode the body of an infer call.

    `header_length` is how many bytes at its start are JSON, with binary data after them; None means all
    of it is JSON, and 0 that all of it is the data of the model's only input. `known` are the headers of
    earlier calls of the same model.
    Raises InvalidRequestError.
    """
    if header_length is None:
        return _decode_document(body, signature, None)
    if header_length == 0:
        return _decode_bare(body, signature)
    text = body[:header_length]
    header = known.find(text) if known is not None else None
    request = header.request(body, header_length) if header is not None else None
    if request is not None:
        return request
    blobs = _Blobs(body, header_length)
    request = _decode_document(text, signature, blobs)
    blobs.require_used_up()
    if known is not None and request.id is None and len(blobs.taken) == len(request.feeds):
        known.keep(
            text, KnownHeader(blobs.taken, request.outputs, request.binary_outputs, request.parameters), len(text)
        )
    return request


def _decode_document(text: bytes, signature: Signature, blobs: "_Blobs | None") -> InferRequest:
    document = _parse(text)
    booleans = b"true" in text or b"false" in text  # much quicker than a look at each element of each tensor
    request_id = document.get("id")
    if request_id is not None and not isinstance(request_id, str):
        raise InvalidRequestError(f"'id' must be a string, not {shown(request_id)}")
    entries = document.get("inputs")
    if not isinstance(entries, list):
        raise InvalidRequestError(f"'inputs' must be a list of tensors, not {shown(entries)}")
    inputs = Inputs(signature)
    for entry in entries:
        if not isinstance(entry, dict):
            raise InvalidRequestError(f"each of 'inputs' must be an object, not {shown(entry)}")
        spec = inputs.spec(entry.get("name"), entry.get("datatype"))
        shape = inputs.shape(spec, entry.get("shape"))
        inputs.add(spec, _tensor(entry, spec, shape, blobs, booleans=booleans))
    request = InferRequest(request_id, inputs.complete(), list(signature.outputs))
    if "parameters" in document:
        request.parameters = _parameters(document, "the request")
    if "outputs" in document or request.parameters:
        _choose_outputs(document.get("outputs"), request, signature)
    return request


def _parse(body: bytes) -> dict[str, Any]:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        if b"NaN" in body or b"Infinity" in body:
            raise InvalidRequestError("the body is not JSON: JSON has no NaN and no Infinity") from error
        raise InvalidRequestError(f"the body is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise InvalidRequestError(f"the body must be a JSON object, not {shown(document)}")
    return document


def _tensor(
    entry: dict[str, Any], spec: TensorSpec, shape: list[int], blobs: "_Blobs | None", *, booleans: bool
) -> Tensor:
    parameters = _parameters(entry, f"input {spec.name!r}") if "parameters" in entry else _NO_PARAMETERS
    if "binary_data_size" not in parameters:
        return from_json(entry.get("data"), shape, spec, booleans=booleans)
    if "data" in entry:
        raise InvalidRequestError(f"input {spec.name!r} has both 'data' and 'binary_data_size'")
    if blobs is None:
        raise InvalidRequestError(
            f"input {spec.name!r} has 'binary_data_size', but the header Inference-Header-Content-Length is missing"
        )
    return blobs.take(parameters["binary_data_size"], shape, spec)


class _Blobs:
    """The binary data after the JSON, taken input by input; `taken` is what was."""

    def __init__(self, body: bytes, start: int) -> None:
        if start > len(body):
            raise InvalidRequestError(
                f"Inference-Header-Content-Length is {start}, but the body has only {len(body)} bytes"
            )
        self._body = memoryview(body)
        self._position = start
        self.taken: list[BinaryInput] = []

    def take(self, size: object, shape: list[int], spec: TensorSpec) -> Tensor:
        """The tensor in the next `size` bytes."""
        if type(size) is not int or size < 0:
            raise InvalidRequestError(
                f"input {spec.name!r}: 'binary_data_size' must be a number of bytes, not {shown(size)}"
            )
        start, end = self._position, self._position + size
        if end > len(self._body):
            raise InvalidRequestError(
                f"input {spec.name!r}: 'binary_data_size' is {size}, but only {len(self._body) - start} bytes are left"
            )
        self._position = end
        self.taken.append(BinaryInput(spec, shape, size))
        return from_raw(self._body[start:end], shape, spec)

    def require_used_up(self) -> None:
        """Nothing may be left that no input has claimed."""
        left = len(self._body) - self._position
        if left:
            raise InvalidRequestError(f"{left} bytes of binary data at the end of the body belong to no input")


def _parameters(owner: dict[str, Any], whose: str) -> dict[str, Any]:
    parameters = owner.get("parameters")
    if parameters is None:
        return _NO_PARAMETERS
    if not isinstance(parameters, dict):
        raise InvalidRequestError(f"'parameters' of {whose} must be an object, not {shown(parameters)}")
    require_supported(parameters, whose)
    return parameters


def _choose_outputs(entries: object, request: InferRequest, signature: Signature) -> None:
    """Which outputs to answer with, and in which form: as the request lists them, or everything."""
    all_binary = _flag(request.parameters, _ALL_BINARY, "the request", default=False)
    if _ALL_BINARY in request.parameters:  # an instruction to this server, not one of the client's own
        request.parameters = {name: value for name, value in request.parameters.items() if name != _ALL_BINARY}
    if entries is None or entries == []:
        request.binary_outputs = frozenset(request.outputs if all_binary else ())
        return
    if not isinstance(entries, list):
        raise InvalidRequestError(f"'outputs' must be a list, not {shown(entries)}")
    names: list[str] = []
    binary = set()
    for entry in entries:
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
            raise InvalidRequestError(f"each of 'outputs' must be an object with a 'name', not {shown(entry)}")
        name = entry["name"]
        require_output(name, signature, names)
        names.append(name)
        whose = f"output {name!r}"
        if _flag(_parameters(entry, whose), "binary_data", whose, default=all_binary):
            binary.add(name)
    request.outputs = names
    request.binary_outputs = frozenset(binary)


def _flag(parameters: Mapping[str, object], name: str, whose: str, *, default: bool) -> bool:
    value = parameters.get(name, default)
    if not isinstance(value, bool):
        raise InvalidRequestError(f"{name!r} of {whose} must be true or false, not {shown(value)}")
    return value


def _decode_bare(body: bytes, signature: Signature) -> InferRequest:
    """A body without any JSON: the model's only input, whose one open dimension follows from the size."""
    required = [spec for spec in signature.inputs.values() if not spec.optional]
    if len(required) != 1:
        names = ", ".join(repr(spec.name) for spec in required)
        raise InvalidRequestError(f"a body of binary data alone needs a model of one input; the inputs are {names}")
    spec = required[0]
    shape = [size if isinstance(size, int) else None for size in spec.shape or [None]]
    if spec.datatype.kind == "O" or shape.count(None) > 1:
        raise InvalidRequestError(
            f"input {spec.name!r} cannot be sent as binary data alone: its shape does not follow from its size"
        )
    fixed = spec.datatype.dtype.itemsize
    for size in shape:
        fixed *= 1 if size is None else size
    open_size = len(body) // fixed if fixed else 0
    tensor = from_raw(body, [open_size if size is None else size for size in shape], spec)
    outputs = list(signature.outputs)
    return InferRequest(None, {spec.name: tensor}, outputs, frozenset(outputs))
