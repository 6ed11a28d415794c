"""A real Prometheus on loopback, and pods for it to scrape that expose what the server's pods do."""

import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import requests
import yaml

from serinus_server.metrics import Metrics
from tests.cluster import binaries

SCRAPE = timedelta(milliseconds=500)
START_SECONDS = 60.0


def free_port() -> int:
    """A port on loopback that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Pod:
    """A pod of a service; nobody can scrape it before it runs."""

    name: str
    service: str
    revision: str
    namespace_label: str = "namespace"
    port: int = field(default_factory=free_port)

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Begin at 0, as a container does that is started anew."""
        self._metrics = Metrics(self.service, self.revision, "1")
        self._metrics.model_loaded("sha256:0", 0.1)

    def answer(self, count: int, code: int = 200, seconds: float = 0.01) -> None:
        """Have answered so many requests."""
        for _ in range(count):
            self._metrics.answered(code, seconds)

    @property
    def target(self) -> dict[str, object]:
        """What a scrape configuration says of it."""
        return {"targets": [f"127.0.0.1:{self.port}"], "labels": {self.namespace_label: "prod", "pod": self.name}}

    @contextmanager
    def running(self) -> Iterator[None]:
        """Let it be scraped until the block ends."""
        pod = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                text = pod._metrics.expose()
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        with ThreadingHTTPServer(("127.0.0.1", self.port), Handler) as http:
            thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.05})
            thread.start()
            try:
                yield
            finally:
                http.shutdown()
                thread.join()


@dataclass
class PrometheusServer:
    """Prometheus with its data below a folder; it may be stopped and started again."""

    folder: Path
    port: int = field(default_factory=free_port)
    _process: "subprocess.Popen[bytes] | None" = None

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    def configure(self, pods: Sequence[Pod]) -> None:
        """Have it scrape these pods, when it starts next."""
        interval = f"{SCRAPE // timedelta(milliseconds=1)}ms"
        configuration = {
            "global": {"scrape_interval": interval, "scrape_timeout": interval},
            "scrape_configs": [{"job_name": "pods", "static_configs": [pod.target for pod in pods]}],
        }
        (self.folder / "prometheus.yml").write_text(yaml.safe_dump(configuration))

    def start(self) -> None:
        """Start it, and wait until it answers."""
        command = [
            str(binaries.built(binaries.PROMETHEUS)),
            f"--config.file={self.folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={self.folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
        ]
        log = self.folder / "log"
        with log.open("ab") as output:
            self._process = subprocess.Popen(command, stdout=output, stderr=output)
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            with suppress(requests.RequestException):
                if requests.get(f"{self.url}/-/ready", timeout=1).ok:
                    return
            time.sleep(0.05)
        self.stop()
        raise AssertionError(f"Prometheus does not start: {log.read_text()[-2000:]}")

    def stop(self) -> None:
        """End it, if it runs."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None
