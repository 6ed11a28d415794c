"""The listening socket, its connections, and the clock that watches over them."""

import asyncio
import time
from collections.abc import Callable
from email.utils import formatdate
from typing import Final, Protocol

from serinus_server.accepting import Port
from serinus_server.http_connection import Connection
from serinus_server.http_message import Handler
from serinus_server.settings import ServeSettings
from serinus_server.tls import Certificate

_CHECK_INTERVAL_SECONDS: Final = 0.5


class Routes(Protocol):
    """Who answers which requests."""

    unparsable: Handler

    def resolve(self, target: bytes, method: bytes) -> Handler:
        """The handler for a request target."""
        ...


class HttpServer:
    """Accepts connections; holds what they share."""

    def __init__(
        self, settings: ServeSettings, port: int, routes: Routes, certificate: Certificate | None = None
    ) -> None:
        """With a `certificate` it speaks HTTPS; port 0 takes a free one."""
        self._address = settings.host, port
        self.connections: set[Connection] = set()
        self._certificate = certificate
        self.requires_client_certificate = certificate is not None and certificate.authorities is not None
        self.date = b""
        self.draining = False
        self.max_body_size = settings.max_body_size
        self.request_timeout = settings.request_timeout
        self.keep_alive_timeout = settings.keep_alive_timeout
        self.max_connection_age = settings.max_connection_age
        self.unparsable: Handler = routes.unparsable
        self.resolve: Callable[[bytes, bytes], Handler] = routes.resolve
        self._port = Port(lambda: Connection(self))
        self._clock: asyncio.TimerHandle | None = None

    async def start(self, *, joins: bool = False) -> int:
        """Listen, with `joins` where another worker does already; returns the port, which matters if 0 was asked for.

        Raises OSError if the address is taken or not this machine's.
        """
        context = None if self._certificate is None else self._certificate.context
        port = await self._port.listen(*self._address, context, joins=joins)
        self._tick()
        return port

    async def use_certificate(self, certificate: Certificate) -> None:
        """Show new connections another one; those that are there stay."""
        await self._port.use(certificate.context)

    def share(self) -> None:
        """Let other workers listen at the same address."""
        self._port.share()

    def stop_accepting(self) -> None:
        """Refuse new connections from here on."""
        self._port.close()

    async def finish(self, timeout: float) -> int:
        """Wait for what is in work, for at most `timeout` seconds, then close.

        Returns how many connections had to be cut off with a request pending.
        """
        deadline = time.perf_counter() + timeout
        while any(not connection.idle for connection in self.connections) and time.perf_counter() < deadline:
            await asyncio.sleep(0.02)
        cut_off = sum(not connection.idle for connection in self.connections)
        for connection in list(self.connections):
            connection.close()
        if self._clock is not None:
            self._clock.cancel()
        await asyncio.sleep(0)
        return cut_off

    def _tick(self) -> None:
        self.date = formatdate(usegmt=True).encode()
        now = time.perf_counter()
        for connection in list(self.connections):
            connection.check(now)
        self._clock = asyncio.get_running_loop().call_later(_CHECK_INTERVAL_SECONDS, self._tick)
