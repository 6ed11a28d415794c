"""Web servers, through the standard library.

Not obstore's HTTP store: that one escapes the query of a URL, which breaks signed URLs, and refuses replies without a
Content-Length.
"""

import http.client
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http import HTTPStatus
from typing import IO

from serinus_server.failure import FatalError, Reason
from serinus_server.fetching import source
from serinus_server.fetching.source import Download, Item, reason_of_status
from serinus_server.fetching.uri import ModelUri


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
            response = self._opener.open(request, timeout=source.READ_TIMEOUT_SECONDS)
        except urllib.error.HTTPError as error:
            with closing(error):
                reason = reason_of_status(error.code, Reason.UNREACHABLE)
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
            while chunk := response.read(source.CHUNK_BYTES):
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
