"""`verify`: a model that a mounted volume holds is there, stays within the volume, and is the one that is meant."""

import errno
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from serinus_server.digest import combined_digest, file_digest, require_digest
from serinus_server.failure import FatalError, Reason
from serinus_server.log import JsonLog
from serinus_server.model_files import files_digest
from serinus_server.onnx_file import read_outline, require_safe

_MOST_NAMES_TOLD: Final = 10


@dataclass(frozen=True)
class VerifyRequest:
    """What to look for in a mounted volume: the file, or with `is_folder` the folder, of that relative path."""

    volume: Path
    path: str
    is_folder: bool
    sha256: str | None


def verify(request: VerifyRequest, log: JsonLog) -> None:
    """See that the volume holds the model, and that it is the one that is meant.

    Nothing is copied. The digest is that of `fetch`; a single file counts together with its external data, which here
    lies beside it. Raises FatalError.
    """
    started = time.monotonic()
    try:
        model = _found(request)
        files = _files(model, request)
        digest = None if request.sha256 is None else _digest(model, files, is_folder=request.is_folder)
        if request.sha256 is not None and digest is not None:
            require_digest(digest, request.sha256, request.path or "the volume")
    except PermissionError as error:
        shown = _shown(Path(error.filename or request.volume), request)
        message = f"{shown} may not be read by user {os.geteuid()} and group {os.getegid()}: {error.strerror}"
        raise FatalError(Reason.ACCESS_DENIED, message) from error
    except OSError as error:
        message = f"cannot read {error.filename or request.path}: {error.strerror or error}"
        raise FatalError(Reason.TRANSFER_FAILED, message) from error
    seconds = round(time.monotonic() - started, 3)
    log.event("verified", path=str(model), files=len(files), sha256=digest, seconds=seconds)


def _found(request: VerifyRequest) -> Path:
    """The model's file or folder, which is of the kind that is meant and within the volume."""
    if not request.volume.is_dir():
        raise FatalError(Reason.VOLUME_NOT_MOUNTED, f"no volume is mounted at {request.volume}")
    model = request.volume / request.path
    _require_within(model, request)
    if request.is_folder and model.is_dir():
        return model
    if not request.is_folder and model.is_file():
        return model
    if model.is_dir():
        raise FatalError(Reason.NOT_FOUND, f"{request.path} is a folder: end its URI in /")
    if model.exists():
        kind = "a file: take the / from the end of its URI" if model.is_file() else "neither a file nor a folder"
        raise FatalError(Reason.NOT_FOUND, f"{request.path} is {kind}")
    raise FatalError(Reason.NOT_FOUND, f"the volume has no {request.path}; {_what_there_is(model, request)}")


def _what_there_is(missing: Path, request: VerifyRequest) -> str:
    """What lies in the nearest folder of a missing path that is there."""
    folder = next(parent for parent in missing.parents if parent.is_dir())
    names = sorted(f"{entry.name}/" if entry.is_dir() else entry.name for entry in folder.iterdir())
    told = ", ".join(names[:_MOST_NAMES_TOLD]) + (", …" if len(names) > _MOST_NAMES_TOLD else "")
    return f"{_shown(folder, request)} holds {told or 'nothing'}"


def _files(model: Path, request: VerifyRequest) -> Sequence[Path]:
    """The files that the model may be made of, none of which a link takes out of the volume."""
    files = []
    for entry in _entries(model) if request.is_folder else [model]:
        _require_within(entry, request)
        if entry.is_file():
            _require_readable(entry)
            files.append(entry)
    return files


def _entries(folder: Path) -> Iterator[Path]:
    """All that is in a folder. Links to folders are among it, but not what is behind them: no model is read there."""
    for parent, folders, names in os.walk(folder, onerror=_unless_foreign):
        yield from (Path(parent) / name for name in sorted((*folders, *names)))


def _unless_foreign(error: OSError) -> None:
    """A folder that may not be read, such as a file system's lost+found, is no part of a model."""
    if not isinstance(error, PermissionError):
        raise error


def _require_readable(file: Path) -> None:
    if not os.access(file, os.R_OK, effective_ids=True):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(file))


def _require_within(path: Path, request: VerifyRequest) -> None:
    # Not Path.resolve, to which links in a circle are an error: here they are a model that is not there.
    if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(request.volume)):
        raise FatalError(Reason.INVALID_URI, f"{_shown(path, request)} leads out of the volume")


def _digest(model: Path, files: Sequence[Path], *, is_folder: bool) -> str:
    if is_folder:
        return combined_digest({file.relative_to(model).as_posix(): file_digest(file) for file in files})
    external_files = require_safe(read_outline(model), model)
    return files_digest(model.parent, {model.name}, set(external_files))


def _shown(path: Path, request: VerifyRequest) -> str:
    """A path as its place in the volume."""
    within = path.relative_to(request.volume).as_posix() if path.is_relative_to(request.volume) else str(path)
    return "the volume" if within == "." else within
