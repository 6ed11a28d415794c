"""The operator's HTTP endpoints: metrics and health."""

from collections.abc import Callable, Sequence

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest


class Endpoints:
    """Serves /metrics, /healthz (what a restart would put right) and /readyz (whether the watches are in sync)."""

    def __init__(self, port: int, ailments: Callable[[], Sequence[str]], is_ready: Callable[[], bool]) -> None:
        self._port = port
        self._ailments = ailments
        self._is_ready = is_ready
        self._runner: web.AppRunner | None = None

    async def open(self) -> None:
        """Begin to answer, on all addresses. Raises OSError when the port is taken."""
        app = web.Application()
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/healthz", self._health)
        app.router.add_get("/readyz", self._readiness)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, port=self._port).start()

    async def close(self) -> None:
        """Stop answering."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _health(self, _: web.Request) -> web.Response:
        ailments = self._ailments()
        return _answer(not ailments, "; ".join(ailments))

    async def _readiness(self, _: web.Request) -> web.Response:
        return _answer(self._is_ready(), "starting")


def _answer(is_well: bool, otherwise: str) -> web.Response:
    return web.Response(text="ok") if is_well else web.Response(status=503, text=otherwise)
