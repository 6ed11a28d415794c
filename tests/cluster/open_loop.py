"""Sends requests to a service at a steady rate, whatever becomes of those before: an open loop.

Runs in a pod, with the standard library alone:

    python open_loop.py EXCHANGES ADDRESS HOST PATH RATE SECONDS CONNECTIONS [AUTHORITIES]

With AUTHORITIES, a PEM file, it speaks TLS, and HOST has to have a certificate of one of them.
ADDRESS (with a port, else 80) is connected to, HOST is what the Host header says. EXCHANGES is a JSON file, a list of
{"body": text, "label": what the reply's first tensor must begin with, or null}. Prints a JSON line a second with
everything since the start, and a last one on SIGTERM or after SECONDS.
"""

import asyncio
import json
import math
import signal
import socket
import ssl
import sys
import time
from collections import defaultdict, deque
from pathlib import Path
from typing import Any, NamedTuple

REPLY_SECONDS = 10.0
STALE_SECONDS = 5.0
WINDOW_SECONDS = 10.0
KEPT_TROUBLES = 20


class Reply(NamedTuple):
    """What came back: `version` is the model's, or empty where the reply does not tell."""

    status: int
    version: str
    label: Any


class Connection(NamedTuple):
    """A kept connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    last_used: float


class Tally:
    """Counts of one version's replies."""

    def __init__(self) -> None:
        self.by_status: dict[int, int] = defaultdict(int)
        self.right = 0
        self.first_failure: float | None = None
        self.last_reply: float | None = None
        self.latencies: deque[tuple[float, float]] = deque()

    def add(self, now: float, seconds: float, reply: Reply, expected: object) -> None:
        """Count one reply."""
        self.by_status[reply.status] += 1
        self.last_reply = time.time()
        if reply.status != 200 and self.first_failure is None:
            self.first_failure = self.last_reply
        if reply.status == 200:
            self.right += reply.label == expected
            self.latencies.append((now, seconds))

    def report(self, now: float) -> dict[str, Any]:
        """The counts since the start, and the latencies in ms of the last seconds."""
        while self.latencies and self.latencies[0][0] < now - WINDOW_SECONDS:
            self.latencies.popleft()
        recent = sorted(seconds * 1000 for _, seconds in self.latencies)
        return {
            "status": dict(self.by_status),
            "right": self.right,
            "first_failure": self.first_failure,
            "last_reply": self.last_reply,
            "p50_ms": _quantile(recent, 0.5),
            "p95_ms": _quantile(recent, 0.95),
        }


def _quantile(ascending: list[float], share: float) -> float | None:
    return round(ascending[math.ceil(share * len(ascending)) - 1], 2) if ascending else None


class OpenLoop:
    """The client: a ring of kept connections, each used in turn, as many requests at once as it takes."""

    def __init__(
        self,
        exchanges: list[dict[str, Any]],
        address: str,
        host: str,
        path: str,
        connections: int,
        context: ssl.SSLContext | None,
    ) -> None:
        self.exchanges = [
            (_request(host, path, exchange["body"].encode()), exchange["label"]) for exchange in exchanges
        ]
        self.address, _, port = address.partition(":")
        self.port = int(port or 80)
        self.tls: dict[str, Any] = {"ssl": context, "server_hostname": host} if context is not None else {}
        self.connections = connections
        self.idle: deque[Connection] = deque()
        self.sent = 0
        self.lost = 0
        self.troubles: list[str] = []
        self.tallies: dict[str, Tally] = defaultdict(Tally)

    async def run(self, rate: float, seconds: float, stop: asyncio.Event) -> None:
        """Send until `stop` or for `seconds`, then wait for what is out; reports meanwhile."""
        # Once: the addresses of Services and Gateways stay, and a lookup for each connection is what a busy machine's
        # DNS cannot keep up with.
        found = await asyncio.get_running_loop().getaddrinfo(self.address, self.port, type=socket.SOCK_STREAM)
        self.address = str(found[0][4][0])
        begun = time.monotonic()
        out: set[asyncio.Task[None]] = set()
        next_report = begun
        while not stop.is_set() and time.monotonic() - begun < seconds:
            due = begun + self.sent / rate
            now = time.monotonic()
            if now >= next_report:
                self.report()
                next_report += 1
            if due > now:
                await asyncio.sleep(min(due, next_report) - now)
                continue
            task = asyncio.create_task(self._exchange(*self.exchanges[self.sent % len(self.exchanges)]))
            self.sent += 1
            out.add(task)
            task.add_done_callback(out.discard)
            # Also when it is late: what is out, and a signal, must not wait until it has caught up.
            await asyncio.sleep(0)
        await asyncio.gather(*out)
        self.report(final=True)

    def report(self, *, final: bool = False) -> None:
        """Print the counts as one line."""
        now = time.monotonic()
        line = {
            "final": final,
            "sent": self.sent,
            "lost": self.lost,
            "troubles": self.troubles,
            "versions": {version: tally.report(now) for version, tally in self.tallies.items()},
        }
        print(json.dumps(line), flush=True)

    async def _exchange(self, request: bytes, expected: object) -> None:
        begun = time.monotonic()
        try:
            reply = await asyncio.wait_for(self._ask(request), REPLY_SECONDS)
        except (OSError, EOFError, KeyError, TimeoutError, ValueError) as error:
            self.lost += 1
            if len(self.troubles) < KEPT_TROUBLES:
                self.troubles.append(f"request {self.sent} at {time.time():.3f}: {error!r}")
            return
        now = time.monotonic()
        self.tallies[reply.version].add(now, now - begun, reply, expected)

    async def _ask(self, request: bytes) -> Reply:
        reader, writer = await self._connect()
        keep = False
        try:
            writer.write(request)
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            lines = head.split("\r\n")
            headers = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
            body = await reader.readexactly(int(headers["content-length"]))
            keep = headers.get("connection") != "close"
        finally:
            if keep:
                self.idle.append(Connection(reader, writer, time.monotonic()))
            else:
                writer.close()
        return _reply(int(lines[0].split()[1]), headers, body)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """The connection unused for longest, or a new one until the ring is full."""
        while len(self.idle) >= self.connections:
            reader, writer, last_used = self.idle.popleft()
            if not reader.at_eof() and time.monotonic() - last_used < STALE_SECONDS:
                return reader, writer
            writer.close()
        return await asyncio.open_connection(self.address, self.port, **self.tls)


def _request(host: str, path: str, body: bytes) -> bytes:
    lines = (
        f"POST {path} HTTP/1.1",
        f"Host: {host}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
    )
    return "\r\n".join([*lines, "", ""]).encode() + body


def _reply(status: int, headers: dict[str, str], body: bytes) -> Reply:
    content = json.loads(body)
    if "outputs" not in content:
        return Reply(status, headers.get("serinus-model-version", ""), None)
    return Reply(status, content["model_version"], content["outputs"][0]["data"][0])


async def main() -> None:
    """Run the command line."""
    file, address, host, path, rate, seconds, connections, *authorities = sys.argv[1:]
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    exchanges = json.loads(Path(file).read_text())
    context = ssl.create_default_context(cafile=authorities[0]) if authorities else None
    await OpenLoop(exchanges, address, host, path, int(connections), context).run(float(rate), float(seconds), stop)


if __name__ == "__main__":
    asyncio.run(main())
