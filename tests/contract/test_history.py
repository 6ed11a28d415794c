"""The revisions of a service: kept, numbered, gone back to, and forgotten."""

from typing import Any

from serinus.api.status import Phase
from serinus.core.names import REVISION_LABEL
from tests.contract.manifests import Manifest
from tests.contract.world import World

STABLE, IN_ROLLOUT = (Phase.STABLE,), (Phase.CANARY_STARTING, Phase.PROGRESSING)


def roll_out(world: World, version: str) -> None:
    world.edit({"spec.model.version": version})
    world.run_until(*IN_ROLLOUT)
    world.run_until(*STABLE)
    world.settle()


def history(world: World) -> dict[str, int]:
    """The number of each version's revision."""
    return {
        one["metadata"]["labels"]["app.kubernetes.io/version"]: one["revision"]
        for one in world.objects("ControllerRevision")
    }


def state(world: World) -> dict[str, Any]:
    """All children, without what the API server counts."""

    def standing(one: Manifest) -> Manifest:
        counted = ("resourceVersion", "managedFields", "generation")
        metadata = {key: value for key, value in one["metadata"].items() if key not in counted}
        return {**one, "metadata": metadata, "status": {}}

    return {f"{one['kind']} {one['metadata']['name']}": standing(one) for one in world.owned()}


def test_a_version_that_is_gone_back_to_is_the_newest_again(world: World) -> None:
    world.deploy()
    first = world.only("ControllerRevision")
    roll_out(world, "2")
    assert history(world) == {"1": 1, "2": 2}
    roll_out(world, "1")
    assert history(world) == {"1": 3, "2": 2}
    again = next(one for one in world.objects("ControllerRevision") if one["revision"] == 3)
    assert again["metadata"]["name"] == first["metadata"]["name"]
    assert again["metadata"]["uid"] == first["metadata"]["uid"]
    assert again["data"] == first["data"], "the pods are as they were"
    assert world.only("Deployment")["metadata"]["labels"][REVISION_LABEL] == again["metadata"]["labels"][REVISION_LABEL]


def test_as_many_former_revisions_are_kept_as_the_spec_says(world: World) -> None:
    world.deploy({"spec.revisionHistoryLimit": 1})
    for version in ("2", "3"):
        roll_out(world, version)
    assert history(world) == {"2": 2, "3": 3}
    world.edit({"spec.revisionHistoryLimit": 0})
    world.settle()
    assert history(world) == {"3": 3}
    world.edit({"spec.revisionHistoryLimit": 10})
    world.settle()
    roll_out(world, "4")
    assert history(world) == {"3": 3, "4": 4}


def test_revert_restores_the_former_state(world: World) -> None:
    """In mid-canary, without a judgement; what is left is the history of the version that was left behind."""
    world.deploy({"spec.autoscaling": {"minReplicas": 2, "maxReplicas": 4}})
    before, uid = state(world), world.only("Deployment")["metadata"]["uid"]
    world.edit({"spec.model.version": "2", "spec.autoscaling.maxReplicas": 6})
    world.run_until(Phase.PROGRESSING)
    assert state(world) != before
    world.edit({"spec.model.version": "1", "spec.autoscaling.maxReplicas": 4})
    world.run_until(*STABLE)
    world.settle()
    after = state(world)
    left = after.keys() - before.keys()
    assert {one.partition(" ")[0] for one in left} == {"ControllerRevision"}
    assert {name: one for name, one in after.items() if name not in left} == before
    assert world.only("Deployment")["metadata"]["uid"] == uid
    assert world.requests_of_a_visit() == []
