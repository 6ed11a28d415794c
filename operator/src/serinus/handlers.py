"""The kopf wiring, and nothing else: indices that hold slim copies, and events that enqueue keys."""

import random
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import aiohttp
import kopf

from serinus.adapters.watches import WatchLog
from serinus.api.v1beta1 import GROUP, PLURAL, VERSION
from serinus.controller import Controller, Key
from serinus.core.names import SERVICE_LABEL
from serinus.core.projection import packed, slim_child, slim_pod, slim_service
from serinus.ports import Manifest

Slim = Callable[[Mapping[str, Any]], Manifest]

_LONGEST_BACKOFF: Final = 15.0

_CHILDREN: Final[tuple[tuple[str, tuple[str, str, str], Slim], ...]] = (
    ("config_maps", ("", "v1", "configmaps"), slim_child),
    ("deployments", ("apps", "v1", "deployments"), slim_child),
    ("controller_revisions", ("apps", "v1", "controllerrevisions"), slim_child),
    ("kubernetes_services", ("", "v1", "services"), slim_child),
    ("autoscalers", ("autoscaling", "v2", "horizontalpodautoscalers"), slim_child),
    ("disruption_budgets", ("policy", "v1", "poddisruptionbudgets"), slim_child),
    ("pods", ("", "v1", "pods"), slim_pod),
)
"""Index, resource, and how its objects are slimmed."""

_ROUTES: Final[tuple[str, tuple[str, str, str], Slim]] = (
    "routes",
    ("gateway.networking.k8s.io", "v1", "httproutes"),
    slim_child,
)
"""Watched only where the platform has a Gateway: elsewhere the API server need not know the resource."""

WATCHED: Final = frozenset({PLURAL, *(resource[-1] for _, resource, _ in (*_CHILDREN, _ROUTES))})
"""The resources that are watched, by plural."""


def build_registry(
    controller: Controller,
    watch_log: WatchLog,
    *,
    inactivity_seconds: float,
    has_gateway: bool = False,
    has_cluster_rights: bool = True,
) -> kopf.OperatorRegistry:
    """The handlers around `controller`; a watch that brings nothing for `inactivity_seconds` is opened anew.

    Without cluster rights the namespaces are taken as given, and a resource that is defined later is not noticed.
    """
    registry = kopf.OperatorRegistry()
    _watch_services(registry, controller, watch_log)
    children = (*_CHILDREN, _ROUTES) if has_gateway else _CHILDREN
    for index, resource, slim in children:
        _watch_child(registry, controller, watch_log, index, resource, slim)

    @kopf.on.login(registry=registry)
    async def log_in(**kwargs: Any) -> kopf.AiohttpSession | None:  # noqa: ANN401 - kopf's signature
        info = kopf.login_with_service_account(**kwargs) or kopf.login_with_kubeconfig(**kwargs)
        return _traced(info, watch_log) if info else None

    @kopf.on.startup(registry=registry)
    async def start(settings: kopf.OperatorSettings, **kwargs: Any) -> None:  # noqa: ANN401 - kopf's signature
        _configure(settings, inactivity_seconds)
        settings.scanning.disabled = not has_cluster_rights
        controller.start({index: kwargs[index] for index in ("services", *(child[0] for child in children))})

    @kopf.on.cleanup(registry=registry)
    async def stop(**_: Any) -> None:  # noqa: ANN401 - kopf's signature
        await controller.stop()

    return registry


class _ForeverLonger:
    """Seconds between the attempts of a list or a watch: ever longer, up to a limit, and never the last one.

    kopf ends the whole operator after its last attempt.
    """

    def __iter__(self) -> Iterator[float]:
        seconds = 0.5
        while True:
            yield random.uniform(seconds / 2, seconds)  # noqa: S311 - to spread the load, not to keep a secret
            seconds = min(2 * seconds, _LONGEST_BACKOFF)


class _NoDiffs(kopf.DiffBaseStorage):
    """kopf compares each object with what it was like before, for handlers that there are none of here."""

    def build(self, **_: Any) -> kopf.BodyEssence:  # noqa: ANN401 - kopf's signature
        return kopf.BodyEssence()

    def fetch(self, **_: Any) -> kopf.BodyEssence | None:  # noqa: ANN401
        return None

    def store(self, **_: Any) -> None:  # noqa: ANN401
        pass


def _traced(info: kopf.ConnectionInfo, watch_log: WatchLog) -> kopf.AiohttpSession:
    """kopf's own way to the API server, with each request noted."""
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ssl=info.as_ssl_context()),
        headers=info.as_http_headers(),
        trace_configs=[watch_log.trace()],
    )
    return kopf.AiohttpSession(
        server=info.server,
        default_namespace=info.default_namespace,
        expiration=info.expiration,
        aiohttp_session=session,
    )


def _configure(settings: kopf.OperatorSettings, inactivity_seconds: float) -> None:
    settings.posting.enabled = False
    # So long does kopf keep the last event of each object, with all its managed fields, in case there is another.
    settings.queueing.idle_timeout = 0.1
    settings.persistence.diffbase_storage = _NoDiffs()
    settings.persistence.progress_storage = kopf.StatusProgressStorage()
    settings.networking.error_backoffs = _ForeverLonger()
    settings.networking.request_timeout = 60
    settings.networking.connect_timeout = 15
    settings.watching.inactivity_timeout = inactivity_seconds
    settings.watching.server_timeout = 300
    settings.watching.client_timeout = 330
    settings.watching.connect_timeout = 15
    settings.watching.chunk_size = 500
    for _, resource, _ in (*_CHILDREN, _ROUTES):
        settings.watching.label_selectors[resource] = SERVICE_LABEL


def _watch_services(registry: kopf.OperatorRegistry, controller: Controller, watch_log: WatchLog) -> None:
    @kopf.index(GROUP, VERSION, PLURAL, id="services", registry=registry)
    async def index(body: kopf.Body, **_: Any) -> dict[Key, bytes]:  # noqa: ANN401
        return {_key(body, body.metadata["name"]): packed(slim_service(body))}

    @kopf.on.event(GROUP, VERSION, PLURAL, registry=registry)
    async def event(body: kopf.Body, **_: Any) -> None:  # noqa: ANN401
        watch_log.event(PLURAL, body.metadata["namespace"])
        controller.enqueue(_key(body, body.metadata["name"]))


def _watch_child(
    registry: kopf.OperatorRegistry,
    controller: Controller,
    watch_log: WatchLog,
    index_name: str,
    resource: tuple[str, str, str],
    slim: Slim,
) -> None:
    labels = {SERVICE_LABEL: kopf.PRESENT}

    @kopf.index(*resource, id=index_name, labels=labels, registry=registry)
    async def index(body: kopf.Body, **_: Any) -> dict[Key, bytes]:  # noqa: ANN401
        return {_key(body, body.metadata["labels"][SERVICE_LABEL]): packed(slim(body))}

    @kopf.on.event(*resource, labels=labels, registry=registry)
    async def event(body: kopf.Body, **_: Any) -> None:  # noqa: ANN401
        watch_log.event(resource[-1], body.metadata["namespace"])
        controller.enqueue(_key(body, body.metadata["labels"][SERVICE_LABEL]))


def _key(body: kopf.Body, service: str) -> Key:
    """The InferenceService that an object is, or belongs to."""
    return body.metadata["namespace"], service
