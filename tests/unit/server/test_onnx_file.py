"""Hostile model files: each is refused by name before anything loads it."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from serinus_server.failure import FatalError, Reason
from serinus_server.onnx_file import read_outline, require_safe
from tests.unit.server import models
from tests.unit.server.hostile_models import functions, laughs


def refused(path: Path) -> str:
    with pytest.raises(FatalError) as caught:
        require_safe(read_outline(path), path)
    assert caught.value.reason is Reason.MODEL_LOAD_FAILED
    return str(caught.value)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "model.onnx is empty"),
        (b"\x89PNG\r\n\x1a\n" + bytes(64), "is not a whole ONNX model"),
        (b"<!DOCTYPE html><html><body>404</body></html>", "is not a whole ONNX model"),
        (b'{"error": "not found"}', "is not a whole ONNX model"),
        (b"PK\x03\x04" + bytes(64), "is not a whole ONNX model"),
        (bytes(1024), "is not a whole ONNX model"),
        (b"\xff" * 64, "is not a whole ONNX model"),
        (b"\x08\x09", "it has no IR version or no graph"),
        (b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\x7f", "is not a whole ONNX model"),
    ],
)
def test_what_is_not_onnx(tmp_path: Path, content: bytes, complaint: str) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    assert complaint in refused(path)


def test_every_truncation_is_noticed(tmp_path: Path) -> None:
    """Cut anywhere: either refused, or what is left is a shorter valid message (the last fields gone)."""
    whole = models.mlp().SerializeToString()
    graph_end = whole.index(models.mlp().graph.SerializeToString()) + models.mlp().graph.ByteSize()
    path = tmp_path / "model.onnx"
    for length in range(graph_end):
        path.write_bytes(whole[:length])
        refused(path)


def in_subgraph(location: str) -> onnx.ModelProto:
    inner = models.with_external_data(location).graph
    del inner.input[:]
    branch = helper.make_graph(inner.node, "branch", [], inner.output, inner.initializer)
    node = helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)
    inputs = [models.value("c", TensorProto.BOOL, []), models.value("x", shape=[2])]
    return models.build([node], inputs, [models.value("y", shape=[2])])


def in_constant(location: str) -> onnx.ModelProto:
    weights = models.with_external_data(location).graph.initializer[0]
    return models.build([helper.make_node("Constant", [], ["y"], value=weights)], [], [models.value("y", shape=[2])])


def in_function(location: str) -> onnx.ModelProto:
    constant = in_constant(location).graph.node
    function = helper.make_function("local", "F", [], ["y"], constant, [helper.make_opsetid("", 17)])
    call = helper.make_node("F", [], ["y"], domain="local")
    return models.build([call], [], [models.value("y", shape=[2])], domains=["local"], functions=[function])


def among_numbers(location: str) -> onnx.ModelProto:
    """In an attribute that also holds what a forest has: many numbers, of every length."""
    made = in_constant(location)
    attribute = made.graph.node[0].attribute[0]
    attribute.tensors.append(attribute.t)
    attribute.ClearField("t")
    attribute.floats.extend([0.5, -1.0, float("nan")] * 5)
    attribute.ints.extend([0, 1, 127, 128, 1 << 62, -1, -(1 << 63)] * 5)
    attribute.strings.extend([b"", b"BRANCH_LEQ", bytes(300)])
    return made


@pytest.mark.parametrize("make", [models.with_external_data, among_numbers])
def test_single_byte_damage_never_breaks_the_reader(tmp_path: Path, make: Any) -> None:  # noqa: ANN401 - a function of models
    whole = make("w.bin").SerializeToString()
    (tmp_path / "w.bin").write_bytes(bytes(8))
    path = tmp_path / "model.onnx"
    generator = np.random.default_rng(3)
    for position in range(len(whole)):
        damaged = bytearray(whole)
        damaged[position] ^= int(generator.integers(1, 256))
        path.write_bytes(damaged)
        try:
            require_safe(read_outline(path), path)
        except FatalError as error:
            assert error.reason is Reason.MODEL_LOAD_FAILED


@pytest.mark.parametrize("place", [models.with_external_data, in_subgraph, in_constant, in_function, among_numbers])
@pytest.mark.parametrize("location", ["/etc/hostname", "../secret", "a/../../secret", "link", "linked/secret", "a\0b"])
def test_external_data_must_stay_in_the_folder(tmp_path: Path, place: Any, location: str) -> None:  # noqa: ANN401 - a function of models
    (tmp_path / "secret").write_bytes(bytes(8))
    folder = tmp_path / "model"
    (folder / "a").mkdir(parents=True)
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "linked").symlink_to(tmp_path)
    complaint = refused(models.save(place(location), folder))
    assert "outside the model's folder" in complaint or "NUL" in complaint


def test_external_data_within_the_folder(tmp_path: Path) -> None:
    path = models.save(models.with_external_data("w.bin"), tmp_path)
    assert "needs the external data file 'w.bin': missing" in refused(path)
    (tmp_path / "w.bin").write_bytes(bytes(8))
    assert require_safe(read_outline(path), path) == [(tmp_path / "w.bin").resolve()]


def test_code_is_not_brought_along(tmp_path: Path) -> None:
    assert "needs custom operators of 'evil.example'" in refused(models.save(models.custom_operator(), tmp_path))
    context = helper.make_node("EPContext", ["x"], ["y"], domain="com.microsoft")
    model = models.build([context], [models.value("x")], [models.value("y")], domains=["com.microsoft"])
    assert "EPContext" in refused(models.save(model, tmp_path))


def test_the_runtimes_own_and_local_functions_are_fine(tmp_path: Path) -> None:
    function = helper.make_function(
        "local", "F", ["a"], ["b"], [helper.make_node("Neg", ["a"], ["b"])], [helper.make_opsetid("", 17)]
    )
    nodes = [
        helper.make_node("F", ["x"], ["z"], domain="local"),
        helper.make_node("Gelu", ["z"], ["y"], domain="com.microsoft"),
    ]
    domains = ["local", "com.microsoft"]
    model = models.build(nodes, [models.value("x")], [models.value("y")], domains=domains, functions=[function])
    path = models.save(model, tmp_path)
    assert require_safe(read_outline(path), path) == []


def test_functions_within_bounds_are_fine(tmp_path: Path) -> None:
    """A hundred thousand operators, and calls that are 100 deep."""
    path = functions(laughs(5))(tmp_path)
    assert require_safe(read_outline(path), path) == []
    path = functions({f"F{level}": [f"F{level - 1}" if level else "Neg"] for level in range(100)})(tmp_path)
    assert require_safe(read_outline(path), path) == []
    path = functions({f"F{level}": [f"F{level - 1}" if level else "Neg"] for level in range(101)})(tmp_path)
    assert refused(path) == "model.onnx's functions unfold to more than 100 levels"


def test_open_rank_is_told_from_a_scalar(tmp_path: Path) -> None:
    assert read_outline(models.save(models.any_rank(), tmp_path)).without_rank == {"x", "y"}
    assert read_outline(models.save(models.scalar(), tmp_path)).without_rank == set()
