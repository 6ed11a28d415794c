"""An ONNX model opened for serving: its session, and what goes in and out."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt
import onnxruntime

from serinus_server.datatypes import BY_ONNX_TYPE, Datatype
from serinus_server.failure import FatalError, Reason
from serinus_server.runtime_error import explained

Tensor = npt.NDArray[Any]
MAX_RANK: Final = 64  # numpy's
MAX_ELEMENTS: Final = 1 << 31
"""More than any tensor can have in a request."""

_SHOWN_SIZES: Final = 8
_FATAL_ONLY: Final = 4  # onnxruntime's own log is not JSON, and every failed run would write to it


@dataclass(frozen=True)
class TensorSpec:
    """One input or output.

    `shape` has an int for a fixed dimension, a name for a symbolic one (equal names mean equal sizes
    within a request) and None for a free one; the whole is None where the model leaves the rank open.
    """

    name: str
    datatype: Datatype
    shape: tuple[int | str | None, ...] | None
    optional: bool = False


@dataclass(frozen=True)
class Signature:
    """What a model takes and gives. `unsupported_outputs` maps names to the types the protocol lacks."""

    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]
    unsupported_outputs: Mapping[str, str]


class Runnable(Protocol):
    """What runs: one session of onnxruntime, or a pipeline of several."""

    def run(
        self, outputs: Sequence[str], feeds: Mapping[str, Tensor], options: onnxruntime.RunOptions | None = None
    ) -> list[Tensor]:
        """Run once; returns the tensors in the order of `outputs`. Safe to call from several threads.

        Raises whatever onnxruntime raises when the graph fails on these values.
        """
        ...


@dataclass(frozen=True)
class Model:
    """A loaded model. `digest` is the SHA-256 of its file, or of its folder's manifest."""

    name: str
    version: str
    signature: Signature
    session: Runnable
    digest: str
    load_seconds: float

    def run(
        self, feeds: Mapping[str, Tensor], outputs: Sequence[str], options: onnxruntime.RunOptions | None = None
    ) -> list[Tensor]:
        """Run as `session.run` does."""
        return self.session.run(outputs, feeds, options)


def open_session(path: Path, intra_op_threads: int) -> onnxruntime.InferenceSession:
    """Load a model on the CPU. Releases the GIL, so other threads run on meanwhile.

    Raises FatalError(MODEL_LOAD_FAILED).
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = intra_op_threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _FATAL_ONLY
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the bindings' exceptions have no common base of their own
        complaint = explained(error)
        message = f"{path.name} does not fit into memory" if "bad_alloc" in complaint else f"{path.name}: {complaint}"
        raise FatalError(Reason.MODEL_LOAD_FAILED, message) from error


def read_signature(session: onnxruntime.InferenceSession, without_rank: Collection[str]) -> Signature:
    """What the model takes and gives, checked against what the protocol can carry.

    onnxruntime shows an unknown rank as a scalar's empty shape; `without_rank`, the names of the
    inputs and outputs that leave it open, tells them apart.
    Raises FatalError(MODEL_LOAD_FAILED) for an input, or for every output, of a type the protocol lacks.
    """
    inputs = {}
    for optional, arguments in ((False, session.get_inputs()), (True, session.get_overridable_initializers())):
        for argument in arguments:
            if argument.type not in BY_ONNX_TYPE:
                message = f"input {argument.name!r} is a {argument.type}, which the protocol cannot carry"
                raise FatalError(Reason.MODEL_LOAD_FAILED, message)
            spec = _spec(argument, without_rank, optional=optional)
            _require_possible(spec)
            inputs[argument.name] = spec
    outputs, unsupported = {}, {}
    for argument in session.get_outputs():
        if argument.type in BY_ONNX_TYPE:
            outputs[argument.name] = _spec(argument, without_rank)
        else:
            unsupported[argument.name] = argument.type
    if not outputs:
        types = ", ".join(f"{name!r} is a {type_}" for name, type_ in unsupported.items())
        message = f"no output can be carried by the protocol: {types}" if types else "the model has no output"
        raise FatalError(Reason.MODEL_LOAD_FAILED, message)
    return Signature(inputs, outputs, unsupported)


def _spec(argument: onnxruntime.NodeArg, without_rank: Collection[str], *, optional: bool = False) -> TensorSpec:
    shape = None if argument.name in without_rank and not argument.shape else tuple(argument.shape)
    return TensorSpec(argument.name, BY_ONNX_TYPE[argument.type], shape, optional)


def _require_possible(spec: TensorSpec) -> None:
    """Refuse an input that no request could bring."""
    if len(spec.shape or ()) > MAX_RANK or elements_of(spec, 1) > MAX_ELEMENTS:
        sizes = ", ".join(map(str, _sizes(spec, 1)[:_SHOWN_SIZES]))
        message = f"input {spec.name!r} of {len(spec.shape or ())} dimensions ({sizes}) is larger than any request"
        raise FatalError(Reason.MODEL_LOAD_FAILED, message)


def elements_of(spec: TensorSpec, size: int) -> int:
    """How many elements a tensor has that fits a spec, with every open dimension `size`."""
    return math.prod(_sizes(spec, size))


def empty_of(spec: TensorSpec, size: int, value: int) -> Tensor:
    """A tensor that fits a spec: every open dimension `size`, every element `value` (or its text)."""
    fill: Any = str(value) if spec.datatype.kind == "O" else value
    return np.full(_sizes(spec, size), fill, dtype=spec.datatype.dtype)


def _sizes(spec: TensorSpec, size: int) -> list[int]:
    return [dimension if isinstance(dimension, int) else size for dimension in spec.shape or ()]
