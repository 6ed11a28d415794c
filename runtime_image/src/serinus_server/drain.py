"""The end of a server that loses nothing: keep serving while clients turn away, then finish what is left."""

import asyncio
from typing import Protocol

from serinus_server.http_server import HttpServer
from serinus_server.log import JsonLog
from serinus_server.readiness import Readiness


class GrpcPort(Protocol):
    """The gRPC port as a drain sees it; where there is none, nothing of gRPC is loaded."""

    def turn_away(self) -> None:
        """New clients should not come any more."""
        ...

    async def finish(self, timeout: float) -> int:
        """Stop accepting and wait for what is in work; returns how many connections were cut off."""
        ...


async def drain(
    server: HttpServer,
    grpc_server: GrpcPort | None,
    readiness: Readiness,
    log: JsonLog,
    *,
    delay: float,
    timeout: float,
) -> None:
    """Turn clients away for `delay` seconds while still serving them, then stop, within `timeout` more.

    Readiness fails at once and every reply closes its connection; endpoints and proxies take seconds to
    learn that a pod is leaving, and until then its requests are as good as any.
    """
    readiness.drain()
    log.event("draining", delay_seconds=delay)
    server.draining = True
    if grpc_server is not None:
        grpc_server.turn_away()
    await asyncio.sleep(delay)
    server.stop_accepting()
    servers: list[HttpServer | GrpcPort] = [server] if grpc_server is None else [server, grpc_server]
    cut_off = sum(await asyncio.gather(*(each.finish(timeout) for each in servers)))
    log.event("drained", level="warning" if cut_off else "info", connections_cut_off=cut_off)
