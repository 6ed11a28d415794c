"""Files that were made to hurt whoever loads them. `python -m tests.unit.server.hostile_models FOLDER` writes them all.

Each function writes one into a folder that is empty but for what it needs beside it, and returns the model's path.
"""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.unit.server import models

Writer = Callable[[Path], Path]


def field(number: int, content: bytes) -> bytes:
    """A protocol buffer field that holds a message, a text or bytes."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def varint(value: int) -> bytes:
    """A number as protocol buffers write it."""
    groups = b""
    while value > 0x7F:
        groups += bytes([value & 0x7F | 0x80])
        value >>= 7
    return groups + bytes([value])


def content(data: bytes) -> Writer:
    """A file that holds just this."""

    def write(folder: Path) -> Path:
        path = folder / "model.onnx"
        path.write_bytes(data)
        return path

    return write


def model(make: Callable[[], onnx.ModelProto]) -> Writer:
    """A model, unchecked."""
    return lambda folder: models.save(make(), folder)


def truncated(folder: Path) -> Path:
    path = models.save(models.wide_mlp(), folder)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def hole(size: int) -> Writer:
    """A weight of so many bytes, in a file that hardly takes any."""

    def write(folder: Path) -> Path:
        tensor = bytes([1 << 3]) + varint(size // 4) + bytes([2 << 3, 1, 9 << 3 | 2]) + varint(size)
        initializer = varint(5 << 3 | 2) + varint(len(tensor) + size) + tensor
        head = b"\x08\x09" + varint(7 << 3 | 2) + varint(len(initializer) + size) + initializer
        path = folder / "model.onnx"
        with path.open("wb") as file:
            file.write(head)
            file.truncate(len(head) + size)
        return path

    return write


def with_weight(dims: Sequence[int], data: bytes = bytes(8), **more: object) -> Writer:
    """y = x + w, where w claims these dimensions and has this data."""

    def write(folder: Path) -> Path:
        weight = TensorProto(name="w", data_type=TensorProto.FLOAT, raw_data=data)
        weight.dims.extend(dims)
        nodes = [helper.make_node("Add", ["x", "w"], ["y"])]
        return models.save(models.build(nodes, [models.value("x")], [models.value("y", shape=None)], [weight]), folder)

    return write


def with_input(*dims: int) -> Writer:
    """y = x, where x claims these dimensions."""

    def write(folder: Path) -> Path:
        value = models.value("x", shape=dims)
        node = helper.make_node("Identity", ["x"], ["y"])
        return models.save(models.build([node], [value], [models.value("y", shape=dims)]), folder)

    return write


def deep(wrap: Callable[[bytes], bytes], levels: int) -> Writer:
    """Something within itself, so many times."""

    def write(folder: Path) -> Path:
        inner = b""
        for _ in range(levels):
            inner = wrap(inner)
        return content(b"\x08\x09" + field(7, inner))(folder)

    return write


def subgraph(inner: bytes) -> bytes:
    """A graph with a node whose attribute is a graph."""
    return field(1, field(5, field(6, inner)))


def sequence_type(inner: bytes) -> bytes:
    """A sequence of something."""
    return field(4, field(1, inner))


def a_type_of_types(folder: Path) -> Path:
    """An input that is a sequence of sequences of sequences ..."""
    inner = b""
    for _ in range(20_000):
        inner = sequence_type(inner)
    return content(b"\x08\x09" + field(7, field(11, field(1, b"x") + field(2, inner))))(folder)


def functions(bodies: Mapping[str, Sequence[str]]) -> Writer:
    """Local functions, each a chain of calls of others (or of Neg); the graph calls the last one."""

    def write(folder: Path) -> Path:
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
        made = [
            helper.make_function("local", name, ["v0"], [f"v{len(calls)}"], chain(calls), opsets)
            for name, calls in bodies.items()
        ]
        call = helper.make_node(list(bodies)[-1], ["x"], ["y"], domain="local")
        inputs, outputs = [models.value("x")], [models.value("y")]
        return models.save(models.build([call], inputs, outputs, domains=["local"], functions=made), folder)

    return write


def chain(calls: Sequence[str]) -> list[onnx.NodeProto]:
    return [
        helper.make_node(name, [f"v{number}"], [f"v{number + 1}"], domain="" if name == "Neg" else "local")
        for number, name in enumerate(calls)
    ]


def laughs(levels: int) -> dict[str, list[str]]:
    """Functions that call the one before ten times: 10 ** levels nodes in all."""
    return {f"F{level}": [f"F{level - 1}" if level else "Neg"] * 10 for level in range(levels)}


def folded(*dims: int) -> Writer:
    """A constant that is small in the file and huge once it is computed, as a loader does."""

    def write(folder: Path) -> Path:
        shape = numpy_helper.from_array(np.array(dims, np.int64), "shape")
        nodes = [
            helper.make_node("ConstantOfShape", ["shape"], ["big"]),
            helper.make_node("ReduceSum", ["big"], ["total"], keepdims=0),
            helper.make_node("Add", ["x", "total"], ["y"]),
        ]
        return models.save(models.build(nodes, [models.value("x")], [models.value("y")], [shape]), folder)

    return write


def outside(location: str) -> Writer:
    """Weights in what may be no file of the folder's."""
    return lambda folder: models.save(models.with_external_data(location), folder)


def beside(folder: Path) -> Path:
    """A file outside of the folder, to be reached."""
    file = folder.parent / f"{folder.name}-outside"
    file.write_bytes(bytes(8))
    return file


def parent_file(folder: Path) -> Path:
    return outside(f"../{beside(folder).name}")(folder)


def absolute_file(folder: Path) -> Path:
    return outside(str(beside(folder)))(folder)


def link_outside(folder: Path) -> Path:
    (folder / "w.bin").symlink_to(beside(folder))
    return outside("w.bin")(folder)


def linked_folder(folder: Path) -> Path:
    (folder / "weights").symlink_to(beside(folder).parent)
    return outside(f"weights/{beside(folder).name}")(folder)


def a_named_pipe(folder: Path) -> Path:
    """Who opens it waits for ever."""
    os.mkfifo(folder / "w.bin")
    return outside("w.bin")(folder)


def a_folder(folder: Path) -> Path:
    (folder / "weights").mkdir()
    return outside("weights")(folder)


def a_device(folder: Path) -> Path:
    (folder / "w.bin").symlink_to("/dev/zero")
    return outside("w.bin")(folder)


def memory_address(folder: Path) -> Path:
    """onnxruntime's own mark for data at an address of its process, and a file of that name to get past a check."""
    (folder / "*/_ORT_MEM_ADDR_").mkdir(parents=True)
    (folder / "*/_ORT_MEM_ADDR_/*").write_bytes(bytes(8))
    return outside("*/_ORT_MEM_ADDR_/*")(folder)


def external_range(offset: int, length: int) -> Writer:
    """A piece of a file that the file does not have."""

    def write(folder: Path) -> Path:
        (folder / "w.bin").write_bytes(bytes(8))
        made = models.with_external_data("w.bin")
        for entry in made.graph.initializer[0].external_data:
            if entry.key != "location":
                entry.value = str(offset if entry.key == "offset" else length)
        return models.save(made, folder)

    return write


def execution_provider_context() -> onnx.ModelProto:
    """A compiled blob for whichever device claims it, perhaps from a file that it names."""
    node = helper.make_node("EPContext", ["x"], ["y"], domain="com.microsoft", embed_mode=0, ep_cache_context="../x.so")
    return models.build([node], [models.value("x")], [models.value("y")], domains=["com.microsoft"])


def hidden_in_a_function(folder: Path) -> Path:
    """A foreign operator that only a function uses."""
    opsets = [helper.make_opsetid("evil.example", 1)]
    node = helper.make_node("Own", ["a"], ["b"], domain="evil.example")
    function = helper.make_function("local", "F", ["a"], ["b"], [node], opsets)
    call = helper.make_node("F", ["x"], ["y"], domain="local")
    inputs, outputs = [models.value("x")], [models.value("y")]
    domains = ["local", "evil.example"]
    return models.save(models.build([call], inputs, outputs, domains=domains, functions=[function]), folder)


def a_circle() -> onnx.ModelProto:
    """Two nodes that wait for each other."""
    nodes = [helper.make_node("Add", ["x", "b"], ["a"]), helper.make_node("Neg", ["a"], ["b"])]
    return models.build(nodes, [models.value("x")], [models.value("b")])


def from_the_future() -> onnx.ModelProto:
    made = models.mlp()
    made.opset_import[0].version = 9_999
    return made


def unknown_operator() -> onnx.ModelProto:
    return models.build([helper.make_node("Mystery", ["x"], ["y"])], [models.value("x")], [models.value("y")])


def no_outputs() -> onnx.ModelProto:
    return models.build([helper.make_node("Neg", ["x"], ["y"])], [models.value("x")], [])


def endless(folder: Path) -> Path:
    """A loop of two to the 62nd rounds."""
    return models.save(models.slow(1 << 62), folder)


CORPUS: Mapping[str, tuple[Writer, str]] = {
    "empty": (content(b""), "model.onnx is empty"),
    "zeros": (content(bytes(4096)), "is not a whole ONNX model: a field has the number 0"),
    "a web page": (content(b"<!DOCTYPE html><html><body>404</body></html>"), "is not a whole ONNX model"),
    "truncated": (truncated, "past byte 1337475 where it must"),
    "a length past the end": (content(b"\x08\x09\x3a" + b"\xff" * 8 + b"\x7f"), "a field would end at byte"),
    "a terabyte of nothing": (hole(1 << 40), "but a model has less than 2 GiB"),
    "a weight of 2**80 elements": (with_weight([1 << 40, 1 << 40]), "more elements than any machine could hold"),
    "a weight of 2**40 elements": (with_weight([1 << 40]), "declares a size of 4398046511104 bytes"),
    "a weight of negative size": (with_weight([-2]), "more elements than any machine could hold"),
    "a weight with less data than its shape": (with_weight([1000]), "raw_data size (8 bytes) does not match"),
    "an input of 2**80 elements": (with_input(1 << 40, 1 << 40), "input 'x' of 2 dimensions"),
    "an input of 2**40 elements": (with_input(1 << 40), "is larger than any request"),
    "an input of 1000 dimensions": (with_input(*[1] * 1000), "input 'x' of 1000 dimensions"),
    "graphs in graphs": (deep(subgraph, 5000), "its graphs are nested deeper than 32"),
    "types in types": (a_type_of_types, "Protobuf parsing failed"),
    "a function that calls itself": (functions({"F": ["F"]}), "functions unfold to more than 100 levels"),
    "functions in a circle": (functions({"F": ["G"], "G": ["F"]}), "functions unfold to more than 100 levels"),
    "functions ten times over": (functions(laughs(12)), "functions unfold to more than 250,000 operators"),
    "a constant of 4 terabytes": (folded(1 << 40), "Failed to allocate memory for requested buffer of size 439804651"),
    "weights in the parent folder": (parent_file, "which is outside the model's folder"),
    "weights at an absolute path": (absolute_file, "which is outside the model's folder"),
    "weights behind a link": (link_outside, "refers to 'w.bin', which is outside the model's folder"),
    "weights in a linked folder": (linked_folder, "which is outside the model's folder"),
    "weights in a device": (a_device, "refers to 'w.bin', which is outside the model's folder"),
    "weights in a named pipe": (a_named_pipe, "needs the external data file 'w.bin': it is no file"),
    "weights in a folder": (a_folder, "needs the external data file 'weights': it is no file"),
    "weights without a name": (outside(""), "needs the external data file '': it is no file"),
    "weights at an address in memory": (memory_address, "refers to an address in memory: '*/_ORT_MEM_ADDR_/*'"),
    "weights past the end of their file": (external_range(1 << 40, 8), "are out of bounds"),
    "weights before the start of their file": (external_range(-8, 8), "are out of bounds"),
    "more weights than their file has": (external_range(0, 1 << 40), "external data size mismatch"),
    "a compiled blob": (model(execution_provider_context), "holds an EPContext node, which is not portable"),
    "a foreign operator": (model(models.custom_operator), "needs custom operators of 'evil.example'; none are loaded"),
    "a foreign operator in a function": (hidden_in_a_function, "needs custom operators of 'evil.example'"),
    "an operator that does not exist": (model(unknown_operator), "No Op registered for Mystery"),
    "an opset of the future": (model(from_the_future), "Opset 9999 is under development"),
    "nodes in a circle": (model(a_circle), "the graph is not acyclic"),
    "no outputs": (model(no_outputs), "the model has no output"),
    "a loop without an end": (endless, "running model.onnx took more than 2 s of processor time"),
}
"""What each is, how it is made, and what is said of it."""


def main() -> None:
    """Write the corpus, a folder for each."""
    for name, (write, _) in CORPUS.items():
        folder = Path(sys.argv[1]) / name.replace(" ", "-")
        folder.mkdir(parents=True)
        write(folder)


if __name__ == "__main__":
    main()
