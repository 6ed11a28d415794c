"""The end of a server that loses nothing: keep serving while clients turn away, then finish what is left."""

import asyncio

from serinus_server.http_server import HttpServer
from serinus_server.log import JsonLog
from serinus_server.readiness import Readiness


async def drain(server: HttpServer, readiness: Readiness, log: JsonLog, *, delay: float, timeout: float) -> None:
    """Turn clients away for `delay` seconds while still serving them, then stop, within `timeout` more.

    Readiness fails at once and every reply closes its connection; endpoints and proxies take seconds to
    learn that a pod is leaving, and until then its requests are as good as any.
    """
    log.event("draining", delay_seconds=delay)
    readiness.draining = True
    server.draining = True
    await asyncio.sleep(delay)
    server.stop_accepting()
    cut_off = await server.finish(timeout)
    log.event("drained", level="warning" if cut_off else "info", connections_cut_off=cut_off)
