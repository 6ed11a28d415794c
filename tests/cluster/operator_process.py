"""`serinus run` as a process, against an API server that a kubeconfig names."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from tests.cluster.child import child
from tests.cluster.errors import ClusterError

_READY_SECONDS: Final = 60.0

SETTINGS: Final[dict[str, Any]] = {
    "server": {"image": "serinus-server:1"},
    # Nobody answers there: what needs metrics waits for them.
    "prometheus": {"url": "http://127.0.0.1:1", "timeout": "1s"},
}


@dataclass(frozen=True)
class OperatorProcess:
    """A running operator."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    def get(self, path: str) -> tuple[int, str]:
        """The status and the text that it answers to a GET; status 0 while it does not answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def lines(self) -> list[dict[str, Any]]:
        """What it has logged."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def metric(self, name: str) -> float:
        """The sum of a metric's series that begin with `name`."""
        lines = self.get("/metrics")[1].splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))

    def wait_until_ready(self) -> None:
        """Wait until its watches are in sync. Raises ClusterError when it ends before, or takes a minute."""
        deadline = time.monotonic() + _READY_SECONDS
        while self.get("/readyz")[0] != 200:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise ClusterError(f"the operator did not become ready:\n{self.log.read_text()[-3000:]}")
            time.sleep(0.05)


@contextmanager
def operator_process(kubeconfig: Path, directory: Path, settings: dict[str, Any]) -> Iterator[OperatorProcess]:
    """Run the operator until the context ends; its settings and its log are files in `directory`."""
    directory.mkdir(parents=True, exist_ok=True)
    config, log, port = directory / "config.yaml", directory / "operator.log", free_port()
    config.write_text(yaml.safe_dump(settings))
    # Not through the console script, so that what is signalled is the operator itself.
    command = [sys.executable, "-m", "serinus.cli", "run", "--config", str(config), "--port", str(port)]
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("KUBERNETES_SERVICE_")},
        "KUBECONFIG": str(kubeconfig),
    }
    with child(command, log, environment=environment) as process:
        yield OperatorProcess(process, port, log)


def free_port() -> int:
    """A port of loopback that nobody listens on now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
