"""One JSON line a request: who, what, how it ended, how long, how large; never what was in it."""

import itertools
import secrets
from collections.abc import Mapping
from enum import Enum
from http import HTTPStatus
from typing import Final

from serinus_server.http_message import Reply, Request
from serinus_server.log import JsonLog
from serinus_server.trace_context import trace_id

_MAX_ID_LENGTH: Final = 128
_MAX_PATH_LENGTH: Final = 200
_FIRST_ERROR: Final = HTTPStatus.BAD_REQUEST.value
_FIRST_SERVER_ERROR: Final = HTTPStatus.INTERNAL_SERVER_ERROR.value
_NO_DETAILS: Final[Mapping[str, object]] = {}


class AccessLogMode(Enum):
    """Which requests are logged."""

    ALL = "all"
    ERRORS = "errors"
    OFF = "off"


_LEAST_STATUS: Final = {AccessLogMode.ALL: 0, AccessLogMode.ERRORS: _FIRST_ERROR, AccessLogMode.OFF: 1000}


class AccessLog:
    """Writes the lines. `model` and `version` name what was asked."""

    def __init__(self, log: JsonLog, mode: AccessLogMode, model: str, version: str) -> None:
        self._log = log
        self._least_status = _LEAST_STATUS[mode]
        self._model = model
        self._version = version
        self._prefix = secrets.token_hex(4)
        self._numbers = itertools.count(1)

    def wants(self, status: int) -> bool:
        """Whether requests that end so are logged."""
        return status >= self._least_status

    def answered(self, request: Request, reply: Reply, details: Mapping[str, object] = _NO_DETAILS) -> None:
        """Log a reply over HTTP."""
        self.ended(request, reply.status, request.answered, {**details, "reply_bytes": len(reply.body)})

    def ended(self, request: Request, status: int, now: float, details: Mapping[str, object]) -> None:
        """Log how a request over HTTP ended, with or without a reply, at `time.perf_counter()` `now`."""
        if status >= self._least_status:
            seconds = now - (request.completed or request.began)
            path = request.target[:_MAX_PATH_LENGTH].decode(errors="replace")
            if request.client is not None:
                details = {**details, "client": request.client}
            self.write(request.method.decode(), path, status, seconds, request.body_size, request.headers, details)

    def write(
        self,
        method: str,
        path: str,
        status: int,
        seconds: float,
        request_bytes: int,
        headers: Mapping[bytes, bytes],
        details: Mapping[str, object],
    ) -> None:
        """Log one request; of its headers only those that identify it, with names in lower case."""
        if status < self._least_status:
            return
        given = headers.get(b"x-request-id")
        if given and len(given) <= _MAX_ID_LENGTH:
            request_id = given.decode(errors="replace")
        else:
            request_id = f"{self._prefix}-{next(self._numbers)}"
        line = {
            "time": self._log.timestamp(),
            "level": "info" if status < _FIRST_SERVER_ERROR else "error",
            "message": "request",
            "id": request_id,
            "method": method,
            "path": path,
            "status": status,
            "duration_us": int(seconds * 1e6),
            "request_bytes": request_bytes,
            "model": self._model,
            "version": self._version,
            **details,
        }
        if b"traceparent" in headers and (trace := trace_id(headers[b"traceparent"])):
            line["trace_id"] = trace
        self._log.line(line)
