"""What somebody else changes on the children is put right, field by field."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

import pytest
from pydantic import JsonValue

from serinus.api.v1beta1 import InferenceServiceSpec
from serinus.core.canary import first_state
from serinus.core.desired import desired
from serinus.core.identity import Identity
from serinus.core.observe import Observed
from serinus.core.revision import revision_of
from tests.cluster.control_plane import ControlPlane
from tests.contract import api
from tests.contract.manifests import SMALLEST, Manifest, changed
from tests.contract.world import NAME, SETTINGS, World

NAMESPACE: Final = "drift"
SERVED: Final = {
    "metadata.namespace": NAMESPACE,
    "spec.autoscaling": {"minReplicas": 1, "maxReplicas": 4},
    "spec.model.credentials": {"secretName": "models-s3"},
}
Path = tuple[str | int, ...]


def wanted(uid: str) -> dict[str, Manifest]:
    """What the operator applies, by kind."""
    spec = InferenceServiceSpec.model_validate(changed(SMALLEST, SERVED)["spec"])
    revision = revision_of(spec)
    state = first_state(revision, datetime(2026, 1, 1, tzinfo=UTC))
    made = desired(Identity(NAMESPACE, NAME, uid), spec, revision, state, Observed(), SETTINGS.server)
    # The number of a ControllerRevision is taken as it is found.
    return {one["kind"]: {key: one[key] for key in one if key != "revision"} for one in made.manifests}


def leaves(value: JsonValue, path: Path = ()) -> Iterator[tuple[Path, JsonValue]]:
    """Every value below `value` that holds no others."""
    parts: list[tuple[str | int, JsonValue]] = []
    if isinstance(value, dict):
        parts += value.items()
    elif isinstance(value, list):
        parts += enumerate(value)
    if not parts:
        yield path, value
    for key, part in parts:
        yield from leaves(part, (*path, key))


IDENTITY: Final = ("apiVersion", "kind", "name", "namespace")
"""Below metadata: what makes it this object."""
IMMUTABLE: Final = ("ControllerRevision/data", "Deployment/spec/selector")
"""What the API server lets nobody change."""
GIVEN_AWAY: Final = "/metadata/ownerReferences/0/uid"
"""An object of another owner is somebody else's."""
ENTRIES: Final = {
    "containers": "name",
    "env": "name",
    "initContainers": "name",
    "volumes": "name",
    "volumeMounts": "mountPath",
}
"""Lists whose entries go by a key: under another key it is another entry, and not ours."""
TIED: Final = (
    "Deployment/spec/strategy/type",
    "Deployment/spec/template/metadata/labels/serinus.dev",
    "Deployment/spec/template/spec/containers/0/volumeMounts/0/name",
    "Deployment/spec/template/spec/containers/0/volumeMounts/1/name",
    "Deployment/spec/template/spec/containers/0/volumeMounts/2/name",
    "Deployment/spec/template/spec/containers/0/volumeMounts/3/name",
    "Deployment/spec/template/spec/initContainers/0/volumeMounts/0/name",
    "Deployment/spec/template/spec/initContainers/0/volumeMounts/1/name",
    "HorizontalPodAutoscaler/spec/metrics/0/type",
    "HorizontalPodAutoscaler/spec/metrics/0/resource/target/type",
)
"""What the API server holds to another field: nobody can change it alone."""

OTHER: Final[dict[str, JsonValue]] = {
    "limits/cpu": "7",
    "limits/memory": "7Gi",
    "requests/cpu": "77m",
    "requests/memory": "77Mi",
    "emptyDir/sizeLimit": "7Gi",
    "imagePullPolicy": "Never",
    "protocol": "UDP",
    "seccompProfile/type": "Unconfined",
    "spec/type": "NodePort",
    "unhealthyPodEvictionPolicy": "IfHealthyBudget",
    "whenUnsatisfiable": "DoNotSchedule",
}
"""Values that a field may have, where not every word will do."""


def other(path: Path, value: JsonValue) -> JsonValue:
    """A value of the same type that the field may have."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    at = "/".join(map(str, path))
    return next((one for end, one in OTHER.items() if at.endswith(end)), f"{value}x")


def cases() -> Iterator[tuple[str, Path, JsonValue]]:
    """Kind, field, and the value that somebody gives it."""
    for kind, manifest in wanted("0").items():
        for path, value in leaves(manifest):
            at = f"{kind}/{'/'.join(map(str, path))}"
            is_identity = path[-1] in IDENTITY and len(path) <= 2
            names_an_entry = len(path) > 2 and ENTRIES.get(str(path[-3])) == path[-1]
            if not is_identity and not names_an_entry and not at.endswith(GIVEN_AWAY):
                yield kind, path, other(path, value)


def pointer(path: Path) -> str:
    """`path` as a JSON patch writes it."""
    return "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in path)


@pytest.fixture(scope="module")
def served(server: ControlPlane) -> World:
    """A service that serves, in a namespace that the tests of this module share."""
    api.send(server.api, "POST", "/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
    world = World(server.api, NAMESPACE)
    world.deploy(SERVED)
    return world


@pytest.fixture(scope="module")
def before(served: World) -> dict[str, Manifest]:
    """Its children as they are when all is well, by kind."""
    return {child["kind"]: child for child in served.owned()}


def change(world: World, kind: str, *operations: dict[str, Any]) -> Manifest:
    """Have somebody change the child of this kind by a JSON patch."""
    return api.patch(world.server, world.only(kind), list(operations), content_type=api.JSON_PATCH)


def assert_put_right(world: World, before: Manifest) -> None:
    """One visit later the child is as it was before somebody changed it."""
    world.visit()
    after = world.only(before["kind"])
    assert _content(after) == _content(before)


def _content(child: Manifest) -> Manifest:
    """What a child says, without what the API server counts."""
    metadata = {key: child["metadata"].get(key) for key in ("name", "uid", "labels", "ownerReferences")}
    return {"metadata": metadata, "spec": child.get("spec"), "data": child.get("data")}


@pytest.mark.parametrize(
    ("kind", "path", "value"), [pytest.param(*case, id=f"{case[0]}{pointer(case[1])}") for case in cases()]
)
def test_drift_reverted(served: World, before: dict[str, Manifest], kind: str, path: Path, value: JsonValue) -> None:
    operation = {"op": "replace", "path": pointer(path), "value": value}
    at = f"{kind}/{'/'.join(map(str, path))}"
    if at.startswith(IMMUTABLE + TIED):
        with pytest.raises(api.RefusedError):
            change(served, kind, operation)
        return
    assert _content(change(served, kind, operation)) != _content(before[kind])
    assert_put_right(served, before[kind])


POD: Final = "/spec/template/spec"
SERVER: Final = f"{POD}/containers/0"

ADDED: Final[dict[str, tuple[str, str, JsonValue]]] = {
    "argument": ("Deployment", f"{SERVER}/args/-", "--debug"),
    "container_port": ("Deployment", f"{SERVER}/ports/-", {"containerPort": 9, "name": "debug"}),
    "capability": ("Deployment", f"{SERVER}/securityContext/capabilities/drop/-", "CHOWN"),
    "service_port": ("Service", "/spec/ports/-", {"name": "debug", "port": 9}),
    "selector_of_the_service": ("Service", "/spec/selector/app", "theirs"),
    "selector_of_the_budget": ("PodDisruptionBudget", "/spec/selector/matchLabels/app", "theirs"),
    "metric": (
        "HorizontalPodAutoscaler",
        "/spec/metrics/-",
        {
            "type": "Resource",
            "resource": {"name": "memory", "target": {"type": "Utilization", "averageUtilization": 50}},
        },
    ),
}


@pytest.mark.parametrize("name", ADDED)
def test_drift_reverted_where_something_was_added(served: World, before: dict[str, Manifest], name: str) -> None:
    kind, path, value = ADDED[name]
    change(served, kind, {"op": "add", "path": path, "value": value})
    assert_put_right(served, before[kind])


REMOVED: Final = {
    "probe": ("Deployment", f"{SERVER}/readinessProbe"),
    "arguments": ("Deployment", f"{SERVER}/args"),
    "limits": ("Deployment", f"{SERVER}/resources/limits"),
    "security_context": ("Deployment", f"{SERVER}/securityContext"),
    "security_context_of_the_pod": ("Deployment", f"{POD}/securityContext"),
    "init_containers": ("Deployment", f"{POD}/initContainers"),
    "environment_variable": ("Deployment", f"{SERVER}/env/0"),
    "labels": ("Deployment", "/metadata/labels"),
    "owner": ("Service", "/metadata/ownerReferences"),
    "selector": ("Service", "/spec/selector"),
    "labels_of_the_service": ("Service", "/metadata/labels"),
    "owner_of_the_pinned_template": ("ControllerRevision", "/metadata/ownerReferences"),
}


@pytest.mark.parametrize("name", REMOVED)
def test_drift_reverted_where_something_was_removed(served: World, before: dict[str, Manifest], name: str) -> None:
    kind, path = REMOVED[name]
    change(served, kind, {"op": "remove", "path": path})
    assert_put_right(served, before[kind])


def _containers(*containers: Manifest) -> Manifest:
    return {"spec": {"template": {"spec": {"containers": list(containers)}}}}


THEIRS: Final[dict[str, tuple[str, Manifest]]] = {
    "annotation": ("Service", {"metadata": {"annotations": {"cloud.example/load-balancer": "internal"}}}),
    "label": ("Deployment", {"metadata": {"labels": {"team": "risk"}}}),
    "restart_by_kubectl": (
        "Deployment",
        {"spec": {"template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": "2026-11-24"}}}}},
    ),
    "environment_variable": ("Deployment", _containers({"name": "server", "env": [{"name": "DEBUG", "value": "1"}]})),
    "sidecar": ("Deployment", _containers({"name": "sidecar", "image": "sidecar:1"})),
    "node_selector": ("Deployment", {"spec": {"template": {"spec": {"nodeSelector": {"disk": "fast"}}}}}),
    "session_affinity": ("Service", {"spec": {"sessionAffinity": "ClientIP"}}),
    "scaling_behaviour": (
        "HorizontalPodAutoscaler",
        {"spec": {"behavior": {"scaleDown": {"selectPolicy": "Disabled"}}}},
    ),
}


@pytest.mark.parametrize("name", THEIRS)
def test_what_the_operator_does_not_speak_of_stays(served: World, name: str) -> None:
    kind, body = THEIRS[name]
    after = api.patch(served.server, served.only(kind), body, content_type=api.STRATEGIC)
    assert served.requests_of_a_visit() == []
    assert served.only(kind)["metadata"]["resourceVersion"] == after["metadata"]["resourceVersion"]


def test_deleted_children_are_made_again(world: World) -> None:
    changes = {key: value for key, value in SERVED.items() if key != "metadata.namespace"}
    world.deploy(changes)
    for deleted in [*world.owned()]:
        api.delete(world.server, deleted)
        world.visit()
        made = world.only(deleted["kind"])
        assert made["metadata"]["uid"] != deleted["metadata"]["uid"]
        made["metadata"]["uid"] = deleted["metadata"]["uid"]
        if deleted["kind"] == "Service":
            made["spec"] |= {key: deleted["spec"][key] for key in ("clusterIP", "clusterIPs")}
        assert _content(made) == _content(deleted)
