"""A proxy on loopback between clients and the API server that makes what networks and servers make of requests.

Plain HTTP on the clients' side; what it is told to let through goes on to the API server as it came.
"""

import asyncio
import ssl
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

import aiohttp
import yaml
from aiohttp import web

from tests.cluster.control_plane import ControlPlane
from tests.cluster.operator_process import free_port

T = TypeVar("T")

_HOP_BY_HOP: Final = frozenset({"connection", "content-length", "host", "keep-alive", "transfer-encoding"})
_STARTED_SECONDS: Final = 10.0


@dataclass(frozen=True)
class Request:
    """What a client asks."""

    method: str
    path: str
    """With the query."""

    @property
    def is_write(self) -> bool:
        """Whether it changes something."""
        return self.method != "GET"

    @property
    def is_watch(self) -> bool:
        """Whether it asks for a stream of events."""
        return "watch=true" in self.path


@dataclass(frozen=True)
class Answer:
    """Answered in the API server's place."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Drop:
    """The connection is closed without an answer; `done` is whether the API server gets the request before that."""

    done: bool = False


@dataclass(frozen=True)
class Delay:
    """It is let through after some seconds."""

    seconds: float


Fault = Answer | Drop | Delay
Rule = Callable[[Request], Fault | None]


@dataclass(eq=False)
class _Exchange:
    """A request that is under way."""

    request: web.Request
    is_dead: bool = False
    """Whether nothing more comes through."""

    def cut(self) -> None:
        """Close the connection."""
        if self.request.transport is not None:
            self.request.transport.abort()


def _none(_: Request) -> None:
    return None


class FaultyProxy:
    """Between clients and one API server. Its methods may be called from any thread."""

    def __init__(self, server: ControlPlane) -> None:
        self.requests: list[Request] = []
        """All that came in, in order."""
        self.rule: Rule = _none
        """What happens to each request; None lets it through."""
        self._server = server
        self._port = free_port()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="faulty-proxy", daemon=True)
        self._open: set[_Exchange] = set()
        self._session: aiohttp.ClientSession
        self._runner: web.AppRunner
        self._site: web.TCPSite

    def kubeconfig(self, path: Path) -> Path:
        """Write a kubeconfig of an administrator whose requests come here; return its path."""
        config = yaml.safe_load(self._server.kubeconfig.read_text())
        config["clusters"][0]["cluster"] = {"server": f"http://127.0.0.1:{self._port}"}
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(yaml.safe_dump(config))
        return path

    def writes(self) -> list[Request]:
        """The requests that change something, without those of the election."""
        return [one for one in self.requests if one.is_write and "/leases" not in one.path]

    def go_down(self) -> None:
        """Refuse connections, and cut those that there are."""
        self._call(self._go_down())

    def come_up(self) -> None:
        """Take connections again."""
        self._call(self._come_up())

    def blackhole_open_streams(self) -> None:
        """Let nothing more through the connections that are open, and tell nobody; new ones work."""
        for exchange in list(self._open):
            exchange.is_dead = True

    def start(self) -> None:
        """Begin to take connections."""
        self._thread.start()
        self._call(self._start())

    def stop(self) -> None:
        """Cut all connections, and end."""
        self._call(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(_STARTED_SECONDS)

    async def _start(self) -> None:
        trusted = ssl.create_default_context(cafile=str(self._server.directory / "apiserver.crt"))
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=trusted),
            timeout=aiohttp.ClientTimeout(total=None),
            auto_decompress=False,
        )
        app = web.Application(client_max_size=2**24)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await self._come_up()

    async def _come_up(self) -> None:
        self._site = web.TCPSite(self._runner, "127.0.0.1", self._port, reuse_address=True)
        await self._site.start()

    async def _go_down(self) -> None:
        await self._site.stop()
        self._cut_all()

    async def _stop(self) -> None:
        self._cut_all()
        await self._runner.cleanup()
        await self._session.close()

    def _cut_all(self) -> None:
        """Close the connections, those too that only wait for the next request."""
        if self._runner.server is not None:
            for connection in self._runner.server.connections:
                if connection.transport is not None:
                    connection.transport.abort()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        exchange = _Exchange(request)
        self._open.add(exchange)
        try:
            return await self._answer(exchange)
        finally:
            self._open.discard(exchange)

    async def _answer(self, exchange: _Exchange) -> web.StreamResponse:
        request = exchange.request
        asked = Request(request.method, request.raw_path)
        self.requests.append(asked)
        fault = self.rule(asked)
        match fault:
            case Answer(status, body, headers):
                return web.Response(status=status, body=body, headers={"Content-Type": "application/json"} | headers)
            case Drop(done=False):
                exchange.cut()
                return web.Response()
            case Delay(seconds):
                await asyncio.sleep(seconds)
        return await self._forward(exchange, loses_answer=isinstance(fault, Drop))

    async def _forward(self, exchange: _Exchange, *, loses_answer: bool) -> web.StreamResponse:
        request = exchange.request
        headers = {key: value for key, value in request.headers.items() if key.lower() not in _HOP_BY_HOP}
        url = f"{self._server.url}{request.raw_path}"
        async with self._session.request(
            request.method, url, headers=headers, data=await request.read() or None
        ) as upstream:
            if loses_answer:
                await upstream.read()
                exchange.cut()
                return web.Response()
            kept = {key: value for key, value in upstream.headers.items() if key.lower() not in _HOP_BY_HOP}
            response = web.StreamResponse(status=upstream.status, headers=kept)
            await response.prepare(request)
            async for chunk in upstream.content.iter_any():
                if exchange.is_dead:
                    await asyncio.Future()
                await response.write(chunk)
            return response


@contextmanager
def faulty_proxy(server: ControlPlane) -> Iterator[FaultyProxy]:
    """A proxy in front of `server` until the context ends."""
    proxy = FaultyProxy(server)
    proxy.start()
    try:
        yield proxy
    finally:
        proxy.stop()
