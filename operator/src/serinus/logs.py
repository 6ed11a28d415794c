"""Logs: one JSON object a line, and on each line of a visit whose it is and which visit."""

import json
import logging
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

_QUIET: Final = ("kopf", "asyncio", "aiohttp", "urllib3")
"""Loggers that say things worth reading from a warning on."""


@dataclass(frozen=True, slots=True)
class Visit:
    """A visit to an InferenceService."""

    namespace: str
    name: str
    reconcile_id: str


_visit: ContextVar[Visit | None] = ContextVar("visit", default=None)


@contextmanager
def visiting(namespace: str, name: str) -> Iterator[Visit]:
    """Within it, what is logged says that it belongs to a new visit to this InferenceService."""
    visit = Visit(namespace, name, secrets.token_hex(4))
    token = _visit.set(visit)
    try:
        yield visit
    finally:
        _visit.reset(token)


def reconcile_id() -> str | None:
    """The id of the visit that this is called in."""
    visit = _visit.get()
    return visit.reconcile_id if visit else None


class JsonFormatter(logging.Formatter):
    """One JSON object: time, level, logger, message, and the object, visit and exception where there are any."""

    def format(self, record: logging.LogRecord) -> str:
        """Format a record, on one line whatever it holds."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC)
            .isoformat(timespec="milliseconds")
            .replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= _object_of(record)
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


def configure(level: int = logging.INFO) -> None:
    """Send all logs, the libraries' too, through the formatter to standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)


def _object_of(record: logging.LogRecord) -> dict[str, str]:
    """Which object the record is about: that of the visit, or the one that kopf was busy with."""
    visit = _visit.get()
    if visit is not None:
        return {"namespace": visit.namespace, "name": visit.name, "reconcile_id": visit.reconcile_id}
    reference = getattr(record, "k8s_ref", None) or {}
    return {key: reference[key] for key in ("namespace", "name") if reference.get(key)}
