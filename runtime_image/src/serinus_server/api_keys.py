"""API keys: what a mounted Secret says of them. Only digests are kept, so that who reads it cannot ask as a client."""

import re
import secrets
from collections.abc import Mapping
from hashlib import blake2b, sha256
from pathlib import Path
from typing import Final

_CLIENT: Final = re.compile(r"(?!\.)[-._a-zA-Z0-9]{1,253}")
_LINE: Final = re.compile(r"sha256:([0-9a-fA-F]{64})")


class InvalidAPIKeysError(ValueError):
    """A file is at fault; the message says which, where and how."""


class APIKeys:
    """The clients and the digests of their keys."""

    def __init__(self, digests: Mapping[bytes, str]) -> None:
        # Looked up by a keyed hash of the digest, so that the time it takes tells nothing of any digest.
        self._blind = secrets.token_bytes(32)
        self._clients = {self._blinded(digest): client for digest, client in digests.items()}

    def __len__(self) -> int:
        return len(self._clients)

    def client(self, key: bytes) -> str | None:
        """Whose key it is, or None."""
        return self._clients.get(self._blinded(sha256(key).digest()))

    def _blinded(self, digest: bytes) -> bytes:
        return blake2b(digest, key=self._blind).digest()


def read_api_keys(folder: Path) -> APIKeys:
    """Read the folder: a file for each client, named as it, with lines of `sha256:<64 hex digits>`.

    Blank lines and what follows a # are skipped, and so are hidden files. Raises InvalidAPIKeysError, or OSError.
    """
    clients: dict[bytes, str] = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        for digest in _digests(path):
            owner = clients.setdefault(digest, path.name)
            if owner != path.name:
                raise InvalidAPIKeysError(f"{path}: a key of this client is also a key of {owner!r}")
    return APIKeys(clients)


def _digests(path: Path) -> list[bytes]:
    found = []
    for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        match = _LINE.fullmatch(text)
        if match is None:  # what is there may be a key itself, so it is not repeated
            raise InvalidAPIKeysError(f"{path}, line {number}: must be sha256: and 64 hex digits, which this is not")
        found.append(bytes.fromhex(match[1]))
    return found


def is_client_name(text: str) -> bool:
    """Whether a file of a Secret can have that name."""
    return _CLIENT.fullmatch(text) is not None


def make_api_key() -> str:
    """A new key, of 256 random bits."""
    return "serinus_" + secrets.token_urlsafe(32)


def stored_form(key: str) -> str:
    """The line that stands for a key."""
    return f"sha256:{sha256(key.encode()).hexdigest()}"
