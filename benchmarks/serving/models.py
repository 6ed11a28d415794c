"""The models that are served: two where the server's time counts most, and two where the model's does."""

import itertools
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from benchmarks.serving.alone import Alone
from benchmarks.serving.exchange import Tensor

NAMES = ("tiny", "small", "conv", "large")
"""A run takes some 10 µs, 60 µs, 3 ms and 40 ms on one core; that of `conv` is 3 ms on any processor."""

_CONV_SECONDS = 0.003
_TRIED_SIDE = 80
_RUNS = 200


class Served(NamedTuple):
    """A model's file, and the only input of a request to it."""

    path: Path
    x: Tensor


def write(folder: Path) -> dict[str, Served]:
    """Write every model; by its name."""
    side = _side(folder)
    return {
        "tiny": _served(folder / "tiny.onnx", _mlp([4, 16, 3]), [1, 4]),
        "small": _served(folder / "small.onnx", _mlp([784, 512, 512, 10]), [1, 784]),
        "conv": _served(folder / "conv.onnx", _convolution(side), [1, 3, side, side]),
        "large": _served(folder / "large.onnx", _convolution(224), [1, 3, 224, 224]),
    }


def _side(folder: Path) -> int:
    """How large an image is that the convolution takes the time for that it should."""
    tried = _served(folder / "tried.onnx", _convolution(_TRIED_SIDE), [1, 3, _TRIED_SIDE, _TRIED_SIDE])
    alone = Alone(tried.path)
    durations = []
    for _ in range(_RUNS):
        started = time.perf_counter()
        alone.answer(tried.x)
        durations.append(time.perf_counter() - started)
    return round(_TRIED_SIDE * math.sqrt(_CONV_SECONDS / min(durations)))


def _served(path: Path, graph: onnx.GraphProto, shape: Sequence[int]) -> Served:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path.write_bytes(model.SerializeToString())
    return Served(path, np.random.default_rng(1).random(shape).astype(np.float32))


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
