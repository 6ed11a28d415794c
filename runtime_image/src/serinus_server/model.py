"""An ONNX model opened for serving: its session, and what goes in and out."""

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from serinus_server.datatypes import BY_ONNX_TYPE, Datatype
from serinus_server.digest import combined_digest, file_digest
from serinus_server.failure import FatalError, Reason
from serinus_server.runtime_error import explained

Tensor = npt.NDArray[Any]
_FATAL_ONLY = 4  # onnxruntime's own log is not JSON, and every failed run would write to it


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


@dataclass(frozen=True)
class Model:
    """A loaded model. `digest` is the SHA-256 of its file, or of its folder's manifest."""

    name: str
    version: str
    signature: Signature
    session: onnxruntime.InferenceSession
    digest: str
    load_seconds: float

    def run(
        self, feeds: Mapping[str, Tensor], outputs: Sequence[str], options: onnxruntime.RunOptions | None = None
    ) -> list[Tensor]:
        """Run once; returns the tensors in the order of `outputs`. Safe to call from several threads.

        Raises whatever onnxruntime raises when the graph fails on these values.
        """
        results: list[Tensor] = self.session.run(outputs, feeds, options)
        return results


def find_model_file(path: Path) -> Path:
    """The model file meant by a path: itself, or in a folder `model.onnx` or the only `*.onnx`.

    Raises FatalError(MODEL_NOT_FOUND).
    """
    if path.is_file():
        return path
    if not path.is_dir():
        raise FatalError(Reason.MODEL_NOT_FOUND, f"{path} does not exist")
    if (path / "model.onnx").is_file():
        return path / "model.onnx"
    found = sorted(candidate for candidate in path.rglob("*.onnx") if candidate.is_file())
    if len(found) == 1:
        return found[0]
    if not found:
        raise FatalError(Reason.MODEL_NOT_FOUND, f"there is no .onnx file in {path}")
    names = ", ".join(str(candidate.relative_to(path)) for candidate in found[:5])
    raise FatalError(Reason.MODEL_NOT_FOUND, f"{path} holds {len(found)} models ({names}); name one model.onnx")


def model_digest(path: Path, external_files: Collection[Path]) -> str:
    """SHA-256 of the model file together with its external data, if it has any."""
    folder = path.parent.resolve()
    files = {path.resolve(), *external_files}
    return combined_digest({str(file.relative_to(folder)): file_digest(file) for file in files})


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
        raise FatalError(Reason.MODEL_LOAD_FAILED, f"{path.name}: {explained(error)}") from error


def read_signature(session: onnxruntime.InferenceSession, inputs_without_rank: Collection[str]) -> Signature:
    """What the model takes and gives, checked against what the protocol can carry.

    onnxruntime shows an unknown rank as a scalar's empty shape; `inputs_without_rank` tells them apart.
    Raises FatalError(MODEL_LOAD_FAILED) for an input, or for every output, of a type the protocol lacks.
    """
    inputs = {}
    for optional, arguments in ((False, session.get_inputs()), (True, session.get_overridable_initializers())):
        for argument in arguments:
            if argument.type not in BY_ONNX_TYPE:
                message = f"input {argument.name!r} is a {argument.type}, which the protocol cannot carry"
                raise FatalError(Reason.MODEL_LOAD_FAILED, message)
            shape = None if argument.name in inputs_without_rank else tuple(argument.shape)
            inputs[argument.name] = TensorSpec(argument.name, BY_ONNX_TYPE[argument.type], shape, optional)
    outputs, unsupported = {}, {}
    for argument in session.get_outputs():
        if argument.type in BY_ONNX_TYPE:
            datatype = BY_ONNX_TYPE[argument.type]
            outputs[argument.name] = TensorSpec(argument.name, datatype, tuple(argument.shape))
        else:
            unsupported[argument.name] = argument.type
    if not outputs:
        types = ", ".join(f"{name!r} is a {type_}" for name, type_ in unsupported.items())
        raise FatalError(Reason.MODEL_LOAD_FAILED, f"no output can be carried by the protocol: {types}")
    return Signature(inputs, outputs, unsupported)


def load(
    path: Path,
    name: str,
    version: str,
    *,
    intra_op_threads: int,
    inputs_without_rank: Collection[str],
    external_files: Collection[Path],
) -> Model:
    """Load an examined model file for serving.

    Raises FatalError(MODEL_LOAD_FAILED).
    """
    started = time.perf_counter()
    session = open_session(path, intra_op_threads)
    signature = read_signature(session, inputs_without_rank)
    load_seconds = time.perf_counter() - started
    return Model(name, version, signature, session, model_digest(path, external_files), load_seconds)


def empty_of(spec: TensorSpec, size: int, value: int) -> Tensor:
    """A tensor that fits a spec: every open dimension `size`, every element `value` (or its text)."""
    shape = tuple(dimension if isinstance(dimension, int) else size for dimension in spec.shape or ())
    fill: Any = str(value) if spec.datatype.kind == "O" else value
    return np.full(shape, fill, dtype=spec.datatype.dtype)
