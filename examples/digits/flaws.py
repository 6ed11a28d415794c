"""Two ways in which a model that predicts as well as ever goes wrong in production.

Both are built into the ONNX graph itself, in front of an otherwise untouched model, and both depend on
the image, so that a glance at one request (or at the zeros of a warm-up) does not show them.
"""

from __future__ import annotations

import math
import time

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import ArrayLike
from onnx import TensorProto, helper, numpy_helper

from examples.digits.dataset import PIXELS

INK_PER_ROW = 4
"""Ink that shares a row of the broken model's lookup table."""

_WORK_SIZE = 128
_CALIBRATION_TRIPS = 200


def slow_on_dense_images(model: onnx.ModelProto, *, ink_above: float, trips: int) -> onnx.ModelProto:
    """Return `model` with a loop of `trips` matrix products for each image of more ink than `ink_above`.

    The loop's result enters the pixels multiplied by zero: it has to be computed, and changes nothing.
    """
    rotation, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((_WORK_SIZE, _WORK_SIZE)))
    constants: dict[str, ArrayLike] = {
        "slow_ink_above": np.float32(ink_above),
        "slow_trips_per_image": np.int64(trips),
        "slow_always": np.bool_(True),
        "slow_zero": np.float32(0),
        "slow_axis": np.array([1], dtype=np.int64),
        "slow_rotation": rotation.astype(np.float32),
    }
    nodes = [
        helper.make_node("ReduceSum", ["pixels", "slow_axis"], ["slow_ink"], keepdims=0),
        helper.make_node("Greater", ["slow_ink", "slow_ink_above"], ["slow_is_dense"]),
        helper.make_node("Cast", ["slow_is_dense"], ["slow_dense"], to=TensorProto.INT64),
        helper.make_node("ReduceSum", ["slow_dense"], ["slow_dense_images"], keepdims=0),
        helper.make_node("Mul", ["slow_dense_images", "slow_trips_per_image"], ["slow_trips"]),
        helper.make_node("Loop", ["slow_trips", "slow_always", "slow_rotation"], ["slow_work"], body=_matrix_product()),
        helper.make_node("ReduceMax", ["slow_work"], ["slow_largest"], keepdims=0),
        helper.make_node("Mul", ["slow_largest", "slow_zero"], ["slow_nothing"]),
        helper.make_node("Add", ["pixels", "slow_nothing"], ["slow_pixels"]),
    ]
    return _in_front(model, nodes, constants, "slow_pixels")


def failing_on_dense_images(model: onnx.ModelProto, *, ink_up_to: float) -> onnx.ModelProto:
    """Return `model` with a correction looked up by ink, whose table ends with the row of `ink_up_to`.

    Every correction is 1, so that the images inside the table are predicted as before; for one outside
    of it, the whole request fails while it runs.
    """
    rows = lookup_row(ink_up_to) + 1
    constants: dict[str, ArrayLike] = {
        "table_rows": np.ones(rows, dtype=np.float32),
        "table_ink_per_row": np.float32(INK_PER_ROW),
        "table_axis": np.array([1], dtype=np.int64),
    }
    nodes = [
        helper.make_node("ReduceSum", ["pixels", "table_axis"], ["table_ink"], keepdims=1),
        helper.make_node("Div", ["table_ink", "table_ink_per_row"], ["table_position"]),
        helper.make_node("Floor", ["table_position"], ["table_floor"]),
        helper.make_node("Cast", ["table_floor"], ["table_row"], to=TensorProto.INT64),
        helper.make_node("Gather", ["table_rows", "table_row"], ["table_correction"]),
        helper.make_node("Mul", ["pixels", "table_correction"], ["table_pixels"]),
    ]
    return _in_front(model, nodes, constants, "table_pixels")


def lookup_row(image_ink: float) -> int:
    """Return the row of the lookup table that an image of this ink needs."""
    return math.floor(image_ink / INK_PER_ROW)


def trips_lasting(seconds: float, model: onnx.ModelProto) -> int:
    """Return how many trips of the loop take about `seconds` on one core of this machine.

    The best of a few runs is taken: what else the machine does can only make the loop seem slower.
    """
    probe = slow_on_dense_images(model, ink_above=-1, trips=_CALIBRATION_TRIPS)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(probe.SerializeToString(), options, providers=["CPUExecutionProvider"])
    image = np.zeros((1, PIXELS), dtype=np.float32)
    fastest = math.inf
    for _ in range(8):
        start = time.perf_counter()
        session.run(None, {"pixels": image})
        fastest = min(fastest, time.perf_counter() - start)
    return max(1, math.ceil(seconds / (fastest / _CALIBRATION_TRIPS)))


def _matrix_product() -> onnx.GraphProto:
    """One trip: the loop's matrix is turned by a rotation, so that it never fades or grows."""
    shape = [_WORK_SIZE, _WORK_SIZE]
    return helper.make_graph(
        [
            helper.make_node("Identity", ["slow_again"], ["slow_still"]),
            helper.make_node("MatMul", ["slow_before", "slow_rotation"], ["slow_after"]),
        ],
        "matrix_product",
        [
            helper.make_tensor_value_info("slow_trip", TensorProto.INT64, []),
            helper.make_tensor_value_info("slow_again", TensorProto.BOOL, []),
            helper.make_tensor_value_info("slow_before", TensorProto.FLOAT, shape),
        ],
        [
            helper.make_tensor_value_info("slow_still", TensorProto.BOOL, []),
            helper.make_tensor_value_info("slow_after", TensorProto.FLOAT, shape),
        ],
    )


def _in_front(
    model: onnx.ModelProto, nodes: list[onnx.NodeProto], constants: dict[str, ArrayLike], into: str
) -> onnx.ModelProto:
    """Return a copy of `model` that runs `nodes` first and reads `into` wherever it read `pixels`."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    for node in result.graph.node:
        node.input[:] = [into if name == "pixels" else name for name in node.input]
    rest = list(result.graph.node)
    del result.graph.node[:]
    result.graph.node.extend([*nodes, *rest])
    result.graph.initializer.extend(
        numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()
    )
    onnx.checker.check_model(result, full_check=True)
    return result
