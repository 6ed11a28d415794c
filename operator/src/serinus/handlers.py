"""The kopf wiring, and nothing else: indices that hold slim copies, and events that enqueue keys."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import kopf

from serinus.api.v1beta1 import GROUP, PLURAL, VERSION
from serinus.controller import Controller, Key
from serinus.core.names import SERVICE_LABEL
from serinus.core.projection import slim_child, slim_pod, slim_service
from serinus.ports import Manifest

Slim = Callable[[Mapping[str, Any]], Manifest]

_CHILDREN: Final[tuple[tuple[str, tuple[str, str, str], Slim], ...]] = (
    ("deployments", ("apps", "v1", "deployments"), slim_child),
    ("controller_revisions", ("apps", "v1", "controllerrevisions"), slim_child),
    ("kubernetes_services", ("", "v1", "services"), slim_child),
    ("autoscalers", ("autoscaling", "v2", "horizontalpodautoscalers"), slim_child),
    ("disruption_budgets", ("policy", "v1", "poddisruptionbudgets"), slim_child),
    ("pods", ("", "v1", "pods"), slim_pod),
)
"""Index, resource, and how its objects are slimmed."""


def build_registry(
    controller: Controller, begin: Callable[[], Awaitable[None]], end: Callable[[], Awaitable[None]]
) -> kopf.OperatorRegistry:
    """The handlers around `controller`; `begin` is called once it is started, and `end` once it is stopped."""
    registry = kopf.OperatorRegistry()
    _watch_services(registry, controller)
    for index, resource, slim in _CHILDREN:
        _watch_child(registry, controller, index, resource, slim)

    @kopf.on.login(registry=registry)
    def log_in(**kwargs: Any) -> kopf.ConnectionInfo | None:  # noqa: ANN401 - kopf's signature
        return kopf.login_with_service_account(**kwargs) or kopf.login_with_kubeconfig(**kwargs)

    @kopf.on.startup(registry=registry)
    async def start(settings: kopf.OperatorSettings, **kwargs: Any) -> None:  # noqa: ANN401 - kopf's signature
        _configure(settings)
        controller.start({index: kwargs[index] for index in ("services", *(child[0] for child in _CHILDREN))})
        await begin()

    @kopf.on.cleanup(registry=registry)
    async def stop(**_: Any) -> None:  # noqa: ANN401 - kopf's signature
        await controller.stop()
        await end()

    return registry


def _configure(settings: kopf.OperatorSettings) -> None:
    settings.posting.enabled = False
    settings.watching.server_timeout = 300
    settings.watching.client_timeout = 330
    settings.watching.connect_timeout = 15
    settings.watching.chunk_size = 500
    for _, resource, _ in _CHILDREN:
        settings.watching.label_selectors[resource] = SERVICE_LABEL


def _watch_services(registry: kopf.OperatorRegistry, controller: Controller) -> None:
    @kopf.index(GROUP, VERSION, PLURAL, id="services", registry=registry)
    async def index(body: kopf.Body, **_: Any) -> dict[Key, Manifest]:  # noqa: ANN401
        return {_key(body, body.metadata["name"]): slim_service(body)}

    @kopf.on.event(GROUP, VERSION, PLURAL, registry=registry)
    async def event(body: kopf.Body, **_: Any) -> None:  # noqa: ANN401
        controller.enqueue(_key(body, body.metadata["name"]))


def _watch_child(
    registry: kopf.OperatorRegistry, controller: Controller, index_name: str, resource: tuple[str, str, str], slim: Slim
) -> None:
    labels = {SERVICE_LABEL: kopf.PRESENT}

    @kopf.index(*resource, id=index_name, labels=labels, registry=registry)
    async def index(body: kopf.Body, **_: Any) -> dict[Key, Manifest]:  # noqa: ANN401
        return {_key(body, body.metadata["labels"][SERVICE_LABEL]): slim(body)}

    @kopf.on.event(*resource, labels=labels, registry=registry)
    async def event(body: kopf.Body, **_: Any) -> None:  # noqa: ANN401
        controller.enqueue(_key(body, body.metadata["labels"][SERVICE_LABEL]))


def _key(body: kopf.Body, service: str) -> Key:
    """The InferenceService that an object is, or belongs to."""
    return body.metadata["namespace"], service
