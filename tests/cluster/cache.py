"""Where built things are kept outside the checkout, and the keys they are kept under."""

import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

KEY_LENGTH = 16
KEPT_UNUSED_SECONDS = 14 * 24 * 3600
IGNORED_DIRECTORIES = frozenset({"__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache"})


def directory() -> Path:
    """Return the cache: SERINUS_CACHE, else a folder `serinus` in the user's cache directory."""
    named = os.environ.get("SERINUS_CACHE")
    if named:
        return Path(named).absolute()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "serinus"


def content_key(root: Path, paths: Iterable[Path], *extra: str) -> str:
    """Return a short key of the files under `paths` (files or folders below `root`) and of `extra`.

    Names relative to `root`, contents and the executable bit count; times, owners and bytecode do not.
    """
    digest = hashlib.sha256()
    for file in sorted(_files(paths)):
        name = file.relative_to(root).as_posix().encode()
        content = file.read_bytes()
        executable = b"x" if file.stat().st_mode & 0o100 else b"-"
        digest.update(b"%d %b %b %d\n" % (len(name), name, executable, len(content)))
        digest.update(content)
    for text in extra:
        encoded = text.encode()
        digest.update(b"%d\n" % len(encoded) + encoded)
    return digest.hexdigest()[:KEY_LENGTH]


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_file():
            yield path
            continue
        for found in path.rglob("*"):
            if found.is_file() and not IGNORED_DIRECTORIES & set(found.relative_to(path).parts):
                yield found


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold the lock `name` of this cache, waiting for other processes that do."""
    locks = directory() / "locks"
    locks.mkdir(parents=True, exist_ok=True)
    with (locks / name).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def mark_used(entry: Path) -> None:
    """Note that a cached file or folder was used now."""
    os.utime(entry)


def forget_unused(parent: Path) -> None:
    """Remove what in `parent` nobody has used for two weeks."""
    oldest = time.time() - KEPT_UNUSED_SECONDS
    for entry in parent.iterdir():
        if entry.stat().st_mtime < oldest:
            if entry.is_dir():
                shutil.rmtree(entry)
            else:
                entry.unlink()
