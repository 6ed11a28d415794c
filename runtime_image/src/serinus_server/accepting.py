"""A port: who listens there, with which certificate, alone or with other workers."""

import asyncio
import ssl
from collections.abc import Callable

from serinus_server.listening import BACKLOG, listen, share

_HANDSHAKE_SECONDS = 10.0
_SHUTDOWN_SECONDS = 2.0


class Port:
    """Accepts connections, each of which gets a protocol of its own."""

    def __init__(self, protocol: Callable[[], asyncio.Protocol]) -> None:
        self._protocol = protocol

    async def listen(self, host: str, port: int, context: ssl.SSLContext | None, *, joins: bool) -> int:
        """Listen, with `joins` where another worker does already; returns the port, which matters if 0 was asked for.

        With a `context` connections are encrypted.

        Raises OSError if the address is taken or not this machine's.
        """
        self._listener = await asyncio.to_thread(listen, host, port, joins=joins)
        self._server = await self._accept(context)
        return int(self._listener.getsockname()[1])

    async def use(self, context: ssl.SSLContext) -> None:
        """Show new connections another certificate; those that are there stay.

        Nothing of the former one is left for them, neither its authorities nor its sessions, and none is refused
        meanwhile: both accept from the same socket until the former one ends.
        """
        former, self._server = self._server, await self._accept(context)
        former.close()

    async def _accept(self, context: ssl.SSLContext | None) -> asyncio.Server:
        loop = asyncio.get_running_loop()
        listener = self._listener.dup()
        if context is None:
            return await loop.create_server(self._protocol, sock=listener, backlog=BACKLOG)
        return await loop.create_server(
            self._protocol,
            sock=listener,
            backlog=BACKLOG,
            ssl=context,
            ssl_handshake_timeout=_HANDSHAKE_SECONDS,
            ssl_shutdown_timeout=_SHUTDOWN_SECONDS,
        )

    def share(self) -> None:
        """Let other workers listen at the same address."""
        share(self._listener)

    def close(self) -> None:
        """Refuse new connections from here on."""
        self._server.close()
        self._listener.close()
