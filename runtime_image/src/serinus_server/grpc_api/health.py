"""The standard health service, grpc.health.v1: https://grpc.io/docs/guides/health-checking/"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Final

from google.protobuf.message import DecodeError

from serinus_server.grpc_api.call import Call, Method
from serinus_server.grpc_api.health_pb2 import DESCRIPTOR, HealthCheckRequest, HealthCheckResponse
from serinus_server.grpc_api.unary_method import MESSAGE_LIMIT, UnaryMethod
from serinus_server.refusal import Refusal

_SERVICE: Final = DESCRIPTOR.services_by_name["Health"].full_name
_WHOLE_SERVER: Final = ""
_LEAVING: Final = Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "the server is shutting down", "not_ready")


class Health:
    """Tells whether the server, or one of its services by name, should get calls; to watchers whenever that changes."""

    def __init__(self, services: Iterable[str]) -> None:
        self._services = frozenset({_WHOLE_SERVER, *services})
        self._status = HealthCheckResponse.NOT_SERVING
        self._watch = _Watch(self)

    def methods(self) -> Mapping[str, Method]:
        """The calls by path."""
        return {f"/{_SERVICE}/Check": UnaryMethod(HealthCheckRequest, self._check), f"/{_SERVICE}/Watch": self._watch}

    def serve(self, *, serving: bool) -> None:
        """Calls are welcome, or are not any more."""
        self._status = HealthCheckResponse.SERVING if serving else HealthCheckResponse.NOT_SERVING
        for name in self._services:
            self._watch.tell(name)

    def leave(self) -> None:
        """Nobody has to watch any longer."""
        self._watch.end_all()

    def status(self, name: str) -> HealthCheckResponse.ServingStatus | None:
        """The status of a service; None if there is none of that name."""
        return self._status if name in self._services else None

    def _check(self, request: HealthCheckRequest) -> HealthCheckResponse | Refusal:
        status = self.status(request.service)
        if status is None:
            return Refusal(HTTPStatus.NOT_FOUND, f"there is no service {request.service[:200]!r}")
        return HealthCheckResponse(status=status)


class _Watch:
    """Answers with a message at once, and with another whenever the status changes, until the client leaves."""

    message_limit = MESSAGE_LIMIT

    def __init__(self, health: Health) -> None:
        self._health = health
        self._watching: defaultdict[str, set[Call]] = defaultdict(set)
        self._leaving = False

    def opened(self, call: Call) -> None:
        """Nothing to be decided yet."""

    def announced(self, call: Call, size: int) -> None:
        """Nothing either."""

    def asked(self, call: Call, message: bytes) -> None:
        """Tell the status, and keep the call."""
        try:
            name = HealthCheckRequest.FromString(message).service
        except DecodeError as error:
            self.failed(call, Refusal(HTTPStatus.BAD_REQUEST, f"the request is not a HealthCheckRequest: {error}"))
            return
        call.start()
        call.send(self._message(name))
        if self._leaving:
            call.end(_LEAVING)
        elif not call.over:
            call.note = name
            self._watching[name].add(call)

    def tell(self, name: str) -> None:
        """Tell the status of a service to all who watch it."""
        for call in list(self._watching.get(name, ())):
            call.send(self._message(name))

    def end_all(self) -> None:
        """End every call; those that come later get one message."""
        self._leaving = True
        for calls in list(self._watching.values()):
            for call in list(calls):
                call.end(_LEAVING)
        self._watching.clear()

    def failed(self, call: Call, refusal: Refusal) -> None:
        """Refuse."""
        call.refuse(refusal)

    def abandoned(self, call: Call) -> None:
        """The client watches no more."""
        calls = self._watching.get(call.note or "")
        if calls is not None:
            calls.discard(call)
            if not calls:
                del self._watching[call.note or ""]

    def _message(self, name: str) -> bytes:
        status = self._health.status(name)
        content: bytes = HealthCheckResponse(
            status=HealthCheckResponse.SERVICE_UNKNOWN if status is None else status
        ).SerializeToString()
        return content
