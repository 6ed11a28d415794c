"""The Open Inference Protocol's REST calls: which path is answered by whom."""

from asyncio import Task
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Final
from urllib.parse import quote, unquote_to_bytes

from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4

from serinus_server.access import Access, PendingVerdict, Verdict
from serinus_server.access_log import AccessLog
from serinus_server.http_message import Handler, Reply, Request, credentials_of, error_reply, json_reply
from serinus_server.infer_handler import InferHandler
from serinus_server.metadata import model_metadata, server_metadata
from serinus_server.metrics import Metrics
from serinus_server.readiness import Readiness
from serinus_server.refusal import NO_CERTIFICATE, Refusal

_MONITORING: Final = frozenset({b"/v2/health/live", b"/v2/health/ready", b"/metrics"})


class Page:
    """Answers a GET with what a function returns; everything is known without the body."""

    def __init__(self, render: Callable[[], Reply], access_log: AccessLog, *, quiet: bool = False) -> None:
        self._render = render
        self._access_log = access_log
        self._quiet = quiet

    def admit(self, request: Request) -> Reply | None:  # noqa: ARG002 - the protocol's signature
        """Every body is fine, as it is not read."""
        return None

    def handle(self, request: Request, respond: Callable[[Request, Reply], None]) -> None:
        """Answer at once."""
        respond(request, self._render())

    def answered(self, request: Request, reply: Reply) -> None:
        """Log it, but not probes and scrapes, which come every few seconds."""
        if not self._quiet:
            self._access_log.answered(request, reply)

    def abandon(self, request: Request) -> None:
        """Nothing was begun."""


class GuardedPage(Page):
    """A page for those who may also infer."""

    def __init__(self, render: Callable[[], Reply], access_log: AccessLog, access: Access | None) -> None:
        """Everybody may see it without `access`."""
        super().__init__(render, access_log)
        self._access = access

    def admit(self, request: Request) -> Reply | None:
        """Ask who it is."""
        if request.lacks_certificate:
            return self._refused(request, NO_CERTIFICATE)
        if self._access is None:
            return None
        request.note = self._access.check(credentials_of(request))
        return None if isinstance(request.note, Task) else self._refused(request, request.note)

    def handle(self, request: Request, respond: Callable[[Request, Reply], None]) -> None:
        """Answer once it is known who asks."""
        if not isinstance(request.note, Task):
            respond(request, self._render())
            return

        def identified(pending: PendingVerdict) -> None:
            respond(request, self._refused(request, pending.result()) or self._render())

        request.note.add_done_callback(identified)

    def _refused(self, request: Request, verdict: Verdict) -> Reply | None:
        if isinstance(verdict, Refusal):
            request.client = verdict.client
            return error_reply(verdict.status, verdict.message, verdict.headers)
        request.client = verdict
        return None


class Router:
    """Finds the handler of a request."""

    def __init__(
        self,
        model_name: str,
        model_version: str,
        infer: InferHandler,
        readiness: Readiness,
        metrics: Metrics,
        access_log: AccessLog,
        access: Access | None = None,
    ) -> None:
        self._served = f"this server has model {model_name!r}, version {model_version!r}"
        self._access_log = access_log
        pages = _Pages(model_name, model_version, readiness, metrics)
        model = f"/v2/models/{quote(model_name, safe='')}"
        version = f"{model}/versions/{quote(model_version, safe='')}"
        self._pages = {
            b"/v2": Page(pages.server, access_log),
            b"/v2/health/live": Page(pages.live, access_log, quiet=True),
            b"/v2/health/ready": Page(pages.ready, access_log, quiet=True),
            b"/metrics": Page(pages.metrics, access_log, quiet=True),
        }
        self._infer: dict[bytes, Handler] = {}
        for path in (model, version):
            self._pages[path.encode()] = GuardedPage(pages.model, access_log, access)
            self._pages[f"{path}/ready".encode()] = Page(pages.model_ready, access_log, quiet=True)
            self._infer[f"{path}/infer".encode()] = infer
        self.unparsable: Handler = Page(lambda: error_reply(HTTPStatus.BAD_REQUEST, "bad request"), access_log)

    def resolve(self, target: bytes, method: bytes) -> Handler:
        """The handler for a request target; one that answers 404 or 405 where there is none."""
        if method == b"POST" and (infer := self._infer.get(target)):
            return infer
        path = _path(target)
        if path in self._infer:
            return self._infer[path] if method == b"POST" else self._wrong_method(b"POST")
        if path in self._pages:
            return self._pages[path] if method in {b"GET", b"HEAD"} else self._wrong_method(b"GET, HEAD")
        return self._not_found(path.decode(errors="replace"))

    def _wrong_method(self, allowed: bytes) -> Handler:
        message = f"this path takes {allowed.decode()}"
        headers = b"Allow: " + allowed + b"\r\n"
        return Page(lambda: error_reply(HTTPStatus.METHOD_NOT_ALLOWED, message, headers), self._access_log)

    def _not_found(self, path: str) -> Handler:
        message = f"there is no {path[:200]}"
        if path.startswith("/v2/models/"):
            message += f"; {self._served}"
        return Page(lambda: error_reply(HTTPStatus.NOT_FOUND, message), self._access_log)


class MonitoringRoutes:
    """Those of health and metrics alone: for probes and scrapes, which have neither keys nor certificates."""

    def __init__(self, router: Router, access_log: AccessLog) -> None:
        self._router = router
        self._access_log = access_log
        self.unparsable = router.unparsable

    def resolve(self, target: bytes, method: bytes) -> Handler:
        """The handler for a request target; one that answers 404 for whatever else the server has."""
        path = _path(target)
        if path in _MONITORING:
            return self._router.resolve(path, method)
        message = f"there is no {path.decode(errors='replace')[:200]} at this port, which has health and metrics alone"
        return Page(lambda: error_reply(HTTPStatus.NOT_FOUND, message), self._access_log)


def _path(target: bytes) -> bytes:
    """The path of a request target, percent-encoded as the router's own paths are."""
    if not target.startswith(b"/"):  # absolute form, as sent to proxies
        target = b"/" + target.partition(b"://")[2].partition(b"/")[2]
    path = target.partition(b"?")[0]
    if len(path) > 1:
        path = path.removesuffix(b"/")
    if b"%" in path:
        path = b"/".join(quote(unquote_to_bytes(part), safe="").encode() for part in path.split(b"/"))
    return path


class _Pages:
    """What the GET calls say."""

    def __init__(self, model_name: str, model_version: str, readiness: Readiness, metrics: Metrics) -> None:
        self._name = model_name
        self._version = model_version
        self._readiness = readiness
        self._metrics = metrics

    def server(self) -> Reply:
        return json_reply(HTTPStatus.OK, server_metadata())

    def live(self) -> Reply:
        reason = self._readiness.reason_not_alive
        if reason is None:
            return json_reply(HTTPStatus.OK, {"live": True})
        return json_reply(HTTPStatus.SERVICE_UNAVAILABLE, {"live": False, "error": reason})

    def ready(self) -> Reply:
        return self._readiness_reply({})

    def model_ready(self) -> Reply:
        return self._readiness_reply({"name": self._name})

    def model(self) -> Reply:
        model = self._readiness.model
        if model is None:
            return self._readiness_reply({"name": self._name})
        return json_reply(HTTPStatus.OK, model_metadata(model))

    def metrics(self) -> Reply:
        return Reply(HTTPStatus.OK, self._metrics.expose(), CONTENT_TYPE_PLAIN_0_0_4.encode())

    def _readiness_reply(self, subject: Mapping[str, str]) -> Reply:
        reason = self._readiness.reason_not_ready
        if reason is None:
            return json_reply(HTTPStatus.OK, {**subject, "ready": True})
        return json_reply(HTTPStatus.SERVICE_UNAVAILABLE, {**subject, "ready": False, "error": reason})
