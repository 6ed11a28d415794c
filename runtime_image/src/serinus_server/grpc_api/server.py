"""The gRPC port: the inference service and the standard health service."""

from collections.abc import Callable
from typing import Final

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health

from serinus_server.grpc_api.service import SERVICE_NAME, InferenceService
from serinus_server.listening import EVERY_ADDRESS
from serinus_server.settings import ServeSettings
from serinus_server.tls import Certificate

_WHOLE_SERVER: Final = ""


class GrpcServer:
    """Listens, and tells the health service's watchers when the model is ready and when the server leaves."""

    def __init__(
        self,
        settings: ServeSettings,
        port: int,
        service: InferenceService,
        certificate: Callable[[], Certificate | None],
        *,
        shares_port: bool,
    ) -> None:
        """Asks for the `certificate` at start and at every new connection; without one there is no encryption."""
        self._certificate = certificate
        self._address = f"{_host(settings.host)}:{port}"
        self._health = health.HealthServicer()
        age = int(settings.max_connection_age * 1000)
        options = [
            ("grpc.max_receive_message_length", settings.max_body_size),
            ("grpc.max_send_message_length", -1),
            # Beyond these a client queues its calls by itself, instead of being told to come back later.
            ("grpc.max_concurrent_streams", 2 * settings.max_in_flight + 100),
            ("grpc.max_connection_age_ms", age),  # clients reconnect now and then, so that new pods get their share
            ("grpc.max_connection_age_grace_ms", int(settings.request_timeout * 1000)),
            ("grpc.max_connection_idle_ms", int(settings.keep_alive_timeout * 1000)),
            ("grpc.so_reuseport", int(shares_port)),  # otherwise a port that is taken is an error
        ]
        self._server = grpc.aio.server(options=options)
        self._server.add_generic_rpc_handlers((service.handlers(),))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)

    async def start(self) -> int:
        """Listen; returns the port.

        Raises OSError if the address is taken or not this machine's.
        """
        await self._tell(health_pb2.HealthCheckResponse.NOT_SERVING)
        try:
            port = self._add_port()
        except RuntimeError as error:
            raise OSError(f"cannot listen for gRPC on {self._address}: is it already in use?") from error
        await self._server.start()
        return port

    def _add_port(self) -> int:
        certificate = self._certificate()
        if certificate is None:
            return int(self._server.add_insecure_port(self._address))
        credentials = grpc.dynamic_ssl_server_credentials(
            _configuration(certificate),
            lambda: _configuration(self._certificate() or certificate),
            require_client_authentication=certificate.authorities is not None,
        )
        return int(self._server.add_secure_port(self._address, credentials))

    async def become_ready(self) -> None:
        """The model answers."""
        await self._tell(health_pb2.HealthCheckResponse.SERVING)

    async def turn_away(self) -> None:
        """New clients should not come any more; those that do are served."""
        await self._health.enter_graceful_shutdown()

    async def finish(self, timeout: float) -> None:
        """Stop accepting and wait for what is in work, for at most `timeout` seconds."""
        await self._server.stop(timeout)

    async def _tell(self, status: int) -> None:
        for name in (_WHOLE_SERVER, SERVICE_NAME):
            await self._health.set(name, status)


def _configuration(certificate: Certificate) -> grpc.ServerCertificateConfiguration:
    """A certificate as gRPC takes it."""
    pair = (certificate.key, certificate.chain)
    return grpc.ssl_server_certificate_configuration([pair], certificate.authorities)


def _host(host: str) -> str:
    """An address as gRPC writes it; an IPv6 wildcard takes IPv4, too."""
    if host == EVERY_ADDRESS:
        return "[::]"
    return f"[{host}]" if ":" in host else host
