"""Where audit records go: a file that is rotated, or an HTTP server."""

import fcntl
import os
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, Final, Protocol

from serinus_server.policy import AuditSink

_MAX_FILE_BYTES: Final = 64 << 20
_TIMEOUT_SECONDS: Final = 5.0


class Sink(Protocol):
    """Takes JSON lines. Used by one thread."""

    def write(self, lines: Sequence[bytes]) -> None:
        """Deliver all of them.

        Raises what there is to raise if that fails.
        """
        ...


class FileSink:
    """Appends to a file. One that has grown to `max_bytes` becomes `<name>.1`, in place of the former one."""

    def __init__(self, path: Path, max_bytes: int = _MAX_FILE_BYTES) -> None:
        self._path = path
        self._max_bytes = max_bytes

    def write(self, lines: Sequence[bytes]) -> None:
        """Each line is whole in one of the two files. Opened anew each time, as others may move it, too."""
        waiting = list(lines)
        while waiting:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
            with os.fdopen(descriptor, "ab") as file:
                fcntl.flock(file, fcntl.LOCK_EX)  # several processes may write to it
                if not self._is_current(file):
                    continue
                room = self._max_bytes - file.tell()
                taken = 0
                while taken < len(waiting) and (len(waiting[taken]) <= room or room == self._max_bytes):
                    room -= len(waiting[taken])
                    taken += 1
                file.writelines(waiting[:taken])
                file.flush()
                del waiting[:taken]
                if waiting:
                    self._path.replace(self._path.with_name(self._path.name + ".1"))

    def _is_current(self, file: BinaryIO) -> bool:
        """Whether nobody has moved it since it was opened."""
        try:
            return os.path.samestat(os.fstat(file.fileno()), self._path.stat())
        except FileNotFoundError:
            return False


class HTTPSink:
    """Posts JSON lines; a status of 2xx means that they were taken."""

    def __init__(self, url: str) -> None:
        self._url = url

    def write(self, lines: Sequence[bytes]) -> None:
        """All in one request."""
        headers = {"Content-Type": "application/x-ndjson"}
        request = urllib.request.Request(self._url, b"".join(lines), headers, method="POST")  # noqa: S310 - http(s)
        with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as reply:  # noqa: S310
            reply.read()


def open_sink(sink: AuditSink) -> Sink:
    """The sink that a policy names."""
    return FileSink(Path(sink.file)) if sink.file else HTTPSink(sink.url)
