"""Who is measured: how each is started, on which port it listens, and where it answers."""

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SERVER_CORE = "0"
PORT = 18080
PATH = "/v2/models/m/infer"
_START_SECONDS = 60


@dataclass(frozen=True)
class Contender:
    """A server; `command` has {model} and {port} to fill in."""

    name: str
    command: Sequence[str]

    @contextmanager
    def serving(self, model: Path, body: bytes, headers: dict[str, str]) -> Iterator["Running"]:
        """Run it on its core, from when it answers until the block ends."""
        filled = [part.format(model=model, port=PORT) for part in self.command]
        started = time.perf_counter()
        process = subprocess.Popen(
            ["taskset", "-c", SERVER_CORE, *filled], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            reply = _first_reply(process, body, headers)
            yield Running(process, reply, time.perf_counter() - started)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()


@dataclass(frozen=True)
class Running:
    """A server that answers, its first reply, and how long it took to come."""

    process: subprocess.Popen[bytes]
    reply: bytes
    ready_seconds: float

    def cpu_seconds(self) -> float:
        """What it has used so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(") ", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident_mib(self) -> float:
        """Its memory."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:"))) / 1024


def contenders() -> list[Contender]:
    """The bare protocol as the reference, and the server with and without its access log."""
    bare = (sys.executable, "-m", "benchmarks.serving.bare_protocol", "{model}", "{port}")
    serinus = (
        *(sys.executable, "-c", "from serinus_server.cli import main; main()", "serve", "{model}"),
        *("--model-name", "m", "--host", "127.0.0.1", "--http-port", "{port}"),
    )
    return [
        Contender("bare protocol", bare),
        Contender("serinus-server", (*serinus, "--access-log", "errors")),
        Contender("with a log line each", serinus),
    ]


def _first_reply(process: subprocess.Popen[bytes], body: bytes, headers: dict[str, str]) -> bytes:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        request = urllib.request.Request(f"http://127.0.0.1:{PORT}{PATH}", body, headers)
        try:
            with urllib.request.urlopen(request, timeout=5) as response:  # noqa: S310
                return bytes(response.read())
        except (urllib.error.URLError, ConnectionError):
            if process.poll() is not None:
                raise RuntimeError(f"the server ended with {process.returncode}") from None
            time.sleep(0.02)
    raise RuntimeError(f"no answer within {_START_SECONDS} s")
