"""A loopback HTTP server in the place of Prometheus, for replies that a real one gives only when something is wrong."""

import json
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

Entry = dict[str, Any]
"""One series in a result, in the JSON form of Prometheus' HTTP API."""


@dataclass(frozen=True)
class Reply:
    """An HTTP reply; one that is cut ends before its declared length, one that hangs does not end at all."""

    body: bytes
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    is_cut: bool = False
    hangs: bool = False


@dataclass(frozen=True)
class Asked:
    """A query that came in, and the time that it is of, in Unix seconds."""

    promql: str
    time: str
    timeout: str
    authorization: str | None = None

    @property
    def kind(self) -> str:
        """What it is for: the samples that count, the latency to show, or whether series are known elsewhere."""
        if self.promql.startswith("{"):
            return "samples"
        return "latency" if "histogram_quantile" in self.promql else "elsewhere"


Answer = Callable[[Asked], Reply]


def success(result: object, **extra: object) -> Reply:
    """What Prometheus replies when all is well."""
    return Reply(json.dumps({"status": "success", "data": {"resultType": "any", "result": result}, **extra}).encode())


def failure(status: int, error: str) -> Reply:
    """What Prometheus replies when it refuses."""
    return Reply(json.dumps({"status": "error", "errorType": "execution", "error": error}).encode(), status)


def answers(
    samples: Sequence[Entry] = (),
    latency: Sequence[Entry] = (),
    elsewhere: Sequence[Entry] = (),
    *,
    warnings: Sequence[str] = (),
    infos: Sequence[str] = (),
) -> Answer:
    """Answer each kind of query with its result."""
    results = {"samples": samples, "latency": latency, "elsewhere": elsewhere}
    return lambda asked: success(results[asked.kind], warnings=warnings, infos=infos)


class CannedPrometheus:
    """Answers what it is told to, and remembers what it was asked."""

    def __init__(self, answer: Answer, tls: ssl.SSLContext | None = None) -> None:
        self.answer = answer
        self.asked: list[Asked] = []
        self.over = threading.Event()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._scheme = "https" if tls else "http"
        if tls:
            self._http.socket = tls.wrap_socket(self._http.socket, server_side=True)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"{self._scheme}://127.0.0.1:{self._http.server_port}"

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        canned = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                parameters = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
                asked = Asked(
                    parameters["query"], parameters["time"], parameters["timeout"], self.headers["Authorization"]
                )
                canned.asked.append(asked)
                reply = canned.answer(asked)
                if reply.hangs and not reply.body:
                    canned.over.wait()
                    return
                self.send_response(reply.status)
                headers = {"Content-Length": str(len(reply.body) + (reply.is_cut or reply.hangs)), **reply.headers}
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(reply.body)
                if reply.hangs:
                    canned.over.wait()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        return Handler

    @contextmanager
    def running(self) -> Iterator[None]:
        """Serve until the block ends."""
        thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield
        finally:
            self.over.set()
            self._http.shutdown()
            thread.join()
            self._http.server_close()
