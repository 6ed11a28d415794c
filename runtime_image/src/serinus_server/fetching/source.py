"""Where the bytes of a model come from, whatever the kind of store."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, Protocol

from serinus_server.failure import Reason

CHUNK_BYTES: Final = 1 << 20
CONNECT_TIMEOUT_SECONDS: Final = 10
READ_TIMEOUT_SECONDS: Final = 60
"""Within which some bytes have to come."""


@dataclass(frozen=True)
class Download:
    """An open transfer. `size` in bytes is None where the sender does not say."""

    size: int | None
    chunks: Iterator[bytes]


@dataclass(frozen=True)
class Item:
    """One file to fetch: where it is for the source, and its name relative to the target folder."""

    location: str
    name: str


class Source(Protocol):
    """Lists and opens files. Every error is a FatalError whose reason says if another try may help."""

    def items(self) -> list[Item]:
        """The files that the URI stands for; at least one."""
        ...

    def open(self, item: Item) -> AbstractContextManager[Download]:
        """Start the transfer of one file."""
        ...


def reason_of_status(status: int, otherwise: Reason) -> Reason:
    """What an HTTP status that is no success says; `otherwise` where another try may help."""
    if status in {HTTPStatus.NOT_FOUND, HTTPStatus.GONE}:
        return Reason.NOT_FOUND
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        return Reason.ACCESS_DENIED
    if status in {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS}:
        return otherwise
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.INTERNAL_SERVER_ERROR:
        return Reason.INVALID_URI
    return otherwise
