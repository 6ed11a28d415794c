"""Files that are mounted, and change while the server runs: read at start, and again whenever they change."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from pathlib import Path
from typing import Final, Generic, Protocol, TypeVar

from serinus_server.failure import FatalError, Reason
from serinus_server.log import JsonLog
from serinus_server.metrics import Metrics

POLL_SECONDS: Final = 1.0
_KUBELETS_LINK: Final = "..data"
_Content = TypeVar("_Content")


class Folder(Generic[_Content]):
    """One mounted folder: `read` makes something of its files, `use` puts that in force.

    `read` raises ValueError or OSError with a sentence that says what is wrong where. `use` is called on the event
    loop's thread. `source` is the metrics' label, `reason` what a failure at start is.
    """

    def __init__(
        self,
        source: str,
        path: Path,
        reason: Reason,
        read: Callable[[Path], _Content],
        use: Callable[[_Content], Awaitable[None]],
    ) -> None:
        self.source = source
        self.path = path
        self._reason = reason
        self._read = read
        self._use = use
        self._seen: Hashable = None

    async def load(self) -> None:
        """Read and use it for the first time.

        Raises FatalError.
        """
        try:
            self._seen = _state(self.path)
            await self._use(self._read(_contents(self.path)))
        except (ValueError, OSError) as error:
            raise FatalError(self._reason, _told(error)) from error

    def read_if_changed(self) -> Callable[[], Awaitable[None]] | None:
        """What puts the new content in force, if there is any; may take its time.

        Raises ValueError or OSError, once for each change.
        """
        try:
            state: Hashable = _state(self.path)
        except OSError as error:
            state = _told(error)
            if state != self._seen:
                self._seen = state
                raise
        if state == self._seen:
            return None
        self._seen = state
        content = self._read(_contents(self.path))
        return lambda: self._use(content)


class AnyFolder(Protocol):
    """A folder, whatever its content."""

    source: str
    path: Path

    async def load(self) -> None:
        """See Folder."""
        ...

    def read_if_changed(self) -> Callable[[], Awaitable[None]] | None:
        """See Folder."""
        ...


async def watch(folders: list[AnyFolder], log: JsonLog, metrics: Metrics) -> None:
    """Look at them once a second, until cancelled. What cannot be used leaves in force what was before."""
    while True:
        await asyncio.sleep(POLL_SECONDS)
        for folder in folders:
            try:
                use = await asyncio.to_thread(folder.read_if_changed)
                if use is None:
                    continue
                await use()
            except (ValueError, OSError) as error:
                metrics.reload_failed(folder.source)
                log.event(f"{_told(error)}; what was in force before stays so", level="error", source=folder.source)
            else:
                metrics.reloaded(folder.source)
                log.event("reloaded", source=folder.source, path=str(folder.path))


def _contents(path: Path) -> Path:
    """The folder that holds the files themselves, so that files that belong together are read from one version.

    The kubelet writes a folder for each version and then lets one link point to it.
    """
    link = path / _KUBELETS_LINK
    return link.resolve() if link.exists() else path


def _state(path: Path) -> Hashable:
    """Another one whenever a file is."""
    contents = _contents(path)
    entries = [(entry.name, entry.stat()) for entry in sorted(contents.iterdir()) if not entry.name.startswith(".")]
    return contents, *((name, stat.st_mtime_ns, stat.st_size, stat.st_ino) for name, stat in entries)


def _told(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None and error.strerror is not None:
        return f"cannot read {error.filename}: {error.strerror}"
    return str(error)
