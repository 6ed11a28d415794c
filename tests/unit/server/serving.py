"""A real server process, and clients for it."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_START_SECONDS = 30


@dataclass
class Serving:
    """A running `serinus-server serve`."""

    process: subprocess.Popen[bytes]
    termination_log: Path
    log: list[dict[str, Any]] = field(default_factory=list)

    def wait_for(self, message: str | None = None, seconds: float = _START_SECONDS, **fields: object) -> dict[str, Any]:
        """Wait until a log line with such a message, or such fields, has come; returns it."""
        wanted = fields if message is None else {"message": message, **fields}
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for line in list(self.log):
                if wanted.items() <= {key: line[key] for key in line.keys() & wanted.keys()}.items():
                    return line
            if self.process.poll() is not None and not self._reader.is_alive():
                break
            time.sleep(0.01)
        raise AssertionError(f"no {wanted} in {self.log}")

    def follow(self) -> None:
        """Read the log as it comes."""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log.append(json.loads(line))

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.wait_for("listening")["port"])

    def exit_code(self, seconds: float = _START_SECONDS) -> int:
        """Wait for the end."""
        code = self.process.wait(seconds)
        self._reader.join(seconds)
        return code

    def get(self, path: str) -> tuple[int, Any]:
        """GET; returns the status and the parsed body (text if it is not JSON)."""
        return self.call("GET", path)

    def infer(self, body: object, model: str = "m", **headers: str) -> tuple[int, Any]:
        """POST an infer request to the model."""
        return self.call("POST", f"/v2/models/{model}/infer", body, headers)

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        headers: dict[str, str] | None = None,
        timeout: float = 20,
    ) -> tuple[int, Any]:
        """One request on a connection of its own. A body that is not bytes is sent as JSON."""
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        named = {name.replace("_", "-"): text for name, text in (headers or {}).items()}
        url = f"http://127.0.0.1:{self.port}{path}"
        request = urllib.request.Request(url, data, named, method=method)
        try:
            with urllib.request.urlopen(request, timeout=timeout) as response:  # noqa: S310 - an http URL
                return response.status, _parsed(response.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, _parsed(error.read())

    def metric(self, name: str, **labels: str) -> float:
        """The value of the one series that has these labels."""
        _, text = self.get("/metrics")
        found = [
            float(line.rsplit(" ", 1)[1])
            for line in text.splitlines()
            if line.startswith(name + "{") and all(f'{key}="{wanted}"' in line for key, wanted in labels.items())
        ]
        assert len(found) == 1, (name, labels, found)
        return found[0]

    def connect(self) -> socket.socket:
        """A raw connection."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)

    def terminate(self) -> None:
        """Ask for a drain."""
        self.process.send_signal(signal.SIGTERM)


def _parsed(body: bytes) -> Any:  # noqa: ANN401 - whatever the JSON holds
    try:
        return json.loads(body)
    except ValueError:
        return body.decode()


@contextmanager
def serving(
    model: Path, *options: str, wait: bool = True, environment: Mapping[str, str] | None = None
) -> Iterator[Serving]:
    """Serve a model on a free port until the block ends. With `wait`, from when it is ready."""
    folder = model if model.is_dir() else model.parent
    termination_log = folder / "termination-log"
    command = [sys.executable, "-c", "from serinus_server.cli import main; main()", "serve"]
    process = subprocess.Popen(
        [
            *command,
            *("--model-path", str(model), "--model-name", "m", "--model-version", "1"),
            *("--host", "127.0.0.1", "--http-port", "0", "--workers", "1", *options),
        ],
        stderr=subprocess.PIPE,
        env={**os.environ, "SERINUS_TERMINATION_LOG": str(termination_log), **(environment or {})},
    )
    server = Serving(process, termination_log)
    server.follow()
    try:
        if wait:
            server.wait_for("ready")
        yield server
    finally:
        if process.poll() is None:
            process.kill()
        server.exit_code()
        assert process.stderr is not None
        process.stderr.close()


def tensor(name: str, datatype: str, shape: list[int], data: object, **more: object) -> dict[str, Any]:
    """One input of a request."""
    return {"name": name, "datatype": datatype, "shape": shape, "data": data, **more}
