"""Where bytes come from: an S3 bucket through obstore, a web server through the standard library.

The web source is not obstore's: that one escapes the query of a URL, which breaks signed URLs, and
refuses replies without a Content-Length.
"""

import http.client
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from pathlib import PurePosixPath
from typing import IO, Final, Protocol

import obstore
from obstore.exceptions import (
    BaseError,
    PermissionDeniedError,
    UnauthenticatedError,
)
from obstore.store import S3Store

from serinus_server.failure import FatalError, Reason
from serinus_server.fetching.obstore_error import explained, status_of
from serinus_server.fetching.uri import ModelUri

CHUNK_BYTES: Final = 1 << 20
_CONNECT_TIMEOUT_SECONDS: Final = 10
_READ_TIMEOUT_SECONDS: Final = 60
_CREDENTIAL_VARIABLES: Final = (
    "AWS_ACCESS_KEY_ID",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)


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


def source_of(uri: ModelUri, *, allow_http: bool) -> Source:
    """The source for a parsed URI."""
    return S3Source(uri, allow_http=allow_http) if uri.scheme == "s3" else WebSource(uri, allow_http=allow_http)


class S3Source:
    """An S3 bucket; endpoint, region and credentials come from the usual AWS_* variables.

    With none of the credential variables set, requests are anonymous: asking a cloud's metadata
    service for the node's own identity is not something that a model's pod should do.
    """

    def __init__(self, uri: ModelUri, *, allow_http: bool) -> None:
        self._uri = uri
        insecure = allow_http or os.environ.get("AWS_ALLOW_HTTP", "").lower() in {"1", "true"}
        endpoint = os.environ.get("AWS_ENDPOINT_URL", "")
        if endpoint.startswith("http://") and not insecure:
            message = f"the S3 endpoint {endpoint} is not encrypted; use https://, or set AWS_ALLOW_HTTP=true"
            raise FatalError(Reason.INVALID_URI, message)
        anonymous = not any(name in os.environ for name in _CREDENTIAL_VARIABLES)
        try:
            self._store = S3Store(
                uri.bucket,
                config={"skip_signature": True} if anonymous else {},
                client_options={
                    "allow_http": insecure,
                    "connect_timeout": timedelta(seconds=_CONNECT_TIMEOUT_SECONDS),
                    "read_timeout": timedelta(seconds=_READ_TIMEOUT_SECONDS),
                    "timeout": timedelta(days=1),
                },
                retry_config={"max_retries": 0, "retry_timeout": timedelta(minutes=3)},
            )
        except (BaseError, ValueError) as error:
            raise FatalError(Reason.INVALID_URI, f"the S3 settings do not work: {explained(error)}") from error

    def items(self) -> list[Item]:
        """The object, or everything under the prefix, sorted by name."""
        if not self._uri.is_folder:
            return [Item(self._uri.location, self._uri.file_name)]
        prefix = self._uri.location.rstrip("/") + "/"
        sizes: dict[str, int] = {}
        try:
            for batch in obstore.list(self._store, prefix=prefix):
                sizes |= {meta["path"]: meta["size"] for meta in batch}
        except (BaseError, OSError) as error:
            raise self._failure(error, Reason.UNREACHABLE, self._uri.location) from error
        # Consoles create "folders" as empty objects whose trailing slash is lost in the listing.
        folders = {str(parent) for path in sizes for parent in PurePosixPath(path).parents}
        files = sorted(
            path for path, size in sizes.items() if path.startswith(prefix) and not (size == 0 and path in folders)
        )
        if not files:
            raise FatalError(Reason.NOT_FOUND, f"there is no object under {self._uri.shown}")
        return [Item(path, path.removeprefix(prefix)) for path in files]

    @contextmanager
    def open(self, item: Item) -> Iterator[Download]:
        """Start to read one object."""
        try:
            result = obstore.get(self._store, item.location)
        except (BaseError, OSError) as error:
            raise self._failure(error, Reason.UNREACHABLE, item.location) from error
        yield Download(result.meta["size"], self._chunks(result, item.location))

    def _chunks(self, result: "obstore.GetResult", key: str) -> Iterator[bytes]:
        try:
            for chunk in result.stream(min_chunk_size=CHUNK_BYTES):
                yield bytes(chunk)
        except (BaseError, OSError) as error:
            raise self._failure(error, Reason.TRANSFER_FAILED, key) from error

    def _failure(self, error: Exception, otherwise: Reason, key: str) -> FatalError:
        status = status_of(error)
        reason = otherwise
        if isinstance(error, FileNotFoundError):
            reason = Reason.NOT_FOUND
        elif isinstance(error, PermissionDeniedError | UnauthenticatedError):
            reason = Reason.ACCESS_DENIED
        elif status is not None:
            reason = _reason_of_status(status, otherwise)
        return FatalError(reason, f"s3://{self._uri.bucket}/{key}: {explained(error)}")


class WebSource:
    """One file from an http or https server."""

    def __init__(self, uri: ModelUri, *, allow_http: bool) -> None:
        self._uri = uri
        self._opener = urllib.request.build_opener(_Redirects(allow_http=allow_http))

    def items(self) -> list[Item]:
        """The one file."""
        return [Item(self._uri.location, self._uri.file_name)]

    @contextmanager
    def open(self, item: Item) -> Iterator[Download]:
        """Start to read the file."""
        request = urllib.request.Request(item.location, headers={"User-Agent": "serinus-server"})  # noqa: S310 - scheme checked by uri.parse
        try:
            response = self._opener.open(request, timeout=_READ_TIMEOUT_SECONDS)
        except urllib.error.HTTPError as error:
            with closing(error):
                reason = _reason_of_status(error.code, Reason.UNREACHABLE)
            # Of a refused redirect, urllib's reason repeats the new URL with its query.
            said = "a redirect that is not followed" if error.code < HTTPStatus.BAD_REQUEST else error.reason
            raise FatalError(reason, f"{self._uri.shown}: HTTP status {error.code} {said}") from error
        except (OSError, http.client.HTTPException) as error:
            cause = error.reason if isinstance(error, urllib.error.URLError) else error
            raise FatalError(Reason.UNREACHABLE, f"{self._uri.shown}: {cause}") from error
        with response:
            length = response.headers.get("Content-Length")
            yield Download(int(length) if length and length.isdigit() else None, self._chunks(response))

    def _chunks(self, response: IO[bytes]) -> Iterator[bytes]:
        try:
            while chunk := response.read(CHUNK_BYTES):
                yield chunk
        except (OSError, http.client.HTTPException) as error:
            message = f"{self._uri.shown}: the transfer broke: {error or type(error).__name__}"
            raise FatalError(Reason.TRANSFER_FAILED, message) from error


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but never from https to something unencrypted unless that is allowed."""

    def __init__(self, *, allow_http: bool) -> None:
        self._schemes = ("https://", "http://") if allow_http else ("https://",)

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        if not newurl.lower().startswith(self._schemes):
            message = f"refused a redirect to {newurl.partition('?')[0]!r}: not https"
            raise FatalError(Reason.INVALID_URI, message)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _reason_of_status(status: int, otherwise: Reason) -> Reason:
    if status in {HTTPStatus.NOT_FOUND, HTTPStatus.GONE}:
        return Reason.NOT_FOUND
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        return Reason.ACCESS_DENIED
    if status in {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS}:
        return otherwise
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.INTERNAL_SERVER_ERROR:
        return Reason.INVALID_URI
    return otherwise
