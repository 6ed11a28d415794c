"""The digest that names a model: of one file, or of a folder as a whole."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from serinus_server.failure import FatalError, Reason


def file_digest(path: Path) -> str:
    """SHA-256 of a file's content, 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def combined_digest(digests: Mapping[str, str]) -> str:
    """One digest for files given as relative POSIX path -> SHA-256.

    A single file stands for itself. Several are the SHA-256 of a manifest in the format of
    `sha256sum`, sorted by path, so that the README's shell command agrees.
    """
    if len(digests) == 1:
        return next(iter(digests.values()))
    manifest = "".join(f"{digest}  {name}\n" for name, digest in sorted(digests.items()))
    return hashlib.sha256(manifest.encode()).hexdigest()


def require_digest(digest: str, expected: str, shown: str) -> None:
    """Raise FatalError(DIGEST_MISMATCH) if what is `shown` has another digest than the expected one."""
    if digest != expected:
        raise FatalError(Reason.DIGEST_MISMATCH, f"{shown} has sha256 {digest}, expected {expected}")
