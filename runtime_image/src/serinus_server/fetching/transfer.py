"""`fetch`: source -> temporary files in the target folder -> verified -> renamed into place."""

import errno
import hashlib
import os
import random
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final, TypeVar

from serinus_server.digest import combined_digest, require_digest
from serinus_server.failure import FatalError, Reason
from serinus_server.fetching.kinds import source_of
from serinus_server.fetching.source import Download, Item, Source
from serinus_server.fetching.uri import parse
from serinus_server.log import JsonLog

_T = TypeVar("_T")
_TRIES: Final = 4
_FIRST_PAUSE_SECONDS: Final = 0.5
_TRANSIENT: Final = frozenset({Reason.UNREACHABLE, Reason.TRANSFER_FAILED})
_PROGRESS_INTERVAL_SECONDS: Final = 5.0


@dataclass(frozen=True)
class FetchRequest:
    """What to bring where. `max_size` bounds the sum of all files, in bytes."""

    uri: str
    folder: Path
    sha256: str | None
    max_size: int
    allow_http: bool


def fetch(request: FetchRequest, log: JsonLog) -> None:
    """Bring a model into a folder, whole or not at all.

    Raises FatalError; then nothing new is left in the folder.
    """
    uri = parse(request.uri, allow_http=request.allow_http)
    source = source_of(uri, allow_http=request.allow_http)
    started = time.monotonic()
    try:
        request.folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=request.folder, prefix=".fetch-") as work:
            log.event("fetching", uri=uri.shown, folder=str(request.folder))
            staged = _stage_all(source, Path(work), request.max_size, log)
            digest = combined_digest({name: file.sha256 for name, file in staged.items()})
            if request.sha256 is not None:
                require_digest(digest, request.sha256, uri.shown)
            _move_into_place(Path(work), request.folder, sorted(staged))
    except OSError as error:
        raise _storage_failure(error, request.folder) from error
    size = sum(file.size for file in staged.values())
    seconds = round(time.monotonic() - started, 3)
    log.event("fetched", uri=uri.shown, files=len(staged), bytes=size, sha256=digest, seconds=seconds)


@dataclass(frozen=True)
class _Staged:
    sha256: str
    size: int


def _stage_all(source: Source, work: Path, max_size: int, log: JsonLog) -> dict[str, _Staged]:
    """Download every file under `work`; returns what came, by relative name."""
    staged: dict[str, _Staged] = {}
    remaining = max_size
    for item in _retried(source.items, log):
        _require_safe_name(item.name)
        target = work / item.name
        target.parent.mkdir(parents=True, exist_ok=True)
        staged[item.name] = _retried(_stager(source, item, target, remaining, log), log)
        remaining -= staged[item.name].size
    return staged


def _stager(source: Source, item: Item, target: Path, limit: int, log: JsonLog) -> Callable[[], _Staged]:
    def stage() -> _Staged:
        with source.open(item) as download:
            return _write(download, item.name, target, limit, log)

    return stage


def _write(download: Download, name: str, target: Path, limit: int, log: JsonLog) -> _Staged:
    """Stream one file to disk and hash it on the way; flushed to the device before it counts."""
    if download.size is not None and download.size > limit:
        raise FatalError(Reason.TOO_LARGE, f"{name} is {download.size} bytes; at most {limit} are allowed")
    hasher = hashlib.sha256()
    size = 0
    reported = time.monotonic()
    with target.open("wb") as file:
        for chunk in download.chunks:
            size += len(chunk)
            if size > limit:
                raise FatalError(Reason.TOO_LARGE, f"{name} is longer than the {limit} bytes that are allowed")
            hasher.update(chunk)
            file.write(chunk)
            if time.monotonic() - reported >= _PROGRESS_INTERVAL_SECONDS:
                reported = time.monotonic()
                log.event("fetching", file=name, bytes=size, of=download.size)
        file.flush()
        os.fsync(file.fileno())
    if download.size is not None and size != download.size:
        raise FatalError(Reason.TRANSFER_FAILED, f"{name} ended after {size} of {download.size} bytes")
    return _Staged(hasher.hexdigest(), size)


def _retried(attempt: Callable[[], _T], log: JsonLog) -> _T:
    """Try a few times while the failure may pass by itself, with growing, jittered pauses."""
    for number in range(1, _TRIES):
        try:
            return attempt()
        except FatalError as failure:
            if failure.reason not in _TRANSIENT:
                raise
            pause = _FIRST_PAUSE_SECONDS * 2 ** (number - 1) * random.uniform(0.8, 1.2)  # noqa: S311 - jitter, not a secret
            log.event(failure.line, level="warning", next_try_in_seconds=round(pause, 2))
            time.sleep(pause)
    return attempt()


def _require_safe_name(name: str) -> None:
    """Object names come from a bucket: none may point outside the folder."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or str(path) != name or "\0" in name:
        raise FatalError(Reason.INVALID_URI, f"refused the object name {name!r}: it is no plain relative path")


def _move_into_place(work: Path, folder: Path, names: list[str]) -> None:
    """Rename top-level entries: a file in one step, a subfolder as one whole."""
    for top in sorted({name.split("/", 1)[0] for name in names}):
        if (folder / top).is_dir():  # left by an earlier run in the same volume
            shutil.rmtree(folder / top)
        (work / top).replace(folder / top)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _storage_failure(error: OSError, folder: Path) -> FatalError:
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return FatalError(Reason.NO_SPACE, f"no space left in {folder}: {error.strerror}")
    return FatalError(Reason.TRANSFER_FAILED, f"cannot write to {folder}: {error.strerror or error}")
