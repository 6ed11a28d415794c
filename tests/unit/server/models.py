"""Tiny ONNX models, one property each."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

DTYPES = {
    "BOOL": TensorProto.BOOL,
    "UINT8": TensorProto.UINT8,
    "UINT16": TensorProto.UINT16,
    "UINT32": TensorProto.UINT32,
    "UINT64": TensorProto.UINT64,
    "INT8": TensorProto.INT8,
    "INT16": TensorProto.INT16,
    "INT32": TensorProto.INT32,
    "INT64": TensorProto.INT64,
    "FP16": TensorProto.FLOAT16,
    "FP32": TensorProto.FLOAT,
    "FP64": TensorProto.DOUBLE,
    "BYTES": TensorProto.STRING,
}


def build(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    initializers: Sequence[onnx.TensorProto] = (),
    domains: Sequence[str] = (),
    functions: Sequence[onnx.FunctionProto] = (),
) -> onnx.ModelProto:
    """A model of one graph, opset 17."""
    return helper.make_model(
        helper.make_graph(nodes, "graph", inputs, outputs, initializers),
        opset_imports=[helper.make_opsetid("", 17), *(helper.make_opsetid(domain, 1) for domain in domains)],
        functions=functions,
        ir_version=9,
    )


def value(name: str, dtype: int = TensorProto.FLOAT, shape: Sequence[int | str] | None = ("n",)) -> onnx.ValueInfoProto:
    """A graph input or output; a shape of None leaves the rank open."""
    return helper.make_tensor_value_info(name, dtype, shape)


def save(model: onnx.ModelProto, folder: Path, name: str = "model.onnx") -> Path:
    """Write a model, unchecked."""
    path = folder / name
    path.write_bytes(model.SerializeToString())
    return path


def mlp() -> onnx.ModelProto:
    """x[batch, 4] -> y[batch, 3] = softmax(x W), with a known W."""
    weights = numpy_helper.from_array(np.arange(12, dtype=np.float32).reshape(4, 3) / 10, "w")
    nodes = [helper.make_node("MatMul", ["x", "w"], ["z"]), helper.make_node("Softmax", ["z"], ["y"])]
    return build(nodes, [value("x", shape=["batch", 4])], [value("y", shape=["batch", 3])], [weights])


def every_type() -> onnx.ModelProto:
    """Thirteen inputs in_<TYPE>[n] that come back as out_<TYPE>[n]."""
    nodes = [helper.make_node("Identity", [f"in_{name}"], [f"out_{name}"]) for name in DTYPES]
    # Each input has a dimension of its own name: their sizes are independent.
    inputs = [value(f"in_{name}", dtype, [name]) for name, dtype in DTYPES.items()]
    outputs = [value(f"out_{name}", dtype, [name]) for name, dtype in DTYPES.items()]
    return build(nodes, inputs, outputs)


def lookup() -> onnx.ModelProto:
    """i[n] -> y[n] = table[i], which fails for an index beyond 9; r[n] = 1 / y, infinite for index 0."""
    table = numpy_helper.from_array(np.arange(10, dtype=np.float32), "table")
    nodes = [helper.make_node("Gather", ["table", "i"], ["y"]), helper.make_node("Reciprocal", ["y"], ["r"])]
    return build(nodes, [value("i", TensorProto.INT64)], [value("y"), value("r")], [table])


def slow(iterations: int) -> onnx.ModelProto:
    """x[1] -> y[1] = x after so many rounds of a loop, about a microsecond each."""
    body = helper.make_graph(
        [
            helper.make_node("Sin", ["state"], ["next"]),
            helper.make_node("Identity", ["condition"], ["go_on"]),
        ],
        "body",
        [value("round", TensorProto.INT64, []), value("condition", TensorProto.BOOL, []), value("state", shape=[1])],
        [value("go_on", TensorProto.BOOL, []), value("next", shape=[1])],
    )
    constants = [
        numpy_helper.from_array(np.array(iterations, dtype=np.int64), "rounds"),
        numpy_helper.from_array(np.array(True), "yes"),
    ]
    nodes = [helper.make_node("Loop", ["rounds", "yes", "x"], ["y"], body=body)]
    return build(nodes, [value("x", shape=[1])], [value("y", shape=[1])], constants)


def with_external_data(location: str) -> onnx.ModelProto:
    """y = x + w, with w kept in a file of its own."""
    weights = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2], data_location=TensorProto.EXTERNAL)
    for key, text in (("location", location), ("offset", "0"), ("length", "8")):
        weights.external_data.add(key=key, value=text)
    nodes = [helper.make_node("Add", ["x", "w"], ["y"])]
    return build(nodes, [value("x", shape=[2])], [value("y", shape=[2])], [weights])


def custom_operator(domain: str = "evil.example") -> onnx.ModelProto:
    """A node of a domain that no library here provides."""
    node = helper.make_node("Own", ["x"], ["y"], domain=domain)
    return build([node], [value("x")], [value("y")], domains=[domain])


def map_output() -> onnx.ModelProto:
    """What sklearn converters make by default: a label, and probabilities as a sequence of maps."""
    nodes = [
        helper.make_node("ArgMax", ["x"], ["label"], axis=1, keepdims=0),
        helper.make_node("ZipMap", ["x"], ["probabilities"], domain="ai.onnx.ml", classlabels_int64s=[0, 1]),
    ]
    sequence = helper.make_sequence_type_proto(
        helper.make_map_type_proto(TensorProto.INT64, helper.make_tensor_type_proto(TensorProto.FLOAT, []))
    )
    outputs = [value("label", TensorProto.INT64), helper.make_value_info("probabilities", sequence)]
    return build(nodes, [value("x", shape=["n", 2])], outputs, domains=["ai.onnx.ml"])


def optional_input() -> onnx.ModelProto:
    """y = x + bias, where bias has a default of 1."""
    bias = numpy_helper.from_array(np.array([1.0], dtype=np.float32), "bias")
    nodes = [helper.make_node("Add", ["x", "bias"], ["y"])]
    return build(nodes, [value("x"), value("bias", shape=[1])], [value("y")], [bias])


def any_rank() -> onnx.ModelProto:
    """y = x, of whatever rank."""
    return build([helper.make_node("Identity", ["x"], ["y"])], [value("x", shape=None)], [value("y", shape=None)])


def scalar() -> onnx.ModelProto:
    """y = x, of rank 0."""
    return build([helper.make_node("Identity", ["x"], ["y"])], [value("x", shape=[])], [value("y", shape=[])])


def never_runs() -> onnx.ModelProto:
    """Loads, but fails on every input: a reshape that cannot be."""
    shape = numpy_helper.from_array(np.array([7, 11], dtype=np.int64), "shape")
    nodes = [helper.make_node("Add", ["x", "x"], ["z"]), helper.make_node("Reshape", ["z", "shape"], ["y"])]
    return build(nodes, [value("x", shape=["n"])], [value("y", shape=[7, 11])], [shape])


def wide_mlp() -> onnx.ModelProto:
    """x[batch, 784] -> y[batch, 10] through two layers of 512: a batch is much cheaper than its rows."""
    generator = np.random.default_rng(0)
    nodes, initializers, layer = [], [], "x"
    for number, (rows, columns) in enumerate([(784, 512), (512, 512), (512, 10)]):
        weights = generator.normal(0, 0.05, (rows, columns)).astype(np.float32)
        initializers.append(numpy_helper.from_array(weights, f"w{number}"))
        nodes.append(helper.make_node("MatMul", [layer, f"w{number}"], [f"z{number}"]))
        layer = f"h{number}"
        nodes.append(helper.make_node("Relu", [f"z{number}"], [layer]))
    nodes.append(helper.make_node("Softmax", [layer], ["y"]))
    return build(nodes, [value("x", shape=["batch", 784])], [value("y", shape=["batch", 10])], initializers)


def chain(width: int = 4096, length: int = 30) -> onnx.ModelProto:
    """h0[batch, width] -> h<length>[batch, width], element by element: a batch of 8 takes as long as 8 rows."""
    nodes = [helper.make_node("Sin", [f"h{number}"], [f"h{number + 1}"]) for number in range(length)]
    shape: list[int | str] = ["batch", width]
    return build(nodes, [value("h0", shape=shape)], [value(f"h{length}", shape=shape)])


def centred() -> onnx.ModelProto:
    """x[batch, 2] -> y[batch, 2] = x - its sum over the batch: a row depends on its neighbours."""
    axes = numpy_helper.from_array(np.array([0], dtype=np.int64), "axes")
    nodes = [
        helper.make_node("ReduceSum", ["x", "axes"], ["sum"], keepdims=1),
        helper.make_node("Sub", ["x", "sum"], ["y"]),
    ]
    return build(nodes, [value("x", shape=["batch", 2])], [value("y", shape=["batch", 2])], [axes])


def summed() -> onnx.ModelProto:
    """x[batch, 2] -> y[] = the sum of all: the rows are gone."""
    nodes = [helper.make_node("ReduceSum", ["x"], ["y"], keepdims=0)]
    return build(nodes, [value("x", shape=["batch", 2])], [value("y", shape=[])])
