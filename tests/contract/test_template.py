"""Pod templates are pinned: what changes in the platform restarts nothing until it is asked for."""

from typing import Final

from serinus.api.status import Phase
from serinus.config import Settings
from serinus.core.names import COMMAND_ANNOTATION
from serinus.reconciler import Reconciler
from tests.contract import api
from tests.contract.world import World, traffic

UPGRADED: Final[dict[str, str]] = {"image": "serinus-server:2", "imagePullPolicy": "Always"}


def upgrade(world: World, **server: str) -> None:
    """Another operator takes over, with another server image."""
    settings = Settings.model_validate({"server": UPGRADED | server, "prometheus": {"url": "http://127.0.0.1:1"}})
    world.reconciler = Reconciler(world.kube, world.metrics, world.recorder, settings, lambda: world.now)


def images(world: World) -> set[str]:
    return {one["spec"]["template"]["spec"]["containers"][0]["image"] for one in world.objects("Deployment")}


def test_operator_upgrade_keeps_pod_uids(world: World) -> None:
    """A Deployment of the same generation replaces no pod."""
    world.deploy()
    before = [world.only(kind) for kind in ("Deployment", "ControllerRevision", "Service", "PodDisruptionBudget")]
    upgrade(world)
    world.settle()
    after = [world.only(kind) for kind in ("Deployment", "ControllerRevision", "Service", "PodDisruptionBudget")]
    assert after == before
    assert world.requests_of_a_visit() == []
    due = world.condition("TemplateUpToDate")
    assert due["status"] == "False"
    assert "spec.containers[server].image: serinus-server:1 -> serinus-server:2" in due["message"]


def test_a_deleted_controller_revision_restarts_no_pod_after_an_upgrade(world: World) -> None:
    world.deploy()
    before = world.only("Deployment")
    upgrade(world)
    api.delete(world.server, world.only("ControllerRevision"))
    world.settle()
    assert world.only("Deployment")["metadata"]["generation"] == before["metadata"]["generation"]
    pinned = world.only("ControllerRevision")["data"]["template"]
    assert pinned["spec"]["containers"][0]["image"] == "serinus-server:1"
    assert world.condition("TemplateUpToDate")["status"] == "False"


def test_the_new_template_is_taken_where_the_spec_asks_for_it(world: World) -> None:
    world.deploy()
    upgrade(world)
    world.edit({"spec.restartedAt": "2026-11-24T08:00:00Z"})
    world.run_until(Phase.PROGRESSING)
    assert images(world) == {"serinus-server:1", "serinus-server:2"}
    world.run_until(Phase.STABLE)
    world.settle()
    assert images(world) == {"serinus-server:2"}
    assert world.condition("TemplateUpToDate")["status"] == "True"


def test_without_it_the_former_template_comes_back(world: World) -> None:
    world.deploy()
    upgrade(world)
    world.edit({"spec.restartedAt": "2026-11-24T08:00:00Z"})
    world.run_until(Phase.PROGRESSING)
    world.edit({"spec.restartedAt": None})
    world.run_until(Phase.STABLE)
    world.settle()
    assert images(world) == {"serinus-server:1"}


def test_a_version_that_failed_is_tried_again_with_the_new_template(world: World) -> None:
    """What it failed by may have been the platform's, and be mended."""
    world.deploy()
    world.edit({"spec.model.version": "2"})
    world.run_until(Phase.PROGRESSING)
    world.metrics.canary = traffic(200, errors=60)
    revision = world.run_until(Phase.ROLLED_BACK).rollout.failed_revisions[0].revision
    world.metrics.canary = traffic(200)
    upgrade(world)
    world.edit({"metadata.annotations": {COMMAND_ANNOTATION: f"1:retry:{revision}"}})
    world.run_until(Phase.PROGRESSING)
    assert images(world) == {"serinus-server:1", "serinus-server:2"}


def test_the_new_template_is_rolled_out_where_the_platform_says_so(world: World) -> None:
    world.deploy()
    upgrade(world, templateUpdates="Canary")
    world.run_until(Phase.PROGRESSING)
    assert images(world) == {"serinus-server:1", "serinus-server:2"}
    world.run_until(Phase.STABLE)
    world.settle()
    assert images(world) == {"serinus-server:2"}
    assert world.condition("TemplateUpToDate")["status"] == "True"
    assert world.requests_of_a_visit() == []


def test_a_rolled_out_template_stays_where_templates_are_pinned_again(world: World) -> None:
    world.deploy()
    upgrade(world, templateUpdates="Canary")
    world.run_until(Phase.PROGRESSING)
    world.run_until(Phase.STABLE)
    world.settle()
    upgrade(world, image="serinus-server:3")
    world.settle()
    assert images(world) == {"serinus-server:2"}
    assert world.requests_of_a_visit() == []
    assert "image: serinus-server:2 -> serinus-server:3" in world.condition("TemplateUpToDate")["message"]
