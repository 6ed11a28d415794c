"""JSON lines on stderr, written by a thread of their own so that a slow reader never stalls a request."""

import fcntl
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final

import orjson

_MAX_WAITING_LINES: Final = 20_000
_FLUSH_INTERVAL_SECONDS: Final = 0.1
_FLUSH_LINES: Final = 64  # few enough that their memory is used again and again, many enough that threads seldom change


class JsonLog:
    """Collects lines and writes them in order, a few times a second.

    Lines beyond `_MAX_WAITING_LINES` are dropped and counted rather than kept in memory.
    """

    def __init__(self, descriptor: int | None = None, worker: int | None = None) -> None:
        """The events of a `worker` bear its number."""
        self._descriptor = sys.stderr.fileno() if descriptor is None else descriptor
        self._about = {} if worker is None else {"worker": worker}
        self._lock: int | None = None
        self._lines: deque[bytes] = deque()
        self._wake = threading.Event()
        self._closed = False
        self._millisecond = -1
        self._millisecond_as_text = ""
        self.dropped = 0
        self._thread = threading.Thread(target=self._write_until_closed, name="log", daemon=True)
        self._thread.start()

    def event(self, message: str, level: str = "info", **fields: object) -> None:
        """Log something that happened to the process; written at once."""
        self.line({"time": self.timestamp(), "level": level, "message": message, **self._about, **fields})
        self._wake.set()

    def line(self, fields: dict[str, Any]) -> None:
        """Log one object as it is."""
        lines = self._lines
        if len(lines) >= _MAX_WAITING_LINES:
            self.dropped += 1
            return
        lines.append(orjson.dumps(fields, default=str, option=orjson.OPT_APPEND_NEWLINE))
        if len(lines) == _FLUSH_LINES:
            self._wake.set()

    def write_in_turns(self, lock: int) -> None:
        """Other processes that have the file `lock` open write to the same place, and lines are to stay whole.

        The turn is that of whoever has locked its first byte.
        The kernel keeps apart only what is no longer than 4 KiB, and that only in pipes.
        """
        self._lock = lock

    def timestamp(self) -> str:
        """Now, in UTC, as RFC 3339 with milliseconds."""
        millisecond = int(time.time() * 1000)
        if millisecond != self._millisecond:
            self._millisecond = millisecond
            moment = datetime.fromtimestamp(millisecond / 1000, UTC)
            self._millisecond_as_text = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return self._millisecond_as_text

    def close(self) -> None:
        """Write what is left. Nothing may be logged afterwards."""
        self._closed = True
        self._wake.set()
        self._thread.join(timeout=2)

    def _write_until_closed(self) -> None:
        while not self._closed:
            self._wake.wait(_FLUSH_INTERVAL_SECONDS)
            self._wake.clear()
            self._write_waiting()
        self._write_waiting()

    def _write_waiting(self) -> None:
        lines = self._lines
        while lines:
            chunk = b"".join(lines.popleft() for _ in range(min(len(lines), 256)))
            try:
                with self._turn():
                    while chunk:
                        chunk = chunk[os.write(self._descriptor, chunk) :]
            except OSError:
                return  # nobody reads stderr; there is no other place to say so

    @contextmanager
    def _turn(self) -> Iterator[None]:
        lock = self._lock
        if lock is None:
            yield
            return
        fcntl.lockf(lock, fcntl.LOCK_EX, 1)
        try:
            yield
        finally:
            fcntl.lockf(lock, fcntl.LOCK_UN, 1)
