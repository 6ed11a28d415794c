"""From model files to a model that runs: looked at, opened, and put together."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from serinus_server.model import Model, Runnable, Signature, open_session, read_signature
from serinus_server.model_files import ModelFile, files_digest
from serinus_server.onnx_file import read_outline, require_safe
from serinus_server.pipeline import assemble


@dataclass(frozen=True)
class SafeFile:
    """A model file that is safe to open, and what onnxruntime does not tell of it.

    `without_rank` are the inputs and outputs whose rank is open.
    """

    file: ModelFile
    without_rank: frozenset[str]
    external_files: frozenset[Path]


def look_at(file: ModelFile) -> SafeFile:
    """Read a file's outline before anything opens it.

    Raises FatalError(MODEL_LOAD_FAILED) if it is not a whole model, or not a safe one.
    """
    outline = read_outline(file.path)
    return SafeFile(file, frozenset(outline.without_rank), frozenset(require_safe(outline, file.path)))


def open_file(safe: SafeFile, intra_op_threads: int) -> tuple[Runnable, Signature]:
    """A session of a file, and what it takes and gives.

    Raises FatalError(MODEL_LOAD_FAILED).
    """
    session = open_session(safe.file.path, intra_op_threads)
    return session, read_signature(session, safe.without_rank)


def put_together(files: Sequence[ModelFile], parts: Sequence[tuple[Runnable, Signature]]) -> tuple[Runnable, Signature]:
    """What runs as one: the only file, or the pipeline of all.

    Raises FatalError(MODEL_LOAD_FAILED).
    """
    stages = {file.stage: part for file, part in zip(files, parts, strict=True) if file.stage is not None}
    return assemble(stages) if stages else parts[0]


def load(files: Sequence[SafeFile], name: str, version: str, *, intra_op_threads: int) -> Model:
    """Load examined files for serving, as one model.

    Raises FatalError(MODEL_LOAD_FAILED).
    """
    started = time.perf_counter()
    parts = []
    for safe in files:
        with safe.file.named_in_failures():
            parts.append(open_file(safe, intra_op_threads))
    session, signature = put_together([safe.file for safe in files], parts)
    load_seconds = time.perf_counter() - started
    external_files = frozenset[Path]().union(*(safe.external_files for safe in files))
    digest = files_digest(files[0].file.folder, {safe.file.name for safe in files}, external_files)
    return Model(name, version, signature, session, digest, load_seconds)
