"""The models that are served: two where the server's time counts most, and two where the model's does."""

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SHAPES = {"tiny": [1, 4], "small": [1, 784], "conv": [1, 3, 80, 80], "large": [1, 3, 224, 224]}
"""Name -> the shape of a request's only input, x. A run takes some 10 µs, 60 µs, 3 ms and 40 ms on one core."""


def write(folder: Path) -> dict[str, Path]:
    """Write every model; name -> file."""
    graphs = {
        "tiny": _mlp([4, 16, 3]),
        "small": _mlp([784, 512, 512, 10]),
        "conv": _convolution(80),
        "large": _convolution(224),
    }
    paths = {}
    for name, graph in graphs.items():
        paths[name] = folder / f"{name}.onnx"
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        paths[name].write_bytes(model.SerializeToString())
    return paths


def _value(name: str, shape: Sequence[int | str]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def _mlp(widths: Sequence[int]) -> onnx.GraphProto:
    """x[batch, first] -> y[batch, last], fully connected with ReLU between."""
    generator = np.random.default_rng(0)
    nodes, weights, layer = [], [], "x"
    for number, (rows, columns) in enumerate(itertools.pairwise(widths)):
        values = generator.normal(0, rows**-0.5, (rows, columns)).astype(np.float32)
        weights.append(numpy_helper.from_array(values, f"w{number}"))
        nodes.append(helper.make_node("MatMul", [layer, f"w{number}"], [f"z{number}"]))
        layer = "y" if number == len(widths) - 2 else f"h{number}"
        nodes.append(helper.make_node("Softmax" if layer == "y" else "Relu", [f"z{number}"], [layer]))
    return helper.make_graph(
        nodes, "mlp", [_value("x", ["batch", widths[0]])], [_value("y", ["batch", widths[-1]])], weights
    )


def _convolution(size: int) -> onnx.GraphProto:
    """x[batch, 3, size, size] -> y[batch, 32, 1, 1]."""
    generator = np.random.default_rng(0)
    nodes, weights, layer = [], [], "x"
    for number, (channels, filters) in enumerate([(3, 32), (32, 48), (48, 32)]):
        values = generator.normal(0, 0.1, (filters, channels, 3, 3)).astype(np.float32)
        weights.append(numpy_helper.from_array(values, f"w{number}"))
        nodes.append(helper.make_node("Conv", [layer, f"w{number}"], [f"c{number}"], pads=[1, 1, 1, 1]))
        nodes.append(helper.make_node("Relu", [f"c{number}"], [f"r{number}"]))
        layer = f"r{number}"
    nodes.append(helper.make_node("GlobalAveragePool", [layer], ["y"]))
    shapes = _value("x", ["batch", 3, size, size]), _value("y", ["batch", 32, 1, 1])
    return helper.make_graph(nodes, "conv", [shapes[0]], [shapes[1]], weights)
