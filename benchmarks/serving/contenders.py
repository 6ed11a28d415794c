"""Who is measured: how each is started, where it listens, and what it uses."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from benchmarks.serving.environments import PEERS, peer_python
from benchmarks.serving.exchange import PATH, Request

SERVER_CORE = 0
SERINUS = "serinus-server"
BARE = "bare protocol"
_FIRST_PORT = 18080
_START_SECONDS = 120
_LAST_RUN_SECONDS = 0.3


@dataclass(frozen=True)
class Contender:
    """A server; `command` has {model}, {port} and {grpc_port} to fill in."""

    name: str
    command: Sequence[str]
    encodings: Sequence[str]
    is_peer: bool = False


class _Process(NamedTuple):
    """What the kernel says of a process: its processor time in clock ticks, its memory in pages."""

    pid: int
    parent: int
    ticks: int
    pages: int


def _all_processes() -> Iterator[_Process]:
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rsplit(") ", 1)[1].split()
        except OSError:  # it has ended
            continue
        yield _Process(int(entry.name), int(fields[1]), int(fields[11]) + int(fields[12]), int(fields[21]))


class Running:
    """A server that answers, on one core. It is stopped while others are measured."""

    def __init__(self, contender: Contender, model: Path, number: int, request: Request) -> None:
        self.contender = contender
        self.port = _FIRST_PORT + 2 * number
        self.grpc_port = self.port + 1
        filled = [part.format(model=model, port=self.port, grpc_port=self.grpc_port) for part in contender.command]
        self._folder = tempfile.TemporaryDirectory()
        started = time.perf_counter()
        self._process = subprocess.Popen(
            ["taskset", "-c", str(SERVER_CORE), *filled],
            cwd=self._folder.name,
            env={**os.environ, "OMP_NUM_THREADS": "1", "BENTOML_DO_NOT_TRACK": "True"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            self._await_reply(request)
        except BaseException:
            self.kill()
            raise
        self.ready_seconds = time.perf_counter() - started
        self.pause()

    def ask(self, request: Request) -> bytes:
        """The reply to one request over HTTP."""
        asked = urllib.request.Request(f"http://127.0.0.1:{self.port}{PATH}", request.body, request.headers)
        with urllib.request.urlopen(asked, timeout=20) as response:  # noqa: S310 - loopback
            return bytes(response.read())

    def pause(self) -> None:
        """Let it use nothing, once what it has in work is over.

        A run that is stopped halfway would seem to take as long as all that is measured meanwhile, and a server that
        goes by how long its runs took would then turn requests away.
        """
        time.sleep(_LAST_RUN_SECONDS)
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it run."""
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it, and what it started."""
        self._signal(signal.SIGKILL)
        self._process.wait()
        self._folder.cleanup()

    def cpu_seconds(self) -> float:
        """What it and its processes have used so far."""
        ticks = sum(process.ticks for process in self._processes())
        return ticks / os.sysconf("SC_CLK_TCK")

    def resident_mib(self) -> float:
        """The memory of its processes, shared pages counted once for each."""
        return sum(process.pages for process in self._processes()) * os.sysconf("SC_PAGE_SIZE") / 2**20

    def _signal(self, number: signal.Signals) -> None:
        for process in self._processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, number)

    def _processes(self) -> list[_Process]:
        """The server's process, and all that descend from it."""
        children: dict[int, list[_Process]] = defaultdict(list)
        found: list[_Process] = []
        for process in _all_processes():
            children[process.parent].append(process)
            if process.pid == self._process.pid:
                found.append(process)
        for process in found:
            found += children[process.pid]
        return found

    def _await_reply(self, request: Request) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            try:
                self.ask(request)
            except (urllib.error.URLError, OSError):
                if self._process.poll() is not None:
                    message = f"{self.contender.name} ended with {self._process.returncode}"
                    raise RuntimeError(message) from None
                time.sleep(0.02)
            else:
                return
        raise RuntimeError(f"{self.contender.name} did not answer within {_START_SECONDS} s")


@contextmanager
def started(contenders: Sequence[Contender], model: Path, request: Request) -> Iterator[list[Running]]:
    """Start all of them, one after the other; each answers, and is stopped until it is resumed."""
    running: list[Running] = []
    try:
        for number, contender in enumerate(contenders):
            running.append(Running(contender, model, number, request))
        yield running
    finally:
        for server in running:
            server.kill()


def serinus(name: str = SERINUS, *options: str) -> Contender:
    """The server of this project."""
    command = (sys.executable, "-c", "from serinus_server.cli import main; main()", "serve", "{model}")
    address = ("--model-name", "m", "--host", "127.0.0.1", "--http-port", "{port}", "--grpc-port", "{grpc_port}")
    return Contender(name, (*command, *address, *options), ("json", "binary", "grpc"))


def contenders(peers: Sequence[str]) -> list[Contender]:
    """The bare protocol as the reference, the server with and without its access log, and some peers."""
    bare = (sys.executable, str(Path(__file__).parent / "bare_protocol.py"), "{model}", "{port}")
    return [
        Contender(BARE, bare, ("json", "binary")),
        serinus(SERINUS, "--access-log", "errors"),
        serinus("with a log line each"),
        *(_peer(name) for name in peers),
    ]


PEER_ENCODINGS = {
    "mlserver": ("json", "grpc"),
    "kserve": ("json", "binary", "grpc"),
    "litserve": ("json",),
    "bentoml": ("json",),
    "rayserve": ("json",),
}
"""Each peer's name -> what it speaks of the Open Inference Protocol."""


def _peer(name: str) -> Contender:
    command = (str(peer_python(name)), str(PEERS / f"{name}_peer.py"), "{model}", "{port}", "{grpc_port}")
    return Contender(name, command, PEER_ENCODINGS[name], is_peer=True)
