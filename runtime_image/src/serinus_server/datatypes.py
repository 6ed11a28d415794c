"""The tensor types three ways: ONNX's name, the Open Inference Protocol's name, numpy's dtype."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np


@dataclass(frozen=True)
class Datatype:
    """One tensor type. `kind` is numpy's letter: b bool, i int, u uint, f float, O string.

    `struct_code` is the numeric types' letter in the struct module.
    """

    name: str
    dtype: np.dtype[Any]
    struct_code: str

    @property
    def kind(self) -> str:
        """numpy's one-letter kind."""
        return self.dtype.kind


def _datatype(name: str, dtype: type, struct_code: str = "") -> Datatype:
    return Datatype(name, np.dtype(dtype), struct_code)


BY_ONNX_TYPE: Final = {
    "tensor(bool)": _datatype("BOOL", np.bool_),
    "tensor(uint8)": _datatype("UINT8", np.uint8, "B"),
    "tensor(uint16)": _datatype("UINT16", np.uint16, "H"),
    "tensor(uint32)": _datatype("UINT32", np.uint32, "I"),
    "tensor(uint64)": _datatype("UINT64", np.uint64, "Q"),
    "tensor(int8)": _datatype("INT8", np.int8, "b"),
    "tensor(int16)": _datatype("INT16", np.int16, "h"),
    "tensor(int32)": _datatype("INT32", np.int32, "i"),
    "tensor(int64)": _datatype("INT64", np.int64, "q"),
    "tensor(float16)": _datatype("FP16", np.float16, "e"),
    "tensor(float)": _datatype("FP32", np.float32, "f"),
    "tensor(double)": _datatype("FP64", np.float64, "d"),
    "tensor(string)": _datatype("BYTES", np.object_),
}
"""Every type that the protocol carries. ONNX's bfloat16, float8, 4-bit and complex types have no name in it."""
