"""A stored object that the definition of today would refuse: what it runs keeps running, and it says what is wrong."""

import copy
import time
from collections.abc import Iterator
from typing import Any, Final

import pytest

from serinus.api import crd
from serinus.api.status import Phase
from serinus.api.v1beta1 import GROUP, PLURAL
from tests.cluster.control_plane import ControlPlane
from tests.contract import api
from tests.contract.manifests import Manifest
from tests.contract.world import World

DEFINITION: Final = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{PLURAL}.{GROUP}"
PATIENCE_SECONDS: Final = 30.0

INVALID: Final[dict[str, tuple[dict[str, Any], str]]] = {
    "moving_version": ({"spec.model.version": "latest"}, "spec.model.version: "),
    "threshold_between_bounds": (
        {"spec.canary.analysis.latency": [{"percentile": 95, "threshold": "260ms"}]},
        "260ms is not one of the server's histogram bounds; the nearest: 250ms and 300ms",
    ),
    "falling_weights": (
        {"spec.canary.steps": [{"weightPercent": 9, "duration": "1m"}, {"weightPercent": 5, "duration": "1m"}]},
        "steps must not fall in weight",
    ),
    "wrong_type": ({"spec.autoscaling.minReplicas": "many"}, "spec.autoscaling.minReplicas: "),
}


def lax(definition: Manifest) -> Manifest:
    """The definition without a rule for the spec."""
    result = copy.deepcopy(definition)
    schema = result["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    schema["properties"]["spec"] = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return result


def define(server: ControlPlane, definition: Manifest, world: World, *, takes_anything: bool) -> None:
    """Put the definition in force, and wait until it is."""
    api.send(server.api, "PATCH", DEFINITION, {"spec": definition["spec"]}, content_type=api.MERGE)
    probe = world.manifest({"metadata.name": "probe", "spec": {"anything": 1}})
    deadline = time.monotonic() + PATIENCE_SECONDS
    while _is_taken(server, probe) is not takes_anything:
        assert time.monotonic() < deadline, "the definition does not come into force"
        time.sleep(0.05)


def _is_taken(server: ControlPlane, manifest: Manifest) -> bool:
    path = f"/apis/{manifest['apiVersion']}/namespaces/{manifest['metadata']['namespace']}/{PLURAL}"
    try:
        api.send(server.api, "POST", path, manifest, {"dryRun": "All"})
    except api.RefusedError:
        return False
    return True


@pytest.fixture(params=INVALID)
def invalid(server: ControlPlane, world: World, request: pytest.FixtureRequest) -> Iterator[str]:
    """A service that serves, and whose spec was then made invalid; what is to be said of it."""
    changes, said = INVALID[request.param]
    world.deploy()
    definition = crd.custom_resource_definition()
    try:
        define(server, lax(definition), world, takes_anything=True)
        world.edit(changes)
    finally:
        define(server, definition, world, takes_anything=False)
    yield said


def test_invalid_then_fixed_spec_recovers(world: World, invalid: str) -> None:
    children = [*world.owned()]
    world.settle()
    assert [*world.owned()] == children, "what serves keeps serving"
    for kind, status in (("Ready", "False"), ("Stalled", "True")):
        condition = world.condition(kind)
        assert (condition["status"], condition["reason"]) == (status, "InvalidSpec")
        assert invalid in condition["message"]
        assert "keeps serving" in condition["message"]
    service = world.service()
    assert service["status"]["observedGeneration"] == service["metadata"]["generation"]
    assert world.requests_of_a_visit() == []

    fixed = world.manifest({"spec.autoscaling.minReplicas": 2})
    api.send(
        world.server,
        "PATCH",
        f"/apis/{fixed['apiVersion']}/namespaces/{world.namespace}/{PLURAL}/fraud",
        [{"op": "replace", "path": "/spec", "value": fixed["spec"]}],
        content_type=api.JSON_PATCH,
    )
    recovered = world.run_until(Phase.STABLE)
    assert world.condition("Ready")["status"] == "True"
    assert world.condition("Stalled") == {}
    assert recovered.replicas == "2/2"
    assert {one["metadata"]["uid"] for one in world.owned()} == {one["metadata"]["uid"] for one in children}
