"""The gRPC port: its calls, its connections, and the clock that watches over them."""

import asyncio
import time
from collections.abc import Mapping
from typing import Final

from serinus_server.accepting import Port
from serinus_server.access import Access
from serinus_server.access_log import AccessLog
from serinus_server.grpc_api.call import Method
from serinus_server.grpc_api.connection import Connection
from serinus_server.grpc_api.health import Health
from serinus_server.grpc_api.infer_method import InferMethod
from serinus_server.grpc_api.model_methods import ModelMethods
from serinus_server.grpc_api.open_inference_grpc_pb2 import DESCRIPTOR
from serinus_server.grpc_api.served import Served
from serinus_server.http2.session import Limits
from serinus_server.inference import Inference
from serinus_server.readiness import Readiness
from serinus_server.settings import ServeSettings
from serinus_server.tls import Certificate

_SERVICE: Final = DESCRIPTOR.services_by_name["GRPCInferenceService"].full_name
_CHECK_INTERVAL_SECONDS: Final = 0.1
_MAX_MESSAGE_BYTES: Final = 2**31 - 2**16  # as much as the window of a stream can allow


class GrpcServer:
    """Accepts connections; holds what they share."""

    def __init__(
        self,
        settings: ServeSettings,
        inference: Inference,
        readiness: Readiness,
        log: AccessLog,
        access: Access | None,
    ) -> None:
        self._host = settings.host
        self._health = Health([_SERVICE])
        self._port = Port(lambda: Connection(self))
        self._clock: asyncio.TimerHandle | None = None
        served = Served(settings.model_name, settings.model_version)
        message_limit = min(settings.max_body_size, _MAX_MESSAGE_BYTES)
        infer = f"/{_SERVICE}/ModelInfer"
        methods: dict[str, Method] = {infer: InferMethod(served, inference, log, infer, message_limit)}
        for name, method in ModelMethods(served, readiness, access).by_name().items():
            methods[f"/{_SERVICE}/{name}"] = method
        methods.update(self._health.methods())
        self.methods: Mapping[bytes, Method] = {path.encode(): method for path, method in methods.items()}
        # Beyond these a client queues its calls by itself, instead of being told to come back later.
        self.limits = Limits(2 * settings.max_in_flight + 100, settings.max_body_size)
        self.connections: set[Connection] = set()
        self.request_timeout = settings.request_timeout
        self.keep_alive_timeout = settings.keep_alive_timeout
        self.max_connection_age = settings.max_connection_age

    async def start(self, port: int, certificate: Certificate | None, *, joins: bool) -> int:
        """Listen, with `joins` where another worker does already; returns the port.

        Raises OSError if the address is taken or not this machine's.
        """
        context = None if certificate is None else certificate.grpc_context
        try:
            port = await self._port.listen(self._host, port, context, joins=joins)
        except OSError as error:
            raise OSError(f"cannot listen for gRPC on {self._host}:{port}: {error}") from error
        self._tick()
        return port

    async def use_certificate(self, certificate: Certificate) -> None:
        """Show new connections another one; those that are there stay."""
        await self._port.use(certificate.grpc_context)

    def share(self) -> None:
        """Let other workers listen at the same address."""
        self._port.share()

    def become_ready(self) -> None:
        """The model answers."""
        self._health.serve(serving=True)

    def turn_away(self) -> None:
        """New clients should not come any more; those that do are served."""
        self._health.serve(serving=False)

    async def finish(self, timeout: float) -> int:
        """Stop accepting and wait for what is in work, for at most `timeout` seconds.

        Returns how many connections had to be cut off with a call pending.
        """
        self._port.close()
        self._health.leave()
        for connection in list(self.connections):
            connection.leave()
        deadline = time.perf_counter() + timeout
        while self.connections and time.perf_counter() < deadline:
            await asyncio.sleep(0.02)
        cut_off = sum(not connection.idle for connection in self.connections)
        for connection in list(self.connections):
            connection.abort()
        if self._clock is not None:
            self._clock.cancel()
        await asyncio.sleep(0)
        return cut_off

    def _tick(self) -> None:
        now = time.perf_counter()
        for connection in list(self.connections):
            connection.check(now)
        self._clock = asyncio.get_running_loop().call_later(_CHECK_INTERVAL_SECONDS, self._tick)
