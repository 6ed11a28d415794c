"""One JSON line a request: who, what, how it ended, how long, how large; never what was in it."""

import itertools
import secrets
import time
from collections.abc import Mapping
from enum import Enum
from http import HTTPStatus
from typing import Final

from serinus_server.http_message import Reply, Request
from serinus_server.log import JsonLog

_MAX_ID_LENGTH: Final = 128
_MAX_PATH_LENGTH: Final = 200


class AccessLogMode(Enum):
    """Which requests are logged."""

    ALL = "all"
    ERRORS = "errors"
    OFF = "off"


class AccessLog:
    """Writes the lines. `model` and `version` name what was asked."""

    def __init__(self, log: JsonLog, mode: AccessLogMode, model: str, version: str) -> None:
        self._log = log
        self._mode = mode
        self._model = {"model": model, "version": version}
        self._prefix = secrets.token_hex(4)
        self._numbers = itertools.count(1)

    def answered(self, request: Request, reply: Reply, **details: object) -> None:
        """Log a reply over HTTP."""
        self.ended(request, reply.status, reply_bytes=len(reply.body), **details)

    def ended(self, request: Request, status: int, **details: object) -> None:
        """Log how a request over HTTP ended, with or without a reply."""
        seconds = time.perf_counter() - (request.completed or request.began)
        path = request.target[:_MAX_PATH_LENGTH].decode(errors="replace")
        method = request.method.decode()
        self.write(method, path, status, seconds, request.body_size, request.headers, **details)

    def write(
        self,
        method: str,
        path: str,
        status: int,
        seconds: float,
        request_bytes: int,
        headers: Mapping[bytes, bytes],
        **details: object,
    ) -> None:
        """Log one request; of its headers only those that identify it, with names in lower case."""
        if self._mode is AccessLogMode.OFF:
            return
        if self._mode is AccessLogMode.ERRORS and status < HTTPStatus.BAD_REQUEST:
            return
        self._log.line(
            {
                "time": self._log.timestamp(),
                "level": "info" if status < HTTPStatus.INTERNAL_SERVER_ERROR else "error",
                "message": "request",
                "id": self._id(headers),
                "method": method,
                "path": path,
                "status": status,
                "duration_us": int(seconds * 1e6),
                "request_bytes": request_bytes,
                **self._model,
                **_trace(headers),
                **details,
            }
        )

    def _id(self, headers: Mapping[bytes, bytes]) -> str:
        given = headers.get(b"x-request-id")
        if given and len(given) <= _MAX_ID_LENGTH:
            return given.decode(errors="replace")
        return f"{self._prefix}-{next(self._numbers)}"


def _trace(headers: Mapping[bytes, bytes]) -> dict[str, str]:
    """The trace id of a W3C traceparent header."""
    parts = headers.get(b"traceparent", b"").split(b"-")
    return {"trace_id": parts[1].decode(errors="replace")} if len(parts) == 4 and len(parts[1]) == 32 else {}  # noqa: PLR2004
