"""A namespace that is being deleted: nothing is created in it, which is told once and not tried for ever."""

from datetime import timedelta

from tests.cluster.control_plane import ControlPlane
from tests.contract import api
from tests.contract.world import World


def test_namespace_terminating(server: ControlPlane, world: World) -> None:
    world.create()
    api.send(server.api, "DELETE", f"/api/v1/namespaces/{world.namespace}")
    assert world.visit().again_after == timedelta(), "to say so"
    assert world.visit().again_after is None
    stalled = world.condition("Stalled")
    assert stalled["message"] == f"Namespace {world.namespace} is being deleted: nothing is created in it."
    assert world.recorder.events == []
    assert list(world.owned()) == []


def test_a_service_goes_with_its_namespace_in_mid_canary(server: ControlPlane, world: World) -> None:
    """The version that serves goes on to, until the namespace's end takes it."""
    world.deploy()
    world.edit({"spec.model.version": "2"})
    api.send(server.api, "DELETE", f"/api/v1/namespaces/{world.namespace}")
    world.visit()
    world.visit()
    assert world.condition("Ready")["status"] == "True"
    assert "is being deleted" in world.condition("Stalled")["message"]
    assert len(world.objects("Deployment")) == 1
