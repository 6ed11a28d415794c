"""spec.suspend on a real API server: the children stand as they are, whatever the spec and others say."""

from datetime import timedelta

import pytest

from serinus.api.status import Phase
from tests.contract import api
from tests.contract.world import World


def suspended(world: World) -> dict[str, str]:
    """Suspend the service; the resource versions of its children then."""
    world.edit({"spec.suspend": True})
    world.settle()
    return children(world)


def children(world: World) -> dict[str, str]:
    return {name: version for name, version in world.versions().items() if not name.startswith("InferenceService ")}


def test_nothing_is_written_to_the_children(world: World) -> None:
    world.deploy()
    before = suspended(world)
    world.edit({"spec.model.version": "2", "spec.autoscaling.minReplicas": 3})
    world.settle()
    assert children(world) == before
    assert world.requests_of_a_visit() == []
    assert world.condition("Suspended")["status"] == "True"
    assert world.condition("Ready")["status"] == "True"
    assert world.condition("Ready")["observedGeneration"] == world.service()["metadata"]["generation"]


def test_what_was_deleted_meanwhile_is_made_again_on_resume(world: World) -> None:
    world.deploy()
    suspended(world)
    api.delete(world.server, world.only("Service"))
    world.settle()
    assert world.objects("Service") == []
    world.edit({"spec.suspend": False})
    world.settle()
    assert world.only("Service")
    assert world.condition("Suspended") == {}


def test_a_rollout_goes_on_where_it_stopped(world: World) -> None:
    world.deploy()
    world.edit({"spec.model.version": "2"})
    status = world.run_until(Phase.PROGRESSING)
    before = suspended(world)
    world.now += timedelta(days=2)
    world.settle()
    assert children(world) == before
    assert world.status().rollout.weight == status.rollout.weight
    world.edit({"spec.suspend": False})
    after = world.run_until(Phase.STABLE, Phase.ROLLED_BACK)
    assert (after.rollout.phase, after.rollout.reason) == (Phase.STABLE, "Promoted")


@pytest.mark.parametrize("mid_canary", [False, True], ids=["stable", "mid canary"])
def test_deleted_while_suspended(world: World, mid_canary: bool) -> None:
    """Nothing holds it up: the service goes at once, and its children name it as their owner."""
    created = world.deploy()
    if mid_canary:
        world.edit({"spec.model.version": "2"})
        world.run_until(Phase.PROGRESSING)
    suspended(world)
    assert "finalizers" not in world.service()["metadata"]
    assert all(
        [owner["uid"] for owner in one["metadata"]["ownerReferences"]] == [created["metadata"]["uid"]]
        for one in world.owned()
    )
    api.delete(world.server, world.service())
    with pytest.raises(api.RefusedError, match="not found"):
        world.service()
