"""The tensor types three ways: ONNX's name, the Open Inference Protocol's name, numpy's dtype."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np


@dataclass(frozen=True)
class Datatype:
    """One tensor type. `kind` is numpy's letter: b bool, i int, u uint, f float, O string."""

    name: str
    dtype: np.dtype[Any]

    @property
    def kind(self) -> str:
        """numpy's one-letter kind."""
        return self.dtype.kind


def _datatype(name: str, dtype: type) -> Datatype:
    return Datatype(name, np.dtype(dtype))


BY_ONNX_TYPE: Final = {
    "tensor(bool)": _datatype("BOOL", np.bool_),
    "tensor(uint8)": _datatype("UINT8", np.uint8),
    "tensor(uint16)": _datatype("UINT16", np.uint16),
    "tensor(uint32)": _datatype("UINT32", np.uint32),
    "tensor(uint64)": _datatype("UINT64", np.uint64),
    "tensor(int8)": _datatype("INT8", np.int8),
    "tensor(int16)": _datatype("INT16", np.int16),
    "tensor(int32)": _datatype("INT32", np.int32),
    "tensor(int64)": _datatype("INT64", np.int64),
    "tensor(float16)": _datatype("FP16", np.float16),
    "tensor(float)": _datatype("FP32", np.float32),
    "tensor(double)": _datatype("FP64", np.float64),
    "tensor(string)": _datatype("BYTES", np.object_),
}
"""Every type that the protocol carries. ONNX's bfloat16, float8, 4-bit and complex types have no name in it."""
