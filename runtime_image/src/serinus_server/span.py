"""What the span of a request says, by OpenTelemetry's semantic conventions for HTTP and RPC servers."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, TypeAlias

Attributes: TypeAlias = "dict[str, str | int | list[str]]"

_FIRST_SERVER_ERROR: Final = HTTPStatus.INTERNAL_SERVER_ERROR.value
_GRPC_PATH: Final = re.compile(r"/([\w.]+Service)/(\w+)")
_ROUTE: Final = re.compile(r"/v2/models/[^/]+(?P<version>/versions/[^/]+)?(?P<call>/infer|/ready)?/?")
_PAGES: Final = frozenset({"/v2", "/v2/health/live", "/v2/health/ready", "/metrics"})
_STAGES: Final = ("decode", "queue", "run", "encode")
_NANOSECONDS: Final = 1000
"""In a microsecond."""


@dataclass(frozen=True)
class EndedRequest:
    """A request and how it ended, in the access log's terms: header names in lower case, `details` with its fields."""

    method: str
    path: str
    status: int
    request_bytes: int
    headers: Mapping[bytes, bytes]
    details: Mapping[str, object]


def name_and_attributes(request: EndedRequest, scheme: str) -> tuple[str, Attributes]:
    """What the span is called, and what it says of the request; a name has no part that clients make up.

    `scheme` is http or https. The status of a gRPC call is given in HTTP's terms, as in log and metrics.
    """
    path = request.path.partition("?")[0]
    rpc = _GRPC_PATH.fullmatch(path)
    route = None if rpc else _route(path, request.status)
    attributes: Attributes = {"http.request.body.size": request.request_bytes}
    if rpc:
        name = f"{rpc[1]}/{rpc[2]}"
        attributes |= {"rpc.system": "grpc", "rpc.service": rpc[1], "rpc.method": rpc[2]}
    else:
        name = f"{request.method} {route}" if route else request.method
        attributes |= {"http.request.method": request.method, "url.scheme": scheme, "url.path": path}
    if route:
        attributes["http.route"] = route
    attributes["http.response.status_code"] = request.status
    if failed(request):
        attributes["error.type"] = str(request.status)
    return name, attributes | _from_details(request)


def failed(request: EndedRequest) -> bool:
    """Whether the server is to blame."""
    return request.status >= _FIRST_SERVER_ERROR


def stage_ends(request: EndedRequest) -> Iterator[tuple[str, int, int]]:
    """The stages that the request went through: name, nanoseconds from its start to their end, and their own."""
    elapsed = 0
    for stage in _STAGES:
        microseconds = request.details.get(f"{stage}_us")
        if isinstance(microseconds, int):
            elapsed += microseconds * _NANOSECONDS
            yield stage, elapsed, microseconds * _NANOSECONDS


def _from_details(request: EndedRequest) -> Attributes:
    """What is known only of some requests."""
    attributes: Attributes = {}
    reply_bytes, client = request.details.get("reply_bytes"), request.details.get("client")
    if isinstance(reply_bytes, int):
        attributes["http.response.body.size"] = reply_bytes
    if isinstance(client, str):
        attributes["enduser.id"] = client
    given = request.headers.get(b"x-request-id")
    if given:
        attributes["http.request.header.x-request-id"] = [given[:128].decode(errors="replace")]
    return attributes


def _route(path: str, status: int) -> str | None:
    if path in _PAGES:
        return path
    match = _ROUTE.fullmatch(path)
    if match is None or status == HTTPStatus.NOT_FOUND:
        return None
    version = "/versions/{version}" if match["version"] else ""
    return f"/v2/models/{{model}}{version}{match['call'] or ''}"
