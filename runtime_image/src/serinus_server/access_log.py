"""One JSON line a request: who, what, how it ended, how long, how large; never what was in it."""

import itertools
import secrets
import time
from enum import Enum
from http import HTTPStatus
from typing import Final

from serinus_server.http_message import Reply, Request
from serinus_server.log import JsonLog

_MAX_ID_LENGTH: Final = 128


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
        """Log a reply."""
        self.ended(request, reply.status, reply_bytes=len(reply.body), **details)

    def ended(self, request: Request, status: int, **details: object) -> None:
        """Log how a request ended, with or without a reply."""
        if self._mode is AccessLogMode.OFF:
            return
        if self._mode is AccessLogMode.ERRORS and status < HTTPStatus.BAD_REQUEST:
            return
        now = time.perf_counter()
        self._log.line(
            {
                "time": self._log.timestamp(),
                "level": "info" if status < HTTPStatus.INTERNAL_SERVER_ERROR else "error",
                "message": "request",
                "id": self._id(request),
                "method": request.method.decode(),
                "path": request.target[:200].decode(errors="replace"),
                "status": status,
                "duration_us": int((now - (request.completed or request.began)) * 1e6),
                "request_bytes": request.body_size,
                **self._model,
                **_trace(request),
                **details,
            }
        )

    def _id(self, request: Request) -> str:
        given = request.headers.get(b"x-request-id")
        if given and len(given) <= _MAX_ID_LENGTH:
            return given.decode(errors="replace")
        return f"{self._prefix}-{next(self._numbers)}"


def _trace(request: Request) -> dict[str, str]:
    """The trace id of a W3C traceparent header."""
    parts = request.headers.get(b"traceparent", b"").split(b"-")
    return {"trace_id": parts[1].decode(errors="replace")} if len(parts) == 4 and len(parts[1]) == 32 else {}  # noqa: PLR2004
