"""Requests to web servers, through the standard library: where they may lead, and how their failures read.

Not obstore's HTTP store: that one escapes the query of a URL, which breaks signed URLs, and refuses replies without a
Content-Length.
"""

import http.client
import ipaddress
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from http import HTTPStatus
from typing import IO, Any, Final
from urllib.parse import urlsplit

from serinus_server.failure import FatalError, Reason
from serinus_server.fetching import source
from serinus_server.fetching.source import reason_of_status

_LONGEST_REMARK: Final = 300


class WebClient:
    """Sends GET requests, follows redirects where they are safe, and never speaks to a link-local address.

    There a cloud's metadata service gives the node's own identity to whoever asks. Unencrypted connections are refused
    unless `allow_http`.
    """

    def __init__(self, *, allow_http: bool) -> None:
        self._opener = urllib.request.build_opener(_Http, _Https, _Redirects(allow_http=allow_http))

    @contextmanager
    def get(self, url: str, shown: str, headers: Mapping[str, str] | None = None) -> Iterator[http.client.HTTPResponse]:
        """The reply to a request, which failures name as `shown`. Raises FatalError."""
        request = urllib.request.Request(url, headers={"User-Agent": "serinus-server", **(headers or {})})  # noqa: S310 - the caller has checked the scheme
        try:
            response = self._opener.open(request, timeout=source.READ_TIMEOUT_SECONDS)
        except urllib.error.HTTPError as error:
            with closing(error):
                reason = reason_of_status(error.code, Reason.UNREACHABLE)
            raise FatalError(reason, f"{shown}: HTTP status {error.code} {_said(error)}") from error
        except (OSError, http.client.HTTPException) as error:
            cause = error.reason if isinstance(error, urllib.error.URLError) else error
            raise FatalError(Reason.UNREACHABLE, f"{shown}: {cause}") from error
        with response:
            yield response


def chunks(response: IO[bytes], shown: str) -> Iterator[bytes]:
    """The body of a reply. Raises FatalError."""
    try:
        while chunk := response.read(source.CHUNK_BYTES):
            yield chunk
    except (OSError, http.client.HTTPException) as error:
        message = f"{shown}: the transfer broke: {error or type(error).__name__}"
        raise FatalError(Reason.TRANSFER_FAILED, message) from error


def length_of(response: http.client.HTTPResponse) -> int | None:
    """The length of a reply's body in bytes, if its sender says."""
    length = response.headers.get("Content-Length")
    return int(length) if length and length.isdigit() else None


def _said(error: urllib.error.HTTPError) -> str:
    # Of a refused redirect, urllib's reason repeats the new URL with its query.
    if error.code < HTTPStatus.BAD_REQUEST:
        return "a redirect that is not followed"
    remark = (error.headers.get("X-Error-Message") or "")[:_LONGEST_REMARK]
    return f"{error.reason} ({remark.rstrip('.')})" if remark else str(error.reason)


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but never from https to something unencrypted unless that is allowed.

    Credentials go to the host that they are for, and to no other.
    """

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
        redirected = super().redirect_request(req, fp, code, msg, headers, newurl)
        if redirected is not None and _origin(newurl) != _origin(req.full_url):
            redirected.remove_header("Authorization")
        return redirected


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc.lower()


class _HttpConnection(http.client.HTTPConnection):
    def __init__(self, *args: Any, **options: Any) -> None:  # noqa: ANN401 - the base class's own
        super().__init__(*args, **options)
        self._create_connection = _connected  # what connects, before any tunnel through a proxy


class _HttpsConnection(http.client.HTTPSConnection):
    def __init__(self, *args: Any, **options: Any) -> None:  # noqa: ANN401 - the base class's own
        super().__init__(*args, **options)
        self._create_connection = _connected


class _Http(urllib.request.HTTPHandler):
    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_HttpConnection, req)


class _Https(urllib.request.HTTPSHandler):
    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_HttpsConnection, req)


def _connected(
    place: tuple[str, int], timeout: float | None = None, source_address: tuple[str, int] | None = None
) -> socket.socket:
    """A connection to one of the addresses of a host; the one that is checked is the one that is used."""
    host, port = place
    failure: OSError | None = None
    for *_, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        _require_public(host, str(address[0]))
        try:
            return socket.create_connection((str(address[0]), port), timeout, source_address)
        except OSError as error:
            failure = error
    raise failure or OSError(f"{host} has no address")


def _require_public(host: str, address: str) -> None:
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    if ip.is_link_local or ip == _METADATA_IN_IPV6:
        raise FatalError(Reason.INVALID_URI, f"refused to connect to {host}: {address} is link-local")


_METADATA_IN_IPV6: Final = ipaddress.ip_address("fd00:ec2::254")
