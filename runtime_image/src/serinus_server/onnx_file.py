"""Reads an ONNX file's outline without a parser library, to refuse what is unsafe before anything loads it.

An ONNX file is a protocol buffer. Only lengths and tags are read here: a field that is not of interest
is skipped by its length, so that a model of many gigabytes takes as long as its node count.
"""

import mmap
import re
from collections import Counter
from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from serinus_server.failure import FatalError, Reason

_STANDARD_DOMAINS: Final = frozenset({"", "ai.onnx", "ai.onnx.ml", "ai.onnx.preview.training"})
_RUNTIME_DOMAINS: Final = ("com.microsoft", "com.ms.")
_MAX_SIZE: Final = (1 << 31) - 1  # of a protocol buffer
_MAX_FUNCTION_DEPTH: Final = 100
_MAX_UNFOLDED: Final = 250_000  # onnxruntime takes a minute for them, and four for twice as many
_MAX_ELEMENTS: Final = 1 << 48
_IN_MEMORY: Final = "*/"  # how onnxruntime marks data at an address of its own process
_MAX_GRAPH_DEPTH: Final = 32  # protocol buffer parsers stop at 100 levels, and each graph takes three

# Field numbers of onnx.proto3.
_MODEL_IR_VERSION, _MODEL_GRAPH, _MODEL_OPSET_IMPORT, _MODEL_FUNCTIONS = 1, 7, 8, 25
_OPSET_DOMAIN, _OPSET_VERSION = 1, 2
_GRAPH_NODE, _GRAPH_INITIALIZER, _GRAPH_INPUT, _GRAPH_OUTPUT, _GRAPH_SPARSE = 1, 5, 11, 12, 15
_FUNCTION_NAME, _FUNCTION_NODE, _FUNCTION_DOMAIN, _FUNCTION_ATTRIBUTE = 1, 7, 10, 11
_NODE_OP_TYPE, _NODE_ATTRIBUTE, _NODE_DOMAIN = 4, 5, 7
_ATTRIBUTE_TENSOR, _ATTRIBUTE_GRAPH, _ATTRIBUTE_TENSORS, _ATTRIBUTE_GRAPHS = 5, 6, 10, 11
_ATTRIBUTE_SPARSE, _ATTRIBUTE_SPARSES = 22, 23
_WITH_TENSORS: Final = frozenset({_ATTRIBUTE_TENSOR, _ATTRIBUTE_TENSORS, _ATTRIBUTE_SPARSE, _ATTRIBUTE_SPARSES})
_WITH_GRAPHS: Final = frozenset({_ATTRIBUTE_GRAPH, _ATTRIBUTE_GRAPHS})
_SPARSE_VALUES, _SPARSE_INDICES = 1, 2
_TENSOR_DIMS, _TENSOR_EXTERNAL_DATA = 1, 13
_ENTRY_KEY, _ENTRY_VALUE = 1, 2
_VALUE_NAME, _VALUE_TYPE = 1, 2
_TYPE_TENSOR, _TENSOR_TYPE_SHAPE = 1, 2

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MAX_VARINT_BITS: Final = 63
# Whole fields that hold numbers, of one-byte tags: eight to a byte's field number, and the wire type below.
_NUMBERS: Final = re.compile(
    rb"(?:[\x08\x10\x18\x20\x28\x30\x38\x40\x48\x50\x58\x60\x68\x70\x78][\x80-\xff]{0,9}+[\x00-\x7f]"
    rb"|[\x0d\x15\x1d\x25\x2d\x35\x3d\x45\x4d\x55\x5d\x65\x6d\x75\x7d].{4})*+",
    re.DOTALL,
)


Operator = tuple[str, str]  # domain and name


@dataclass
class Outline:
    """What of a model matters for safety, and what onnxruntime's own metadata does not tell."""

    external_files: set[str] = field(default_factory=set)
    operators: Counter[Operator] = field(default_factory=Counter)  # how often the graph uses each
    functions: dict[Operator, Counter[Operator]] = field(default_factory=dict)  # and each local function
    without_rank: set[str] = field(default_factory=set)
    opsets: dict[str, int] = field(default_factory=dict)  # domain -> version

    @property
    def used(self) -> set[Operator]:
        """Every operator that the graph or a function uses."""
        return set(self.operators).union(*self.functions.values())


def read_outline(path: Path) -> Outline:
    """Read the outline of an ONNX file.

    Raises FatalError(MODEL_LOAD_FAILED) if it is empty, cut short, or not an ONNX model.
    """
    size = path.stat().st_size
    if size == 0:
        raise FatalError(Reason.MODEL_LOAD_FAILED, f"{path.name} is empty")
    if size > _MAX_SIZE:
        message = (
            f"{path.name} has {size} bytes, but a model has less than 2 GiB; larger weights go into files beside it"
        )
        raise FatalError(Reason.MODEL_LOAD_FAILED, message)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        outline = Outline()
        try:
            _read_model(_Message(content, 0, size), outline)
        except _MalformedError as error:
            raise FatalError(
                Reason.MODEL_LOAD_FAILED, f"{path.name} ({size} bytes) is not a whole ONNX model: {error}"
            ) from error
        return outline


def require_safe(outline: Outline, path: Path) -> list[Path]:
    """Refuse a model that reaches outside its folder or brings code; returns its external data files.

    Raises FatalError(MODEL_LOAD_FAILED) that names what is refused.
    """
    used = outline.used
    own = {domain for domain, _ in outline.functions} | _STANDARD_DOMAINS
    foreign = {domain for domain, _ in used if domain not in own and not domain.startswith(_RUNTIME_DOMAINS)}
    if foreign:
        names = ", ".join(sorted(map(repr, foreign)))
        raise FatalError(Reason.MODEL_LOAD_FAILED, f"{path.name} needs custom operators of {names}; none are loaded")
    if any(name == "EPContext" for _, name in used):
        raise FatalError(Reason.MODEL_LOAD_FAILED, f"{path.name} holds an EPContext node, which is not portable")
    operators = _unfolded(outline.operators, outline, {}, 0) if outline.functions else 0
    if operators is None or operators > _MAX_UNFOLDED:
        much = f"more than {_MAX_UNFOLDED:,} operators" if operators else f"more than {_MAX_FUNCTION_DEPTH} levels"
        raise FatalError(Reason.MODEL_LOAD_FAILED, f"{path.name}'s functions unfold to {much}")
    return [_inside_folder(path, location) for location in sorted(outline.external_files)]


def _unfolded(operators: Counter[Operator], outline: Outline, known: dict[Operator, int], depth: int) -> int | None:
    """How many operators there are once every call of a function is replaced by its body, as a loader does.

    None where that goes too deep, or round in a circle.
    """
    if depth > _MAX_FUNCTION_DEPTH:
        return None
    total = 0
    for operator, times in operators.items():
        body = outline.functions.get(operator)
        if body is not None and operator not in known:
            unfolded = _unfolded(body, outline, known, depth + 1)
            if unfolded is None:
                return None
            known[operator] = unfolded
        total += times * known.get(operator, 1)
    return total


def _inside_folder(model: Path, location: str) -> Path:
    """An external data file, links resolved, that must lie in the folder of the model."""
    folder = model.parent.resolve()
    if "\0" in location:
        raise FatalError(Reason.MODEL_LOAD_FAILED, f"{model.name} refers to a file with a NUL in its name")
    if location.startswith(_IN_MEMORY):
        raise FatalError(Reason.MODEL_LOAD_FAILED, f"{model.name} refers to an address in memory: {location!r}")
    resolved = (folder / location).resolve()
    if not resolved.is_relative_to(folder):
        raise FatalError(
            Reason.MODEL_LOAD_FAILED, f"{model.name} refers to {location!r}, which is outside the model's folder"
        )
    if not resolved.is_file():
        state = "it is no file" if resolved.exists() else "missing"
        raise FatalError(Reason.MODEL_LOAD_FAILED, f"{model.name} needs the external data file {location!r}: {state}")
    return resolved


class _MalformedError(Exception):
    """The bytes are not a protocol buffer of the expected form."""


class _Message:
    """A range of the file that holds one protocol buffer message."""

    def __init__(self, content: mmap.mmap, start: int, end: int) -> None:
        self._content = content
        self._start = start
        self._end = end

    def fields(self) -> Iterator[tuple[int, "_Message | int"]]:
        """Field number and value: a sub-message (or bytes) as a range, a number as an int."""
        position = self._start
        while position < self._end:
            tag, position = self._varint(position)
            number, wire_type = tag >> 3, tag & 7
            if wire_type == _VARINT and number:
                value, position = self._varint(position)
                yield number, value
            elif wire_type == _BYTES and number:
                length, position = self._varint(position)
                yield number, _Message(self._content, position, self._within(position + length))
                position += length
            else:
                position = self._after_value(tag, position)

    def messages_among_numbers(self, wanted: Container[int]) -> Iterator[tuple[int, "_Message"]]:
        """The sub-messages of some field numbers, where most fields may be numbers: a forest has millions."""
        position = self._start
        while position < self._end:
            position = _after_numbers(self._content, position, self._end)
            if position == self._end:
                return
            tag, position = self._varint(position)
            if tag & 7 != _BYTES or tag >> 3 == 0:
                position = self._after_value(tag, position)
                continue
            length, position = self._varint(position)
            end = self._within(position + length)
            if tag >> 3 in wanted:
                yield tag >> 3, _Message(self._content, position, end)
            position = end

    def messages(self, number: int) -> Iterator["_Message"]:
        """The sub-messages of one field number."""
        return (value for found, value in self.fields() if found == number and isinstance(value, _Message))

    def number(self, number: int) -> int:
        """The value of a numeric field, 0 without it."""
        return next((value for found, value in self.fields() if found == number and isinstance(value, int)), 0)

    def text(self) -> str:
        """The range as a string."""
        return self._content[self._start : self._end].decode(errors="replace")

    def _after_value(self, tag: int, position: int) -> int:
        """Where a number ends that nobody wants."""
        if tag >> 3 == 0:
            raise _MalformedError("a field has the number 0")
        wire_type = tag & 7
        if wire_type == _VARINT:
            return self._varint(position)[1]
        if wire_type in {_FIXED32, _FIXED64}:
            return self._within(position + (4 if wire_type == _FIXED32 else 8))
        raise _MalformedError(f"a field has the unknown wire type {wire_type}")

    def _within(self, position: int) -> int:
        if position > self._end:
            raise _MalformedError(f"a field would end at byte {position}, past byte {self._end} where it must")
        return position

    def _varint(self, position: int) -> tuple[int, int]:
        value = 0
        for shift in range(0, _MAX_VARINT_BITS + 1, 7):
            self._within(position + 1)
            byte = self._content[position]
            position += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:  # noqa: PLR2004 - the continuation bit
                return value, position
        raise _MalformedError("a number is longer than 64 bits")


def _after_numbers(content: mmap.mmap, start: int, end: int) -> int:
    """Where the fields end that hold numbers. A match would keep the file mapped, so none leaves this function."""
    match = _NUMBERS.match(content, start, end)
    return start if match is None else match.end()


def _read_model(model: _Message, outline: Outline) -> None:
    seen = set()
    for number, value in model.fields():
        seen.add(number)
        if not isinstance(value, _Message):
            continue
        if number == _MODEL_GRAPH:
            _read_graph(value, outline, 0)
            outline.without_rank |= _without_rank(value)
        elif number == _MODEL_OPSET_IMPORT:
            domain = next((each.text() for each in value.messages(_OPSET_DOMAIN)), "")
            outline.opsets[domain] = value.number(_OPSET_VERSION)
        elif number == _MODEL_FUNCTIONS:
            _read_function(value, outline)
    if not {_MODEL_IR_VERSION, _MODEL_GRAPH} <= seen:
        raise _MalformedError("it has no IR version or no graph")


def _read_function(function: _Message, outline: Outline) -> None:
    body, domain, name = Outline(), "", ""
    for number, value in function.fields():
        if not isinstance(value, _Message):
            continue
        if number == _FUNCTION_NODE:
            _read_node(value, body, 0)
        elif number == _FUNCTION_ATTRIBUTE:
            _read_attribute(value, body, 0)
        elif number == _FUNCTION_DOMAIN:
            domain = value.text()
        elif number == _FUNCTION_NAME:
            name = value.text()
    outline.external_files |= body.external_files
    outline.functions.setdefault((domain, name), Counter()).update(body.operators)  # overloads count as one


def _without_rank(graph: _Message) -> set[str]:
    """The inputs and outputs of a graph that have no shape, not even an empty one."""
    names = set()
    for number, value in graph.fields():
        if number not in {_GRAPH_INPUT, _GRAPH_OUTPUT} or not isinstance(value, _Message):
            continue
        shapes = [
            shape
            for type_ in value.messages(_VALUE_TYPE)
            for tensor in type_.messages(_TYPE_TENSOR)
            for shape in tensor.messages(_TENSOR_TYPE_SHAPE)
        ]
        if not shapes:
            names |= {name.text() for name in value.messages(_VALUE_NAME)}
    return names


def _read_graph(graph: _Message, outline: Outline, depth: int) -> None:
    if depth > _MAX_GRAPH_DEPTH:
        raise _MalformedError(f"its graphs are nested deeper than {_MAX_GRAPH_DEPTH}")
    for number, value in graph.fields():
        if not isinstance(value, _Message):
            continue
        if number == _GRAPH_NODE:
            _read_node(value, outline, depth)
        elif number == _GRAPH_INITIALIZER:
            _read_tensor(value, outline)
        elif number == _GRAPH_SPARSE:
            _read_sparse_tensor(value, outline)


def _read_node(node: _Message, outline: Outline, depth: int) -> None:
    domain, name = "", ""
    for number, value in node.fields():
        if not isinstance(value, _Message):
            continue
        if number == _NODE_OP_TYPE:
            name = value.text()
        elif number == _NODE_DOMAIN:
            domain = value.text()
        elif number == _NODE_ATTRIBUTE:
            _read_attribute(value, outline, depth)
    outline.operators[domain, name] += 1


def _read_attribute(attribute: _Message, outline: Outline, depth: int) -> None:
    for number, value in attribute.messages_among_numbers(_WITH_TENSORS | _WITH_GRAPHS):
        if number in {_ATTRIBUTE_TENSOR, _ATTRIBUTE_TENSORS}:
            _read_tensor(value, outline)
        elif number in {_ATTRIBUTE_GRAPH, _ATTRIBUTE_GRAPHS}:
            _read_graph(value, outline, depth + 1)
        else:
            _read_sparse_tensor(value, outline)


def _read_sparse_tensor(sparse: _Message, outline: Outline) -> None:
    for part in (_SPARSE_VALUES, _SPARSE_INDICES):
        for tensor in sparse.messages(part):
            _read_tensor(tensor, outline)


def _read_tensor(tensor: _Message, outline: Outline) -> None:
    elements = 1
    for number, value in tensor.fields():
        if number == _TENSOR_DIMS and isinstance(value, int):
            elements *= value
        elif number == _TENSOR_EXTERNAL_DATA and isinstance(value, _Message):
            keys = [key.text() for key in value.messages(_ENTRY_KEY)]
            if keys[-1:] == ["location"]:  # of a field given twice, the last one counts
                outline.external_files |= {text.text() for text in value.messages(_ENTRY_VALUE)}
    if elements > _MAX_ELEMENTS:
        raise _MalformedError("a tensor claims more elements than any machine could hold")
